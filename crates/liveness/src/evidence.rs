//! The sentences that go with a verdict.

use std::fmt::Write;
use std::io;
use std::time::Duration;
use tcpalive_connections::State;
use tcpalive_kernel::sweep::Transmission;

/// A span for people: `0.4 s`, `12.0 s`, `3 min`, `2 h 11 min`.
#[must_use]
pub fn span(milliseconds: u64) -> String {
    match milliseconds {
        0..120_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        120_000..7_200_000 => format!("{} min", milliseconds / 60_000),
        _ => format!(
            "{} h {} min",
            milliseconds / 3_600_000,
            milliseconds % 3_600_000 / 60_000
        ),
    }
}

/// Silent to all probes.
#[must_use]
pub fn silent(probes: u32, waited: Duration) -> String {
    format!(
        "silent to {probes} probes over {:.1} s",
        waited.as_secs_f64()
    )
}

/// The kernel's own evidence about data that does not get through.
#[must_use]
pub fn stalled(state: &Transmission, peer_answers: bool) -> String {
    let unacked = state.snd_nxt.wrapping_sub(state.snd_una);
    let unsent = state.write_seq.wrapping_sub(state.snd_nxt);
    let mut text = String::new();
    if unacked == 0 {
        let _ = write!(text, "{unsent} bytes wait for the peer's window to open");
        let _ = match (state.probes_out, peer_answers) {
            (_, true) => write!(
                text,
                "; its kernel answers window probes, so its program does not read"
            ),
            (0, false) => write!(text, "; no window probe is unanswered yet"),
            (count, false) => write!(text, "; {count} window probes unanswered"),
        };
        if !peer_answers {
            let _ = write!(
                text,
                "; the kernel gives up after {} of them unanswered",
                span(state.gives_up_ms)
            );
        }
        return text;
    }
    let _ = write!(text, "{unacked} bytes in flight");
    if unsent > 0 {
        let _ = write!(text, " and {unsent} waiting");
    }
    match (state.retransmits, state.retransmitting_ms) {
        (0, _) => text.push_str(", not retransmitted yet"),
        (count, None) => {
            let _ = write!(text, ", retransmitted {count} times");
        }
        (count, Some(since)) => {
            let left = state.gives_up_ms.saturating_sub(since);
            let _ = write!(
                text,
                ", retransmitted {count} times in {}; the kernel gives up in about {}",
                span(since),
                span(left)
            );
        }
    }
    if peer_answers {
        text.push_str("; the peer was heard meanwhile");
    }
    text
}

/// Why a probe was not sent.
#[must_use]
pub fn refused(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "a firewall rule of this host drops the probes".into(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            format!("there is no route to the peer: {error}")
        }
        Some(libc::ENOBUFS | libc::EAGAIN) => {
            "the interface's queue is full and drops the probes".into()
        }
        Some(libc::EINVAL | libc::EADDRNOTAVAIL) => {
            "the kernel refuses the probes: the route is a black hole or the local address is gone"
                .into()
        }
        Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => {
            format!("the interface is down: {error}")
        }
        _ => format!("probes could not be sent: {error}"),
    }
}

/// Why a connection in this state is not probed, if it is not.
#[must_use]
pub fn not_probed(state: State, transmission: Option<&Transmission>) -> Option<&'static str> {
    match state {
        State::Listen => Some("a listening socket has no peer"),
        State::SynSent => {
            Some("the connection is not established: the peer has not answered the SYN")
        }
        State::SynRecv | State::NewSynRecv => {
            Some("the connection is not established: the last ACK of the handshake is missing")
        }
        State::TimeWait => {
            Some("the connection has ended; the kernel keeps the address for a minute")
        }
        State::Close => Some("the socket is closed"),
        State::FinWait2 if transmission.is_some_and(|transmission| transmission.is_orphan) => {
            Some("no program holds it any more; the kernel removes it after tcp_fin_timeout")
        }
        _ if transmission.is_some_and(|transmission| transmission.is_signed) => Some(
            "its segments are signed (TCP-MD5 or TCP-AO), and only the kernel has the key: the peer would drop a probe",
        ),
        _ if transmission.is_some_and(|transmission| transmission.is_ipsec) => {
            Some("IPsec protects it, and a probe from a raw socket may pass it by")
        }
        // A FIN of ours is in flight: these are judged as stalled.
        State::FinWait1 | State::LastAck | State::Closing => None,
        State::Established | State::CloseWait | State::FinWait2 => None,
    }
}

/// How a connection ended while it was checked.
#[must_use]
pub fn closed(before: State, after: Option<State>) -> String {
    match after {
        None => "the socket was closed during the check".into(),
        Some(State::CloseWait) => "the peer closed its side during the check".into(),
        Some(State::FinWait1 | State::FinWait2 | State::LastAck | State::Closing) => {
            "its program closed it during the check".into()
        }
        Some(after) => format!("it went from {before} to {after} during the check"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        assert_eq!(span(450), "0.4 s");
        assert_eq!(span(12_000), "12.0 s");
        assert_eq!(span(924_600), "15 min");
        assert_eq!(span(7_875_000), "2 h 11 min");
    }

    #[test]
    fn silence_states_its_window() {
        assert_eq!(
            silent(3, Duration::from_millis(3_004)),
            "silent to 3 probes over 3.0 s"
        );
    }
}
