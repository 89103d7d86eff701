//! What a socket has set of its own, and the namespace's values for the rest.

use crate::detection::Timing;
use crate::params::{Count, Params, Seconds, UserTimeout};
use core::fmt;
use core::time::Duration;

/// The keep-alive options of a socket. What it has not set comes from the
/// sysctls of its network namespace, which are read each time the timer fires
/// (`keepalive_time_when` and its kin in `include/net/tcp.h`).
///
/// Sockets that a listener accepts begin with a copy of the listener's
/// (`tcp_create_openreq_child`); what is set before `connect` holds for the
/// connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Options {
    /// `SO_KEEPALIVE`; off unless somebody asks.
    pub enabled: bool,
    /// `TCP_KEEPIDLE`.
    pub idle: Option<Seconds>,
    /// `TCP_KEEPINTVL`.
    pub interval: Option<Seconds>,
    /// `TCP_KEEPCNT`.
    pub count: Option<Count>,
    /// `TCP_USER_TIMEOUT`.
    pub user_timeout: UserTimeout,
}

impl Options {
    /// Keep-alive on, with the namespace's values.
    pub const ON: Self = Self {
        enabled: true,
        idle: None,
        interval: None,
        count: None,
        user_timeout: UserTimeout::OFF,
    };

    /// The values in force in a namespace.
    #[must_use]
    pub fn timing(&self, sysctl: &Sysctl) -> Timing {
        Timing {
            idle: self.idle(sysctl),
            interval: self.interval(sysctl),
            count: self.count(sysctl),
            user_timeout: self.user_timeout.duration(),
        }
    }

    pub(crate) fn idle(&self, sysctl: &Sysctl) -> Duration {
        self.idle.map_or(sysctl.time(), Seconds::duration)
    }

    pub(crate) fn interval(&self, sysctl: &Sysctl) -> Duration {
        self.interval.map_or(sysctl.interval(), Seconds::duration)
    }

    pub(crate) fn count(&self, sysctl: &Sysctl) -> u8 {
        self.count.map_or(sysctl.probes, Count::get)
    }
}

impl From<Params> for Options {
    /// Keep-alive on, with these values.
    fn from(params: Params) -> Self {
        Self {
            enabled: true,
            idle: Some(params.idle),
            interval: Some(params.interval),
            count: Some(params.count),
            user_timeout: params.user_timeout,
        }
    }
}

/// One `setsockopt` call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetOption {
    /// `SO_KEEPALIVE`.
    KeepAlive(bool),
    /// `TCP_KEEPIDLE`.
    Idle(Seconds),
    /// `TCP_KEEPINTVL`.
    Interval(Seconds),
    /// `TCP_KEEPCNT`.
    Count(Count),
    /// `TCP_USER_TIMEOUT`.
    UserTimeout(UserTimeout),
}

/// The three sysctls of a network namespace (`net.ipv4.tcp_keepalive_*`; they
/// hold for IPv6 as well). A new namespace starts with Linux's defaults,
/// whatever the host has.
///
/// Linux also takes 0 and −1 for the times. Zero is allowed here, and as
/// dangerous as there: a connection is then probed at every tick, and ended
/// after `probes` ticks however alive its peer is. Negative values switch
/// keep-alive off in a way that nobody expects (the delay wraps to months),
/// and are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sysctl {
    time_s: u32,
    interval_s: u32,
    probes: u8,
}

impl Sysctl {
    /// 7200 s, 75 s, 9 probes.
    pub const LINUX: Self = Self {
        time_s: 7200,
        interval_s: 75,
        probes: 9,
    };

    /// `tcp_keepalive_time` and `tcp_keepalive_intvl` in seconds, and
    /// `tcp_keepalive_probes`.
    ///
    /// # Errors
    /// A time below 0 or above 2147483647, probes below 0 or above 255.
    pub fn new(time_s: i64, interval_s: i64, probes: i64) -> Result<Self, SysctlError> {
        let seconds = |given: i64| {
            u32::try_from(given)
                .ok()
                .filter(|seconds| i32::try_from(*seconds).is_ok())
        };
        Ok(Self {
            time_s: seconds(time_s).ok_or(SysctlError::Time)?,
            interval_s: seconds(interval_s).ok_or(SysctlError::Interval)?,
            probes: u8::try_from(probes).map_err(|_| SysctlError::Probes)?,
        })
    }

    /// `tcp_keepalive_time`.
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_secs(self.time_s as u64)
    }

    /// `tcp_keepalive_intvl`.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s as u64)
    }

    /// `tcp_keepalive_probes`.
    #[must_use]
    pub const fn probes(&self) -> u8 {
        self.probes
    }

    /// The values for a socket that has none of its own.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Options::ON.timing(self)
    }
}

impl Default for Sysctl {
    fn default() -> Self {
        Self::LINUX
    }
}

/// Which sysctl is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SysctlError {
    /// `tcp_keepalive_time`.
    Time,
    /// `tcp_keepalive_intvl`.
    Interval,
    /// `tcp_keepalive_probes`.
    Probes,
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "tcp_keepalive_time must be 0 to 2147483647 seconds",
            Self::Interval => "tcp_keepalive_intvl must be 0 to 2147483647 seconds",
            Self::Probes => "tcp_keepalive_probes must be 0 to 255",
        })
    }
}

impl core::error::Error for SysctlError {}
