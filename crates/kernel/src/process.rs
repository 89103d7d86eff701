//! Processes as `/proc` shows them.

use std::fs;
use tcpalive_connections::Comm;

/// Ids of the processes there are now.
pub fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Name of a process, if it is still there.
#[must_use]
pub fn comm(pid: u32) -> Option<Comm> {
    let text = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let text = String::from_utf8_lossy(&text);
    Some(Comm::from_text(text.trim_end_matches('\n')))
}

/// The parent of a process, if it is still there.
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

/// This process and those above it, up to the first that cannot be seen.
#[must_use]
pub fn ancestors() -> Vec<u32> {
    let mut chain = vec![std::process::id()];
    while let Some(pid) = chain.last().copied().and_then(parent) {
        if pid == 0 || chain.contains(&pid) {
            break;
        }
        chain.push(pid);
    }
    chain
}

/// How many descriptors a process has open, and its soft limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Descriptors open now.
    pub open: u64,
    /// The soft `RLIMIT_NOFILE`; `u64::MAX` when unlimited.
    pub limit: u64,
}

/// Descriptors of a process, or `None` when it is gone or closed to this user.
#[must_use]
pub fn descriptors(pid: u32) -> Option<Descriptors> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let limit = limits.lines().find_map(|line| {
        let soft = line
            .strip_prefix("Max open files")?
            .split_whitespace()
            .next()?;
        Some(soft.parse().unwrap_or(u64::MAX))
    })?;
    let directory = format!("/proc/{pid}/fd");
    // Since Linux 6.2 the directory's size is the number of descriptors.
    let open = match fs::metadata(&directory).ok()?.len() {
        0 => fs::read_dir(&directory).ok()?.count() as u64,
        count => count,
    };
    Some(Descriptors { open, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let own = std::process::id();
        assert!(all().any(|pid| pid == own));
        assert!(comm(own).is_some());
        assert_eq!(ancestors()[0], own);
        let descriptors = descriptors(own).unwrap();
        assert!(descriptors.open >= 3 && descriptors.limit >= descriptors.open);
    }
}
