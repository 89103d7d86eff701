//! Values that the kernel takes and that do harm.

use crate::render::units::Exact;
use tcpalive_keepalive::{Count, Hz, Seconds};
use tcpalive_kernel::sysctl::KeepaliveSysctls;

/// Silence of fewer seconds is no reason to probe.
const EAGER_S: i64 = 10;

/// Paths are down for that long now and then: a route that moves, a link that
/// comes up again.
const SHORT_OUTAGE_S: i64 = 10;

/// What these values do that nobody wants, one sentence each. What they do
/// follows from `tcp_keepalive_timer` (net/ipv4/tcp_timer.c).
pub(super) fn dangers(values: &KeepaliveSysctls, hz: Option<Hz>) -> Vec<String> {
    let mut found = Vec::new();
    let [time, interval, probes] = values.values();
    match time {
        ..0 => found.push(format!(
            "tcp_keepalive_time is {time}: the delay wraps to months, so no connection that follows it is ever probed"
        )),
        0 => found.push(
            "tcp_keepalive_time is 0: connections that follow it are probed at every interval, however \
             much is heard from their peers, and while data is in flight their timers fire at every tick"
                .into(),
        ),
        1..EAGER_S => found.push(format!(
            "tcp_keepalive_time is {time} s: every idle connection that follows it is probed each {}, \
             which wears down mobile peers and crowded hosts",
            Exact(time.max(interval).unsigned_abs())
        )),
        _ => {}
    }
    match interval {
        ..0 => found.push(format!(
            "tcp_keepalive_intvl is {interval}: the delay wraps to months, so after the first unanswered \
             probe none follows and no dead peer is noticed"
        )),
        0 if probes > 0 => {
            // Found by experiment on Linux 6.18, on a loopback: answers are
            // rationed (tcp_invalid_ratelimit), and probes do not wait.
            let whose = if time == 0 {
                "with tcp_keepalive_time 0 as well, that is soon every connection, since Linux peers \
                 answer one such probe in 500 ms"
            } else {
                "peers that live but answer later than that lose theirs"
            };
            found.push(format!(
                "tcp_keepalive_intvl is 0: probes follow each other at every tick, and {} later the \
                 connection is ended; {whose}",
                ticks(probes, hz)
            ));
        }
        _ => {}
    }
    if probes == 0 {
        let after =
            u64::try_from(time).map_or_else(|_| "its time".into(), |s| Exact(s).to_string());
        found.push(format!(
            "tcp_keepalive_probes is 0: after {after} of silence a connection is ended without any \
             probe, however alive its peer is"
        ));
    }
    if time >= 0 && (1..SHORT_OUTAGE_S).contains(&interval.saturating_mul(probes)) {
        found.push(format!(
            "tcp_keepalive_intvl times tcp_keepalive_probes is {} s: an outage as short as that ends \
             idle connections to peers that live",
            interval * probes
        ));
    }
    let longest = i64::from(Seconds::MAX.get());
    for (name, option, value) in [
        ("tcp_keepalive_time", "TCP_KEEPIDLE", time),
        ("tcp_keepalive_intvl", "TCP_KEEPINTVL", interval),
    ] {
        if value > longest {
            found.push(format!(
                "{name} is {value} s: more than programs can set themselves ({option} takes 1 to {longest})"
            ));
        }
    }
    let most = i64::from(Count::MAX.get());
    if probes > most {
        found.push(format!(
            "tcp_keepalive_probes is {probes}: more than programs can set themselves (TCP_KEEPCNT takes 1 to {most})"
        ));
    }
    found
}

/// `9 ticks (36 ms)`.
fn ticks(count: i64, hz: Option<Hz>) -> String {
    let plural = if count == 1 { "" } else { "s" };
    let Some(hz) = hz else {
        return format!("{count} tick{plural} of the kernel's clock");
    };
    let millis = count.saturating_mul(1000) / i64::from(hz.get());
    format!("{count} tick{plural} ({millis} ms)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(time_s: i64, interval_s: i64, probes: i64) -> Vec<String> {
        let values = KeepaliveSysctls {
            time_s,
            interval_s,
            probes,
        };
        dangers(&values, Some(Hz::DEBIAN))
    }

    #[test]
    fn sensible_values_are_no_danger() {
        assert_eq!(dangers(&KeepaliveSysctls::LINUX, None), [""; 0]);
        assert_eq!(found(10, 10, 1), [""; 0]);
        assert_eq!(found(32_767, 32_767, 127), [""; 0]);
    }

    #[test]
    fn each_danger_is_told_with_what_it_does() {
        for (values, name, what) in [
            ((0, 75, 9), "tcp_keepalive_time is 0", "at every interval"),
            ((-1, 75, 9), "tcp_keepalive_time is -1", "ever probed"),
            ((5, 75, 9), "tcp_keepalive_time is 5 s", "each 1 min 15 s"),
            ((60, 0, 9), "tcp_keepalive_intvl is 0", "9 ticks (36 ms)"),
            ((60, -2, 9), "tcp_keepalive_intvl is -2", "none follows"),
            ((60, 75, 0), "tcp_keepalive_probes is 0", "1 min of silence"),
            ((60, 1, 3), "tcp_keepalive_intvl times", "is 3 s"),
            ((32_768, 75, 9), "tcp_keepalive_time is 32768 s", "32767"),
            ((60, 32_768, 9), "tcp_keepalive_intvl is 32768 s", "32767"),
            ((60, 75, 128), "tcp_keepalive_probes is 128", "127"),
        ] {
            let found = found(values.0, values.1, values.2);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(name), "{found:?}");
            assert!(found[0].contains(what), "{found:?}");
        }
        assert_eq!(found(0, 0, 0).len(), 2);
        assert!(found(0, 0, 9)[1].contains("every connection"));
        assert!(found(-1, 75, 0)[1].contains("after its time of silence"));
    }

    #[test]
    fn the_largest_values_do_not_overflow() {
        assert!(!found(i64::MAX, i64::MAX, i64::MAX).is_empty());
        assert!(!found(i64::MIN, i64::MIN, i64::MIN).is_empty());
        assert!(!found(60, 0, i64::MAX).is_empty());
    }
}
