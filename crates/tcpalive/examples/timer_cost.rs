//! What one fire of a connection's keep-alive timer takes: `Machine::on_timer`
//! on a million connections, half of the fires with a probe that is answered,
//! half with a timer that is armed again, as on quiet living connections.
//! Prints nanoseconds per fire, the best of five rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};
use tcpalive_keepalive::{Action, Event, Machine, Params, Sysctl, Time};

const CONNECTIONS: u64 = 1_000_000;

fn main() {
    let params = Params::new(60, 10, 5).expect("valid");
    let sysctl = Sysctl::LINUX;
    let mut machines: Vec<Machine> = (0..CONNECTIONS)
        .map(|_| Machine::established(params.into(), &sysctl, Time::ZERO).0)
        .collect();
    let mut now = Time::ZERO;
    let best = (0..5).map(|_| {
        let fires = [Duration::from_secs(60), Duration::from_secs(10)];
        let started = Instant::now();
        for (fire, after) in fires.into_iter().enumerate() {
            now = now + after;
            for machine in &mut machines {
                let action = black_box(machine.on_timer(now, &sysctl));
                assert_eq!(fire == 0, matches!(action, Action::Probe { .. }));
                if fire == 0 {
                    let answer = Event::Ack { outstanding: false };
                    let _ = black_box(machine.handle(answer, now, &sysctl));
                }
            }
        }
        // Armed again for the rest of the idle time, from the answer on.
        now = now + Duration::from_secs(40);
        started.elapsed().as_nanos() as f64 / (2 * CONNECTIONS) as f64
    });
    let best = best.fold(f64::INFINITY, f64::min);
    println!("{best:.1} ns per fire, {CONNECTIONS} connections");
}
