//! What `check` and `reap` share: the arguments of probing, and a check that
//! runs with its progress shown and Ctrl-C heard.

use crate::cli::{Failure, Selected};
use crate::render::units::parse_duration;
use crate::survey::Survey;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tcpalive_connections::{Connection, Verdict, View};
use tcpalive_kernel::sweep::{BpfSweeper, Sweeper};
use tcpalive_liveness::check::Progress;
use tcpalive_liveness::schedule::MINIMAL_INTERVAL;
use tcpalive_liveness::{Check, CheckOptions, Checked, Observer};

/// How connections are probed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How they are probed")]
pub struct ProbingArgs {
    /// Probes before a silent peer can be called dead, at least 3
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=1000))]
    probes: Option<u32>,
    /// Time between two probes of a connection, at least 500ms
    #[arg(long, value_name = "D", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    /// How long a peer must stay silent: longer than the outages you have
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    window: Option<Duration>,
    /// Probes per second, over all connections
    #[arg(long, value_name = "N/s", default_value = "100000/s", value_parser = parse_rate)]
    rate: u32,
    /// When to give up on connections that loss keeps undecided
    #[arg(long, value_name = "D", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// Chance, at most, that a living peer lost every exchange
    #[arg(long, value_name = "P", default_value = "1e-6", value_parser = parse_error)]
    error: f64,
    /// Take silence for death also where this side may be at fault
    #[arg(long)]
    trust_silence: bool,
}

impl ProbingArgs {
    /// The options of a check. Without `--window` it is `window`; without
    /// `--probes` as many as fit in a window that was given, at most `probes`.
    #[must_use]
    pub fn resolve(&self, probes: u32, window: Option<Duration>) -> CheckOptions {
        let fitting = self.window.map_or(probes, |window| {
            let intervals = window.as_millis() / self.interval.as_millis().max(1);
            u32::try_from(intervals)
                .unwrap_or(u32::MAX)
                .clamp(3, probes)
        });
        CheckOptions {
            probes: self.probes.unwrap_or(fitting),
            interval: self.interval,
            window: self.window.or(window),
            rate: self.rate,
            timeout: self.timeout,
            error: self.error,
            trust_silence: self.trust_silence,
        }
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text).map_err(|error| error.to_string())? {
        interval if interval < MINIMAL_INTERVAL => {
            Err("at least 500ms: Linux answers probes of one connection no faster".into())
        }
        interval => Ok(interval),
    }
}

fn parse_rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    match number.parse() {
        Ok(0) | Err(_) => Err("expected probes per second, such as 5000/s".into()),
        Ok(rate) => Ok(rate),
    }
}

fn parse_error(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(error) if (1e-12..=0.01).contains(&error) => Ok(error),
        _ => Err("expected a chance from 1e-12 to 0.01, such as 1e-6".into()),
    }
}

/// The BPF backend, without which nothing can be probed.
///
/// # Errors
/// When the survey was opened with another.
pub fn probing_sweeper(sweeper: &mut Sweeper) -> Result<&mut BpfSweeper, Failure> {
    match sweeper {
        Sweeper::Bpf(sweeper) => Ok(sweeper),
        Sweeper::SockDiag(_) => Err(Failure::NotAllowed(
            "probing needs the BPF backend: netlink does not tell where a connection's sequence numbers stand. Run it \
             as root on a kernel with BTF, without --backend netlink; `tcpalive doctor` says what is missing"
                .into(),
        )),
    }
}

/// A flag that Ctrl-C, or a polite request to end, sets. Asked twice, the
/// process ends at once.
///
/// # Errors
/// When signals cannot be heard.
pub fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| {
                Failure::Midway(format!("preparing for Ctrl-C: {error}; nothing was done"))
            })?;
    }
    Ok(stop)
}

/// Runs a check of the selected connections and hands each verdict to `each`,
/// which may fail: the check then stops.
///
/// # Errors
/// Those of the check and of `each`.
pub fn run_check(
    survey: &mut Survey,
    selected: &Selected,
    options: CheckOptions,
    stop: &AtomicBool,
    keep_dead: bool,
    each: &mut dyn FnMut(&View<'_>, &Verdict) -> io::Result<()>,
) -> Result<Checked, Failure> {
    let Survey {
        sweeper,
        namespaces,
        owners,
        cgroups,
    } = survey;
    let sweeper = probing_sweeper(sweeper)?;
    // Both the selection and the verdicts look cgroups up.
    let cgroups = RefCell::new(cgroups);
    let with_view = |connection: &Connection, action: &mut dyn FnMut(&View<'_>)| {
        let owners = owners.of(connection.inode);
        let mut cgroups = cgroups.borrow_mut();
        action(&View {
            connection,
            owners,
            cgroup: cgroups.path(connection, owners),
        });
    };
    let mut observer = Shown {
        with_view: &with_view,
        each,
        failed: None,
        stop,
        bar: ProgressBar::hidden(),
    };
    if io::stderr().is_terminal() {
        observer.bar = ProgressBar::new(0).with_style(
            ProgressStyle::with_template(
                "{elapsed:>4} [{bar:30}] {human_pos} of {human_len} decided, {msg}",
            )
            .expect("the template is well-formed")
            .progress_chars("=> "),
        );
    }
    let check = Check {
        sweeper,
        namespaces,
        options,
        stop,
        keep_dead,
    };
    let accept = |connection: &Connection| {
        let mut accepted = false;
        with_view(connection, &mut |view| accepted = selected.contains(view));
        accepted
    };
    let result = check.run(&selected.selection, accept, &mut observer);
    observer.bar.finish_and_clear();
    match observer.failed {
        Some(error) => Err(error.into()),
        None => Ok(result?),
    }
}

/// Calls back with a connection and what belongs to it.
type WithView<'a> = &'a dyn Fn(&Connection, &mut dyn FnMut(&View<'_>));

/// Hands verdicts on, and shows the progress on a terminal.
struct Shown<'a> {
    with_view: WithView<'a>,
    each: &'a mut dyn FnMut(&View<'_>, &Verdict) -> io::Result<()>,
    failed: Option<io::Error>,
    stop: &'a AtomicBool,
    bar: ProgressBar,
}

impl Observer for Shown<'_> {
    fn verdict(&mut self, connection: &Connection, verdict: &Verdict) {
        if self.failed.is_some() {
            return;
        }
        let (each, failed) = (&mut self.each, &mut self.failed);
        (self.with_view)(connection, &mut |view| *failed = each(view, verdict).err());
        if self.failed.is_some() {
            // Nobody reads on: there is no use in probing on.
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn progress(&mut self, progress: Progress) {
        self.bar.set_length(progress.total as u64);
        self.bar
            .set_message(format!("{} probes sent", progress.probes));
        self.bar.set_position(progress.decided as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_probes_per_second() {
        assert_eq!(parse_rate("5000/s"), Ok(5000));
        assert_eq!(parse_rate("5000"), Ok(5000));
        for bad in ["", "0", "0/s", "-1/s", "5000/m", "1e9999"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_are_small_chances() {
        assert_eq!(parse_error("1e-6"), Ok(1e-6));
        for bad in ["", "0", "1", "-1e-6", "NaN", "inf"] {
            assert!(parse_error(bad).is_err(), "{bad}");
        }
    }
}
