//! Options set through descriptors of the processes that hold the sockets,
//! where BPF is not to be had (`pidfd_getfd`, Linux 5.6).
//!
//! It reaches only sockets of processes that this user may trace. The calls
//! are made one by one: between the look and the last of them the connection
//! goes on, and a program can set options of its own. The kernel does not say
//! which values are a socket's own: those that equal the sysctl's are taken
//! to follow it.

use super::{Change, Outcome};
use crate::owners::Owners;
use crate::sysctl::KeepaliveSysctls;
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;
use tcpalive_connections::State;
use tcpalive_keepalive::{Count, Options, Seconds, UserTimeout};

/// Why a socket cannot be reached.
pub(super) const NOBODY: &str = "no process that this user may look into holds it";
const CLOSED: &str = "this user may not trace the processes that hold it: run it as root";

/// A duplicate of a holder's descriptor of the socket.
fn descriptor(owners: &Owners, inode: u64, cookie: u64) -> Result<OwnedFd, Outcome> {
    let mut why = NOBODY;
    for owner in owners.of(inode) {
        let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
        let (Some(pid), Ok(fd)) = (pid, RawFd::try_from(owner.fd)) else {
            continue;
        };
        let got = pidfd_open(pid, PidfdFlags::empty())
            .and_then(|process| pidfd_getfd(process, fd, PidfdGetfdFlags::empty()));
        match got {
            // The process may have closed it and opened another one there.
            Ok(socket) if sockopt::socket_cookie(&socket) == Ok(cookie) => return Ok(socket),
            Err(rustix::io::Errno::PERM) => why = CLOSED,
            _ => {}
        }
    }
    Err(Outcome::Unreachable(why))
}

pub(super) fn read(
    owners: &Owners,
    inode: u64,
    cookie: u64,
    sysctls: &KeepaliveSysctls,
) -> Result<Options, Outcome> {
    let socket = descriptor(owners, inode, cookie)?;
    options(&socket, sysctls).map_err(|error| Outcome::Failed(error, Options::default()))
}

fn options(socket: &OwnedFd, sysctls: &KeepaliveSysctls) -> io::Result<Options> {
    let seconds = |value: Duration, sysctl: i64| {
        let own = i64::try_from(value.as_secs()) != Ok(sysctl);
        u32::try_from(value.as_secs())
            .ok()
            .filter(|_| own)
            .and_then(Seconds::new)
    };
    let count = sockopt::tcp_keepcnt(socket)?;
    Ok(Options {
        enabled: sockopt::socket_keepalive(socket)?,
        idle: seconds(sockopt::tcp_keepidle(socket)?, sysctls.time_s),
        interval: seconds(sockopt::tcp_keepintvl(socket)?, sysctls.interval_s),
        count: Some(count)
            .filter(|count| i64::from(*count) != sysctls.probes)
            .and_then(Count::new),
        user_timeout: UserTimeout::from_millis(u64::from(sockopt::tcp_user_timeout(socket)?))
            .unwrap_or(UserTimeout::MAX),
    })
}

pub(super) fn set(
    owners: &Owners,
    change: &Change,
    sysctls: &KeepaliveSysctls,
    dry_run: bool,
) -> Outcome {
    let socket = match descriptor(owners, change.inode, change.cookie) {
        Ok(socket) => socket,
        Err(outcome) => return outcome,
    };
    let failed = |error: io::Error| {
        Outcome::Failed(error, options(&socket, sysctls).unwrap_or(change.before))
    };
    let now = match options(&socket, sysctls) {
        Ok(now) => now,
        Err(error) => return failed(error),
    };
    if now != change.before {
        return Outcome::OtherOptions(now);
    }
    match obstacle(&socket, change) {
        Ok(None) => {}
        Ok(Some(outcome)) => return outcome,
        Err(error) => return failed(error),
    }
    if dry_run {
        return Outcome::Changed;
    }
    match apply(&socket, change) {
        Ok(()) => Outcome::Changed,
        Err(error) => failed(error),
    }
}

/// What stands against the change: the same as in `bpf/setopt.bpf.c`.
fn obstacle(socket: &OwnedFd, change: &Change) -> io::Result<Option<Outcome>> {
    let info = tcp_info(socket)?;
    let state = State::from_kernel(info[0]);
    if state == Some(State::Listen) {
        return Ok(None);
    }
    if !state.is_some_and(State::answers_keepalive) {
        return Ok(Some(Outcome::OtherState));
    }
    let (retransmits, probes_out) = (info[2], u32::from(info[3]));
    let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().expect("four bytes"));
    // tcpi_unacked and, since Linux 4.6, tcpi_notsent_bytes.
    let (unacked, unsent) = (word(24), word(144));
    let timeout_in_force = change.after.user_timeout != UserTimeout::OFF;
    let reached = timeout_in_force || probes_out >= change.count_in_force;
    Ok(if change.after.enabled && probes_out > 0 && reached {
        Some(Outcome::Unanswered(probes_out))
    } else if change.shortens_user_timeout() && retransmits > 0 {
        Some(Outcome::Retransmitting)
    } else if change.shortens_user_timeout() && unacked == 0 && unsent > 0 {
        Some(Outcome::WindowClosed)
    } else {
        None
    })
}

/// The order of `bpf/setopt.bpf.c`, for the same reasons.
fn apply(socket: &OwnedFd, change: &Change) -> io::Result<()> {
    let (before, after) = (&change.before, &change.after);
    let idle = after.idle.filter(|_| after.idle != before.idle);
    let off_meanwhile = before.enabled && (!after.enabled || idle.is_some());
    if off_meanwhile {
        sockopt::set_socket_keepalive(socket, false)?;
    }
    let values = || -> io::Result<()> {
        if let Some(interval) = after.interval.filter(|_| after.interval != before.interval) {
            sockopt::set_tcp_keepintvl(socket, interval.duration())?;
        }
        if let Some(count) = after.count.filter(|_| after.count != before.count) {
            sockopt::set_tcp_keepcnt(socket, u32::from(count.get()))?;
        }
        if after.user_timeout != before.user_timeout {
            sockopt::set_tcp_user_timeout(socket, after.user_timeout.as_millis())?;
        }
        if let Some(idle) = idle {
            sockopt::set_tcp_keepidle(socket, idle.duration())?;
        }
        Ok(())
    };
    let set = values();
    if after.enabled && (!before.enabled || off_meanwhile) {
        sockopt::set_socket_keepalive(socket, true)?;
    }
    set
}

/// `struct tcp_info` as bytes; what an older kernel does not have is 0.
fn tcp_info(socket: &OwnedFd) -> io::Result<[u8; 256]> {
    let mut info = [0_u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which the buffer has;
    // both pointers outlive the call.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info)
}
