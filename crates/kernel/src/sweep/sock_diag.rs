//! The sweep by sock_diag netlink, for hosts without BPF.
//!
//! `inet_diag` tells addresses, states, ages, queues and memory, but neither
//! whether SO_KEEPALIVE is on nor the keep-alive values: those stay unknown.

use super::{Seen, SweepCount, Swept};
use crate::error::{Doing, Result};
use crate::netlink::{Netlink, attributes, u32_at};
use crate::netns::Namespace;
use crate::slab::SlabSizes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tcpalive_connections::{Connection, Selection, State};

/// include/uapi/linux/sock_diag.h and inet_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// The sweep by sock_diag netlink.
#[derive(Debug)]
pub struct SockDiagSweeper {
    sizes: SlabSizes,
}

impl SockDiagSweeper {
    /// Checks that the kernel has sock_diag.
    ///
    /// # Errors
    /// When it has not.
    pub fn open() -> Result<Self> {
        Netlink::sock_diag().doing(|| "opening a sock_diag netlink socket".into())?;
        Ok(Self {
            sizes: SlabSizes::of_this_kernel(None),
        })
    }

    /// See [`super::Sweeper::sweep`].
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel stops answering.
    pub fn sweep(
        &mut self,
        namespace: &Namespace,
        selection: &Selection,
        mut visit: impl FnMut(&Swept<'_>),
    ) -> Result<SweepCount> {
        let doing = || {
            format!(
                "sweeping the sockets of network namespace {} by netlink",
                namespace.label()
            )
        };
        let mut netlink = namespace.enter(Netlink::sock_diag)?.doing(doing)?;
        let mut seen = Seen::default();
        let mut count = SweepCount::default();
        for family in [AF_INET, AF_INET6] {
            let wanted = (1 << (INET_DIAG_INFO - 1)) | (1 << (INET_DIAG_SKMEMINFO - 1));
            let request = request(family, u32::from(selection.states.bits()), wanted);
            let answered = netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |_, payload| {
                let Some(connection) = parse(payload, namespace.inode(), &self.sizes) else {
                    return;
                };
                if !selection.accepts(&connection) {
                    return;
                }
                if seen.first_time(connection.cookie) {
                    count.seen += 1;
                    visit(&Swept {
                        connection,
                        record: None,
                        for_probing: false,
                    });
                } else {
                    count.repeated += 1;
                }
            });
            match answered {
                // A kernel without IPv6.
                Err(error)
                    if family == AF_INET6 && error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.doing(doing)?,
            }
        }
        Ok(count)
    }
}

/// Tells each socket's cookie whose keep-alive timer is armed, and in how many
/// milliseconds it is due. The kernel shows this timer only while neither the
/// retransmission nor the persist timer is pending (`inet_sk_diag_fill`), and
/// it fires up to a bucket of the timer wheel later.
///
/// # Errors
/// When the namespace cannot be entered or the kernel stops answering.
pub fn armed_keepalive_timers(
    namespace: &Namespace,
    mut visit: impl FnMut(u64, u64),
) -> Result<()> {
    /// `idiag_timer` of keep-alive.
    const KEEPALIVE: u8 = 2;
    let doing = || {
        format!(
            "asking for the timers of network namespace {}",
            namespace.label()
        )
    };
    let mut netlink = namespace.enter(Netlink::sock_diag)?.doing(doing)?;
    let states = State::ALL
        .into_iter()
        .filter(|state| state.answers_keepalive())
        .fold(0, |states, state| states | 1 << state as u32);
    for family in [AF_INET, AF_INET6] {
        let request = request(family, states, 0);
        let answered = netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |_, payload| {
            let Some(fixed) = payload.get(..MESSAGE) else {
                return;
            };
            if fixed[2] == KEEPALIVE {
                visit(cookie(fixed), u64::from(u32_at(fixed, 52)));
            }
        });
        match answered {
            // A kernel without IPv6.
            Err(error) if family == AF_INET6 && error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.doing(doing)?,
        }
    }
    Ok(())
}

/// `idiag_cookie` of a `struct inet_diag_msg`.
fn cookie(fixed: &[u8]) -> u64 {
    u64::from(u32_at(fixed, 44)) | u64::from(u32_at(fixed, 48)) << 32
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, states: u32, wanted: u8) -> [u8; 56] {
    let mut request = [0; 56];
    request[0] = family;
    request[1] = IPPROTO_TCP;
    request[2] = wanted;
    request[4..8].copy_from_slice(&states.to_ne_bytes());
    request
}

fn parse(message: &[u8], netns: u64, sizes: &SlabSizes) -> Option<Connection> {
    let fixed = message.get(..MESSAGE)?;
    let (family, state) = (fixed[0], State::from_kernel(fixed[1])?);
    let (timer, retransmissions) = (fixed[2], fixed[3]);
    let port = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let cookie = cookie(fixed);
    // idiag_expires, idiag_rqueue, idiag_wqueue, idiag_uid, idiag_inode
    let (write_queue, uid, inode) = (u32_at(fixed, 60), u32_at(fixed, 64), u32_at(fixed, 68));

    let mut info = None;
    let mut memory = 0;
    let mut cgroup_id = None;
    for (kind, value) in attributes(&message[MESSAGE..]) {
        match kind {
            INET_DIAG_INFO => info = TcpInfo::parse(value),
            // SK_MEMINFO_RMEM_ALLOC, _FWD_ALLOC, _WMEM_QUEUED
            INET_DIAG_SKMEMINFO if value.len() >= 24 => {
                memory = [0, 16, 20]
                    .into_iter()
                    .map(|at| u64::from(u32_at(value, at)))
                    .sum();
            }
            INET_DIAG_CGROUP_ID if value.len() == 8 => {
                cgroup_id = Some(u64::from_ne_bytes(value.try_into().expect("eight bytes")));
            }
            _ => {}
        }
    }
    let info = info.filter(|_| {
        !matches!(
            state,
            State::Listen | State::Close | State::TimeWait | State::NewSynRecv
        )
    });
    let is_full = !matches!(state, State::TimeWait | State::NewSynRecv);
    let objects = match state {
        State::TimeWait => sizes.time_wait,
        State::NewSynRecv => sizes.request,
        _ => {
            (if family == AF_INET6 {
                sizes.tcp6
            } else {
                sizes.tcp
            }) + if inode == 0 { 0 } else { sizes.file }
        }
    };
    Some(Connection {
        netns,
        cookie,
        local: SocketAddr::new(address(family, &fixed[8..24]), port(4)),
        remote: SocketAddr::new(address(family, &fixed[24..40]), port(6)),
        state,
        uid,
        inode: u64::from(inode),
        cgroup_id: cgroup_id.filter(|_| is_full),
        keepalive: None,
        probes_out: info.map(|info| info.probes),
        last_heard_ms: info.map(|info| info.last_ack_ms.min(info.last_data_in_ms)),
        last_ack_ms: info.map(|info| info.last_ack_ms),
        last_data_in_ms: info.map(|info| info.last_data_in_ms),
        last_data_out_ms: info.map(|info| info.last_data_out_ms),
        // idiag_wqueue counts both what is in flight and what is not yet sent.
        unacked_bytes: info
            .and_then(|info| Some(u64::from(write_queue).saturating_sub(info.unsent?))),
        unsent_bytes: info.and_then(|info| info.unsent),
        retransmits: info.map(|info| {
            if timer == 1 {
                u32::from(retransmissions)
            } else {
                info.retransmits
            }
        }),
        memory_bytes: objects + memory,
    })
}

fn address(family: u8, bytes: &[u8]) -> IpAddr {
    if family == AF_INET {
        return IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]));
    }
    let bytes: [u8; 16] = bytes.try_into().expect("sixteen bytes");
    let address = Ipv6Addr::from(bytes);
    address
        .to_ipv4_mapped()
        .map_or(IpAddr::V6(address), IpAddr::V4)
}

/// The fields of `struct tcp_info` that are used (include/uapi/linux/tcp.h).
#[derive(Debug, Clone, Copy)]
struct TcpInfo {
    retransmits: u32,
    probes: u32,
    last_data_out_ms: u64,
    last_data_in_ms: u64,
    last_ack_ms: u64,
    /// Since Linux 4.6.
    unsent: Option<u64>,
}

impl TcpInfo {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4).map(|word| u32_at(word, 0));
        Some(Self {
            retransmits: u32::from(*bytes.get(2)?),
            probes: u32::from(*bytes.get(3)?),
            last_data_out_ms: u64::from(word(44)?),
            last_data_in_ms: u64::from(word(52)?),
            last_ack_ms: u64::from(word(56)?),
            unsent: word(144).map(u64::from),
        })
    }
}
