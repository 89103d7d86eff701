//! Ten million connections, idle and answering, for three rounds of
//! 7200/75/9; and a week of Linux's defaults in the simulator.
//!
//! `cargo bench -p tcpalive-keepalive --bench engine [-- --json] [--connections N]`

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the crate reads no clock; its benchmark does"
)]

use std::time::{Duration, Instant};
use tcpalive_keepalive::{Engine, Event, Options, Output, Params, Scenario, Time, simulate};

const ROUNDS: u64 = 3;
const RUNS: usize = 5;
/// Late by a tenth of a second is nothing to idle times of hours (Linux may be
/// late by 131 s), and timers that expire together are fetched together.
const TICK: Duration = Duration::from_millis(100);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let connections = arguments
        .iter()
        .position(|argument| argument == "--connections")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(10_000_000);
    for (name, scattered) in [("in order", false), ("scattered", true)] {
        let mut runs: Vec<Run> = (0..RUNS)
            .map(|_| answering(connections, scattered))
            .collect();
        runs.sort_by(|a, b| a.nanos_per_fire.total_cmp(&b.nanos_per_fire));
        let median = &runs[RUNS / 2];
        let (fastest, slowest) = (runs[0].nanos_per_fire, runs[RUNS - 1].nanos_per_fire);
        let Run {
            probes,
            fires,
            nanos_per_fire,
            bytes_per_connection,
        } = median;
        if json {
            println!(
                "{{\"bench\":\"engine\",\"established\":\"{name}\",\"connections\":{connections},\
                 \"probes\":{probes},\"timer_events\":{fires},\"ns_per_timer_event\":{nanos_per_fire:.1},\
                 \"ns_fastest\":{fastest:.1},\"ns_slowest\":{slowest:.1},\
                 \"bytes_per_connection\":{bytes_per_connection:.1}}}"
            );
        } else {
            println!(
                "{connections} connections established {name}, {probes} probes sent and answered: \
                 {fires} timer events, {nanos_per_fire:.1} ns each ({fastest:.1}–{slowest:.1}), \
                 {:.1} M a second; {bytes_per_connection:.1} bytes per connection",
                1e3 / nanos_per_fire
            );
        }
    }
    week(json);
}

struct Run {
    /// Each is answered.
    probes: u64,
    /// The lazy timer also fires after the interval, and waits for the rest of
    /// the idle time: twice for each probe.
    fires: u64,
    nanos_per_fire: f64,
    bytes_per_connection: f64,
}

/// Connections that were established over an hour, each a few milliseconds
/// after its neighbour or anywhere in the hour.
fn answering(connections: u64, scattered: bool) -> Run {
    let options: Options = Params::LINUX.into();
    let mut engine = Engine::with_tick(TICK, Time::ZERO, connections as usize);
    const HOUR: u64 = 3_600_000_000_000;
    for number in 0..connections {
        // An odd multiplier visits all of them in an order without locality.
        let place = match scattered {
            true => number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % connections,
            false => number,
        };
        let at = u128::from(HOUR) * u128::from(place) / u128::from(connections);
        engine.insert(number, options, Time::from_nanos(at as u64));
    }
    let mut due = Vec::new();
    let (mut probes, mut fires) = (0, 0);
    let start = Instant::now();
    while probes < connections * ROUNDS {
        let now = engine.next_timeout().expect("all have timers");
        loop {
            due.clear();
            let fired = engine.poll_batch(now, &mut due);
            if fired == 0 {
                break;
            }
            fires += fired as u64;
            for (key, output) in &due {
                assert!(matches!(output, Output::Probe { probes_out: 1 }));
                engine.handle(*key, Event::Ack { outstanding: false }, now);
            }
            probes += due.len() as u64;
        }
    }
    Run {
        probes,
        fires,
        nanos_per_fire: start.elapsed().as_nanos() as f64 / fires as f64,
        bytes_per_connection: engine.memory() as f64 / connections as f64,
    }
}

fn week(json: bool) {
    let scenario = Scenario {
        until: Time::from_secs(7 * 86_400),
        options: Params::LINUX.into(),
        ..Scenario::default()
    };
    let mut times: Vec<u128> = (0..101)
        .map(|_| {
            let start = Instant::now();
            let seen = simulate(&scenario).len();
            assert_eq!(seen, 2 * 84);
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let micros = times[50] as f64 / 1e3;
    if json {
        println!("{{\"bench\":\"sim-week\",\"us\":{micros:.1}}}");
    } else {
        println!("a week of Linux's defaults, simulated: {micros:.1} µs");
    }
}
