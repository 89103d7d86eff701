//! The namespaced sysctls that decide about keep-alive, retransmission and
//! the headers of a probe.

use crate::error::Result;
use crate::netns::Namespace;
use std::fs;

/// Settings of one network namespace. A value that cannot be read is the
/// kernel's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `tcp_keepalive_time`, seconds. Out of the range of sockets when
    /// somebody wrote 0 or a negative value.
    pub keepalive_time_s: i64,
    /// `tcp_keepalive_intvl`, seconds.
    pub keepalive_interval_s: i64,
    /// `tcp_keepalive_probes`, 0 to 255.
    pub keepalive_probes: u32,
    /// `tcp_retries2`: how often data is retransmitted before giving up.
    pub retries2: u32,
    /// `ip_default_ttl`.
    pub default_ttl: u8,
    /// `net.ipv6.conf.default.hop_limit`.
    pub default_hop_limit: u8,
    /// Whether the choice among equal routes goes by more than addresses
    /// (`fib_multipath_hash_policy`).
    pub multipath_by_ports: bool,
    /// Whether IPv6 flow labels are derived from the flow's hash.
    pub auto_flow_labels: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keepalive_time_s: 7200,
            keepalive_interval_s: 75,
            keepalive_probes: 9,
            retries2: 15,
            default_ttl: 64,
            default_hop_limit: 64,
            multipath_by_ports: false,
            auto_flow_labels: true,
        }
    }
}

impl Settings {
    /// Reads the settings of `namespace`: `/proc/sys/net` shows those of the
    /// thread that opens it.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        namespace.enter(Self::here)
    }

    fn here() -> Self {
        let default = Self::default();
        Self {
            keepalive_time_s: read("ipv4/tcp_keepalive_time", default.keepalive_time_s),
            keepalive_interval_s: read("ipv4/tcp_keepalive_intvl", default.keepalive_interval_s),
            keepalive_probes: read("ipv4/tcp_keepalive_probes", default.keepalive_probes),
            retries2: read("ipv4/tcp_retries2", default.retries2),
            default_ttl: read("ipv4/ip_default_ttl", default.default_ttl),
            default_hop_limit: read("ipv6/conf/default/hop_limit", default.default_hop_limit),
            multipath_by_ports: read("ipv4/fib_multipath_hash_policy", 0_i32) != 0
                || read("ipv6/fib_multipath_hash_policy", 0_i32) != 0,
            auto_flow_labels: read("ipv6/auto_flowlabels", 1_i32) != 0,
        }
    }
}

fn read<T: std::str::FromStr>(name: &str, default: T) -> T {
    fs::read_to_string(format!("/proc/sys/net/{name}"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(default)
}
