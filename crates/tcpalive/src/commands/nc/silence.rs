//! The user timeout, and what is said of a broken connection.

use super::open::text;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;
use tcpalive_keepalive::{Params, socket};
use tcpalive_kernel::ending::{self, Silence};

/// What is done about a peer's silence.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeepAlive {
    /// The socket stays as it is made.
    Untouched,
    On(Params),
}

impl KeepAlive {
    pub(super) fn apply(self, socket: &OwnedFd) -> Result<(), Errno> {
        match self {
            Self::Untouched => Ok(()),
            Self::On(params) => socket::apply(socket, params).map_err(|error| {
                let error = io::Error::from(error);
                Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
            }),
        }
    }
}

/// Keeps the user timeout from ending a living connection.
///
/// Linux ends a connection whose window stays closed for the user timeout,
/// even though the peer answers every probe of the window
/// (`tcp_probe_timer`: `icsk_probes_tstamp` is cleared only when the window
/// opens). So the option is switched off while the window is closed, or too
/// small for the next segment, and on again when data are in flight again.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    socket: BorrowedFd<'a>,
    timeout: Duration,
    on: bool,
}

impl<'a> Guard<'a> {
    /// `None` without a user timeout.
    pub(super) fn new(socket: BorrowedFd<'a>, keepalive: KeepAlive) -> Option<Self> {
        let KeepAlive::On(params) = keepalive else {
            return None;
        };
        Some(Self {
            socket,
            timeout: params.user_timeout.duration()?,
            on: true,
        })
    }

    /// How often to look: several times before the timeout can pass.
    pub(super) fn period(&self) -> Duration {
        (self.timeout / 4).clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// Looks at the window, and switches.
    pub(super) fn look(&mut self) {
        // A socket that cannot be asked any more is found broken elsewhere.
        let Ok(silence) = ending::silence(&self.socket) else {
            return;
        };
        let on = !is_window_closed(&silence);
        if on != self.on {
            let millis = if on { self.timeout.as_millis() } else { 0 };
            let millis = u32::try_from(millis).unwrap_or(0);
            if sockopt::set_tcp_user_timeout(self.socket, millis).is_ok() {
                self.on = on;
            }
        }
    }
}

/// Whether the next segment does not fit the window. What does fit and is not
/// in flight was dropped before it left this host: that is no pause of the
/// peer's.
fn is_window_closed(silence: &Silence) -> bool {
    let needed = match silence.segments_in_flight {
        0 => silence.unacknowledged.min(silence.segment_size),
        _ => 1,
    };
    silence.unacknowledged > 0 && silence.window.is_none_or(|window| window < needed)
}

/// Whether the peer was found dead.
pub(super) fn is_death(error: Errno) -> bool {
    error == Errno::TIMEDOUT
}

/// What people are told about a connection that broke; `None` where the peer
/// had closed it and merely did not want what came later, as netcat is silent
/// about it.
pub(super) fn account(
    error: Errno,
    silence: &Silence,
    unacknowledged_for: Option<Duration>,
) -> Option<String> {
    Some(match error {
        Errno::PIPE => return None,
        Errno::TIMEDOUT if silence.unacknowledged > 0 => {
            let waited = unacknowledged_for.unwrap_or(silence.last_heard);
            let seconds = waited.min(silence.last_heard).as_secs_f64().round();
            format!("timed out: data unacknowledged for {seconds}s")
        }
        Errno::TIMEDOUT => {
            let (probes, plural) = (silence.probes, if silence.probes == 1 { "" } else { "s" });
            format!("timed out: {probes} probe{plural} unanswered")
        }
        Errno::CONNRESET => "connection reset by the peer".into(),
        Errno::HOSTUNREACH | Errno::NETUNREACH => {
            format!("connection lost: {} (told by the way)", text(error))
        }
        error => format!("connection lost: {}", text(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVING: Silence = Silence {
        probes: 0,
        segment_size: 1448,
        segments_in_flight: 1,
        unacknowledged: 100,
        last_heard: Duration::from_secs(200),
        window: Some(50),
    };

    #[test]
    fn a_closed_window_is_one_with_data_that_may_not_leave() {
        assert!(!is_window_closed(&LIVING));
        let closed = Silence {
            segments_in_flight: 0,
            ..LIVING
        };
        assert!(is_window_closed(&closed));
        let small = Silence {
            unacknowledged: 1 << 20,
            window: Some(1447),
            ..closed
        };
        assert!(is_window_closed(&small));
        let dropped_here = Silence {
            window: Some(1448),
            ..small
        };
        assert!(!is_window_closed(&dropped_here));
        let shrunk = Silence {
            window: Some(0),
            ..LIVING
        };
        assert!(is_window_closed(&shrunk));
        let quiet = Silence {
            unacknowledged: 0,
            ..closed
        };
        assert!(!is_window_closed(&quiet));
    }

    #[test]
    fn what_is_said_counts_what_was_seen() {
        let said = |error, silence: &Silence, waited| account(error, silence, waited);
        let quiet = Silence {
            unacknowledged: 0,
            probes: 5,
            ..LIVING
        };
        assert_eq!(
            said(Errno::TIMEDOUT, &quiet, None).unwrap(),
            "timed out: 5 probes unanswered"
        );
        let one = Silence { probes: 1, ..quiet };
        assert_eq!(
            said(Errno::TIMEDOUT, &one, None).unwrap(),
            "timed out: 1 probe unanswered"
        );
        assert_eq!(
            said(Errno::TIMEDOUT, &LIVING, Some(Duration::from_secs(109))).unwrap(),
            "timed out: data unacknowledged for 109s"
        );
        assert_eq!(
            said(Errno::CONNRESET, &quiet, None).unwrap(),
            "connection reset by the peer"
        );
        assert_eq!(said(Errno::PIPE, &quiet, None), None);
        let text = said(Errno::HOSTUNREACH, &quiet, None).unwrap();
        assert!(text.contains("No route to host"), "{text}");
    }
}
