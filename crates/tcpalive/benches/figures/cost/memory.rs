//! What connections hold in the kernel.

use super::window::read;
use crate::bench::Failure;
use std::collections::BTreeMap;

/// The kernel's memory for objects at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// `Slab` of /proc/meminfo, in bytes.
    pub(crate) slab: u64,
    objects: BTreeMap<String, Objects>,
    /// Bytes of a page.
    page: u64,
}

/// All objects of a kind.
#[derive(Debug, Clone, Copy)]
struct Objects {
    count: u64,
    /// Of one.
    bytes: u64,
    in_slab: u64,
    pages_of_slab: u64,
}

/// A kind of object that each socket has one of.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// With its share of what a full slab leaves unused.
    pub(crate) bytes_in_slab: f64,
}

/// Kinds that are for sockets alone, so that other programs hardly change them.
const OF_SOCKETS: [&str; 3] = ["TCP", "TCPv6", "sock_inode_cache"];

impl Memory {
    pub(crate) fn now() -> Result<Self, Failure> {
        let slab = kib("/proc/meminfo", "Slab:")? << 10;
        let page = kib("/proc/self/smaps", "KernelPageSize:")? << 10;
        let objects = read("/proc/slabinfo")?
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let name = words.next()?.to_owned();
                let count = words.next()?.parse().ok()?;
                let mut numbers = words.skip(1).map_while(|word| word.parse().ok());
                let objects = Objects {
                    count,
                    bytes: numbers.next()?,
                    in_slab: numbers.next()?,
                    pages_of_slab: numbers.next()?,
                };
                Some((name, objects))
            })
            .collect();
        Ok(Self {
            slab,
            objects,
            page,
        })
    }

    /// Kinds of which there is one more for each of the new sockets, or more:
    /// dentries and the like belong to others too, and those come and go.
    pub(crate) fn kinds_since(&self, before: &Self, sockets: usize) -> Vec<Kind> {
        let grown = self.objects.iter().filter(|(name, objects)| {
            let had = before.objects.get(*name).map_or(0, |had| had.count);
            let each = objects.count.saturating_sub(had) as f64 / sockets as f64;
            // /proc makes such objects for those who look at our processes' descriptors.
            each >= 0.98 && *name != "proc_inode_cache"
        });
        grown
            .map(|(name, objects)| Kind {
                name: name.clone(),
                bytes: objects.bytes,
                bytes_in_slab: (objects.pages_of_slab * self.page) as f64 / objects.in_slab as f64,
            })
            .collect()
    }

    /// Bytes in objects that sockets alone consist of.
    pub(crate) fn of_sockets(&self) -> u64 {
        let known = OF_SOCKETS.iter().filter_map(|kind| self.objects.get(*kind));
        known.map(|objects| objects.count * objects.bytes).sum()
    }
}

/// The number of KiB in the first line that starts so.
fn kib(path: &str, name: &str) -> Result<u64, Failure> {
    let text = read(path)?;
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| Failure::Other(format!("{path} has no {name}")))
}
