//! `tcpalive enable`: keep-alive on live connections.

use super::changing::{ChangeArgs, change_selected};
use crate::cli::{Failure, Found, Presentation, SelectionArgs, SourceArgs, say};
use crate::render::units::parse_duration;
use tcpalive_keepalive::{Count, Seconds, UserTimeout};
use tcpalive_liveness::enable::Wanted;

/// Arguments of `enable`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive enable 'local.port = 3333 and not keepalive' --idle 60s --interval 10s --count 5 \\
    --undo-file /root/before.jsonl
  tcpalive undo /root/before.jsonl                 and back
  tcpalive enable --port 3333 --dry-run            what would be changed
  tcpalive enable --port 3333                      on, with the values of the sysctls
  tcpalive enable --port 3333 --state listen --idle 2m --interval 15s --count 4
                                                   for connections that are yet to be accepted

Values that are not given stay as they are: the socket's own, or the sysctls of its network
namespace, which it goes on following. All options of a socket are set at once under its lock,
and no probe is sent at once: the first comes when the idle time has passed anew. Programs can
set other values later; some set theirs on every connection that they accept.

Left alone, with the reason: connections on which so many probes are unanswered that the new
count would end them, sysctls and user timeouts that end connections whose peers live,
sockets that no program holds. A user timeout also ends connections whose data is not
acknowledged and whose peers do not read for so long; it must leave time for a second probe.

Exit codes: 0 done (what was left alone is said); 2 wrong usage or bad input; 3 this host or
user does not allow it; 4 failed or was stopped midway.")]
pub struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// Silence before the first probe, 1s to 32767s (TCP_KEEPIDLE)
    #[arg(long, value_name = "D", value_parser = seconds)]
    idle: Option<Seconds>,
    /// Time between probes, 1s to 32767s (TCP_KEEPINTVL)
    #[arg(long, value_name = "D", value_parser = seconds)]
    interval: Option<Seconds>,
    /// Unanswered probes that end a connection, 1 to 127 (TCP_KEEPCNT)
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<Count>,
    /// End connections by this time in place of the count, also by data that is not
    /// acknowledged; 0s for off (TCP_USER_TIMEOUT)
    #[arg(long, value_name = "D", value_parser = user_timeout)]
    user_timeout: Option<UserTimeout>,
    #[command(flatten)]
    how: ChangeArgs,
}

/// Switches keep-alive on.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let wanted = Wanted {
        enabled: true,
        idle: args.idle,
        interval: args.interval,
        count: args.count,
        user_timeout: args.user_timeout,
    };
    if args.user_timeout.is_some_and(|it| it != UserTimeout::OFF) {
        say(
            "warning: a user timeout also ends connections whose peers live but do not read, or lose the way, for so \
             long",
        );
    }
    change_selected(
        &args.selection,
        &args.source,
        &args.how,
        wanted,
        presentation,
    )
}

fn seconds(text: &str) -> Result<Seconds, String> {
    let given = parse_duration(text).map_err(|error| error.to_string())?;
    u32::try_from(given.as_secs())
        .ok()
        .filter(|_| given.subsec_nanos() == 0)
        .and_then(Seconds::new)
        .ok_or_else(|| "expected whole seconds from 1s to 32767s".into())
}

fn count(text: &str) -> Result<Count, String> {
    text.parse()
        .ok()
        .and_then(Count::new)
        .ok_or_else(|| "expected a number of probes from 1 to 127".into())
}

fn user_timeout(text: &str) -> Result<UserTimeout, String> {
    let given = parse_duration(text).map_err(|error| error.to_string())?;
    u64::try_from(given.as_millis())
        .ok()
        .filter(|_| given.subsec_nanos() % 1_000_000 == 0)
        .and_then(UserTimeout::from_millis)
        .ok_or_else(|| "expected whole milliseconds, at most 2147483647ms".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_that_linux_takes() {
        assert_eq!(seconds("1m").unwrap().get(), 60);
        assert_eq!(seconds("32767s").unwrap(), Seconds::MAX);
        for bad in ["", "0s", "1500ms", "32768s", "60", "-1s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(count("127").unwrap(), Count::MAX);
        for bad in ["", "0", "128", "-1", "x"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        assert_eq!(user_timeout("0s").unwrap(), UserTimeout::OFF);
        assert_eq!(user_timeout("1500ms").unwrap().as_millis(), 1500);
        for bad in ["", "1us", "2147483648ms", "30"] {
            assert!(user_timeout(bad).is_err(), "{bad}");
        }
    }
}
