//! Sending keep-alive probes from raw sockets, on behalf of sockets that are
//! not ours.
//!
//! A raw socket of `IPPROTO_RAW` sends complete IP packets and receives
//! nothing. Marks, bound devices and users decide about routes and firewall
//! rules, so there is one socket for each combination that the probed sockets
//! have. `IP_RECVERR` makes the kernel say when a queueing discipline dropped
//! a packet.

use crate::clock::KernelClock;
use crate::error::{Doing, Result};
use crate::netns::Namespace;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use tcpalive_segment::{MAX_PROBE_LEN, Probe};

/// Packets handed to one `sendmmsg`.
const BATCH: usize = 64;
/// include/uapi/linux/in6.h
const IPV6_FREEBIND: i32 = 78;
/// How often a full send buffer is waited for, a millisecond each.
const PATIENCE: u32 = 50;

/// A probe and what decides about its route.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The segment.
    pub probe: Probe,
    /// `SO_MARK` of the socket it is sent for.
    pub mark: u32,
    /// Its bound device, 0 for none.
    pub device: u32,
    /// The user that owns it.
    pub uid: u32,
    /// The user and the group that opened it.
    pub opener: (u32, u32),
}

/// What became of a probe: when it was handed to the kernel, in nanoseconds
/// of its monotonic clock, or why the kernel refused it.
pub type Sent = std::result::Result<u64, io::Error>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Route {
    ipv6: bool,
    mark: u32,
    device: u32,
    uid: u32,
    opener: (u32, u32),
}

/// Sends probes in one namespace.
#[derive(Debug)]
pub struct ProbeSender<'n> {
    namespace: &'n Namespace,
    clock: KernelClock,
    sockets: HashMap<Route, OwnedFd>,
}

impl<'n> ProbeSender<'n> {
    /// Opens a first raw socket, to see whether that is allowed.
    ///
    /// # Errors
    /// When raw sockets are not allowed (CAP_NET_RAW).
    pub fn open(namespace: &'n Namespace, clock: KernelClock) -> Result<Self> {
        let mut sender = Self {
            namespace,
            clock,
            sockets: HashMap::new(),
        };
        sender
            .socket(Route {
                ipv6: false,
                mark: 0,
                device: 0,
                uid: 0,
                opener: (0, 0),
            })?
            .doing(|| "opening a raw socket".into())?;
        Ok(sender)
    }

    /// Sends the probes and tells of each what became of it.
    ///
    /// # Errors
    /// When the namespace cannot be entered. A socket or a packet that the
    /// kernel refuses is reported with its probes.
    pub fn send(&mut self, probes: &[Outgoing]) -> Result<Vec<Sent>> {
        let mut results: Vec<Option<Sent>> = probes.iter().map(|_| None).collect();
        let mut groups: HashMap<Route, Vec<usize>> = HashMap::new();
        for (index, outgoing) in probes.iter().enumerate() {
            let route = Route {
                ipv6: outgoing.probe.remote.is_ipv6(),
                mark: outgoing.mark,
                device: outgoing.device,
                uid: outgoing.uid,
                opener: outgoing.opener,
            };
            groups.entry(route).or_default().push(index);
        }
        for (route, members) in groups {
            let clock = self.clock;
            match self.socket(route)? {
                Ok(socket) => {
                    for batch in members.chunks(BATCH) {
                        send_batch(socket, &clock, probes, batch, &mut results);
                    }
                }
                Err(error) => {
                    for index in members {
                        results[index] = Some(Err(copy(&error)));
                    }
                }
            }
        }
        Ok(results
            .into_iter()
            .map(|result| result.expect("every probe was tried"))
            .collect())
    }

    fn socket(&mut self, route: Route) -> Result<io::Result<&OwnedFd>> {
        match self.sockets.entry(route) {
            Entry::Occupied(entry) => Ok(Ok(entry.into_mut())),
            Entry::Vacant(entry) => Ok(self
                .namespace
                .enter(|| open_socket(route))?
                .map(|socket| &*entry.insert(socket))),
        }
    }
}

fn open_socket(route: Route) -> io::Result<OwnedFd> {
    let family = if route.ipv6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let open = || {
        socket_with(
            family,
            SocketType::RAW,
            flags,
            Some(rustix::net::ipproto::RAW),
        )
    };
    let socket = with_opener(route.opener, open)??;
    // Refused without CAP_NET_ADMIN: the default buffer is enough for that user.
    let _ = sockopt::set_socket_send_buffer_size_force(&socket, 4 << 20);
    let set = |level: i32, option: i32, value: u32| set_option(&socket, level, option, value);
    if route.ipv6 {
        set(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
        // A transparent proxy's source address is not this host's own.
        set(libc::IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
    } else {
        set(libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
    }
    if route.mark != 0 {
        set(libc::SOL_SOCKET, libc::SO_MARK, route.mark)?;
    }
    if route.device != 0 {
        set(libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, route.device)?;
    }
    if route.uid != route.opener.0 {
        // What routing rules go by is the owner of the inode
        // (sockfs_setattr), which can have changed since it was opened.
        rustix::fs::fchown(&socket, Some(rustix::fs::Uid::from_raw(route.uid)), None)?;
    }
    Ok(socket)
}

/// Runs `action` as this user and group, as far as files and sockets that it
/// opens are concerned: rules by user (`meta skuid`, `-m owner`) look at who
/// opened a socket. This thread alone changes, and changes back.
fn with_opener<T>((uid, gid): (u32, u32), action: impl FnOnce() -> T) -> io::Result<T> {
    let set = |uid: u32, gid: u32| {
        // SAFETY: both take a number and change this thread's credentials.
        // They return the former id; whether it worked is asked with an
        // impossible one.
        unsafe {
            libc::setfsgid(gid);
            libc::setfsuid(uid);
            (
                libc::setfsuid(u32::MAX).cast_unsigned(),
                libc::setfsgid(u32::MAX).cast_unsigned(),
            )
        }
    };
    // SAFETY: an impossible id changes nothing and returns the current one.
    let own = unsafe {
        (
            libc::setfsuid(u32::MAX).cast_unsigned(),
            libc::setfsgid(u32::MAX).cast_unsigned(),
        )
    };
    if own == (uid, gid) {
        return Ok(action());
    }
    if set(uid, gid) != (uid, gid) {
        set(own.0, own.1);
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let result = action();
    assert_eq!(set(own.0, own.1), own, "taking back this thread's own user");
    Ok(result)
}

/// Sets an integer socket option.
pub(crate) fn set_option(socket: &OwnedFd, level: i32, option: i32, value: u32) -> io::Result<()> {
    // SAFETY: the pointer is to a u32 that lives through the call, and the
    // length is that of a u32.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(&value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if code < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Room for one packet and all that `sendmmsg` wants to know about it.
struct Packet {
    bytes: [u8; MAX_PROBE_LEN],
    length: usize,
    address: libc::sockaddr_in6,
    address_length: libc::socklen_t,
    control: Control,
    control_length: usize,
}

/// Room for one ancillary message with a packet info, aligned as a header is.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 96]);

fn send_batch(
    socket: &OwnedFd,
    clock: &KernelClock,
    probes: &[Outgoing],
    batch: &[usize],
    results: &mut [Option<Sent>],
) {
    let mut indices = Vec::with_capacity(batch.len());
    let mut packets = Vec::with_capacity(batch.len());
    for &index in batch {
        match packet(&probes[index]) {
            Ok(packet) => {
                indices.push(index);
                packets.push(packet);
            }
            Err(error) => results[index] = Some(Err(error)),
        }
    }
    let mut vectors: Vec<libc::iovec> = packets
        .iter_mut()
        .map(|packet| libc::iovec {
            iov_base: packet.bytes.as_mut_ptr().cast(),
            iov_len: packet.length,
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = packets
        .iter_mut()
        .zip(&mut vectors)
        .map(|(packet, vector)| {
            // SAFETY: mmsghdr is plain integers and pointers; all zero is valid.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            message.msg_hdr.msg_name = std::ptr::from_mut(&mut packet.address).cast();
            message.msg_hdr.msg_namelen = packet.address_length;
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = packet.control.0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = packet.control_length as _;
            message
        })
        .collect();

    let mut done = 0;
    let mut patience = PATIENCE;
    while done < messages.len() {
        let rest = &mut messages[done..];
        let now = clock.now_ns();
        // SAFETY: every message points into `packets` and `vectors`, which
        // outlive the call and are not moved; the count is the slice's.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        if sent > 0 {
            for index in &indices[done..done + sent as usize] {
                results[*index] = Some(Ok(now));
            }
            done += sent as usize;
            continue;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock if patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            // An error belongs to the first message that was not sent.
            _ => {
                results[indices[done]] = Some(Err(error));
                done += 1;
            }
        }
    }
}

fn packet(outgoing: &Outgoing) -> io::Result<Packet> {
    let Outgoing { probe, device, .. } = outgoing;
    // SAFETY: sockaddr_in6 is plain integers; all zero is valid.
    let mut address: libc::sockaddr_in6 = unsafe { zeroed() };
    let address_length = match probe.remote {
        SocketAddr::V4(remote) => {
            // SAFETY: sockaddr_in is plain integers and smaller than
            // sockaddr_in6, whose first bytes are reinterpreted.
            let v4: &mut libc::sockaddr_in =
                unsafe { &mut *std::ptr::from_mut(&mut address).cast() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_addr.s_addr = u32::from_ne_bytes(remote.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(remote) => {
            address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            address.sin6_addr.s6_addr = remote.ip().octets();
            if remote.ip().is_unicast_link_local() {
                address.sin6_scope_id = *device;
            }
            size_of::<libc::sockaddr_in6>()
        }
    };
    let mut bytes = [0; MAX_PROBE_LEN];
    let length = probe.write(&mut bytes).map_err(io::Error::other)?;
    let (control, control_length) = control(probe.local.ip(), *device, probe.ip.traffic_class);
    Ok(Packet {
        bytes,
        length,
        address,
        address_length: address_length as libc::socklen_t,
        control,
        control_length,
    })
}

/// Ancillary messages: the source address and the type of service, so that
/// routing rules by either apply as they do to the real socket.
fn control(local: IpAddr, device: u32, traffic_class: u8) -> (Control, usize) {
    let mut control = Control([0; 96]);
    let mut length = 0;
    let class = u32::from(traffic_class).to_ne_bytes();
    match local {
        // struct in_pktinfo: index, source, destination
        IpAddr::V4(v4) => {
            let mut info = [0; 12];
            info[..4].copy_from_slice(&device.to_ne_bytes());
            info[4..8].copy_from_slice(&v4.octets());
            control.push(&mut length, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            control.push(&mut length, libc::IPPROTO_IP, libc::IP_TOS, &class);
        }
        // struct in6_pktinfo: source, index
        IpAddr::V6(v6) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&v6.octets());
            info[16..].copy_from_slice(&device.to_ne_bytes());
            control.push(&mut length, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            control.push(&mut length, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class);
        }
    }
    (control, length)
}

impl Control {
    /// Appends one message: `struct cmsghdr` (length as size_t, level, type),
    /// the data, and padding.
    fn push(&mut self, length: &mut usize, level: i32, kind: i32, data: &[u8]) {
        const HEADER: usize = size_of::<usize>() + 8;
        let message = &mut self.0[*length..];
        let size = HEADER + data.len();
        message[..size_of::<usize>()].copy_from_slice(&size.to_ne_bytes());
        message[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        message[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..size].copy_from_slice(data);
        *length += size.next_multiple_of(size_of::<usize>());
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(
        || io::Error::new(error.kind(), error.to_string()),
        io::Error::from_raw_os_error,
    )
}
