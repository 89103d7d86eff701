//! Keep-alive values on real sockets: `std::net::TcpStream`, `TcpListener`,
//! tokio's, and whatever else has a descriptor.
//!
//! ```
//! use std::net::{TcpListener, TcpStream};
//! use tcpalive_keepalive::{Params, socket};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! // What is set on a listener holds for all that it accepts.
//! let params: Params = "10/20/5".parse()?;
//! socket::apply(&listener, params)?;
//!
//! let _client = TcpStream::connect(listener.local_addr()?)?;
//! let (accepted, _) = listener.accept()?;
//! assert_eq!(socket::read(&accepted)?, Some(params));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::params::{Params, UserTimeout};
use core::fmt;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::os::fd::AsFd;

/// Switches keep-alive on with these values; if one is refused, `SO_KEEPALIVE`
/// is put back to what it was.
///
/// On a connection whose peer has been silent for longer than the new idle
/// time, Linux sends a probe at once, and counts it
/// (`tcp_sock_set_keepidle_locked`). The idle time is set last, so that this
/// probe is followed at the new interval.
///
/// # Errors
/// The option that the kernel refused: an old kernel may lack
/// `TCP_USER_TIMEOUT`, and a descriptor may not be a TCP socket.
pub fn apply(socket: &impl AsFd, params: Params) -> Result<(), SocketError> {
    let socket = SockRef::from(socket);
    let set = |option| move |error| SocketError::new("setting", option, error);
    socket
        .set_tcp_user_timeout(params.user_timeout.duration())
        .map_err(set("TCP_USER_TIMEOUT"))?;
    let enabled = socket.keepalive().map_err(set("SO_KEEPALIVE"))?;
    // Each of these calls of socket2 switches SO_KEEPALIVE on first.
    let retries = TcpKeepalive::new().with_retries(u32::from(params.count.get()));
    let interval = TcpKeepalive::new().with_interval(params.interval.duration());
    let idle = TcpKeepalive::new().with_time(params.idle.duration());
    let all = [
        (retries, "TCP_KEEPCNT"),
        (interval, "TCP_KEEPINTVL"),
        (idle, "TCP_KEEPIDLE"),
    ];
    for (option, name) in all {
        if let Err(error) = socket.set_tcp_keepalive(&option) {
            // If this fails, too, the first error says more.
            let _ = socket.set_keepalive(enabled);
            return Err(SocketError::new("setting", name, error));
        }
    }
    Ok(())
}

/// Switches keep-alive off. The values stay for when it is switched on again,
/// and so does the number of unanswered probes.
///
/// # Errors
/// When the descriptor is not a socket.
pub fn disable(socket: &impl AsFd) -> Result<(), SocketError> {
    SockRef::from(socket)
        .set_keepalive(false)
        .map_err(|error| SocketError::new("setting", "SO_KEEPALIVE", error))
}

/// The values in force, with the namespace's for those that the socket has
/// not set; `None` when keep-alive is off.
///
/// # Errors
/// The option that the kernel did not tell. Sysctls out of the range that
/// sockets take (a time above 32767 s, say) give [`io::ErrorKind::InvalidData`].
pub fn read(socket: &impl AsFd) -> Result<Option<Params>, SocketError> {
    let socket = SockRef::from(socket);
    let read = |option| move |error| SocketError::new("reading", option, error);
    if !socket.keepalive().map_err(read("SO_KEEPALIVE"))? {
        return Ok(None);
    }
    let idle = socket.tcp_keepalive_time().map_err(read("TCP_KEEPIDLE"))?;
    let interval = socket
        .tcp_keepalive_interval()
        .map_err(read("TCP_KEEPINTVL"))?;
    let count = socket
        .tcp_keepalive_retries()
        .map_err(read("TCP_KEEPCNT"))?;
    let timeout = socket
        .tcp_user_timeout()
        .map_err(read("TCP_USER_TIMEOUT"))?;
    let whole = |seconds: u64| u32::try_from(seconds).unwrap_or(u32::MAX);
    let params =
        Params::new(whole(idle.as_secs()), whole(interval.as_secs()), count).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            SocketError::new("reading", "the namespace's values", error)
        })?;
    let timeout = timeout
        .and_then(|timeout| u64::try_from(timeout.as_millis()).ok())
        .and_then(UserTimeout::from_millis)
        .unwrap_or(UserTimeout::OFF);
    Ok(Some(params.with_user_timeout(timeout)))
}

/// An option that could not be set or read.
#[derive(Debug)]
pub struct SocketError {
    doing: &'static str,
    option: &'static str,
    error: io::Error,
}

impl SocketError {
    const fn new(doing: &'static str, option: &'static str, error: io::Error) -> Self {
        Self {
            doing,
            option,
            error,
        }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.option, self.error)
    }
}

impl core::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SocketError> for io::Error {
    fn from(error: SocketError) -> Self {
        Self::new(error.error.kind(), error)
    }
}
