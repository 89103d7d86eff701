//! The namespaced sysctls that decide about keep-alive, retransmission and
//! the headers of a probe.

use crate::error::{Doing, Error, Result};
use crate::netns::Namespace;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

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

/// The three sysctls of keep-alive in a network namespace, as the kernel has
/// them. They hold for IPv6 as well.
///
/// What Linux takes, found by experiment on 6.18: seconds from
/// −2147483647 / HZ to 2147483647 / HZ (±8589934 at HZ = 250), since it keeps
/// them as jiffies in an `int` (`proc_dointvec_jiffies`); probes from 0 to 255
/// (`proc_dou8vec_minmax`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepaliveSysctls {
    /// `tcp_keepalive_time`, seconds.
    pub time_s: i64,
    /// `tcp_keepalive_intvl`, seconds.
    pub interval_s: i64,
    /// `tcp_keepalive_probes`.
    pub probes: i64,
}

impl KeepaliveSysctls {
    /// What every new namespace starts with, whatever the host has.
    pub const LINUX: Self = Self {
        time_s: 7200,
        interval_s: 75,
        probes: 9,
    };

    /// The names below `net.ipv4`, in the order of the fields.
    pub const NAMES: [&str; 3] = [
        "tcp_keepalive_time",
        "tcp_keepalive_intvl",
        "tcp_keepalive_probes",
    ];

    /// The most seconds that a kernel with this tick rate takes.
    #[must_use]
    pub fn longest_s(hz: u32) -> i64 {
        i64::from(i32::MAX) / i64::from(hz.max(1))
    }

    /// The values in the order of the fields.
    #[must_use]
    pub const fn values(&self) -> [i64; 3] {
        [self.time_s, self.interval_s, self.probes]
    }

    /// Reads those of a namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel does not show them
    /// there (before Linux 4.5 only the initial namespace had them).
    pub fn read(namespace: &Namespace) -> Result<Self> {
        let files = OpenKeepaliveSysctls::open(
            namespace,
            OpenOptions::new().read(true),
            "reading the keep-alive sysctls",
        )?;
        files.read()
    }
}

/// The keep-alive sysctls of one namespace, opened. What is not allowed shows
/// when they are opened, so that nobody who may not change all three changes
/// one.
#[derive(Debug)]
pub struct OpenKeepaliveSysctls {
    label: String,
    files: [File; 3],
}

impl OpenKeepaliveSysctls {
    /// Opens those of a namespace for reading and writing. The files stay
    /// those of this namespace wherever they are used.
    ///
    /// # Errors
    /// When this user may not enter the namespace or write there (it takes
    /// CAP_NET_ADMIN over the namespace), or `/proc/sys` is read-only.
    pub fn for_writing(namespace: &Namespace) -> Result<Self> {
        Self::open(
            namespace,
            OpenOptions::new().read(true).write(true),
            "setting the keep-alive sysctls",
        )
    }

    fn open(namespace: &Namespace, options: &OpenOptions, doing: &str) -> Result<Self> {
        let label = namespace.label();
        namespace.enter(|| Self::open_in(Path::new("/proc/sys/net/ipv4"), label, options, doing))?
    }

    /// Opens three files with the sysctls' names in a folder that stands for
    /// `/proc/sys/net/ipv4`.
    ///
    /// # Errors
    /// As [`Self::for_writing`].
    pub fn in_folder(folder: &Path, label: &str) -> Result<Self> {
        Self::open_in(
            folder,
            label,
            OpenOptions::new().read(true).write(true),
            "setting the keep-alive sysctls",
        )
    }

    fn open_in(folder: &Path, label: &str, options: &OpenOptions, doing: &str) -> Result<Self> {
        let open = |name: &str| {
            options.open(folder.join(name)).map_err(|source| {
                let doing = format!("{doing} of network namespace {label}");
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
                    return Error::NotAllowed {
                        doing,
                        why: format!("{} is mounted read-only", folder.display()),
                        remedy: "Run it outside of this container; --netns pid:N takes the \
                                 container's namespace there."
                            .into(),
                    };
                }
                Error::system(doing, source)
            })
        };
        let [time, interval, probes] = KeepaliveSysctls::NAMES;
        Ok(Self {
            label: label.into(),
            files: [open(time)?, open(interval)?, open(probes)?],
        })
    }

    /// How the namespace was found: its name, its path or a process in it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Reads the values.
    ///
    /// # Errors
    /// When the kernel does not tell them.
    pub fn read(&self) -> Result<KeepaliveSysctls> {
        let read = |at: usize| {
            let name = KeepaliveSysctls::NAMES[at];
            let doing = || format!("reading {name} of network namespace {}", self.label);
            let mut text = [0; 32];
            let length = self.files[at].read_at(&mut text, 0).doing(doing)?;
            let text = String::from_utf8_lossy(&text[..length]);
            let number = text.split_whitespace().next().and_then(|n| n.parse().ok());
            number.ok_or_else(|| {
                let found = format!("'{}' is no number", text.trim());
                Error::system(doing(), io::Error::other(found))
            })
        };
        Ok(KeepaliveSysctls {
            time_s: read(0)?,
            interval_s: read(1)?,
            probes: read(2)?,
        })
    }

    /// Writes those values that differ from the present ones, in the order of
    /// the fields. After an error, some may have been written.
    ///
    /// # Errors
    /// When the kernel refuses a value (EINVAL), or took another one than it
    /// was given.
    pub fn write(&self, wanted: &KeepaliveSysctls) -> Result<()> {
        let present = self.read()?.values();
        for (at, value) in wanted.values().into_iter().enumerate() {
            if present[at] == value {
                continue;
            }
            let text = format!("{value}\n");
            self.files[at].write_all_at(text.as_bytes(), 0).doing(|| {
                let name = KeepaliveSysctls::NAMES[at];
                format!(
                    "setting {name} of network namespace {} to {value}",
                    self.label
                )
            })?;
        }
        let got = self.read()?;
        if got == *wanted {
            return Ok(());
        }
        let (got, wanted) = (got.values(), wanted.values());
        let other = io::Error::other(format!("the kernel has {got:?} in place of {wanted:?}"));
        let doing = format!(
            "setting the keep-alive sysctls of network namespace {}",
            self.label
        );
        Err(Error::system(doing, other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_is_what_an_int_of_jiffies_holds() {
        assert_eq!(KeepaliveSysctls::longest_s(250), 8_589_934);
        assert_eq!(KeepaliveSysctls::longest_s(1000), 2_147_483);
        assert_eq!(KeepaliveSysctls::longest_s(100), 21_474_836);
    }

    #[test]
    fn the_current_namespace_is_read() {
        let namespace = Namespace::current().unwrap();
        let settings = Settings::of(&namespace).unwrap();
        let read = KeepaliveSysctls::read(&namespace).unwrap();
        assert_eq!(read.time_s, settings.keepalive_time_s);
        assert_eq!(read.interval_s, settings.keepalive_interval_s);
        assert_eq!(read.probes, i64::from(settings.keepalive_probes));
    }
}
