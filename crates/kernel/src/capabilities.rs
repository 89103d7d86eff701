//! What this kernel and this user allow, and what is lost without it.
//!
//! Everything that can be tried is tried, in the current network namespace,
//! and leaves no trace. What was not tried says so.

use crate::bpf::destroy::DestroySkel;
use crate::cgroups;
use crate::destroy::{self, Condemned};
use crate::error::{Doing, Error, Result};
use crate::netlink::Netlink;
use crate::netns::{self, Namespace, Scope};
use crate::owners::Owners;
use crate::sweep::{BpfSweeper, SockDiagSweeper};
use crate::tap::Tap;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use tcpalive_connections::{Selection, StateSet};

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// It was tried, and works.
    Yes,
    /// It was tried, or something that it needs is missing.
    No,
    /// It was not tried, or the answer says nothing.
    Unknown,
}

/// One thing that is allowed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// What it is called; a name does not change between versions.
    pub name: &'static str,
    /// The answer.
    pub allowed: Allowed,
    /// Its reason: what was tried, and what came back.
    pub why: String,
    /// What is lost where it is not allowed.
    pub consequence: String,
    /// How to get it, where it is not allowed and there is a way.
    pub remedy: Option<String>,
}

/// The capabilities that are used, with their bits (capabilities(7)).
const CAPABILITIES: [(&str, u32); 7] = [
    ("CAP_NET_ADMIN", NET_ADMIN),
    ("CAP_NET_RAW", NET_RAW),
    ("CAP_SYS_PTRACE", SYS_PTRACE),
    ("CAP_SYS_ADMIN", SYS_ADMIN),
    ("CAP_PERFMON", PERFMON),
    ("CAP_BPF", BPF),
    ("CAP_DAC_READ_SEARCH", DAC_READ_SEARCH),
];
const DAC_READ_SEARCH: u32 = 2;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Iterators over TCP sockets are there since Linux 5.9.
const FIRST_WITH_ITERATORS: (u32, u32) = (5, 9);

const BY_ROOT: &str = "Run it as root with all capabilities, outside of containers";
const BY_BPF_RIGHTS: &str = "Run it as root, or with CAP_BPF and CAP_PERFMON";

/// Finds out what is allowed. Takes some tens of milliseconds, most of them
/// for loading BPF programs.
#[must_use]
pub fn look() -> Vec<Capability> {
    let effective = Effective::read();
    let sweeper = BpfSweeper::open();
    let mut found = vec![kernel_version(), btf(), bpf_load(&sweeper)];
    found.extend(iterators(sweeper, effective));
    found.extend([
        sock_diag(),
        bpf_sock_destroy(),
        sock_destroy(effective),
        raw_sockets(),
        packet_sockets(),
        setns(),
        network_namespaces(),
        cgroup_v2(),
        sock_ops(effective),
        descriptors(),
        capabilities(effective),
    ]);
    found
}

/// An answer with what it was given for.
fn answer(
    name: &'static str,
    consequence: &str,
    remedy: &str,
    result: Result<String, String>,
) -> Capability {
    let (allowed, why) = match result {
        Ok(why) => (Allowed::Yes, why),
        Err(why) => (Allowed::No, why),
    };
    Capability {
        name,
        allowed,
        why,
        consequence: consequence.into(),
        remedy: (allowed == Allowed::No).then(|| remedy.into()),
    }
}

/// The error without what to do about it, which is said apart.
fn why(error: &Error) -> String {
    match error {
        Error::NotAllowed { doing, why, .. } => format!("{doing}: {why}"),
        error => error.to_string(),
    }
}

fn kernel_version() -> Capability {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let machine = name.machine().to_string_lossy().into_owned();
    let (major, minor) = FIRST_WITH_ITERATORS;
    let result = match version(&release) {
        Some(version) if version < FIRST_WITH_ITERATORS => Err(format!(
            "Linux {release} on {machine}; BPF iterators over TCP sockets are there since {major}.{minor}"
        )),
        _ => Ok(format!("Linux {release} on {machine}")),
    };
    answer(
        "kernel version",
        "keep-alive values are unknown and nothing can be checked or reaped",
        "A newer kernel",
        result,
    )
}

/// `6.18.3-amd64` as (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf() -> Capability {
    const FILE: &str = "/sys/kernel/btf/vmlinux";
    let result = match fs::metadata(FILE) {
        Ok(file) => Ok(format!("{FILE}, {} bytes", file.len())),
        Err(error) => Err(format!("{FILE}: {error}")),
    };
    answer(
        "BTF",
        "BPF programs cannot be loaded: they are fitted to the kernel by it",
        "A kernel built with CONFIG_DEBUG_INFO_BTF, and /sys mounted",
        result,
    )
}

const WITHOUT_BPF: &str = "sockets are read by netlink: keep-alive values are unknown, and nothing can be checked or reaped";

fn bpf_load(sweeper: &Result<BpfSweeper>) -> Capability {
    let result = match sweeper {
        Ok(_) => Ok("the iterators were loaded and attached".into()),
        Err(error) => Err(why(error)),
    };
    answer("BPF load", WITHOUT_BPF, BY_BPF_RIGHTS, result)
}

/// Runs the iterators: attaching alone does not show that they may be opened.
fn iterators(sweeper: Result<BpfSweeper>, effective: Option<Effective>) -> [Capability; 2] {
    const OWNERS: &str =
        "owners are read from /proc: slower, and only those that this user may see";
    let not_loaded = || Err("the BPF programs could not be loaded".to_owned());
    let (sockets, descriptors) = match sweeper {
        Err(_) => (not_loaded(), not_loaded()),
        Ok(mut sweeper) => {
            let nothing = Selection {
                states: StateSet::NONE,
                ..Selection::ALL
            };
            let swept = Namespace::current()
                .and_then(|namespace| sweeper.sweep(&namespace, &nothing, |_| {}));
            let owners = Owners::by_bpf(&mut sweeper);
            (
                swept
                    .map(|_| "the sockets of this namespace were walked".into())
                    .map_err(|error| why(&error)),
                owners
                    .map(|_| "the descriptors of all processes were walked".into())
                    .map_err(|error| why(&error)),
            )
        }
    };
    let remedy = match effective.and_then(|it| it.lacks(&[BPF, PERFMON])) {
        Some(_) => BY_BPF_RIGHTS.to_owned(),
        None => format!(
            "A kernel since {}.{} with BTF",
            FIRST_WITH_ITERATORS.0, FIRST_WITH_ITERATORS.1
        ),
    };
    [
        answer("iter/tcp", WITHOUT_BPF, &remedy, sockets),
        answer("iter/task_file", OWNERS, &remedy, descriptors),
    ]
}

fn sock_diag() -> Capability {
    let nothing = Selection {
        states: StateSet::NONE,
        ..Selection::ALL
    };
    let tried = SockDiagSweeper::open().and_then(|mut sweeper| {
        let namespace = Namespace::current()?;
        sweeper.sweep(&namespace, &nothing, |_| {})
    });
    answer(
        "sock_diag",
        "where BPF is not to be had either, no connection can be listed",
        "A kernel with CONFIG_INET_DIAG; `modprobe tcp_diag` where it is a module",
        tried
            .map(|_| "the kernel answered a dump of TCP sockets".into())
            .map_err(|error| why(&error)),
    )
}

fn bpf_sock_destroy() -> Capability {
    let loaded: Result<DestroySkel<'_>> =
        destroy::load(1).doing(|| "loading the iterator that destroys sockets".into());
    answer(
        "bpf_sock_destroy",
        "sockets are destroyed by sock_diag: what arrives between the last look and the call is not seen",
        "A kernel since 6.5, and root",
        loaded
            .map(|_| "the program that calls it was loaded; it was not run".into())
            .map_err(|error| why(&error)),
    )
}

fn sock_destroy(effective: Option<Effective>) -> Capability {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // Nothing has port 0, and no socket has lived long enough for this cookie.
    let request = destroy::request(&Condemned {
        cookie: u64::MAX - 1,
        local: nobody,
        remote: nobody,
        device: 0,
        state: 1,
        heard: (0, 0),
        sent: (0, 0, 0),
        rcv_nxt: 0,
    });
    let tried = Netlink::sock_diag()
        .and_then(|mut netlink| netlink.change(destroy::SOCK_DESTROY, 0, &request));
    // Rights are asked for only once a socket is found (sock_diag_destroy).
    let missing = effective.map(|it| it.lacks(&[NET_ADMIN]));
    let result = match tried {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => match missing {
            Some(None) => Ok(
                "asked to destroy a socket that does not exist, the kernel looked for it".into(),
            ),
            Some(Some(missing)) => Err(format!("the kernel can, but {missing}")),
            None => Err("the kernel can, but the rights of this process cannot be read".into()),
        },
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Err("this kernel was built without it".into())
        }
        Err(error) => Err(error.to_string()),
        Ok(()) => Err("the kernel acknowledged destroying a socket that does not exist".into()),
    };
    answer(
        "sock_destroy",
        "where bpf_sock_destroy is missing too, `reap` cannot destroy anything",
        "A kernel with CONFIG_INET_DIAG_DESTROY, and root",
        result,
    )
}

fn raw_sockets() -> Capability {
    let open = |family| {
        socket_with(
            family,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(rustix::net::ipproto::RAW),
        )
    };
    let result = match (open(AddressFamily::INET), open(AddressFamily::INET6)) {
        (Ok(_), Ok(_)) => Ok("opened for IPv4 and IPv6".into()),
        (Ok(_), Err(errno)) => Ok(format!("opened for IPv4; not for IPv6: {errno}")),
        (Err(errno), _) => Err(format!("opening one: {errno}")),
    };
    answer(
        "raw sockets",
        "probes cannot be sent: `check` and `reap` prove nothing",
        "Run it as root, or with CAP_NET_RAW",
        result,
    )
}

fn packet_sockets() -> Capability {
    let tried = Namespace::current().and_then(|namespace| Tap::open(&namespace, &[]));
    answer(
        "packet sockets",
        "answers are known by the sockets alone: without round-trip times, and resets are not seen",
        "Run it as root, or with CAP_NET_RAW and CAP_BPF",
        tried
            .map(|_| "opened with the filter that watches for answers".into())
            .map_err(|error| why(&error)),
    )
}

/// Enters the namespace that it is in already, on a thread that ends then.
fn setns() -> Capability {
    let tried = std::thread::spawn(|| {
        let own = File::open("/proc/thread-self/ns/net")?;
        move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok::<_, std::io::Error>(())
    });
    let result = match tried.join() {
        Ok(Ok(())) => Ok("this process's own network namespace was entered again".into()),
        Ok(Err(error)) => Err(format!("entering the own network namespace again: {error}")),
        Err(_) => Err("the thread that tried it ended".into()),
    };
    answer(
        "setns",
        "only the connections of the current network namespace can be seen, not those of containers",
        BY_ROOT,
        result,
    )
}

fn network_namespaces() -> Capability {
    let consequence = "their connections are not shown, checked or reaped";
    let found = match netns::find(&Scope::All) {
        Ok(found) => found,
        Err(error) => return answer("network namespaces", consequence, BY_ROOT, Err(why(&error))),
    };
    let entered = found
        .namespaces
        .iter()
        .filter(|namespace| namespace.enter(|| ()).is_ok())
        .count();
    let refused = found.namespaces.len() - entered;
    let result = match (refused, found.skipped) {
        (0, 0) => Ok(format!("{entered} found, all of them open to this user")),
        (_, hidden) => Err(format!(
            "{entered} of {} found can be entered; processes that do not show theirs: {hidden}",
            entered + refused
        )),
    };
    answer("network namespaces", consequence, BY_ROOT, result)
}

fn cgroup_v2() -> Capability {
    answer(
        "cgroup v2",
        "a connection's container is known by its process alone, and nothing can be attached to cgroups",
        "mount -t cgroup2 none /sys/fs/cgroup",
        match cgroups::mount_point() {
            Some(path) => Ok(format!("mounted at {}", path.display())),
            None => Err("/proc/self/mountinfo shows no cgroup2 mount".into()),
        },
    )
}

/// Attaching would touch every new connection of the host: it is not tried.
fn sock_ops(effective: Option<Effective>) -> Capability {
    let needed = effective.map(|it| it.lacks(&[BPF, NET_ADMIN]));
    let (allowed, why) = match (needed, cgroups::mount_point()) {
        (_, None) => (Allowed::No, "cgroup v2 is not mounted".to_owned()),
        (Some(Some(missing)), _) => (Allowed::No, missing),
        (None, _) => (
            Allowed::Unknown,
            "not tried, and the rights of this process cannot be read".to_owned(),
        ),
        (Some(None), Some(_)) => (
            Allowed::Unknown,
            "not tried; cgroup v2 is mounted and the rights are there, so it should work"
                .to_owned(),
        ),
    };
    Capability {
        name: "sock_ops",
        allowed,
        why,
        consequence: "keep-alive cannot be turned on for connections as they are made".into(),
        remedy: (allowed == Allowed::No).then(|| format!("{BY_ROOT}, with cgroup v2 mounted")),
    }
}

/// A command holds a descriptor for each namespace; a lab's servers one for
/// each connection.
fn descriptors() -> Capability {
    const ENOUGH: u64 = 4096;
    let limit = getrlimit(Resource::Nofile);
    let number = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |n| n.to_string());
    let text = format!(
        "RLIMIT_NOFILE is {}, and can be raised to {}",
        number(limit.current),
        number(limit.maximum)
    );
    answer(
        "descriptors",
        "hosts with thousands of network namespaces cannot be swept, and labs have fewer connections",
        "`ulimit -n` of a shell with more, or LimitNOFILE= of its unit",
        match limit.maximum {
            Some(hard) if hard < ENOUGH => Err(text),
            _ => Ok(text),
        },
    )
}

fn capabilities(effective: Option<Effective>) -> Capability {
    let all: Vec<u32> = CAPABILITIES.iter().map(|(_, bit)| *bit).collect();
    let result = match effective {
        None => Err("/proc/self/status does not tell them".to_owned()),
        Some(effective) => match effective.lacks(&all) {
            Some(missing) => Err(missing),
            None => Ok("all that are used: ".to_owned() + &names(&all)),
        },
    };
    answer(
        "capabilities",
        "what the other lines say is not allowed",
        BY_ROOT,
        result,
    )
}

/// The effective capabilities of this process.
#[derive(Debug, Clone, Copy)]
struct Effective(u64);

impl Effective {
    fn read() -> Option<Self> {
        let status = fs::read_to_string(Path::new("/proc/self/status")).ok()?;
        Self::parse(&status)
    }

    fn parse(status: &str) -> Option<Self> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok().map(Self)
    }

    fn has(self, bit: u32) -> bool {
        // CAP_SYS_ADMIN stands for the two that were split off it in Linux 5.8.
        let stands_for = matches!(bit, BPF | PERFMON) && self.0 & (1 << SYS_ADMIN) != 0;
        self.0 & (1 << bit) != 0 || stands_for
    }

    /// `CAP_… and CAP_… are missing`, if any of them is.
    fn lacks(self, bits: &[u32]) -> Option<String> {
        let missing: Vec<u32> = bits.iter().copied().filter(|bit| !self.has(*bit)).collect();
        match missing.len() {
            0 => None,
            1 => Some(format!("{} is missing", names(&missing))),
            _ => Some(format!("{} are missing", names(&missing))),
        }
    }
}

fn names(bits: &[u32]) -> String {
    let names: Vec<&str> = bits
        .iter()
        .filter_map(|bit| CAPABILITIES.iter().find(|(_, known)| known == bit))
        .map(|(name, _)| *name)
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert_eq!(version("6.18.3-amd64"), Some((6, 18)));
        assert_eq!(version("5.4.0"), Some((5, 4)));
        assert_eq!(version("next"), None);
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon() {
        let status =
            |bits: u64| Effective::parse(&format!("Name:\tx\nCapEff:\t{bits:016x}\n")).unwrap();
        let admin = status(1 << SYS_ADMIN | 1 << NET_ADMIN);
        assert_eq!(admin.lacks(&[BPF, PERFMON, NET_ADMIN]), None);
        assert_eq!(admin.lacks(&[NET_RAW]).unwrap(), "CAP_NET_RAW is missing");
        assert_eq!(
            status(0).lacks(&[BPF, NET_ADMIN]).unwrap(),
            "CAP_BPF, CAP_NET_ADMIN are missing"
        );
    }
}
