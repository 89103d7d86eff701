//! Connecting and listening.

use super::silence::KeepAlive;
use super::target::{Family, addresses};
use crate::cli::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, connect, getsockname, listen,
    socket_with, sockopt,
};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 16;

/// How sockets are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sockets {
    pub(super) family: Family,
    /// Names are not resolved.
    pub(super) numeric: bool,
    /// The longest that a connection may take to be made.
    pub(super) wait: Option<Duration>,
    pub(super) keepalive: KeepAlive,
}

impl Sockets {
    /// Connects to the first address of the host that answers; `None` when
    /// none does, and `refused` was told of each.
    ///
    /// # Errors
    /// What to tell people when no address was tried: a name that does not
    /// resolve, a local address that is not ours.
    pub(super) fn connect(
        &self,
        host: &str,
        port: u16,
        source: Option<&str>,
        local_port: Option<u16>,
        mut refused: impl FnMut(SocketAddr, Errno),
    ) -> Result<Option<(OwnedFd, SocketAddr)>, String> {
        for address in addresses(host, port, self.family, self.numeric)? {
            let socket = match self.socket(&address) {
                Ok(socket) => socket,
                // A host without IPv6 has other addresses to try.
                Err(error) => {
                    refused(address, error);
                    continue;
                }
            };
            if source.is_some() || local_port.is_some() {
                self.bind_local(&socket, &address, source, local_port)?;
            }
            match self.establish(&socket, &address) {
                Ok(()) => return Ok(Some((socket, address))),
                Err(error) => refused(address, error),
            }
        }
        Ok(None)
    }

    /// A listening socket.
    ///
    /// # Errors
    /// What to tell people.
    pub(super) fn listen(&self, host: Option<&str>, port: u16) -> Result<OwnedFd, String> {
        let all: SocketAddr = match self.family {
            Family::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
            Family::Any | Family::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
        };
        let candidates = match host {
            Some(host) => addresses(host, port, self.family, self.numeric)?,
            None => vec![all],
        };
        let mut failed = String::new();
        for address in candidates {
            let opened = self.socket(&address).and_then(|socket| {
                sockopt::set_socket_reuseaddr(&socket, true)?;
                bind(&socket, &address)?;
                listen(&socket, BACKLOG)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => return Ok(socket),
                Err(error) => {
                    failed = format!("listening on {address}: {}", text(error));
                }
            }
        }
        Err(failed)
    }

    /// A socket that does not wait, with keep-alive as wished.
    fn socket(&self, address: &SocketAddr) -> Result<OwnedFd, Errno> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        self.keepalive.apply(&socket)?;
        Ok(socket)
    }

    fn bind_local(
        &self,
        socket: &OwnedFd,
        peer: &SocketAddr,
        source: Option<&str>,
        port: Option<u16>,
    ) -> Result<(), String> {
        let port = port.unwrap_or(0);
        let family = if peer.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let local = match source {
            Some(source) => addresses(source, port, family, self.numeric)?[0],
            None if peer.is_ipv4() => (Ipv4Addr::UNSPECIFIED, port).into(),
            None => (Ipv6Addr::UNSPECIFIED, port).into(),
        };
        sockopt::set_socket_reuseaddr(socket, true)
            .and_then(|()| bind(socket, &local))
            .map_err(|error| format!("binding to {local}: {}", text(error)))
    }

    fn establish(&self, socket: &OwnedFd, address: &SocketAddr) -> Result<(), Errno> {
        match connect(socket, address) {
            Ok(()) => return Ok(()),
            Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let deadline = self.wait.map(|wait| Instant::now() + wait);
        if !until_ready(socket, PollFlags::OUT, deadline)? {
            return Err(Errno::INPROGRESS);
        }
        sockopt::socket_error(socket)?
    }
}

/// Waits for a connection, without a limit, and takes it.
///
/// # Errors
/// When the listener fails: descriptors or memory ran out.
pub(super) fn accept(listener: &OwnedFd) -> Result<(OwnedFd, SocketAddr), Failure> {
    let failed = |error| Failure::Midway(format!("accepting a connection: {}", text(error)));
    loop {
        until_ready(listener, PollFlags::IN, None).map_err(failed)?;
        // Keep-alive comes with the listener's options.
        // Its address is known even if the peer has reset it meanwhile.
        match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, Some(peer))) => return Ok((socket, ip(peer)?)),
            Ok((_, None)) => {}
            // The peer did not stay (accept(2) names the others).
            Err(
                Errno::AGAIN
                | Errno::INTR
                | Errno::CONNABORTED
                | Errno::NETDOWN
                | Errno::PROTO
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH,
            ) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// The address that a socket is bound to.
///
/// # Errors
/// When it is no IP socket.
pub(super) fn local_address(socket: &OwnedFd) -> Result<SocketAddr, Failure> {
    let address = getsockname(socket)
        .map_err(|error| Failure::Midway(format!("asking a socket's address: {}", text(error))))?;
    ip(address)
}

fn ip(address: rustix::net::SocketAddrAny) -> Result<SocketAddr, Failure> {
    SocketAddr::try_from(address).map_err(|error| {
        Failure::Midway(format!(
            "asking a socket's address: no IP address: {}",
            text(error)
        ))
    })
}

/// Why a connection was not made, in netcat's words.
pub(super) fn reason(error: Errno) -> String {
    if error == Errno::INPROGRESS {
        // So netcat says when -w has passed.
        return format!("timed out: {}", text(error));
    }
    format!("failed: {}", text(error))
}

/// strerror(3).
pub(super) fn text(error: Errno) -> String {
    let full = io::Error::from(error).to_string();
    full.split(" (os error").next().unwrap_or(&full).to_owned()
}

/// Whether it is ready before the deadline.
fn until_ready(
    socket: &impl AsFd,
    event: PollFlags,
    deadline: Option<Instant>,
) -> Result<bool, Errno> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(socket, event)], timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
