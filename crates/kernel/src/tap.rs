//! What really left, and what came back, seen on the wire.
//!
//! A packet socket with a BPF filter sees every frame of the namespace as the
//! devices do: outgoing ones after queueing and firewall, incoming ones
//! before any. The filter notes what concerns the connections being checked
//! in a map and lets nothing through, so nothing is ever queued or lost.

use crate::bpf::tap::types::{tcpalive_flow, tcpalive_sighting};
use crate::bpf::tap::{TapSkel, TapSkelBuilder};
use crate::bpf::{bytes_of, object_storage, read_plain, silence_libbpf};
use crate::error::{Doing, Result};
use crate::netns::Namespace;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Entries handed to the map at a time.
const BATCH: usize = 4096;

/// A connection to watch: its addresses, and the first sequence number that
/// the peer has not acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// Local address and port.
    pub local: SocketAddr,
    /// Remote address and port.
    pub remote: SocketAddr,
    /// `snd_una`: probes start one before it, living peers acknowledge it.
    pub snd_una: u32,
}

/// What the wire showed of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sighting {
    /// When a probe last left through a device, in nanoseconds of the
    /// kernel's monotonic clock; 0 for never.
    pub probe_out_ns: u64,
    /// When the peer was last heard, on the same clock; 0 for never.
    pub heard_ns: u64,
    /// From the last probe to the first answer, if there was one.
    pub rtt_ns: Option<u64>,
    /// Segments from the peer without RST.
    pub heard: u32,
    /// Those of them that acknowledged exactly what a living peer would.
    pub acceptable: u32,
    /// Segments from the peer with RST.
    pub resets: u32,
    /// Interfaces that probes left by, 0 where there is none: a VLAN or a bond
    /// comes before what is below it.
    pub left_by: [u32; 4],
}

/// The tap of one namespace. It ends when dropped.
pub struct Tap {
    skeleton: TapSkel<'static>,
    _socket: OwnedFd,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    /// Starts watching these connections.
    ///
    /// # Errors
    /// When BPF or packet sockets are not allowed (CAP_BPF, CAP_NET_RAW), or
    /// the namespace cannot be entered.
    pub fn open(namespace: &Namespace, connections: &[Watch]) -> Result<Self> {
        silence_libbpf();
        let loading = || "loading the filter that watches for answers".to_string();
        let mut open = TapSkelBuilder::default()
            .open(object_storage())
            .doing(loading)?;
        let entries = u32::try_from(connections.len().max(1)).unwrap_or(u32::MAX);
        open.maps.watched.set_max_entries(entries).doing(loading)?;
        let skeleton = open.load().doing(loading)?;
        for batch in connections.chunks(BATCH) {
            let mut keys = Vec::with_capacity(batch.len() * size_of::<tcpalive_flow>());
            let mut values = Vec::with_capacity(batch.len() * size_of::<tcpalive_sighting>());
            for watch in batch {
                keys.extend_from_slice(bytes_of(&flow(watch.local, watch.remote)));
                values.extend_from_slice(bytes_of(&tcpalive_sighting {
                    probe_sequence: watch.snd_una.wrapping_sub(1),
                    snd_una: watch.snd_una,
                    ..Default::default()
                }));
            }
            skeleton
                .maps
                .watched
                .update_batch(
                    &keys,
                    &values,
                    batch.len() as u32,
                    MapFlags::ANY,
                    MapFlags::ANY,
                )
                .doing(|| "noting the connections to watch".into())?;
        }
        let socket = namespace
            .enter(|| open_packet_socket(&skeleton))?
            .doing(|| "opening a packet socket".into())?;
        Ok(Self {
            skeleton,
            _socket: socket,
        })
    }

    /// How many of the connections were heard so far.
    #[must_use]
    pub fn connections_heard(&self) -> u64 {
        self.skeleton
            .maps
            .bss_data
            .as_deref()
            .map_or(0, |variables| {
                // SAFETY: the pointer is to a mapped variable that the kernel
                // changes meanwhile, hence volatile.
                unsafe { std::ptr::from_ref(&variables.connections_heard).read_volatile() }
            })
    }

    /// What the wire showed of a connection so far.
    #[must_use]
    pub fn sighting(&self, local: SocketAddr, remote: SocketAddr) -> Sighting {
        let key = flow(local, remote);
        let Ok(Some(bytes)) = self
            .skeleton
            .maps
            .watched
            .lookup(bytes_of(&key), MapFlags::ANY)
        else {
            return Sighting::default();
        };
        let seen: tcpalive_sighting = read_plain(&bytes);
        Sighting {
            probe_out_ns: seen.probe_out_ns,
            heard_ns: seen.heard_ns,
            rtt_ns: (seen.rtt_ns != 0).then_some(seen.rtt_ns),
            heard: seen.heard,
            acceptable: seen.acceptable,
            resets: seen.resets,
            left_by: seen.out_ifindex,
        }
    }
}

fn flow(local: SocketAddr, remote: SocketAddr) -> tcpalive_flow {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    tcpalive_flow {
        local: mapped(local.ip()),
        remote: mapped(remote.ip()),
        local_port: local.port(),
        remote_port: remote.port(),
    }
}

fn open_packet_socket(skeleton: &TapSkel<'_>) -> io::Result<OwnedFd> {
    // With protocol 0 it hears nothing until it is bound, filter in place.
    let socket = socket_with(
        AddressFamily::PACKET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let program = skeleton.progs.watch.as_fd().as_raw_fd();
    crate::probe::set_option(
        &socket,
        libc::SOL_SOCKET,
        libc::SO_ATTACH_BPF,
        program.cast_unsigned(),
    )?;
    // SAFETY: sockaddr_ll is plain integers; all zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the pointer is to a sockaddr_ll that lives through the call,
    // and the length is its own.
    let code = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if code < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(socket)
    }
}
