//! Paths of cgroups by the id that sockets carry.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// The tree of cgroup v2, read once.
#[derive(Debug, Default)]
pub struct CgroupPaths {
    by_id: HashMap<u64, String>,
}

impl CgroupPaths {
    /// Reads the tree under the first cgroup2 mount; empty when there is none.
    /// A cgroup's id is the inode number of its directory (kernfs).
    #[must_use]
    pub fn read() -> Self {
        let mut paths = Self::default();
        let Some(root) = mount_point() else {
            return paths;
        };
        if let Ok(metadata) = fs::metadata(&root) {
            use std::os::unix::fs::MetadataExt;
            paths.by_id.insert(metadata.ino(), "/".into());
        }
        let mut pending = vec![(root, String::new())];
        while let Some((directory, path)) = pending.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let child = format!("{path}/{}", entry.file_name().to_string_lossy());
                    paths.by_id.insert(entry.ino(), child.clone());
                    pending.push((entry.path(), child));
                }
            }
        }
        paths
    }

    /// The path from the root of the hierarchy, or `None` for a cgroup that
    /// was removed (its sockets live on) or cannot be seen from here.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }
}

/// Where cgroup v2 is mounted, if it is.
#[must_use]
pub fn mount_point() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == "cgroup2").then_some(())?;
        Some(crate::netns::unescape(before.split(' ').nth(4)?))
    })
}

/// The cgroup path of a process: that of v2 when it says more than the root,
/// else the longest among the v1 hierarchies, where a container's path shows
/// on hosts that mount both.
#[must_use]
pub fn of_process(pid: u32) -> Option<String> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("cgroup")).ok()?;
    let path = |line: &str| line.splitn(3, ':').nth(2).map(ToOwned::to_owned);
    let unified = text
        .lines()
        .find(|line| line.starts_with("0::"))
        .and_then(path);
    match unified {
        Some(unified) if unified != "/" => Some(unified),
        unified => text
            .lines()
            .filter(|line| !line.starts_with("0::"))
            .filter_map(path)
            .filter(|path| path != "/")
            .max_by_key(String::len)
            .or(unified),
    }
}
