//! Closing sockets by cookie.
//!
//! Two ways, the better one first. `bpf_sock_destroy` (Linux 6.5) runs in an
//! iterator that holds the socket's lock: it compares what the socket looked
//! like when it was proven dead with what it looks like now, and destroys
//! only if nothing moved. `SOCK_DESTROY` over sock_diag (Linux 4.5,
//! CONFIG_INET_DIAG_DESTROY) takes the cookie, so it cannot hit another
//! socket, but what arrives between the last look and the call is not seen.

use crate::bpf::destroy::types::tcpalive_condemned;
use crate::bpf::destroy::{DestroySkel, DestroySkelBuilder};
use crate::bpf::{bytes_of, create_iterator, object_storage, read_plain, silence_libbpf};
use crate::error::{Doing, Result};
use crate::netlink::Netlink;
use crate::netns::Namespace;
use crate::sweep::{BpfSweeper, Pulse};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tcpalive_connections::Selection;

/// `SOCK_DESTROY` (include/uapi/linux/sock_diag.h).
pub(crate) const SOCK_DESTROY: u16 = 21;
/// Entries handed to the map at a time.
const BATCH: usize = 4096;

/// What a socket looked like when it was proven dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condemned {
    /// Which socket.
    pub cookie: u64,
    /// Its addresses: sock_diag wants them beside the cookie.
    pub local: SocketAddr,
    /// See [`Condemned::local`].
    pub remote: SocketAddr,
    /// Bound device, or 0.
    pub device: u32,
    /// Kernel's number of its state.
    pub state: u8,
    /// Jiffies of the last ACK and of the last data received.
    pub heard: (u32, u32),
    /// `snd_una`, `snd_nxt`, `write_seq`.
    pub sent: (u32, u32, u32),
    /// `rcv_nxt`.
    pub rcv_nxt: u32,
}

impl Condemned {
    fn looks_like(&self, pulse: &Pulse) -> bool {
        self.state == pulse.state
            && self.heard == (pulse.rcv_tstamp, pulse.lrcvtime)
            && self.sent == (pulse.snd_una, pulse.snd_nxt, pulse.write_seq)
            && self.rcv_nxt == pulse.rcv_nxt
    }
}

/// What became of a condemned socket.
#[derive(Debug)]
pub enum Destroyed {
    /// It was destroyed: its program gets ECONNABORTED, its peer a reset.
    Destroyed,
    /// It was not there any more.
    AlreadyClosed,
    /// Something moved since it was proven dead: it was left alone.
    Changed,
    /// The kernel refused.
    Failed(io::Error),
}

/// How sockets are destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `bpf_sock_destroy`, under the socket's lock.
    Bpf,
    /// `SOCK_DESTROY` by cookie.
    SockDiag,
}

/// The best method that this kernel has.
#[must_use]
pub fn best_method() -> Method {
    if load(1).is_ok() {
        Method::Bpf
    } else {
        Method::SockDiag
    }
}

/// Destroys each of the sockets that still looks as it did when it was
/// condemned. The results are in the order of `condemned`. Where the kernel
/// cannot compare under the lock, `is_silent` is asked just before each.
///
/// # Errors
/// When nothing could be tried at all; no socket was destroyed then.
pub fn destroy(
    sweeper: &mut BpfSweeper,
    namespace: &Namespace,
    condemned: &[Condemned],
    method: Method,
    is_silent: &dyn Fn(&Condemned) -> bool,
) -> Result<Vec<Destroyed>> {
    match method {
        Method::Bpf => by_bpf(namespace, condemned),
        Method::SockDiag => by_sock_diag(sweeper, namespace, condemned, is_silent),
    }
}

pub(crate) fn load(entries: usize) -> libbpf_rs::Result<DestroySkel<'static>> {
    silence_libbpf();
    let mut open = DestroySkelBuilder::default().open(object_storage())?;
    open.maps
        .condemned
        .set_max_entries(u32::try_from(entries.max(1)).unwrap_or(u32::MAX))?;
    open.load()
}

fn by_bpf(namespace: &Namespace, condemned: &[Condemned]) -> Result<Vec<Destroyed>> {
    let loading = || "loading the iterator that destroys sockets".to_string();
    let skeleton = load(condemned.len()).doing(loading)?;
    for batch in condemned.chunks(BATCH) {
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for socket in batch {
            keys.extend_from_slice(&socket.cookie.to_ne_bytes());
            values.extend_from_slice(bytes_of(&tcpalive_condemned {
                rcv_tstamp: socket.heard.0,
                lrcvtime: socket.heard.1,
                snd_una: socket.sent.0,
                snd_nxt: socket.sent.1,
                write_seq: socket.sent.2,
                rcv_nxt: socket.rcv_nxt,
                state: u32::from(socket.state),
                result: 0,
                error: 0,
            }));
        }
        skeleton
            .maps
            .condemned
            .update_batch(
                &keys,
                &values,
                batch.len() as u32,
                MapFlags::ANY,
                MapFlags::ANY,
            )
            .doing(|| "noting the sockets to destroy".into())?;
    }
    let link = skeleton.progs.destroy_sockets.attach().doing(loading)?;
    let iterator = namespace.enter(|| create_iterator(&link))?.doing(loading)?;
    // It writes nothing: one read walks all sockets, or a million of them.
    let walked = loop {
        match rustix::io::read(&iterator, &mut [0_u8; 64][..]) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    let result = |socket: &Condemned| {
        let entry = skeleton
            .maps
            .condemned
            .lookup(&socket.cookie.to_ne_bytes(), MapFlags::ANY);
        let Ok(Some(bytes)) = entry else {
            return Destroyed::Failed(io::Error::other("the kernel lost the entry of this socket"));
        };
        let entry: tcpalive_condemned = read_plain(&bytes);
        match (entry.result, walked) {
            (1, _) => Destroyed::Destroyed,
            (2, _) => Destroyed::Changed,
            (0, Ok(_)) => Destroyed::AlreadyClosed,
            (0, Err(errno)) => Destroyed::Failed(errno.into()),
            _ => Destroyed::Failed(io::Error::from_raw_os_error(-(entry.error as i32))),
        }
    };
    Ok(condemned.iter().map(result).collect())
}

fn by_sock_diag(
    sweeper: &mut BpfSweeper,
    namespace: &Namespace,
    condemned: &[Condemned],
    is_silent: &dyn Fn(&Condemned) -> bool,
) -> Result<Vec<Destroyed>> {
    let mut netlink = namespace
        .enter(Netlink::sock_diag)?
        .doing(|| "opening a sock_diag netlink socket".into())?;
    let mut now: HashMap<u64, Option<Pulse>> = condemned
        .iter()
        .map(|socket| (socket.cookie, None))
        .collect();
    sweeper.pulses(namespace, &Selection::ALL, |pulse| {
        if let Some(known) = now.get_mut(&pulse.cookie) {
            *known = Some(*pulse);
        }
    })?;
    let outcome = |socket: &Condemned| match now.get(&socket.cookie).and_then(Option::as_ref) {
        None => Destroyed::AlreadyClosed,
        Some(pulse) if !socket.looks_like(pulse) || !is_silent(socket) => Destroyed::Changed,
        Some(_) => match netlink.change(SOCK_DESTROY, 0, &request(socket)) {
            Ok(()) => Destroyed::Destroyed,
            // ENOENT: no such socket; ESTALE: another one with these addresses.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => {
                Destroyed::AlreadyClosed
            }
            Err(error) => Destroyed::Failed(error),
        },
    };
    Ok(condemned.iter().map(outcome).collect())
}

/// `struct inet_diag_req_v2` for one socket.
pub(crate) fn request(socket: &Condemned) -> [u8; 56] {
    let mut request = [0; 56];
    request[1] = libc::IPPROTO_TCP as u8;
    request[4..8].copy_from_slice(&(1_u32 << socket.state).to_ne_bytes());
    request[8..10].copy_from_slice(&socket.local.port().to_be_bytes());
    request[10..12].copy_from_slice(&socket.remote.port().to_be_bytes());
    for (address, at) in [(socket.local, 12), (socket.remote, 28)] {
        match address.ip() {
            IpAddr::V4(v4) => {
                request[0] = libc::AF_INET as u8;
                request[at..at + 4].copy_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                request[0] = libc::AF_INET6 as u8;
                request[at..at + 16].copy_from_slice(&v6.octets());
            }
        }
    }
    request[44..48].copy_from_slice(&socket.device.to_ne_bytes());
    request[48..56].copy_from_slice(&socket.cookie.to_ne_bytes());
    request
}
