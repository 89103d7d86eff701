//! Which configuration files win over ours when the host boots.
//!
//! `sysctl --system` and systemd-sysctl read the files of all folders in the
//! order of their names; of two with one name, that in the earlier folder
//! alone. `sysctl --system` reads /etc/sysctl.conf last (sysctl(8),
//! sysctl.d(5)). The last value that a key is given holds.

use crate::render::sysctl::Override;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Where sysctls are configured.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    /// In order of precedence; the first is the one that is written to.
    pub(super) folders: Vec<PathBuf>,
    /// The file that is read last.
    pub(super) last: PathBuf,
}

impl Folders {
    /// Those of the system.
    #[must_use]
    pub(super) fn system() -> Self {
        let folders = [
            "/etc/sysctl.d",
            "/run/sysctl.d",
            "/usr/local/lib/sysctl.d",
            "/usr/lib/sysctl.d",
            "/lib/sysctl.d",
        ];
        Self {
            folders: folders.map(PathBuf::from).to_vec(),
            last: "/etc/sysctl.conf".into(),
        }
    }
}

/// Which later files undo what the file `ours` sets. Keys with wildcards are
/// not looked at: systemd-sysctl leaves keys alone that are named elsewhere.
#[must_use]
pub(super) fn overrides(folders: &Folders, ours: &str, set: &[(String, i64)]) -> Vec<Override> {
    let ours = OsString::from(ours);
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in &folders.folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "conf")
            {
                files.entry(entry.file_name()).or_insert(path);
            }
        }
    }
    let later = files.into_iter().filter(|(name, _)| *name > ours);
    let in_order: Vec<PathBuf> = later
        .map(|(_, path)| path)
        .chain([folders.last.clone()])
        .collect();
    set.iter()
        .filter_map(|(key, value)| {
            let mut setting = in_order.iter().filter_map(|path| {
                let value = last_value(path, key)?;
                Some((path, value))
            });
            let (path, found) = setting.next_back()?;
            (found != value.to_string()).then(|| Override {
                path: path.clone(),
                key: key.clone(),
                value: found,
            })
        })
        .collect()
}

fn last_value(path: &Path, key: &str) -> Option<String> {
    // A file that cannot be read sets nothing, as far as can be known here.
    let text = fs::read_to_string(path).ok()?;
    let mut assignments = text.lines().filter_map(assignment);
    let (_, value) = assignments.rfind(|(name, _)| name == key)?;
    Some(value)
}

/// The key, with dots, and the value of a line that has them: `net/ipv4/x=1`
/// and `-net.ipv4.x = 1` are the same but for errors being ignored.
pub(super) fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let key = key.strip_prefix('-').unwrap_or(key).trim();
    Some((key.replace('/', "."), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "net.ipv4.tcp_keepalive_time";
    const OURS: &str = "60-tcpalive-keepalive.conf";

    struct Etc {
        root: tempfile::TempDir,
    }

    impl Etc {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("etc")).unwrap();
            fs::create_dir(root.path().join("lib")).unwrap();
            Self { root }
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.root.path().join(path), text).unwrap();
        }

        fn overriding(&self) -> Vec<String> {
            let folders = Folders {
                folders: vec![self.root.path().join("etc"), self.root.path().join("lib")],
                last: self.root.path().join("sysctl.conf"),
            };
            let found = overrides(&folders, OURS, &[(TIME.to_owned(), 60)]);
            found
                .into_iter()
                .map(|it| {
                    let path = it.path.strip_prefix(self.root.path()).unwrap();
                    format!("{} {} {}", path.display(), it.key, it.value)
                })
                .collect()
        }
    }

    #[test]
    fn only_what_comes_later_with_another_value_wins() {
        let etc = Etc::new();
        etc.write("etc/50-before.conf", "net.ipv4.tcp_keepalive_time = 1");
        etc.write("etc/70-same.conf", "net.ipv4.tcp_keepalive_time = 60");
        etc.write("etc/80-comment.conf", "# net.ipv4.tcp_keepalive_time = 2");
        etc.write("etc/90-other", "net.ipv4.tcp_keepalive_time = 3");
        assert_eq!(etc.overriding(), [""; 0]);
        etc.write("lib/75-later.conf", "-net/ipv4/tcp_keepalive_time=7");
        assert_eq!(etc.overriding(), [format!("lib/75-later.conf {TIME} 7")]);
        etc.write("sysctl.conf", "x = 1\nnet.ipv4.tcp_keepalive_time=8\n");
        assert_eq!(etc.overriding(), [format!("sysctl.conf {TIME} 8")]);
    }

    #[test]
    fn of_two_files_with_one_name_the_first_folder_has_it() {
        let etc = Etc::new();
        etc.write("lib/75-masked.conf", "net.ipv4.tcp_keepalive_time=7");
        etc.write("etc/75-masked.conf", "");
        assert_eq!(etc.overriding(), [""; 0]);
        // Ours hides one of the same name.
        etc.write(
            "lib/60-tcpalive-keepalive.conf",
            "net.ipv4.tcp_keepalive_time=7",
        );
        assert_eq!(etc.overriding(), [""; 0]);
    }

    #[test]
    fn a_later_file_that_agrees_undoes_an_override() {
        let etc = Etc::new();
        etc.write("etc/70-a.conf", "net.ipv4.tcp_keepalive_time=7");
        etc.write(
            "etc/71-b.conf",
            "net.ipv4.tcp_keepalive_time=9\nnet.ipv4.tcp_keepalive_time=60",
        );
        assert_eq!(etc.overriding(), [""; 0]);
    }
}
