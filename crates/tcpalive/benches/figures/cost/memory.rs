//! What connections hold in the kernel.

use super::window::read;
use crate::bench::Failure;
use std::collections::BTreeMap;

/// The kernel's memory for objects at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// `Slab` of /proc/meminfo, in bytes.
    pub(crate) slab: u64,
    /// Of each kind of object: how many, and bytes of one.
    objects: BTreeMap<String, (u64, u64)>,
}

/// A kind of object that each socket has one of.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Kinds that are for sockets alone, so that other programs hardly change them.
const OF_SOCKETS: [&str; 3] = ["TCP", "TCPv6", "sock_inode_cache"];

impl Memory {
    pub(crate) fn now() -> Result<Self, Failure> {
        let meminfo = read("/proc/meminfo")?;
        let line = meminfo.lines().find(|line| line.starts_with("Slab:"));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let kib = kib.ok_or_else(|| Failure::Other("/proc/meminfo has no Slab".to_owned()))?;
        let objects = read("/proc/slabinfo")?
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let name = words.next()?.to_owned();
                let active = words.next()?.parse().ok()?;
                let bytes = words.nth(1)?.parse().ok()?;
                Some((name, (active, bytes)))
            })
            .collect();
        Ok(Self {
            slab: kib << 10,
            objects,
        })
    }

    /// Kinds of which there is one more for each of the new sockets, or more:
    /// dentries and the like belong to others too, and those come and go.
    pub(crate) fn kinds_since(&self, before: &Self, sockets: usize) -> Vec<Kind> {
        let grown = self.objects.iter().filter(|(name, (count, _))| {
            let had = before.objects.get(*name).map_or(0, |(count, _)| *count);
            let each = count.saturating_sub(had) as f64 / sockets as f64;
            // /proc makes such objects for those who look at our processes' descriptors.
            each >= 0.98 && *name != "proc_inode_cache"
        });
        grown
            .map(|(name, (_, bytes))| Kind {
                name: name.clone(),
                bytes: *bytes,
            })
            .collect()
    }

    /// Bytes in objects that sockets alone consist of.
    pub(crate) fn of_sockets(&self) -> u64 {
        let known = OF_SOCKETS.iter().filter_map(|kind| self.objects.get(*kind));
        known.map(|(count, bytes)| count * bytes).sum()
    }
}
