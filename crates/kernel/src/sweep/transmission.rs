//! What a probe is built from, and what a stall is judged by.

use super::Record;
use crate::clock::KernelClock;
use crate::sysctl::Settings;
use tcpalive_segment::IpFields;

/// Flags of record.h; the generated types leave enums out.
const FLAG_TSTAMP_OK: u8 = 2;
const FLAG_USEC_TS: u8 = 4;
const FLAG_MPTCP: u8 = 8;
pub(super) const FLAG_IPV6_SOCKET: u8 = 16;
const FLAG_ORPHAN: u8 = 32;
const FLAG_SIGNED: u8 = 64;
const FLAG_IPSEC: u8 = 128;

/// `icsk_pending`: the persist timer (include/net/inet_connection_sock.h).
const ICSK_TIME_PROBE0: u8 = 3;
/// `IP_PMTUDISC_DONT` (include/uapi/linux/in.h).
const IP_PMTUDISC_DONT: u8 = 0;

/// How a connection's TCP timestamps tick (RFC 7323).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampClock {
    /// `tsoffset`: what the connection adds to the kernel's clock.
    pub offset: u32,
    /// Whether it ticks in microseconds (`tcp_usec_ts`) or in milliseconds.
    pub microseconds: bool,
    /// `ts_recent`: the newest timestamp of the peer, to be echoed.
    pub recent: u32,
}

impl TimestampClock {
    /// TSval of a segment sent at `now_ns` of the kernel's monotonic clock:
    /// what `tcp_time_stamp_ts` would put there.
    #[must_use]
    pub const fn value(&self, now_ns: u64) -> u32 {
        let tick = if self.microseconds { 1_000 } else { 1_000_000 };
        ((now_ns / tick) as u32).wrapping_add(self.offset)
    }
}

/// The state of a connection's sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmission {
    /// First sequence number not acknowledged by the peer.
    pub snd_una: u32,
    /// Next sequence number to be sent.
    pub snd_nxt: u32,
    /// Where the program has written up to.
    pub write_seq: u32,
    /// Next sequence number expected from the peer.
    pub rcv_nxt: u32,
    /// Window that this side offers now, scaled as in the header.
    pub window: u16,
    /// Window that the peer offers, in bytes; 0 is closed.
    pub peer_window: u32,
    /// Shift of the windows this side offers.
    pub window_scale: u8,
    /// Timestamps, if they were negotiated.
    pub timestamps: Option<TimestampClock>,
    /// Times when the peer was last heard, in jiffies: last ACK and last data.
    pub heard: (u32, u32),
    /// Segments in flight.
    pub packets_out: u32,
    /// Retransmissions of what is in flight.
    pub retransmits: u32,
    /// Milliseconds since the first of them.
    pub retransmitting_ms: Option<u64>,
    /// Whether the persist timer probes a closed window.
    pub persisting: bool,
    /// Window probes sent and not answered.
    pub probes_out: u32,
    /// Retransmission time-out in milliseconds.
    pub rto_ms: u64,
    /// Smoothed round-trip time in microseconds, 0 when never measured.
    pub srtt_us: u32,
    /// Milliseconds after which the kernel gives up on unacknowledged data.
    pub gives_up_ms: u64,
    /// Segments retransmitted in the connection's life.
    pub total_retransmitted: u32,
    /// Segments with data sent in the connection's life.
    pub data_segments_out: u32,
    /// What of the IP header a probe takes from the socket.
    pub ip: IpFields,
    /// `SO_MARK`.
    pub mark: u32,
    /// `SO_BINDTODEVICE` as an interface index, 0 for none; also the scope of
    /// link-local addresses.
    pub bound_device: u32,
    /// Who opened the socket, as netfilter sees it: user and group.
    pub opener: (u32, u32),
    /// Interface that its last packet came in by, if it is known.
    pub received_by: Option<u32>,
    /// Subflow of an MPTCP connection.
    pub is_mptcp: bool,
    /// No program can reach the socket any more.
    pub is_orphan: bool,
    /// Segments carry a TCP-MD5 or TCP-AO signature (RFC 2385, RFC 5925):
    /// the peer drops those without.
    pub is_signed: bool,
    /// IPsec transforms what the socket sends, which a raw socket's packets
    /// may miss.
    pub is_ipsec: bool,
}

impl Transmission {
    pub(super) fn from_record(
        record: &Record,
        settings: &Settings,
        clock: &KernelClock,
    ) -> Option<Self> {
        // LISTEN, CLOSE and the small sockets have no sequence numbers.
        if record.kind != 0 || matches!(record.state, 7 | 10) {
            return None;
        }
        let ipv6 = record.flags & FLAG_IPV6_SOCKET != 0 && record.remote[..12] != MAPPED;
        let timestamps = (record.flags & FLAG_TSTAMP_OK != 0).then_some(TimestampClock {
            offset: record.tsoffset,
            microseconds: record.flags & FLAG_USEC_TS != 0,
            recent: record.ts_recent,
        });
        Some(Self {
            snd_una: record.snd_una,
            snd_nxt: record.snd_nxt,
            write_seq: record.write_seq,
            rcv_nxt: record.rcv_nxt,
            window: offered_window(
                record.rcv_wup,
                record.rcv_wnd,
                record.rcv_nxt,
                record.rcv_wscale,
            ),
            peer_window: record.snd_wnd,
            window_scale: record.rcv_wscale,
            timestamps,
            heard: (record.rcv_tstamp, record.lrcvtime),
            packets_out: record.packets_out,
            retransmits: u32::from(record.retransmits),
            retransmitting_ms: retransmitting_ms(record, clock),
            persisting: record.pending == ICSK_TIME_PROBE0,
            probes_out: u32::from(record.probes_out),
            rto_ms: clock.milliseconds(record.rto),
            srtt_us: record.srtt_us >> 3,
            gives_up_ms: match record.user_timeout {
                0 => retransmission_limit_ms(settings.retries2),
                timeout => u64::from(timeout),
            },
            ip: ip_fields(record, settings, ipv6),
            total_retransmitted: record.total_retrans,
            data_segments_out: record.data_segs_out,
            opener: (record.fsuid, record.fsgid),
            received_by: (record.rx_ifindex != 0).then_some(record.rx_ifindex),
            mark: record.mark,
            bound_device: record.bound_dev_if,
            is_mptcp: record.flags & FLAG_MPTCP != 0,
            is_orphan: record.flags & FLAG_ORPHAN != 0,
            is_signed: record.flags & FLAG_SIGNED != 0,
            is_ipsec: record.flags & FLAG_IPSEC != 0,
        })
    }
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// `tcp_receive_window`, scaled for the header.
pub(crate) fn offered_window(rcv_wup: u32, rcv_wnd: u32, rcv_nxt: u32, scale: u8) -> u16 {
    let window = rcv_wup
        .wrapping_add(rcv_wnd)
        .wrapping_sub(rcv_nxt)
        .cast_signed()
        .max(0)
        .cast_unsigned();
    u16::try_from(window >> scale).unwrap_or(u16::MAX)
}

/// Since `retrans_stamp`, which ticks with the connection's timestamps.
fn retransmitting_ms(record: &Record, clock: &KernelClock) -> Option<u64> {
    if record.retransmits == 0 || record.retrans_stamp == 0 {
        return None;
    }
    let now = clock.now_ns();
    Some(if record.flags & FLAG_USEC_TS != 0 {
        u64::from(((now / 1_000) as u32).wrapping_sub(record.retrans_stamp)) / 1000
    } else {
        u64::from(((now / 1_000_000) as u32).wrapping_sub(record.retrans_stamp))
    })
}

/// Time after which the kernel gives up on data that is not acknowledged:
/// `tcp_model_timeout` with the minimal and maximal retransmission time-out
/// (200 ms, 120 s). 15 retries, the default, are 924.6 s.
#[must_use]
pub const fn retransmission_limit_ms(retries: u32) -> u64 {
    const RTO_MIN_MS: u64 = 200;
    const RTO_MAX_MS: u64 = 120_000;
    // ilog2(RTO_MAX / RTO_MIN): doublings until the time-out stays the same.
    const DOUBLINGS: u32 = (RTO_MAX_MS / RTO_MIN_MS).ilog2();
    if retries <= DOUBLINGS {
        ((2 << retries) - 1) * RTO_MIN_MS
    } else {
        ((2 << DOUBLINGS) - 1) * RTO_MIN_MS + (retries - DOUBLINGS) as u64 * RTO_MAX_MS
    }
}

fn ip_fields(record: &Record, settings: &Settings, ipv6: bool) -> IpFields {
    if ipv6 {
        IpFields {
            ttl: u8::try_from(record.hop_limit).unwrap_or(settings.default_hop_limit),
            traffic_class: record.tclass,
            dont_fragment: false,
            flow_label: match record.flow_label {
                // ip6_make_flowlabel: the flow's hash, rotated, and its bytes
                // taken as if they were in network order.
                0 if settings.auto_flow_labels => {
                    u32::from_be(record.txhash.rotate_left(16)) & 0xf_ffff
                }
                label => label,
            },
        }
    } else {
        IpFields {
            ttl: u8::try_from(record.ttl).unwrap_or(settings.default_ttl),
            traffic_class: record.tos,
            dont_fragment: record.pmtudisc != IP_PMTUDISC_DONT,
            flow_label: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_number_of_retries_lasts_924_6_seconds() {
        // Documentation/networking/ip-sysctl.rst, tcp_retries2.
        assert_eq!(retransmission_limit_ms(15), 924_600);
        assert_eq!(retransmission_limit_ms(8), 102_200);
        assert_eq!(retransmission_limit_ms(0), 200);
    }

    #[test]
    fn a_window_is_what_is_left_of_what_was_offered() {
        assert_eq!(offered_window(1000, 65_536, 1000, 7), 512);
        assert_eq!(offered_window(1000, 65_536, 1000 + 65_536, 7), 0);
        assert_eq!(offered_window(1000, 10, 2000, 0), 0);
        assert_eq!(offered_window(u32::MAX - 5, 20, 4, 0), 10);
        assert_eq!(offered_window(0, 1 << 20, 0, 0), u16::MAX);
    }

    #[test]
    fn timestamps_tick_in_milliseconds_or_microseconds() {
        let clock = TimestampClock {
            offset: 7,
            microseconds: false,
            recent: 0,
        };
        assert_eq!(clock.value(5_000_000), 12);
        assert_eq!(
            TimestampClock {
                microseconds: true,
                ..clock
            }
            .value(5_000_000),
            5_007
        );
        assert_eq!(
            TimestampClock {
                offset: u32::MAX,
                ..clock
            }
            .value(5_000_000),
            4
        );
    }
}
