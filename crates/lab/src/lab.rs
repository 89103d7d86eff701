//! A set of hosts that goes away as a whole.

use crate::command;
use crate::error::{LabError, Result};
use crate::host::{Host, Kind};
use crate::leftovers::{self, Name};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A set of hosts with names that no other lab has, so that any number of
/// labs can run side by side.
///
/// Dropping it, also while panicking, removes every namespace, cable and rule
/// and kills the processes that still run in its namespaces. Sockets that the
/// calling process holds keep working as descriptors, but lead nowhere.
#[derive(Debug)]
pub struct Lab {
    pub(crate) shared: Arc<Shared>,
}

/// What hosts know about their lab.
#[derive(Debug)]
pub(crate) struct Shared {
    label: String,
    number: u32,
    hosts: Mutex<Vec<Host>>,
    /// Names for interfaces of hosts without power.
    parked: AtomicU32,
}

impl Lab {
    /// An empty lab. `label` (a-z, 0-9, at most 20 characters) becomes part of
    /// the names of its namespaces:
    /// `tcpalive-<pid>-<start time of the process>-<number>-<label>-<host>`.
    ///
    /// # Errors
    /// [`LabError::NotRoot`], or a label that cannot be part of a name.
    pub fn new(label: &str) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        check_name(label)?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Ok(Self {
            shared: Arc::new(Shared {
                label: label.to_owned(),
                number: NUMBER.fetch_add(1, Ordering::Relaxed),
                hosts: Mutex::new(Vec::new()),
                parked: AtomicU32::new(0),
            }),
        })
    }

    /// A host: a namespace of its own with `lo` up and nothing else.
    ///
    /// # Errors
    /// A name that is taken or has other characters than a-z, 0-9; failures of `ip`.
    pub fn host(&self, name: &str) -> Result<Host> {
        self.make(name, Kind::Host)
    }

    /// A host that forwards IPv4 and IPv6. Faults that it is given
    /// ([`crate::faults`]) fall on what it forwards.
    ///
    /// # Errors
    /// As [`Lab::host`].
    pub fn router(&self, name: &str) -> Result<Host> {
        let router = self.make(name, Kind::Router)?;
        router.sysctl("net.ipv4.ip_forward", "1")?;
        router.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        Ok(router)
    }

    /// A switch: a namespace with nothing but a bridge `br0`, into which
    /// hosts are plugged with [`Lab::plug`].
    ///
    /// # Errors
    /// As [`Lab::host`].
    pub fn bridge(&self, name: &str) -> Result<Host> {
        let bridge = self.make(name, Kind::Bridge)?;
        bridge.make_bridge()?;
        Ok(bridge)
    }

    /// The hosts made so far and not removed.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        self.shared.hosts().clone()
    }

    fn make(&self, name: &str, kind: Kind) -> Result<Host> {
        check_name(name)?;
        if self.shared.hosts().iter().any(|host| host.name() == name) {
            return Err(LabError::Other(format!(
                "this lab has a host named {name} already"
            )));
        }
        let host = Host::create(name, self.shared.netns_name(name), kind, &self.shared)?;
        self.shared.hosts().push(host.clone());
        Ok(host)
    }
}

impl Shared {
    pub(crate) fn hosts(&self) -> MutexGuard<'_, Vec<Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn netns_name(&self, host: &str) -> String {
        Name::own(self.number, &format!("{}-{host}", self.label)).to_string()
    }

    /// The namespace where the interfaces of hosts without power wait, and a
    /// free interface name in it.
    pub(crate) fn parking(&self) -> Result<(String, String)> {
        let netns = self.netns_name("parking");
        let number = self.parked.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            command::ip(&format!("netns add {netns}"))?;
        }
        Ok((netns, format!("parked{number}")))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whatever fails here is found by `leftovers` later.
        let hosts = std::mem::take(&mut *self.shared.hosts());
        for host in &hosts {
            let _ = host.unplug();
        }
        for host in &hosts {
            let _ = host.forget();
        }
        if self.shared.parked.load(Ordering::Relaxed) > 0 {
            let _ = leftovers::remove_namespace(&self.shared.netns_name("parking"));
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = (1..=20).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits {
        Ok(())
    } else {
        Err(LabError::Other(format!(
            "'{name}' cannot name a lab or a host: 1 to 20 of a-z and 0-9 can"
        )))
    }
}
