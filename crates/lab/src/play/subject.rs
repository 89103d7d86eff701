//! The program's end of a connection: a real socket with real options.

use crate::error::{Doing, Result};
use rustix::event::epoll;
use rustix::io::Errno as SystemError;
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};
use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tcpalive_keepalive::{Errno, Options, SetOption};

/// What woke a program up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Nothing,
    Error(Errno),
}

/// A socket with these options, before it connects or listens.
pub(crate) fn socket(address: SocketAddr, options: &Options) -> Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)
        .doing(|| "open a socket".to_owned())?;
    if let Some(idle) = options.idle {
        set(&socket, SetOption::Idle(idle))?;
    }
    if let Some(interval) = options.interval {
        set(&socket, SetOption::Interval(interval))?;
    }
    if let Some(count) = options.count {
        set(&socket, SetOption::Count(count))?;
    }
    set(&socket, SetOption::UserTimeout(options.user_timeout))?;
    set(&socket, SetOption::KeepAlive(options.enabled))?;
    Ok(socket)
}

/// One `setsockopt` call.
pub(crate) fn set(socket: &OwnedFd, option: SetOption) -> Result<()> {
    match option {
        SetOption::KeepAlive(on) => sockopt::set_socket_keepalive(socket, on),
        SetOption::Idle(idle) => sockopt::set_tcp_keepidle(socket, idle.duration()),
        SetOption::Interval(interval) => sockopt::set_tcp_keepintvl(socket, interval.duration()),
        SetOption::Count(count) => sockopt::set_tcp_keepcnt(socket, u32::from(count.get())),
        SetOption::UserTimeout(timeout) => {
            sockopt::set_tcp_user_timeout(socket, timeout.as_millis())
        }
    }
    .doing(|| format!("set {option:?}"))
}

/// Begins to connect; the peer decides when that is done.
pub(crate) fn connect(socket: &OwnedFd, address: SocketAddr) -> Result<()> {
    match net::connect(socket, &address) {
        Ok(()) | Err(SystemError::INPROGRESS) => Ok(()),
        Err(error) => Err(error).doing(|| format!("connect to {address}")),
    }
}

/// Listens there, for one connection.
pub(crate) fn listen(socket: &OwnedFd, address: SocketAddr) -> Result<()> {
    let doing = || format!("listen at {address}");
    sockopt::set_socket_reuseaddr(socket, true).doing(doing)?;
    net::bind(socket, &address).doing(doing)?;
    net::listen(socket, 1).doing(doing)
}

/// The connection that waits, if one does.
pub(crate) fn accept(listener: &OwnedFd) -> Result<Option<OwnedFd>> {
    match net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(socket) => Ok(Some(socket)),
        Err(SystemError::AGAIN) => Ok(None),
        Err(error) => Err(error).doing(|| "accept a connection".to_owned()),
    }
}

/// Takes what came if the program `reads`, and the error if there is one. `SO_ERROR` is asked for
/// only when epoll told of an error: the question alone takes a remembered
/// soft error away (`sk_getsockopt`).
pub(crate) fn look(socket: &OwnedFd, events: epoll::EventFlags, reads: bool) -> Result<News> {
    if events.contains(epoll::EventFlags::ERR)
        && let Err(error) = sockopt::socket_error(socket).doing(|| "ask for SO_ERROR".to_owned())?
    {
        return Ok(news(error));
    }
    let mut bytes = [0; 4096];
    if !reads {
        return Ok(News::Nothing);
    }
    loop {
        // A socket that never connected says ENOTCONN.
        match net::recv(socket, &mut bytes, RecvFlags::empty()) {
            Ok((0, _)) | Err(SystemError::AGAIN | SystemError::NOTCONN) => {
                return Ok(News::Nothing);
            }
            Ok(_) => {}
            Err(error) => return Ok(news(error)),
        }
    }
}

fn news(error: SystemError) -> News {
    u8::try_from(error.raw_os_error())
        .ok()
        .and_then(Errno::new)
        .map_or(News::Nothing, News::Error)
}

/// Gives the kernel these bytes to send.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<()> {
    net::send(socket, bytes, net::SendFlags::NOSIGNAL)
        .doing(|| "send data".to_owned())
        .map(drop)
}

/// Sends a FIN and keeps the socket.
pub(crate) fn shut_down(socket: &OwnedFd) -> Result<()> {
    net::shutdown(socket, net::Shutdown::Write).doing(|| "shut a connection down".to_owned())
}

/// Leaves nothing of the connection in the kernel.
pub(crate) fn discard(socket: OwnedFd) {
    // Without it the kernel keeps the connection for a minute, no more.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
}

/// Tells `epoll` to watch a descriptor for news; `key` comes back with them.
pub(crate) fn watch(epoll: &OwnedFd, fd: impl AsFd, key: u64) -> Result<()> {
    epoll::add(
        epoll,
        fd,
        epoll::EventData::new_u64(key),
        epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET,
    )
    .doing(|| "watch a socket".to_owned())
}

/// How many keep-alive probes the calling thread's namespace has made, also
/// those that its own queue dropped: `TCPKeepAlive` in /proc/net/netstat.
pub(crate) fn probes_made() -> Result<u64> {
    const PATH: &str = "/proc/thread-self/net/netstat";
    let text = fs::read_to_string(PATH).doing(|| format!("read {PATH}"))?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next(), lines.next());
    names
        .into_iter()
        .flat_map(str::split_whitespace)
        .zip(values.into_iter().flat_map(str::split_whitespace))
        .find(|(name, _)| *name == "TCPKeepAlive")
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| crate::LabError::Other(format!("{PATH} has no TCPKeepAlive")))
}
