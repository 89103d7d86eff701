//! `tcpalive check`: which peers are dead, with the evidence.

use super::probing::{ProbingArgs, probing_sweeper, run_check, stop_flag};
use crate::cli::{Failure, Found, Presentation, SelectionArgs, SourceArgs};
use crate::render::json;
use crate::render::verdicts::{CheckReport, CheckTotals};
use crate::survey::Survey;
use std::io::{self, Write};
use std::time::Instant;
use tcpalive_connections::Outcome;

/// Bytes of JSON that are gathered before they are written.
const CHUNK: usize = 64 << 10;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive check                                  every established connection of this host
  tcpalive check 'local.port = 5432 and idle > 10m'
  tcpalive check --netns pid:4711 --window 30s --json

A probe is the kernel's own keep-alive segment: an empty ACK one byte to the left of what the
peer has acknowledged. No option of the probed socket is changed, no byte enters its stream,
and its program notices nothing. What can follow is what follows a keep-alive probe of the
kernel: a peer that does not know the connection any more answers with a reset, and the kernel
then closes it (verdict: gone).

A peer is called dead when it stayed silent to every probe for the whole window, at least 3
probes really left this host, nothing was heard by any route, the connection is still the same
and idle, the chance that a living peer lost every exchange is below --error, and nothing shows
that this side is at fault. The window is one interval for each probe, and 15 s for peers heard
within the last minute. A partition that lasts longer than the window cannot be told from
death: choose --window longer than the outages you have.

Exit codes: 0 done, nobody dead or gone; 1 done, dead or gone peers found; 2 wrong usage or bad
input; 3 this host or user does not allow it; 4 failed or was stopped midway.")]
pub struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    probing: ProbingArgs,
    /// List the living and the closed, too
    #[arg(long)]
    all: bool,
}

/// Checks the connections.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let begin = Instant::now();
    let selected = args.selection.resolve()?;
    let stop = stop_flag()?;
    let mut survey = Survey::open(&args.source)?;
    probing_sweeper(&mut survey.sweeper)?;
    survey.look_around(true)?;

    let mut stdout = io::stdout().lock();
    let mut buffer = Vec::new();
    let mut totals = CheckTotals::default();
    let mut report = CheckReport::default();
    let options = args.probing.resolve(3, None);
    let checked = run_check(
        &mut survey,
        &selected,
        options,
        &stop,
        false,
        &mut |view, verdict| {
            if !presentation.json {
                report.add(view, verdict);
                return Ok(());
            }
            totals.add(view, verdict.outcome);
            json::verdict(&mut buffer, view, verdict);
            if buffer.len() >= CHUNK {
                stdout.write_all(&buffer)?;
                buffer.clear();
            }
            Ok(())
        },
    )?;

    let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    if presentation.json {
        json::check_summary(&mut buffer, &totals, elapsed_ms);
        stdout.write_all(&buffer)?;
    } else if checked.undecided == 0 || report.totals.checked() > 0 {
        let next = format!("tcpalive reap{} --yes", same_selection());
        report.write(&mut stdout, presentation.style, args.all, elapsed_ms, &next)?;
        totals = report.totals;
    }
    stdout.flush()?;
    if checked.undecided > 0 {
        return Err(Failure::Midway(format!(
            "stopped before {} of {} connections had a verdict; those above stand",
            checked.undecided, checked.selected
        )));
    }
    Ok(if totals.of(Outcome::Dead) + totals.of(Outcome::Gone) > 0 {
        Found::Something
    } else {
        Found::Nothing
    })
}

/// The arguments that chose the connections, as they were typed, quoted for a
/// shell: what to give to `reap` for the same ones.
fn same_selection() -> String {
    std::env::args()
        .skip_while(|argument| argument != "check")
        .skip(1)
        .filter(|argument| !matches!(argument.as_str(), "--all" | "--json"))
        .map(|argument| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%@+".contains(c);
            if !argument.is_empty() && argument.chars().all(plain) {
                format!(" {argument}")
            } else {
                format!(" '{}'", argument.replace('\'', r"'\''"))
            }
        })
        .collect()
}
