//! `tcp_keepalive_timer` as a state machine: events in, actions out.

use crate::options::{Options, SetOption, Sysctl};
use crate::time::Time;
use core::fmt;
use core::num::NonZeroU8;
use core::time::Duration;

/// How soon the timer tries again when a probe was dropped by this host's own
/// queue (`TCP_RESOURCE_PROBE_INTERVAL`).
pub const CONGESTION_RETRY: Duration = Duration::from_millis(500);

/// How soon the kernel's timer tries again when a program holds the socket's
/// lock at that moment (`HZ / 20` in `tcp_keepalive_timer`).
pub const LOCKED_RETRY: Duration = Duration::from_millis(50);

/// A timer that is armed for no time at all fires at the next tick; this is
/// the shortest there is (`HZ` = 1000).
const TICK: Duration = Duration::from_millis(1);

/// The keep-alive of one connection: what Linux does in `tcp_keepalive_timer`,
/// `tcp_set_keepalive`, `tcp_sock_set_keepidle` and `tcp_ack`.
///
/// **The machine reads no clock and has no timer: its owner tells it what
/// happened and when, and keeps the one timer that it asks for.** 24 bytes,
/// the connection's own options included; nothing is allocated.
///
/// ```
/// use tcpalive_keepalive::{Action, Event, Machine, Options, Params, Sysctl, Time};
///
/// let params: Params = "10/75/9".parse()?;
/// let sysctl = Sysctl::LINUX;
/// let (mut machine, action) = Machine::established(params.into(), &sysctl, Time::ZERO);
/// assert_eq!(action, Action::Arm(Time::from_secs(10)));
///
/// // The timer fires, and the peer answers the probe.
/// let action = machine.on_timer(Time::from_secs(10), &sysctl);
/// assert_eq!(action, Action::Probe { probes_out: 1, next: Time::from_secs(85) });
/// let answered = machine.handle(Event::Ack { outstanding: false }, Time::from_millis(10_001), &sysctl);
/// // Lazy: an ACK does not move the timer.
/// assert_eq!(answered, Action::Keep);
/// assert_eq!(machine.probes_out(), 0);
/// # Ok::<(), tcpalive_keepalive::ParamsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Machine {
    /// The later of the last ACK and the last data: `keepalive_time_elapsed`
    /// takes the smaller of the two ages.
    heard: Time,
    options: Options,
    /// `icsk_probes_out`: 8 bits that wrap.
    probes_out: u8,
    /// `sk_err_soft`.
    soft_error: Option<Errno>,
    phase: Phase,
    /// `packets_out`, or a write queue that is not empty.
    outstanding: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// CLOSE or SYN_SENT.
    Connecting,
    /// ESTABLISHED, FIN_WAIT2 that a program still holds, and all states in
    /// which a FIN is in flight.
    Open,
    /// The peer closed: a reset is EPIPE from now on.
    CloseWait,
    /// FIN_WAIT2 that no program holds: the timer serves `tcp_fin_timeout`.
    Orphaned,
    Closed,
}

/// Something that happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The handshake was completed by the peer's SYN with ACK.
    Established,
    /// A segment came whose acknowledgment is acceptable: `snd_una ≤ ack ≤
    /// snd_nxt` (`tcp_ack`). That is what answers a probe. It resets the count
    /// and the clock and clears the soft error. For protocols other than TCP:
    /// a sign of life came.
    Ack {
        /// Whether anything is still in flight or queued.
        outstanding: bool,
    },
    /// In-order data came (`tcp_event_data_recv`): resets the clock, not the
    /// count. Data that come with an acceptable acknowledgment are an
    /// [`Event::Ack`], too, unless the kernel's fast path skipped it.
    Data,
    /// The program gave data, or a FIN, to send: something is outstanding
    /// until an [`Event::Ack`] says otherwise.
    Send,
    /// The program set an option.
    Set(SetOption),
    /// The last probe did not leave this host, since its own queue was full.
    /// It is not counted, and tried again after [`CONGESTION_RETRY`]. Any
    /// other failure to send counts like a probe that was sent.
    LocalCongestion,
    /// An ICMP error came that quotes a sequence number within the window
    /// (`tcp_v4_err`); the connection ends with it if it ends by time-out. An
    /// error that a *probe* drew is none: it quotes `snd_una − 1`.
    SoftError(Errno),
    /// The peer closed its side.
    PeerClosed,
    /// The program closed the connection and the peer acknowledged that: an
    /// orphan in FIN_WAIT2 is not probed.
    Orphaned,
    /// An acceptable reset came (RFC 5961 §3).
    Reset,
    /// The connection ended in any other way.
    Closed,
}

/// What the owner of a machine has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Action {
    /// Leave the timer as it is.
    Keep,
    /// Set the timer to fire then, in place of what it was set to.
    Arm(Time),
    /// Take the timer down.
    Disarm,
    /// Send a probe, and set the timer.
    Probe {
        /// Unanswered probes, this one included.
        probes_out: u8,
        /// When the timer has to fire.
        next: Time,
    },
    /// End the connection: send RST with ACK, sequence number `snd_nxt`, and
    /// give the program the error. The timer is down.
    Abort(Abort),
    /// The connection was ended from outside; the timer is down.
    Closed {
        /// What the program gets, if anything.
        error: Option<Errno>,
    },
}

/// Why keep-alive gave a connection up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Abort {
    /// The remembered soft error, else ETIMEDOUT.
    pub error: Errno,
    /// How many probes were unanswered.
    pub probes_out: u8,
}

impl Machine {
    /// A socket before its connection is established (CLOSE, SYN_SENT).
    #[must_use]
    pub const fn connecting(options: Options) -> Self {
        Self {
            heard: Time::ZERO,
            options,
            probes_out: 0,
            soft_error: None,
            phase: Phase::Connecting,
            outstanding: false,
        }
    }

    /// A connection that is established now: connected, or accepted with the
    /// options of the listener.
    pub fn established(options: Options, sysctl: &Sysctl, now: Time) -> (Self, Action) {
        let mut machine = Self::connecting(options);
        let action = machine.handle(Event::Established, now, sysctl);
        (machine, action)
    }

    /// Takes note of something that happened now.
    pub fn handle(&mut self, event: Event, now: Time, sysctl: &Sysctl) -> Action {
        if self.phase == Phase::Closed {
            return Action::Keep;
        }
        match event {
            Event::Established => {
                if self.phase != Phase::Connecting {
                    return Action::Keep;
                }
                self.phase = Phase::Open;
                self.heard = now;
                self.arm_idle(now, sysctl)
            }
            Event::Ack { outstanding } => {
                self.heard = now;
                self.probes_out = 0;
                self.soft_error = None;
                self.outstanding = outstanding;
                Action::Keep
            }
            Event::Data => {
                self.heard = now;
                Action::Keep
            }
            Event::Send => {
                self.outstanding = true;
                Action::Keep
            }
            Event::Set(option) => self.set(option, now, sysctl),
            Event::LocalCongestion => {
                self.probes_out = self.probes_out.wrapping_sub(1);
                Action::Arm(now + CONGESTION_RETRY)
            }
            Event::SoftError(error) => {
                self.soft_error = Some(error);
                Action::Keep
            }
            Event::PeerClosed => {
                if self.phase == Phase::Open {
                    self.phase = Phase::CloseWait;
                }
                Action::Keep
            }
            Event::Orphaned => {
                self.phase = Phase::Orphaned;
                Action::Disarm
            }
            // `tcp_reset`.
            Event::Reset => self.close(Some(match self.phase {
                Phase::Connecting => Errno::ECONNREFUSED,
                Phase::CloseWait => Errno::EPIPE,
                _ => Errno::ECONNRESET,
            })),
            Event::Closed => self.close(None),
        }
    }

    /// The timer that was asked for fired.
    pub fn on_timer(&mut self, now: Time, sysctl: &Sysctl) -> Action {
        if !self.options.enabled || !matches!(self.phase, Phase::Open | Phase::CloseWait) {
            return Action::Disarm;
        }
        // "It is alive without keepalive": the retransmission timer decides.
        if self.outstanding {
            return self.arm_idle(now, sysctl);
        }
        let idle = self.options.idle(sysctl);
        let silence = now.since(self.heard);
        if silence < idle {
            return Action::Arm(self.heard + idle);
        }
        // With a user timeout the count is not looked at.
        let given_up = match self.options.user_timeout.duration() {
            Some(timeout) => silence >= timeout && self.probes_out > 0,
            None => self.probes_out >= self.options.count(sysctl),
        };
        if given_up {
            self.phase = Phase::Closed;
            return Action::Abort(Abort {
                error: self.soft_error.unwrap_or(Errno::ETIMEDOUT),
                probes_out: self.probes_out,
            });
        }
        self.probes_out = self.probes_out.wrapping_add(1);
        Action::Probe {
            probes_out: self.probes_out,
            next: now + self.options.interval(sysctl).max(TICK),
        }
    }

    /// The timer fired while somebody else held the connection, as the kernel's
    /// does when a program is in the middle of a system call on the socket:
    /// nothing is looked at, and it tries again after [`LOCKED_RETRY`].
    pub fn on_timer_while_locked(&self, now: Time) -> Action {
        Action::Arm(now + LOCKED_RETRY)
    }

    /// `setsockopt` on a connection.
    fn set(&mut self, option: SetOption, now: Time, sysctl: &Sysctl) -> Action {
        match option {
            SetOption::KeepAlive(enabled) => {
                let before = core::mem::replace(&mut self.options.enabled, enabled);
                match (before, enabled) {
                    // A full idle time from now, however long the peer has
                    // been silent (`tcp_set_keepalive`).
                    (false, true) => self.arm_idle(now, sysctl),
                    (true, true) => Action::Keep,
                    // The count stays.
                    (_, false) => Action::Disarm,
                }
            }
            SetOption::Idle(idle) => {
                self.options.idle = Some(idle);
                if !self.options.enabled || self.phase == Phase::Connecting {
                    return Action::Keep;
                }
                // At once when the peer has been silent for longer
                // (`tcp_sock_set_keepidle_locked`).
                Action::Arm((self.heard + idle.duration()).max(now))
            }
            SetOption::Interval(interval) => {
                self.options.interval = Some(interval);
                Action::Keep
            }
            SetOption::Count(count) => {
                self.options.count = Some(count);
                Action::Keep
            }
            SetOption::UserTimeout(timeout) => {
                self.options.user_timeout = timeout;
                Action::Keep
            }
        }
    }

    fn arm_idle(&self, now: Time, sysctl: &Sysctl) -> Action {
        if !self.options.enabled || self.phase == Phase::Connecting {
            return Action::Keep;
        }
        Action::Arm(now + self.options.idle(sysctl).max(TICK))
    }

    fn close(&mut self, error: Option<Errno>) -> Action {
        self.phase = Phase::Closed;
        Action::Closed { error }
    }

    /// When the peer was last heard: the later of the last acceptable ACK and
    /// the last in-order data.
    #[must_use]
    pub const fn heard(&self) -> Time {
        self.heard
    }

    /// Unanswered probes (`tcpi_probes`).
    #[must_use]
    pub const fn probes_out(&self) -> u8 {
        self.probes_out
    }

    /// What the connection has set of its own.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The error that the connection would end with in place of ETIMEDOUT.
    #[must_use]
    pub const fn soft_error(&self) -> Option<Errno> {
        self.soft_error
    }

    /// Whether anything is in flight or queued.
    #[must_use]
    pub const fn is_outstanding(&self) -> bool {
        self.outstanding
    }

    /// Whether the connection has ended, by keep-alive or otherwise.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }
}

/// An error number of Linux (`errno(3)`), as a socket reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(NonZeroU8);

macro_rules! errnos {
    ($($name:ident = $number:literal, $says:literal;)*) => {
        impl Errno {
            $(
                #[doc = $says]
                pub const $name: Self = Self(NonZeroU8::new($number).unwrap());
            )*

            /// The name that C programs know it by, or `None` when it is not
            /// one that a TCP connection ends with.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0.get() {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// The error with that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EACCES = 13, "Permission denied: ICMP \"administratively prohibited\" on IPv6.";
    EPIPE = 32, "Broken pipe: a reset after the peer had closed.";
    EPROTO = 71, "Protocol error: ICMPv6 parameter problem.";
    ENOPROTOOPT = 92, "Protocol not available: ICMP \"protocol unreachable\".";
    EOPNOTSUPP = 95, "Operation not supported: ICMP \"source route failed\".";
    ENETUNREACH = 101, "Network is unreachable.";
    ECONNRESET = 104, "Connection reset by peer.";
    ETIMEDOUT = 110, "Connection timed out.";
    ECONNREFUSED = 111, "Connection refused: ICMP \"port unreachable\".";
    EHOSTDOWN = 112, "Host is down.";
    EHOSTUNREACH = 113, "No route to host: ICMP \"host unreachable\" and most others.";
}

impl Errno {
    /// The error with that number; `None` for 0.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, as on x86 and ARM.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}
