//! Network namespaces: finding those that can be reached, and doing
//! something in one.

use crate::error::{Doing, Error, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where `ip netns add` mounts named namespaces.
const NAMED: &str = "/run/netns";

/// Which namespaces a command looks into: `all|current|NAME|PATH|pid:N`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    /// Every namespace that can be reached: those of processes, named ones
    /// and bind mounts.
    #[default]
    All,
    /// The one that this process is in.
    Current,
    /// One that `ip netns` knows by this name.
    Named(String),
    /// The namespace file at this path.
    Path(PathBuf),
    /// That of a process.
    Process(u32),
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected all, current, a name, a path or pid:N".into()),
            "all" => Ok(Self::All),
            "current" => Ok(Self::Current),
            _ => match text.strip_prefix("pid:") {
                Some(pid) => pid
                    .parse()
                    .map(Self::Process)
                    .map_err(|_| format!("'{pid}' is not a process id")),
                None if text.contains('/') => Ok(Self::Path(text.into())),
                None => Ok(Self::Named(text.into())),
            },
        }
    }
}

/// A network namespace, held open so that it stays while it is looked into.
#[derive(Debug)]
pub struct Namespace {
    inode: u64,
    file: File,
    current: bool,
    label: String,
}

impl Namespace {
    fn open(path: &Path, label: &str) -> Result<Self> {
        let file = File::open(path).doing(|| format!("opening network namespace {label}"))?;
        let stat =
            rustix::fs::fstat(&file).doing(|| format!("looking at network namespace {label}"))?;
        let kind =
            rustix::fs::fstatfs(&file).doing(|| format!("looking at network namespace {label}"))?;
        // NSFS_MAGIC, include/uapi/linux/magic.h
        if kind.f_type as u64 != 0x6e73_6673 {
            return Err(Error::NotFound(format!(
                "{} is not a network namespace; `ip netns list` shows the named ones",
                path.display()
            )));
        }
        let own = fs::metadata("/proc/self/ns/net")
            .doing(|| "looking at this process's network namespace".into())?;
        Ok(Self {
            inode: stat.st_ino,
            file,
            current: own.ino() == stat.st_ino,
            label: label.into(),
        })
    }

    /// The namespace that this process is in.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        Self::open(Path::new("/proc/self/ns/net"), "current")
    }

    /// The namespace at this path.
    ///
    /// # Errors
    /// When it cannot be opened or is not a namespace file.
    pub fn at(path: &Path) -> Result<Self> {
        Self::open(path, &path.display().to_string())
    }

    /// Its number, as `readlink /proc/self/ns/net` shows it.
    #[must_use]
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// How it was found: its name, its path or a process in it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether there is any TCP socket in it: connected, listening or in
    /// time-wait. Whoever cannot be asked is taken to have some.
    ///
    /// # Errors
    /// When the namespace may not be entered.
    pub fn has_tcp_sockets(&self) -> Result<bool> {
        self.enter(|| {
            let count = |file: &str, line: &str, fields: &[&str]| {
                let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok()?;
                let words: Vec<&str> = text
                    .lines()
                    .find_map(|text| text.strip_prefix(line))?
                    .split_whitespace()
                    .collect();
                let value = |name: &str| {
                    let at = words.iter().position(|word| *word == name)?;
                    words.get(at + 1)?.parse::<u64>().ok()
                };
                fields.iter().map(|name| value(name)).sum::<Option<u64>>()
            };
            let ipv4 = count("sockstat", "TCP:", &["inuse", "tw"]);
            // Without IPv6 there is no such file.
            let ipv6 = count("sockstat6", "TCP6:", &["inuse"]).unwrap_or(0);
            ipv4.is_none_or(|ipv4| ipv4 + ipv6 > 0)
        })
    }

    /// Runs `action` with this thread moved into the namespace, and moves it
    /// back afterwards. Nothing is moved when the thread is in it already.
    ///
    /// # Errors
    /// When the namespace may not be entered (CAP_SYS_ADMIN).
    ///
    /// # Panics
    /// When the thread cannot be moved back: going on in the wrong namespace
    /// would be worse.
    pub fn enter<T>(&self, action: impl FnOnce() -> T) -> Result<T> {
        if self.current {
            return Ok(action());
        }
        /// Moves the thread back, also when `action` panics.
        struct Back(File);
        impl Drop for Back {
            fn drop(&mut self) {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("moving back into the own network namespace");
            }
        }
        let own = File::open("/proc/thread-self/ns/net")
            .doing(|| "opening this thread's network namespace".into())?;
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .doing(|| format!("entering network namespace {}", self.label))?;
        let _back = Back(own);
        Ok(action())
    }
}

/// The namespaces in `scope`, each once, the current one first.
///
/// # Errors
/// When a namespace that was asked for by name, path or process is not there
/// or not accessible. With [`Scope::All`], namespaces that vanish or are
/// closed to this user are left out and counted in [`Found::skipped`].
pub fn find(scope: &Scope) -> Result<Found> {
    let one = |namespace| Found {
        namespaces: vec![namespace],
        skipped: 0,
    };
    match scope {
        Scope::All => find_all(),
        Scope::Current => Namespace::current().map(one),
        Scope::Named(name) => {
            let path = Path::new(NAMED).join(name);
            if !path.exists() {
                return Err(Error::NotFound(format!(
                    "there is no network namespace named '{name}' in {NAMED}; `ip netns list` shows those there are, \
                     pid:N takes that of a process"
                )));
            }
            Namespace::open(&path, name).map(one)
        }
        Scope::Path(path) => Namespace::at(path).map(one),
        Scope::Process(pid) => {
            let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
            if !Path::new(&format!("/proc/{pid}")).exists() {
                return Err(Error::NotFound(format!("there is no process {pid}")));
            }
            Namespace::open(&path, &format!("pid:{pid}")).map(one)
        }
    }
}

/// What [`find`] found.
#[derive(Debug)]
pub struct Found {
    /// The namespaces, the current one first.
    pub namespaces: Vec<Namespace>,
    /// Namespaces that could not be opened for lack of rights.
    pub skipped: usize,
}

fn find_all() -> Result<Found> {
    let mut found = Found {
        namespaces: vec![Namespace::current()?],
        skipped: 0,
    };
    let mut seen = HashSet::from([found.namespaces[0].inode]);
    let mut refused = HashSet::new();
    let mut exhausted = None;
    let mut consider = |path: &Path, label: &str, found: &mut Found| {
        match fs::metadata(path) {
            Ok(metadata) if seen.contains(&metadata.ino()) => return,
            Ok(_) => {}
            Err(error) => {
                if error.kind() == std::io::ErrorKind::PermissionDenied
                    && refused.insert(path.to_owned())
                {
                    found.skipped += 1;
                }
                return;
            }
        }
        match Namespace::open(path, label) {
            Ok(namespace) => {
                if seen.insert(namespace.inode) {
                    found.namespaces.push(namespace);
                }
            }
            Err(error) if error.is_not_allowed() => found.skipped += 1,
            Err(error) if error.is_out_of_descriptors() => exhausted = Some(error),
            // Gone since, or a mount of another kind.
            Err(_) => {}
        }
    };
    for entry in fs::read_dir(NAMED).into_iter().flatten().flatten() {
        consider(
            &entry.path(),
            &entry.file_name().to_string_lossy(),
            &mut found,
        );
    }
    for path in mounted_namespaces() {
        consider(&path, &path.display().to_string(), &mut found);
    }
    for pid in crate::process::all() {
        consider(
            Path::new(&format!("/proc/{pid}/ns/net")),
            &format!("pid:{pid}"),
            &mut found,
        );
    }
    match exhausted {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

/// Mount points of network namespaces (`nsfs` mounts rooted at `net:[…]`).
fn mounted_namespaces() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let root = fields.next()?;
            let mount_point = fields.next()?;
            root.starts_with("net:[").then(|| unescape(mount_point))
        })
        .collect()
}

/// Undoes the octal escapes of `/proc/*/mountinfo`.
pub(crate) fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match octal {
            Some(byte) if bytes[at] == b'\\' => {
                plain.push(byte);
                at += 4;
            }
            _ => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_the_contract_writes_them() {
        assert_eq!("all".parse(), Ok(Scope::All));
        assert_eq!("current".parse(), Ok(Scope::Current));
        assert_eq!("pid:12".parse(), Ok(Scope::Process(12)));
        assert_eq!(
            "/run/netns/b".parse(),
            Ok(Scope::Path("/run/netns/b".into()))
        );
        assert_eq!("blue".parse(), Ok(Scope::Named("blue".into())));
        assert!("pid:x".parse::<Scope>().is_err());
    }

    #[test]
    fn escaped_mount_points_are_unescaped() {
        assert_eq!(unescape(r"/run/a\040b\134"), PathBuf::from(r"/run/a b\"));
        assert_eq!(unescape(r"/run/plain\04"), PathBuf::from(r"/run/plain\04"));
    }

    #[test]
    fn a_file_that_is_no_namespace_is_refused() {
        let error = Namespace::at(Path::new("/etc/hostname")).unwrap_err();
        assert!(
            error.to_string().contains("not a network namespace"),
            "{error}"
        );
    }
}
