//! One TCP socket as a sweep saw it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Address family as people mean it: IPv4 carried by a dual-stack IPv6
/// socket (`::ffff:192.0.2.1`) is [`Family::Ipv4`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, also when the socket itself is an IPv6 one.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family's name in output and in filters: `ipv4` or `ipv6`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// TCP state with the kernel's numbering (`include/net/tcp_states.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// The handshake is done and neither side has closed.
    Established = 1,
    /// This side sent a SYN.
    SynSent = 2,
    /// A SYN was received on a full socket (simultaneous open, fast open).
    SynRecv = 3,
    /// This side closed; its FIN is not acknowledged.
    FinWait1 = 4,
    /// This side closed; its FIN is acknowledged.
    FinWait2 = 5,
    /// Kept for 60 s after the end to absorb late segments.
    TimeWait = 6,
    /// Closed.
    Close = 7,
    /// The peer closed; the program has not.
    CloseWait = 8,
    /// Both closed; this side's FIN is not acknowledged.
    LastAck = 9,
    /// Waiting for connections.
    Listen = 10,
    /// Both closed at once.
    Closing = 11,
    /// A request socket: a SYN was answered, the last ACK has not come.
    NewSynRecv = 12,
}

impl State {
    /// All states, in the kernel's order.
    pub const ALL: [Self; 12] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
    ];

    /// The state with the kernel's number, or `None` for a number that no
    /// kernel uses for a socket in its tables.
    #[must_use]
    pub fn from_kernel(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// The name in output and in filters. A request socket is called
    /// `syn-recv`, as `ss` does.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn-sent",
            Self::SynRecv | Self::NewSynRecv => "syn-recv",
            Self::FinWait1 => "fin-wait-1",
            Self::FinWait2 => "fin-wait-2",
            Self::TimeWait => "time-wait",
            Self::Close => "close",
            Self::CloseWait => "close-wait",
            Self::LastAck => "last-ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }

    /// Whether the kernel's keep-alive timer would send a probe in this
    /// state: established, close-wait, and fin-wait-2 of a socket that a
    /// program still holds (`tcp_keepalive_timer`).
    #[must_use]
    pub const fn answers_keepalive(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait | Self::FinWait2)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for State {
    type Err = ();

    /// Accepts [`State::name`] and the spellings of `ss` and `netstat`
    /// (`ESTAB`, `CLOSE_WAIT`, `FIN_WAIT1`), in any case.
    fn from_str(text: &str) -> Result<Self, ()> {
        let canonical: String = text
            .chars()
            .filter(|c| !matches!(c, '-' | '_'))
            .map(|c| c.to_ascii_lowercase())
            .collect();
        Ok(match canonical.as_str() {
            "established" | "estab" => Self::Established,
            "synsent" => Self::SynSent,
            "synrecv" => Self::SynRecv,
            "finwait1" => Self::FinWait1,
            "finwait2" => Self::FinWait2,
            "timewait" => Self::TimeWait,
            "close" | "closed" | "unconn" => Self::Close,
            "closewait" => Self::CloseWait,
            "lastack" => Self::LastAck,
            "listen" | "listening" => Self::Listen,
            "closing" => Self::Closing,
            _ => return Err(()),
        })
    }
}

/// Where the effective keep-alive values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// At least one of idle, interval and count was set on the socket.
    Socket,
    /// All three are the network namespace's sysctls.
    Sysctl,
}

impl Origin {
    /// `socket` or `sysctl`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Sysctl => "sysctl",
        }
    }
}

/// The keep-alive switch of a socket and the values in effect: its own, or
/// the namespace's `net.ipv4.tcp_keepalive_*` where it has none
/// (`keepalive_time_when` and its siblings in `include/net/tcp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeepAlive {
    /// `SO_KEEPALIVE`.
    pub enabled: bool,
    /// Seconds of silence before the first probe. Sysctls may be out of the
    /// range that sockets have (0 and negative values are accepted there).
    pub idle_s: i64,
    /// Seconds between probes.
    pub interval_s: i64,
    /// Unanswered probes before the connection is aborted.
    pub count: u32,
    /// Where the values come from.
    pub from: Origin,
    /// `TCP_USER_TIMEOUT` in milliseconds; 0 is "none".
    pub user_timeout_ms: u32,
}

/// One TCP socket as a sweep saw it.
///
/// It is identified by (`netns`, `cookie`). Fields that the kernel does not
/// have for a state, or that the chosen backend cannot read, are `None`:
/// unknown is never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Inode number of the network namespace, as `readlink /proc/self/ns/net` shows it.
    pub netns: u64,
    /// Unique number of the socket for as long as the kernel runs (`SO_COOKIE`).
    pub cookie: u64,
    /// Local address and port; v4-mapped addresses are shown as IPv4.
    pub local: SocketAddr,
    /// Remote address and port; `0.0.0.0:0` or `[::]:0` for a listener.
    pub remote: SocketAddr,
    /// TCP state.
    pub state: State,
    /// User that owns the socket.
    pub uid: u32,
    /// Inode of the socket's file; 0 when no file refers to it (orphaned,
    /// time-wait, not yet accepted).
    pub inode: u64,
    /// Id of the cgroup (v2) that the socket was made in.
    pub cgroup_id: Option<u64>,
    /// Keep-alive; `None` where the backend cannot know it, and for sockets
    /// that have none (time-wait, request sockets).
    pub keepalive: Option<KeepAlive>,
    /// Probes (keep-alive or zero-window) sent and not answered.
    pub probes_out: Option<u32>,
    /// Milliseconds since anything acceptable came from the peer: the
    /// smaller of the two below.
    pub last_heard_ms: Option<u64>,
    /// Milliseconds since the last acceptable ACK.
    pub last_ack_ms: Option<u64>,
    /// Milliseconds since data came in.
    pub last_data_in_ms: Option<u64>,
    /// Milliseconds since data went out.
    pub last_data_out_ms: Option<u64>,
    /// Bytes sent and not acknowledged.
    pub unacked_bytes: Option<u64>,
    /// Bytes written by the program and not yet sent.
    pub unsent_bytes: Option<u64>,
    /// Retransmissions of the segment in flight now (back to 0 on progress).
    pub retransmits: Option<u32>,
    /// Kernel memory: the slab objects of the socket plus its queues.
    pub memory_bytes: u64,
}

impl Connection {
    /// IPv4 or IPv6, after v4-mapped addresses were unwrapped.
    #[must_use]
    pub fn family(&self) -> Family {
        if self.local.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        }
    }
}
