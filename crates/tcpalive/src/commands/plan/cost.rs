//! What keep-alive costs, and what dead connections cost without it.

use serde::Serialize;
use std::time::Duration;
use tcpalive_keepalive::{Params, Plan};
use tcpalive_kernel::slab::SlabSizes;

/// What one fire of a connection's timer takes this engine, in nanoseconds:
/// `Machine::on_timer` for a probe that is answered or a timer that is armed
/// again. Measured on one core of a shared virtual machine by
/// `cargo run --release -p tcpalive --example timer_cost`; the timing wheel
/// and the sending of the probe are not in it.
pub const TIMER_EVENT_NS: f64 = 11.0;

/// Bytes of a probe or its answer on an Ethernet: headers of IPv4 or IPv6 and
/// of TCP with timestamps (20 or 40, and 32), and what Ethernet adds: preamble
/// 8, header 14, checksum 4, gap 12.
const WIRE_BYTES: [u32; 2] = [20 + 32 + 38, 40 + 32 + 38];

/// Each probe is answered.
const PACKETS_PER_PROBE: f64 = 2.0;

/// The timer is lazy: after a probe it fires when the interval is over, finds
/// that the peer has answered, and is armed again for the rest of the idle time.
const FIRES_PER_PROBE: f64 = 2.0;

/// What living quiet connections cost. Connections that are not quiet cost
/// less: what is heard puts the probe off.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    /// How many quiet connections it is for.
    pub connections: u64,
    /// Probes that this host sends.
    pub probes_per_second: f64,
    /// Probes and answers.
    pub packets_per_second: f64,
    /// On an Ethernet, both directions together, over IPv4.
    pub bytes_per_second: f64,
    /// The same over IPv6.
    pub bytes_per_second_ipv6: f64,
    /// How often a timer fires.
    pub timer_events_per_second: f64,
    /// What that takes of one core: nanoseconds per second.
    pub timer_ns_per_second: f64,
}

impl Cost {
    /// What a plan costs.
    #[must_use]
    pub fn of(plan: &Plan, connections: u64) -> Self {
        let probes = connections as f64 / plan.probe_period().as_secs_f64();
        let packets = probes * PACKETS_PER_PROBE;
        let timer_events = probes * FIRES_PER_PROBE;
        Self {
            connections,
            probes_per_second: thousandths(probes),
            packets_per_second: thousandths(packets),
            bytes_per_second: thousandths(packets * f64::from(WIRE_BYTES[0])),
            bytes_per_second_ipv6: thousandths(packets * f64::from(WIRE_BYTES[1])),
            timer_events_per_second: thousandths(timer_events),
            timer_ns_per_second: thousandths(timer_events * TIMER_EVENT_NS),
        }
    }
}

/// What the connections of peers hold that died without a word.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Dead {
    /// How many die per hour.
    pub churn_per_hour: u64,
    /// Kernel memory of one connection with empty queues, on this host.
    pub memory_bytes_per_connection: u64,
    /// With the plan.
    pub planned: Held,
    /// With keep-alive on and Linux's defaults.
    pub linux_defaults: Held,
    /// Without keep-alive they stay until somebody restarts the program: what
    /// is added per day.
    pub off_per_day: Held,
}

/// What is held at any time, when as many are let go as are added.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Held {
    /// Dead connections, each with its descriptor.
    pub connections: f64,
    /// Their memory in the kernel.
    pub memory_bytes: u64,
}

impl Dead {
    /// With a plan, and without.
    #[must_use]
    pub fn of(plan: &Plan, churn_per_hour: u64) -> Self {
        let slab = SlabSizes::of_this_kernel(None);
        let memory_bytes_per_connection = slab.tcp + slab.file;
        let held = |time: Duration| {
            let connections = churn_per_hour as f64 / 3600.0 * time.as_secs_f64();
            Held {
                connections: thousandths(connections),
                memory_bytes: (connections * memory_bytes_per_connection as f64) as u64,
            }
        };
        let linux = Params::LINUX.detection_time().from_last_heard.worst;
        Self {
            churn_per_hour,
            memory_bytes_per_connection,
            planned: held(plan.detects_within()),
            linux_defaults: held(linux),
            off_per_day: held(Duration::from_secs(86_400)),
        }
    }
}

/// As many decimals as mean something.
fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpalive_keepalive::Wish;

    #[test]
    fn a_probe_a_minute_and_what_it_takes_on_the_wire() {
        let wish = Wish {
            detect_within: Some(Duration::from_secs(120)),
            rtt: Duration::ZERO,
            ..Wish::default()
        };
        let plan = wish.plan().unwrap();
        assert_eq!(plan.params.idle.get(), 60);
        let cost = Cost::of(&plan, 60_000);
        assert_eq!(cost.probes_per_second, 1000.0);
        assert_eq!(cost.packets_per_second, 2000.0);
        assert_eq!(cost.bytes_per_second, 180_000.0);
        assert_eq!(cost.bytes_per_second_ipv6, 220_000.0);
        assert_eq!(cost.timer_events_per_second, 2000.0);
    }

    #[test]
    fn dead_connections_are_those_that_die_while_one_is_noticed() {
        let wish = Wish {
            detect_within: Some(Duration::from_secs(120)),
            ..Wish::default()
        };
        let dead = Dead::of(&wish.plan().unwrap(), 3600);
        assert_eq!(dead.planned.connections, 110.0);
        assert_eq!(dead.linux_defaults.connections, 7875.0);
        assert_eq!(dead.off_per_day.connections, 86_400.0);
        let each = dead.memory_bytes_per_connection;
        assert!((1024..65_536).contains(&each), "{each}");
        assert_eq!(dead.planned.memory_bytes, 110 * each);
    }
}
