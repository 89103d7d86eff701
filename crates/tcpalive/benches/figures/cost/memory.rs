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

/// A kind of object that there are several more of for each connection.
#[derive(Debug, Clone)]
pub(crate) struct Grown {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// For each connection, that is for two sockets.
    pub(crate) each: f64,
}

impl Memory {
    pub(crate) fn now() -> Result<Self, Failure> {
        let meminfo = read("/proc/meminfo")?;
        let line = meminfo.lines().find(|line| line.starts_with("Slab:"));
        let kib: Option<u64> =
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
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

    /// Objects that became more by at least nine for ten connections.
    pub(crate) fn grown_since(&self, before: &Self, connections: usize) -> Vec<Grown> {
        let grown = self.objects.iter().filter_map(|(name, (count, bytes))| {
            let had = before.objects.get(name).map_or(0, |(count, _)| *count);
            let each = count.saturating_sub(had) as f64 / connections as f64;
            (each >= 0.9).then(|| Grown {
                name: name.clone(),
                bytes: *bytes,
                each,
            })
        });
        grown.collect()
    }

    /// Bytes in objects of these kinds.
    pub(crate) fn bytes_in(&self, kinds: &[Grown]) -> u64 {
        let known = kinds.iter().filter_map(|kind| self.objects.get(&kind.name));
        known.map(|(count, bytes)| count * bytes).sum()
    }
}
