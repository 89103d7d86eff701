//! Which processes hold which sockets.

use crate::error::Result;
use crate::process;
use crate::sweep::BpfSweeper;
use std::fs;
use tcpalive_connections::{Comm, Owner};

/// The owners of all sockets, found by the inode of the socket's file.
///
/// Threads that share their descriptors are one owner; every process that
/// has the socket open is one more, also when it only inherited it.
#[derive(Debug, Default)]
pub struct Owners {
    inodes: Vec<u64>,
    owners: Vec<Owner>,
    /// Where the inodes begin that are `first` and a multiple of 1 << `shift`.
    slots: Vec<u32>,
    first: u64,
    shift: u32,
}

impl Owners {
    /// Finds the owners of TCP sockets in one pass of the task_file iterator.
    ///
    /// # Errors
    /// When the iterator cannot be read.
    pub fn by_bpf(sweeper: &mut BpfSweeper) -> Result<Self> {
        let mut found = Vec::new();
        sweeper.descriptors(|descriptor| {
            let owner = Owner {
                pid: descriptor.pid,
                fd: descriptor.fd,
                comm: Comm::from_kernel(descriptor.comm),
            };
            found.push((descriptor.inode, owner));
        })?;
        Ok(Self::from_pairs(found))
    }

    /// Finds the owners of all sockets by reading every process's
    /// descriptors. Processes that this user may not look into are left out.
    #[must_use]
    pub fn by_proc() -> Self {
        let mut found = Vec::new();
        for pid in process::all() {
            let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
                continue;
            };
            let mut comm = None;
            for entry in descriptors.flatten() {
                let Ok(target) = fs::read_link(entry.path()) else {
                    continue;
                };
                let inode = target.to_str().and_then(|text| {
                    text.strip_prefix("socket:[")?
                        .strip_suffix(']')?
                        .parse()
                        .ok()
                });
                let fd = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok());
                if let (Some(inode), Some(fd)) = (inode, fd) {
                    let comm = *comm
                        .get_or_insert_with(|| process::comm(pid).unwrap_or(Comm::from_text("")));
                    found.push((inode, Owner { pid, fd, comm }));
                }
            }
        }
        Self::from_pairs(found)
    }

    fn from_pairs(mut found: Vec<(u64, Owner)>) -> Self {
        found.sort_unstable();
        found.dedup();
        let (inodes, owners): (Vec<u64>, Vec<Owner>) = found.into_iter().unzip();
        let first = inodes.first().copied().unwrap_or(0);
        let span = inodes.last().copied().unwrap_or(0) - first;
        // Inode numbers are counted: about one to a slot.
        let mut shift = 0;
        while span >> shift > 2 * inodes.len() as u64 {
            shift += 1;
        }
        let mut slots = Vec::with_capacity((span >> shift) as usize + 2);
        for (at, inode) in (0..).zip(&inodes) {
            let slot = ((inode - first) >> shift) as usize;
            slots.resize(slots.len().max(slot + 1), at);
        }
        slots.push(u32::try_from(inodes.len()).unwrap_or(u32::MAX));
        Self {
            inodes,
            owners,
            slots,
            first,
            shift,
        }
    }

    /// Who holds the socket with this inode, by process id; empty for none.
    #[must_use]
    pub fn of(&self, inode: u64) -> &[Owner] {
        if inode == 0 {
            return &[];
        }
        let Some(slot) = inode
            .checked_sub(self.first)
            .map(|offset| (offset >> self.shift) as usize)
        else {
            return &[];
        };
        let Some(&[low, high]) = self.slots.get(slot..slot + 2) else {
            return &[];
        };
        let here = &self.inodes[low as usize..high as usize];
        let before = here.iter().take_while(|known| **known < inode).count();
        let count = here[before..]
            .iter()
            .take_while(|known| **known == inode)
            .count();
        let from = low as usize + before;
        &self.owners[from..from + count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_that_holds_a_socket_is_listed_once_per_descriptor() {
        let owner = |pid, fd| Owner {
            pid,
            fd,
            comm: Comm::from_text("server"),
        };
        let owners = Owners::from_pairs(vec![
            (7, owner(2, 3)),
            (9, owner(1, 1)),
            (7, owner(1, 5)),
            (7, owner(2, 3)),
        ]);
        assert_eq!(owners.of(7), [owner(1, 5), owner(2, 3)]);
        assert_eq!(owners.of(9), [owner(1, 1)]);
        assert_eq!(owners.of(8), []);
        assert_eq!(owners.of(0), []);
    }

    #[test]
    fn owners_are_found_however_far_apart_the_inodes_are() {
        let owner = |pid| Owner {
            pid,
            fd: 3,
            comm: Comm::from_text("server"),
        };
        for step in [1, 3, 1_000, 1 << 33] {
            let inodes: Vec<u64> = (1..200).map(|n| n * n % 211 * step + 7).collect();
            let owners =
                Owners::from_pairs(inodes.iter().map(|inode| (*inode, owner(1))).collect());
            for inode in 0..250 * step.min(1_000) {
                let held = inodes.contains(&inode) && inode != 0;
                assert_eq!(
                    owners.of(inode).len(),
                    usize::from(held),
                    "{inode} of step {step}"
                );
            }
            assert!(inodes.iter().all(|inode| owners.of(*inode) == [owner(1)]));
            assert!(owners.of(u64::MAX).is_empty());
        }
        assert!(Owners::default().of(1).is_empty());
    }
}
