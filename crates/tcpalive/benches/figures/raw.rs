//! The floor of `check`: probes that were built beforehand, handed to the
//! kernel as fast as it takes them.

use crate::bench::{Failure, must};
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketType, ipproto,
    sendmmsg, socket_with, sockopt,
};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Instant;
use tcpalive_connections::{Filter, Selection};
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::{BpfSweeper, Transmission};
use tcpalive_lab::Host;
use tcpalive_segment::{MAX_PROBE_LEN, Probe, Timestamps};

/// Packets for one system call.
const BATCH: usize = 64;

/// Sends a probe for each of the host's established connections, of which
/// there must be `expected`, and returns how many seconds that took.
pub(crate) fn send_probes(host: &Host, expected: usize) -> Result<f64, Failure> {
    let mut packets = Vec::with_capacity(expected);
    let mut sweeper = BpfSweeper::open()?;
    let clock = sweeper.clock();
    let established =
        Filter::parse("state = established").map_or(Selection::ALL, |filter| filter.selection());
    let now_ns = clock.now_ns();
    sweeper.sweep_for_probing(&Namespace::at(&host.netns_path())?, &established, |swept| {
        let connection = &swept.connection;
        if let Some(state) = swept.transmission() {
            packets.extend(packet(connection.local, connection.remote, &state, now_ns));
        }
    })?;
    must("connections to probe", packets.len() as u64, expected)?;
    host.run(|| send(&packets))
}

struct Packet {
    bytes: [u8; MAX_PROBE_LEN],
    length: usize,
    to: SocketAddrAny,
}

fn packet(
    local: SocketAddr,
    remote: SocketAddr,
    state: &Transmission,
    now_ns: u64,
) -> Option<Packet> {
    let probe = Probe {
        local,
        remote,
        sequence: state.snd_una.wrapping_sub(1),
        acknowledgment: state.rcv_nxt,
        window: state.window,
        timestamps: state.timestamps.map(|clock| Timestamps {
            value: clock.value(now_ns),
            echo_reply: clock.recent,
        }),
        garbage: false,
        ip: state.ip,
    };
    let mut bytes = [0; MAX_PROBE_LEN];
    let length = probe.write(&mut bytes).ok()?;
    let to = SocketAddr::new(remote.ip(), 0).into();
    Some(Packet { bytes, length, to })
}

fn send(packets: &[Packet]) -> Result<f64, Failure> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        rustix::net::SocketFlags::CLOEXEC,
        Some(ipproto::RAW),
    )?;
    sockopt::set_socket_send_buffer_size_force(&socket, 4 << 20)?;
    let begin = Instant::now();
    for batch in packets.chunks(BATCH) {
        let slices: Vec<[IoSlice<'_>; 1]> = batch
            .iter()
            .map(|packet| [IoSlice::new(&packet.bytes[..packet.length])])
            .collect();
        let mut controls: Vec<_> = batch
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let mut messages: Vec<MMsgHdr<'_>> = batch
            .iter()
            .zip(&slices)
            .zip(&mut controls)
            .map(|((packet, slice), control)| MMsgHdr::new_with_addr(&packet.to, slice, control))
            .collect();
        let mut sent = 0;
        while sent < messages.len() {
            sent += sendmmsg(&socket, &mut messages[sent..], SendFlags::empty())?;
        }
    }
    Ok(begin.elapsed().as_secs_f64())
}
