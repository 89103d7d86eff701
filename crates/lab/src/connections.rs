//! Many connections between two hosts, quickly, with both ends in the
//! calling process.

use crate::error::{Doing, LabError, Result};
use crate::host::Host;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long one connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both ends of a connection.
#[derive(Debug)]
pub struct Pair {
    /// The end that connected.
    pub client: TcpStream,
    /// The end that was accepted.
    pub server: TcpStream,
}

/// Sets options on a socket before it connects or listens.
pub type Prepare<'a> = &'a (dyn Fn(BorrowedFd<'_>) -> io::Result<()> + Sync);

/// How connections are opened. The default: any source address, no options.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// The address that clients connect from; the kernel's choice if `None`.
    pub source: Option<IpAddr>,
    /// Both ends have SO_LINGER with 0 s: closing one sends a reset if it can
    /// and leaves nothing in the kernel. Without it, ends that are closed
    /// when their peer cannot be reached stay in the kernel for minutes.
    pub reset_on_close: bool,
    /// Called for each client's socket before it connects.
    pub prepare_client: Option<Prepare<'a>>,
    /// Called for the listener; accepted sockets inherit its options.
    pub prepare_listener: Option<Prepare<'a>>,
}

/// Opens `count` connections from `client` to a listener at `address` (such
/// as `"10.9.1.2:3333"` or `"[fd09:1::2]:3333"`) in `server`. Both ends are
/// in the calling process, blocking; the listener is closed in the end, so
/// the same port can be used again. A connection takes two descriptors.
///
/// # Errors
/// A bad address, or a connection that does not come about within 10 s.
///
/// # Panics
/// When a host has no power.
pub fn open(
    client: &Host,
    server: &Host,
    address: &str,
    count: usize,
    options: &Options<'_>,
) -> Result<Vec<Pair>> {
    let address: SocketAddr = address
        .parse()
        .map_err(|_| LabError::Other(format!("'{address}' is no address: write 10.9.1.2:3333")))?;
    raise_descriptor_limit();
    let listener = server.run(|| {
        listen(address, &|socket| {
            if options.reset_on_close {
                sockopt::set_socket_linger(socket, Some(Duration::ZERO))?;
            }
            options
                .prepare_listener
                .map_or(Ok(()), |prepare| prepare(socket))
        })
    })?;
    let (clients, servers) = std::thread::scope(|scope| {
        let acceptor = scope.spawn(|| accept(&listener, count));
        let clients = client.run(|| {
            (0..count)
                .map(|_| {
                    connect(
                        address,
                        options.source.map(|ip| SocketAddr::new(ip, 0)),
                        options,
                    )
                })
                .collect::<Result<Vec<TcpStream>>>()
        });
        (clients, acceptor.join())
    });
    let clients = clients?;
    let servers = servers.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let mut by_peer = HashMap::with_capacity(count);
    for stream in servers {
        let peer = stream
            .peer_addr()
            .doing(|| "ask for a peer's address".to_owned())?;
        by_peer.insert(peer, stream);
    }
    clients
        .into_iter()
        .map(|client| {
            let local = client
                .local_addr()
                .doing(|| "ask for a client's address".to_owned())?;
            let server = by_peer.remove(&local).ok_or_else(|| {
                LabError::Other(format!("nobody accepted the connection from {local}"))
            })?;
            Ok(Pair { client, server })
        })
        .collect()
}

/// A listener with SO_REUSEADDR and as long a queue as the kernel allows, in
/// the calling thread's namespace.
pub(crate) fn listen(address: SocketAddr, prepare: Prepare<'_>) -> Result<TcpListener> {
    let doing = || format!("listen at {address}");
    let socket = socket(address).doing(doing)?;
    sockopt::set_socket_reuseaddr(&socket, true).doing(doing)?;
    prepare(socket.as_fd()).doing(doing)?;
    net::bind(&socket, &address).doing(doing)?;
    // The kernel takes the smaller of this and net.core.somaxconn.
    net::listen(&socket, i32::MAX).doing(doing)?;
    Ok(TcpListener::from(socket))
}

/// Connects in the calling thread's namespace, from `source` if one is given
/// (which stands for the address in the options).
pub(crate) fn connect(
    address: SocketAddr,
    source: Option<SocketAddr>,
    options: &Options<'_>,
) -> Result<TcpStream> {
    let doing = || match source {
        Some(source) => format!("connect from {source} to {address}"),
        None => format!("connect to {address}"),
    };
    let socket = socket(address).doing(doing)?;
    if let Some(source) = source {
        net::bind(&socket, &source).doing(doing)?;
    }
    if options.reset_on_close {
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).doing(doing)?;
    }
    if let Some(prepare) = options.prepare_client {
        prepare(socket.as_fd()).doing(doing)?;
    }
    let timeout = sockopt::Timeout::Send;
    sockopt::set_socket_timeout(&socket, timeout, Some(PATIENCE)).doing(doing)?;
    net::connect(&socket, &address).doing(doing)?;
    sockopt::set_socket_timeout(&socket, timeout, None).doing(doing)?;
    Ok(TcpStream::from(socket))
}

/// Raises the limit of open descriptors as far as an ordinary process may.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

fn socket(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

fn accept(listener: &TcpListener, count: usize) -> Result<Vec<TcpStream>> {
    let patience = Timespec::try_from(PATIENCE).ok();
    (0..count)
        .map(|number| {
            let mut ready = [PollFd::new(listener, PollFlags::IN)];
            let waiting = || format!("wait for connection {} of {count}", number + 1);
            if poll(&mut ready, patience.as_ref()).doing(waiting)? == 0 {
                return Err(LabError::Other(format!(
                    "connection {} of {count} did not come within {} s",
                    number + 1,
                    PATIENCE.as_secs()
                )));
            }
            listener.accept().doing(waiting).map(|(stream, _)| stream)
        })
        .collect()
}
