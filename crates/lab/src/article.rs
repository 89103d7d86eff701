//! The numbers of the article ("TCP Keep Alive - how it works", 15 March
//! 2016), so that an experiment that repeats it can say where each one is from.

use std::net::Ipv4Addr;
use std::time::Duration;

/// A, "the source of the connections": "A, IP 172.31.24.219".
pub const A: Ipv4Addr = Ipv4Addr::new(172, 31, 24, 219);

/// B, "the so called server instance": "B, IP 172.31.24.218".
pub const B: Ipv4Addr = Ipv4Addr::new(172, 31, 24, 218);

/// The server's port: "nc -l 3333".
pub const PORT: u16 = 3333;

/// "more than 20k TCP connections on ESTABLISHED state".
pub const DEAD_CONNECTIONS: usize = 20_000;

/// `tcp_keepalive_time`: "The default value is 7200 (2 h)".
pub const DEFAULT_TIME: Duration = Duration::from_secs(7200);

/// `tcp_keepalive_intvl`: "The default value is 75 (1min 15 sec)".
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(75);

/// `tcp_keepalive_probes`: "The default value is 9".
pub const DEFAULT_PROBES: u32 = 9;

/// What the kernel's defaults need to notice a dead peer, from the last
/// segment heard to the reset: 7200 + 9 · 75 = 7,875 s. Without SO_KEEPALIVE
/// it is for ever ("the connections remained ESTABLISHED for the eternity").
pub const DEFAULT_DETECTION: Duration = Duration::from_secs(
    DEFAULT_TIME.as_secs() + DEFAULT_PROBES as u64 * DEFAULT_INTERVAL.as_secs(),
);
