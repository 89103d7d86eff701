//! What follows from what was measured.

use super::{Cost, FAR_AWAY, Rate};
use crate::bench::Spread;
use std::time::Duration;
use tcpalive_kernel::softirq::Spent;

use super::window::Window;

/// The idle times of the table, in seconds: Linux's default, a NAT's, and
/// those that are measured.
pub(crate) const IDLE_TIMES: [u32; 4] = [FAR_AWAY, 600, 60, 15];

/// So many connections with keep-alive on at one end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) probes_per_s: f64,
    pub(crate) packets_per_s: f64,
    pub(crate) bytes_per_s: f64,
    /// Seconds of one core a second, at the end that probes.
    pub(crate) own_cpu: f64,
    /// At both ends together.
    pub(crate) both_cpu: f64,
    /// Probes that are due at the same moment.
    pub(crate) burst: f64,
}

impl Cost {
    /// Seconds a second of the timers' soft interrupts when nobody probes.
    pub(crate) fn quiet_timer(&self) -> f64 {
        let quiet = self.off.iter().chain(&self.armed);
        Spread::of(quiet.map(Window::timer_share).collect()).median
    }

    /// Seconds a second of receiving when nobody probes.
    pub(crate) fn quiet_net_rx(&self) -> f64 {
        let quiet = self.off.iter().chain(&self.armed);
        Spread::of(quiet.map(Window::net_rx_share).collect()).median
    }

    /// Nanoseconds in which the timer sends a probe.
    pub(crate) fn sending_ns(&self, rate: &Rate) -> Spread {
        let quiet = self.quiet_timer();
        let each = |window: &Window| (window.timer_share() - quiet) * 1e9 / window.probes_per_s();
        Spread::of(rate.windows.iter().map(each).collect())
    }

    /// Nanoseconds in which a probe is received and answered, and the answer received.
    pub(crate) fn receiving_ns(&self, rate: &Rate) -> Spread {
        let quiet = self.quiet_net_rx();
        let each = |window: &Window| (window.net_rx_share() - quiet) * 1e9 / window.probes_per_s();
        Spread::of(rate.windows.iter().map(each).collect())
    }

    /// Of the receiving, what falls to the end that probes.
    pub(crate) fn own_share_of_receiving(&self) -> f64 {
        let [near, far] = [self.sides.near, self.sides.far].map(each_ns);
        near / (near + far)
    }

    /// Nanoseconds for an answered probe at the end that probes.
    pub(crate) fn own_ns(&self, rate: &Rate) -> f64 {
        self.sending_ns(rate).median
            + self.receiving_ns(rate).median * self.own_share_of_receiving()
    }

    /// Nanoseconds for an answered probe at both ends.
    pub(crate) fn both_ns(&self, rate: &Rate) -> f64 {
        self.sending_ns(rate).median + self.receiving_ns(rate).median
    }

    /// The rate that everything else is computed from: the slowest, whose
    /// sockets have been out of the caches for longest.
    pub(crate) fn reference(&self) -> &Rate {
        &self.rates[0]
    }

    /// Bytes of a packet as an Ethernet device counts it.
    pub(crate) fn packet_bytes(&self) -> f64 {
        let each = |window: &Window| window.counted.bytes as f64 / window.counted.packets as f64;
        Spread::of(self.reference().windows.iter().map(each).collect()).median
    }

    /// Packets for a probe: itself and the answer.
    pub(crate) fn packets_per_probe(&self) -> f64 {
        let each = |window: &Window| window.counted.packets as f64 / window.counted.probes as f64;
        Spread::of(self.reference().windows.iter().map(each).collect()).median
    }

    /// Bytes of kernel memory of one idle socket that a program holds.
    pub(crate) fn socket_bytes(&self) -> f64 {
        self.kinds.iter().map(|kind| kind.bytes as f64).sum()
    }

    /// Width of the bucket that timers of an idle time fall into, in seconds.
    pub(crate) fn bucket_s(&self, idle_s: u32) -> f64 {
        let idle = Duration::from_secs(idle_s.into());
        self.hz.lateness(idle).as_secs_f64()
    }

    /// Buckets from a probe to the next one of the same connection. The timer
    /// is set for the idle time at the end of a bucket and fires at the end of
    /// one: the next after the idle time is over.
    pub(crate) fn buckets(&self, idle_s: u32) -> f64 {
        (f64::from(idle_s) / self.bucket_s(idle_s)).floor() + 1.0
    }

    /// Computed from the figures for one probe.
    pub(crate) fn load(&self, idle_s: u32, connections: f64) -> Load {
        let period = self.buckets(idle_s) * self.bucket_s(idle_s);
        let probes_per_s = connections / period;
        let packets_per_s = probes_per_s * self.packets_per_probe();
        let reference = self.reference();
        Load {
            probes_per_s,
            packets_per_s,
            bytes_per_s: packets_per_s * self.packet_bytes(),
            own_cpu: probes_per_s * self.own_ns(reference) / 1e9,
            both_cpu: probes_per_s * self.both_ns(reference) / 1e9,
            burst: connections / self.buckets(idle_s),
        }
    }

    /// Measured with all connections, for so many.
    pub(crate) fn measured(&self, rate: &Rate, connections: f64) -> Load {
        let scale = connections / self.connections as f64;
        let median = |value: &dyn Fn(&Window) -> f64| {
            Spread::of(rate.windows.iter().map(value).collect()).median * scale
        };
        let probes_per_s = median(&Window::probes_per_s);
        Load {
            probes_per_s,
            packets_per_s: median(&|window| window.counted.packets as f64 / window.seconds),
            bytes_per_s: median(&|window| window.counted.bytes as f64 / window.seconds),
            own_cpu: probes_per_s * self.own_ns(rate) / 1e9,
            both_cpu: median(&|window| {
                window.timer_share() - self.quiet_timer() + window.net_rx_share()
                    - self.quiet_net_rx()
            }),
            burst: median(&|window| window.largest_burst() as f64),
        }
    }

    /// On less off, bytes for each socket: by objects, and by /proc/meminfo.
    pub(crate) fn memory_of_keep_alive(&self) -> [Spread; 2] {
        let turns = self.on_less_off.iter();
        let (objects, slab) = turns.copied().unzip();
        [Spread::of(objects), Spread::of(slab)]
    }

    /// Of all packets that were sent with the backlog as it was found.
    pub(crate) fn lost_share(&self) -> f64 {
        // The device counts what it could hand on.
        let counted = &self.losing.counted;
        counted.dropped as f64 / (counted.dropped + counted.packets).max(1) as f64
    }
}

fn each_ns(spent: Spent) -> f64 {
    spent.total.as_nanos() as f64 / spent.runs.max(1) as f64
}
