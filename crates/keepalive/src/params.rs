//! Keep-alive values as a socket takes them, with Linux's limits.

use crate::detection::{Detection, Timing};
use crate::text;
use core::fmt;
use core::num::{NonZeroU8, NonZeroU16};
use core::str::FromStr;
use core::time::Duration;

/// A time that `TCP_KEEPIDLE` and `TCP_KEEPINTVL` take: 1 to 32767 whole
/// seconds (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL` in `include/net/tcp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(NonZeroU16);

impl Seconds {
    /// One second.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// 9 h 6 min 7 s.
    pub const MAX: Self = Self(NonZeroU16::new(32767).unwrap());

    /// So many seconds, or `None` outside 1..=32767.
    #[must_use]
    pub const fn new(seconds: u32) -> Option<Self> {
        if seconds > Self::MAX.0.get() as u32 {
            return None;
        }
        // Cannot truncate: it is at most 32767.
        match NonZeroU16::new(seconds as u16) {
            Some(seconds) => Some(Self(seconds)),
            None => None,
        }
    }

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0.get() as u64)
    }
}

/// A number of probes that `TCP_KEEPCNT` takes: 1 to 127 (`MAX_TCP_KEEPCNT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(NonZeroU8);

impl Count {
    /// One probe.
    pub const MIN: Self = Self(NonZeroU8::MIN);
    /// 127 probes.
    pub const MAX: Self = Self(NonZeroU8::new(127).unwrap());

    /// So many probes, or `None` outside 1..=127.
    #[must_use]
    pub const fn new(probes: u32) -> Option<Self> {
        if probes > Self::MAX.0.get() as u32 {
            return None;
        }
        // Cannot truncate: it is at most 127.
        match NonZeroU8::new(probes as u8) {
            Some(probes) => Some(Self(probes)),
            None => None,
        }
    }

    /// The number of probes.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

/// What `TCP_USER_TIMEOUT` takes: 0 (off) to 2147483647 ms (RFC 5482).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UserTimeout(u32);

impl UserTimeout {
    /// No user timeout: keep-alive goes by its count.
    pub const OFF: Self = Self(0);
    /// 24 days 20 h 31 min.
    pub const MAX: Self = Self(i32::MAX as u32);

    /// So many milliseconds, 0 for off; `None` when there are more than a
    /// signed 32-bit number holds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Option<Self> {
        if millis > Self::MAX.0 as u64 {
            return None;
        }
        Some(Self(millis as u32))
    }

    /// The milliseconds; 0 is off.
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// As a duration; `None` when off.
    #[must_use]
    pub const fn duration(self) -> Option<Duration> {
        match self.0 {
            0 => None,
            millis => Some(Duration::from_millis(millis as u64)),
        }
    }
}

/// Keep-alive values that a socket can be given. One that exists is valid.
///
/// ```
/// use tcpalive_keepalive::Params;
///
/// let params: Params = "10/20/5".parse()?;
/// assert_eq!(params.idle.get(), 10);
/// assert_eq!(params.detection_time().from_last_heard.worst.as_secs(), 120);
/// assert_eq!(params.detection_time().from_last_heard.best.as_secs(), 110);
/// assert!("0/20/5".parse::<Params>().is_err());
/// # Ok::<(), tcpalive_keepalive::ParamsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Params {
    /// How long nothing must have been heard before the first probe (`TCP_KEEPIDLE`).
    pub idle: Seconds,
    /// The time between probes (`TCP_KEEPINTVL`).
    pub interval: Seconds,
    /// How many unanswered probes end the connection (`TCP_KEEPCNT`).
    pub count: Count,
    /// Ends the connection instead of the count when it is not off (`TCP_USER_TIMEOUT`).
    pub user_timeout: UserTimeout,
}

impl Params {
    /// Linux's defaults: 2 h, 75 s, 9 probes, no user timeout
    /// (`TCP_KEEPALIVE_TIME`, `TCP_KEEPALIVE_INTVL`, `TCP_KEEPALIVE_PROBES`).
    pub const LINUX: Self = match Self::new(7200, 75, 9) {
        Ok(params) => params,
        Err(_) => panic!(),
    };

    /// Idle time and interval in seconds, a number of probes, no user timeout.
    ///
    /// # Errors
    /// The first value that Linux would refuse with EINVAL.
    pub const fn new(idle_s: u32, interval_s: u32, count: u32) -> Result<Self, ParamsError> {
        let Some(idle) = Seconds::new(idle_s) else {
            return Err(ParamsError::Idle);
        };
        let Some(interval) = Seconds::new(interval_s) else {
            return Err(ParamsError::Interval);
        };
        let Some(count) = Count::new(count) else {
            return Err(ParamsError::Count);
        };
        Ok(Self {
            idle,
            interval,
            count,
            user_timeout: UserTimeout::OFF,
        })
    }

    /// The same with a user timeout.
    #[must_use]
    pub const fn with_user_timeout(self, user_timeout: UserTimeout) -> Self {
        Self {
            user_timeout,
            ..self
        }
    }

    /// The values as durations.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        Timing {
            idle: self.idle.duration(),
            interval: self.interval.duration(),
            count: self.count.get(),
            user_timeout: self.user_timeout.duration(),
        }
    }

    /// How soon the death of a peer is noticed. See [`Detection`].
    #[must_use]
    pub fn detection_time(&self) -> Detection {
        self.timing().detection_time()
    }
}

impl Default for Params {
    fn default() -> Self {
        Self::LINUX
    }
}

impl fmt::Display for Params {
    /// `7200/75/9`, with a user timeout `7200/75/9/30s`: what [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, interval, count) = (self.idle.get(), self.interval.get(), self.count.get());
        write!(f, "{idle}/{interval}/{count}")?;
        match self.user_timeout.duration() {
            None => Ok(()),
            Some(timeout) => write!(f, "/{}", text::Shown(timeout)),
        }
    }
}

impl FromStr for Params {
    type Err = ParamsError;

    /// `IDLE/INTERVAL/COUNT` or `IDLE/INTERVAL/COUNT/USER_TIMEOUT`, also with
    /// commas; times are seconds, or have a unit: `2h/75s/9`, `10/20/5/30s`.
    fn from_str(given: &str) -> Result<Self, ParamsError> {
        let mut parts = given.split(['/', ',']).map(str::trim);
        let (Some(idle), Some(interval), Some(count)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ParamsError::Form);
        };
        let params = Self::new(
            whole_seconds(idle).ok_or(ParamsError::Idle)?,
            whole_seconds(interval).ok_or(ParamsError::Interval)?,
            count.parse().map_err(|_| ParamsError::Count)?,
        )?;
        let user_timeout = match parts.next() {
            None => UserTimeout::OFF,
            Some(timeout) => text::duration(timeout)
                .and_then(|timeout| u64::try_from(timeout.as_millis()).ok())
                .and_then(UserTimeout::from_millis)
                .ok_or(ParamsError::UserTimeout)?,
        };
        if parts.next().is_some() {
            return Err(ParamsError::Form);
        }
        Ok(params.with_user_timeout(user_timeout))
    }
}

fn whole_seconds(given: &str) -> Option<u32> {
    let duration = text::duration(given)?;
    if duration.subsec_nanos() != 0 {
        return None;
    }
    u32::try_from(duration.as_secs()).ok()
}

/// Which value Linux would not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParamsError {
    /// The idle time.
    Idle,
    /// The interval.
    Interval,
    /// The number of probes.
    Count,
    /// The user timeout.
    UserTimeout,
    /// The text has other parts than expected.
    Form,
}

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "the idle time must be 1 to 32767 whole seconds (TCP_KEEPIDLE)",
            Self::Interval => "the interval must be 1 to 32767 whole seconds (TCP_KEEPINTVL)",
            Self::Count => "the count must be 1 to 127 probes (TCP_KEEPCNT)",
            Self::UserTimeout => {
                "the user timeout must be 0 to 2147483647 milliseconds (TCP_USER_TIMEOUT)"
            }
            Self::Form => {
                "expected IDLE/INTERVAL/COUNT or IDLE/INTERVAL/COUNT/USER_TIMEOUT, such as 10/20/5"
            }
        })
    }
}

impl core::error::Error for ParamsError {}

/// As it stands in data: `{"idle_s":10,"interval_s":20,"count":5,"user_timeout_ms":0}`.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    idle_s: u32,
    interval_s: u32,
    count: u32,
    #[serde(default)]
    user_timeout_ms: u32,
}

#[cfg(feature = "serde")]
impl serde::Serialize for Params {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = Data {
            idle_s: self.idle.get().into(),
            interval_s: self.interval.get().into(),
            count: self.count.get().into(),
            user_timeout_ms: self.user_timeout.as_millis(),
        };
        data.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Params {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = Data::deserialize(deserializer)?;
        let timeout = UserTimeout::from_millis(data.user_timeout_ms.into());
        Self::new(data.idle_s, data.interval_s, data.count)
            .and_then(|params| {
                Ok(params.with_user_timeout(timeout.ok_or(ParamsError::UserTimeout)?))
            })
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn linux_limits_hold_at_both_ends() {
        assert!(Params::new(1, 1, 1).is_ok());
        assert!(Params::new(32767, 32767, 127).is_ok());
        assert_eq!(Params::new(0, 1, 1), Err(ParamsError::Idle));
        assert_eq!(Params::new(32768, 1, 1), Err(ParamsError::Idle));
        assert_eq!(Params::new(1, 65537, 1), Err(ParamsError::Interval));
        assert_eq!(Params::new(1, 1, 128), Err(ParamsError::Count));
        assert_eq!(Params::new(1, 1, 257), Err(ParamsError::Count));
        assert!(UserTimeout::from_millis(2_147_483_647).is_some());
        assert!(UserTimeout::from_millis(2_147_483_648).is_none());
    }

    #[test]
    fn text_comes_back_as_the_same_values() {
        for text in [
            "7200/75/9",
            "10/20/5/30s",
            "1/1/1/250ms",
            "32767/32767/127/1500ms",
        ] {
            assert_eq!(text.parse::<Params>().unwrap().to_string(), text);
        }
        assert_eq!("2h,75s,9".parse::<Params>().unwrap(), Params::LINUX);
        assert_eq!(
            "10/20/5/0".parse::<Params>().unwrap().to_string(),
            "10/20/5"
        );
    }

    #[test]
    fn text_that_is_none_says_what_is_wrong() {
        let wrong = |text: &str| text.parse::<Params>().unwrap_err();
        assert_eq!(wrong(""), ParamsError::Form);
        assert_eq!(wrong("10/20"), ParamsError::Form);
        assert_eq!(wrong("10/20/5/1s/1"), ParamsError::Form);
        assert_eq!(wrong("1.5s/20/5"), ParamsError::Idle);
        assert_eq!(wrong("10/-1/5"), ParamsError::Interval);
        assert_eq!(wrong("10/20/many"), ParamsError::Count);
        assert_eq!(wrong("10/20/5/99999999h"), ParamsError::UserTimeout);
    }
}
