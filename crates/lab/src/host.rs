//! A host: a named network namespace and what is done inside it.

use crate::command;
use crate::error::{Doing, LabError, Result};
use crate::lab::Shared;
use crate::leftovers::{self, NETNS_DIRECTORY};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A handle to a host. Clones are the same host. It does not keep the host in
/// being: that is the [`crate::Lab`]'s part.
#[derive(Debug, Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    netns_name: String,
    kind: Kind,
    lab: Weak<Shared>,
    state: Mutex<State>,
}

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An end of connections.
    Host,
    /// Forwards packets.
    Router,
    /// Has nothing but a bridge.
    Bridge,
}

/// What must outlast a reboot.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `None`: no power.
    netns: Option<OwnedFd>,
    pub(crate) interfaces: Vec<Interface>,
    /// Arguments of `ip`: `route replace …`, with `-6 ` in front where needed.
    pub(crate) routes: Vec<String>,
    pub(crate) sysctls: Vec<(String, String)>,
    next_interface: u32,
    next_fault: u32,
}

/// One end of a cable.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// With prefix lengths.
    pub(crate) addresses: Vec<String>,
    /// The bridge that it is a port of.
    pub(crate) master: Option<&'static str>,
    /// The host at the other end, and its interface.
    pub(crate) peer: Host,
    pub(crate) peer_interface: String,
    /// Where it waits while the host has no power: namespace and name.
    pub(crate) parked: Option<(String, String)>,
}

/// Addresses are usable at once and stay when a link goes down; nobody else's
/// router is listened to.
const BASE_SYSCTLS: [(&str, &str); 10] = [
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.all.keep_addr_on_down", "1"),
    ("net.ipv6.conf.default.keep_addr_on_down", "1"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
];

impl Host {
    pub(crate) fn create(
        name: &str,
        netns_name: String,
        kind: Kind,
        lab: &Arc<Shared>,
    ) -> Result<Self> {
        let host = Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                netns_name,
                kind,
                lab: Arc::downgrade(lab),
                state: Mutex::default(),
            }),
        };
        host.make_namespace()?;
        Ok(host)
    }

    /// The name that the host was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The namespace's name, for `ip netns exec` and `--netns`.
    #[must_use]
    pub fn netns_name(&self) -> &str {
        &self.inner.netns_name
    }

    /// The file that stands for the namespace, for `nsenter --net=` and `--netns`.
    #[must_use]
    pub fn netns_path(&self) -> PathBuf {
        PathBuf::from(NETNS_DIRECTORY).join(self.netns_name())
    }

    /// The inode number of the namespace, as output shows it. It changes with
    /// a reboot.
    ///
    /// # Panics
    /// When the host has no power.
    #[must_use]
    pub fn netns_inode(&self) -> u64 {
        let netns = self.netns();
        rustix::fs::fstat(netns)
            .expect("a namespace that is held open can be looked at")
            .st_ino
    }

    /// Whether the host has power, that is, a namespace.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state().netns.is_some()
    }

    /// Runs a closure on a thread of its own that has entered the namespace.
    /// Sockets that it makes belong to the host for as long as they live,
    /// wherever they are used; so do threads and processes that it starts.
    ///
    /// # Panics
    /// When the closure does, or when the host has no power.
    pub fn run<T, F>(&self, closure: F) -> T
    where
        T: Send,
        F: FnOnce() -> T + Send,
    {
        let netns = self.netns();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter a namespace that it made");
                drop(netns);
                closure()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// A command that will start in the namespace: `ip netns exec NAME PROGRAM`.
    /// Its pid is the program's own. As `ip netns exec` does, it has a mount
    /// namespace of its own with /sys mounted anew: no cgroups and no BPF file
    /// system there. [`Host::run`] with a `Command` inside keeps the mounts.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.netns_name()])
            .arg(program);
        command
    }

    /// Runs `ip -n NAME …` with arguments separated by white space and
    /// returns its output.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        command::ip(&format!("-n {} {arguments}", self.netns_name()))
    }

    /// Loads a ruleset with `nft -f -` in the namespace and returns its output.
    ///
    /// # Errors
    /// When `nft` refuses it.
    ///
    /// # Panics
    /// When the host has no power.
    pub fn nft(&self, ruleset: &str) -> Result<String> {
        self.run(|| command::capture(Command::new("nft").args(["-f", "-"]), ruleset))
    }

    /// Runs `nft -j …` in the namespace and returns its JSON.
    pub(crate) fn nft_json(&self, arguments: &str) -> Result<serde_json::Value> {
        let text = self.run(|| {
            command::capture(
                Command::new("nft")
                    .arg("-j")
                    .args(arguments.split_whitespace()),
                "",
            )
        })?;
        serde_json::from_str(&text)
            .map_err(|error| LabError::Other(format!("read the output of nft -j: {error}")))
    }

    /// Sets a sysctl of the namespace, such as `net.ipv4.tcp_keepalive_time`.
    /// It is set again after a reboot, as by a file in /etc/sysctl.d.
    ///
    /// # Errors
    /// When the kernel has no such key or refuses the value.
    ///
    /// # Panics
    /// When the host has no power.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.run(|| write_sysctl(key, value))?;
        let mut state = self.state();
        state.sysctls.retain(|(known, _)| known != key);
        state.sysctls.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Reads a sysctl of the namespace.
    ///
    /// # Errors
    /// When the kernel has no such key.
    ///
    /// # Panics
    /// When the host has no power.
    pub fn sysctl_value(&self, key: &str) -> Result<String> {
        self.run(|| {
            let text =
                fs::read_to_string(sysctl_path(key)).doing(|| format!("read sysctl {key}"))?;
            Ok(text.trim().to_owned())
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.inner.kind
    }

    pub(crate) fn lab(&self) -> Result<Arc<Shared>> {
        self.inner
            .lab
            .upgrade()
            .ok_or_else(|| LabError::Other(format!("the lab of host {} is gone", self.name())))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn next_interface_name(&self) -> String {
        let mut state = self.state();
        let number = state.next_interface;
        state.next_interface += 1;
        format!("eth{number}")
    }

    pub(crate) fn next_fault_number(&self) -> u32 {
        let mut state = self.state();
        state.next_fault += 1;
        state.next_fault
    }

    pub(crate) fn make_namespace(&self) -> Result<()> {
        command::ip(&format!("netns add {}", self.netns_name()))?;
        let netns = fs::File::open(self.netns_path())
            .doing(|| format!("open namespace {}", self.netns_name()))?;
        self.state().netns = Some(netns.into());
        self.run(|| {
            BASE_SYSCTLS
                .iter()
                .try_for_each(|(key, value)| write_sysctl(key, value))
        })?;
        self.ip("link set lo up").map(drop)
    }

    pub(crate) fn make_bridge(&self) -> Result<()> {
        // Ports forward at once; multicast (neighbour discovery) goes everywhere.
        self.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        self.ip("link set br0 up").map(drop)
    }

    /// Kills the host's processes and removes its namespace. Sockets of the
    /// calling process keep a nameless namespace without cables.
    pub(crate) fn forget(&self) -> Result<()> {
        if self.state().netns.take().is_none() {
            return Ok(());
        }
        leftovers::remove_namespace(self.netns_name())
    }

    fn netns(&self) -> OwnedFd {
        let state = self.state();
        let netns = state.netns.as_ref().unwrap_or_else(|| {
            panic!("host {} has no power", self.name());
        });
        netns
            .try_clone()
            .expect("a descriptor is free to enter a namespace")
    }
}

pub(crate) fn write_sysctl(key: &str, value: &str) -> Result<()> {
    fs::write(sysctl_path(key), value).doing(|| format!("set sysctl {key} = {value}"))
}

fn sysctl_path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key.replace('.', "/"))
}
