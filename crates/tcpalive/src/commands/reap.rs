//! `tcpalive reap`: letting go of dead connections, and of nothing else.

use super::probing::{ProbingArgs, probing_sweeper, run_check, stop_flag};
use crate::cli::{Failure, Found, Presentation, SelectionArgs, SourceArgs, say};
use crate::render::json;
use crate::render::verdicts::{CheckTotals, Fate, ReapReport};
use crate::survey::Survey;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tcpalive_connections::{Outcome, View};
use tcpalive_kernel::destroy::{Method, best_method};
use tcpalive_liveness::Dead;
use tcpalive_liveness::journal::{DEFAULT_PATH, Journal};
use tcpalive_liveness::own::OwnSession;
use tcpalive_liveness::reap;

/// Bytes of JSON that are gathered before they are written.
const CHUNK: usize = 64 << 10;

/// Arguments of `reap`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive reap 'local.port = 3333'               says what it would do, and does nothing
  tcpalive reap 'local.port = 3333' --yes         does it
  tcpalive reap --window 5m --max-fraction 0.5 --yes --journal /root/reap.jsonl

It checks first, as `tcpalive check` does but for longer: at least 6 probes over at least 60 s.
Then it destroys, by cookie and under the socket's lock, what this run proved dead and what has
been silent and unchanged since. The programs get ECONNABORTED on those connections. Before
each, the journal on disk says so: a line \"destroying\", and afterwards one with the result.

Exit codes: 0 done, nobody dead or gone; 1 done, dead or gone peers found; 2 wrong usage or bad
input; 3 this host or user does not allow it; 4 failed, refused or was stopped midway.")]
pub struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    probing: ProbingArgs,
    /// Do it; without this, only say what would be done
    #[arg(long)]
    yes: bool,
    /// Where to note what is destroyed
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    journal: PathBuf,
    /// Refuse to destroy more than this share of the selected connections, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = parse_fraction)]
    max_fraction: Option<f64>,
    /// Destroy even the connection that this very session runs over
    #[arg(long)]
    force: bool,
    /// How sockets are destroyed
    #[arg(long, value_name = "WAY", hide = true)]
    destroy_by: Option<DestroyBy>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DestroyBy {
    Bpf,
    Netlink,
}

fn parse_fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1, such as 0.5".into()),
    }
}

/// Checks, and destroys what is dead.
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
    // A journal that cannot be written is known before a minute of probing.
    let mut journal = args.yes.then(|| open_journal(args)).transpose()?;

    let mut totals = CheckTotals::default();
    let options = args.probing.resolve(6, Some(Duration::from_secs(60)));
    let checked = run_check(
        &mut survey,
        &selected,
        options,
        &stop,
        true,
        &mut |view, verdict| {
            totals.add(view, verdict.outcome);
            Ok(())
        },
    )?;
    if checked.undecided > 0 {
        return Err(Failure::Midway(format!(
            "stopped before {} of {} connections had a verdict; nothing was destroyed",
            checked.undecided, checked.selected
        )));
    }

    let Survey {
        sweeper,
        namespaces,
        owners,
        cgroups,
    } = &mut survey;
    let sweeper = probing_sweeper(sweeper)?;
    let own = OwnSession::find();
    let (spared, dead): (Vec<&Dead>, Vec<&Dead>) = checked.dead.iter().partition(|dead| {
        !args.force && own.runs_over(&dead.connection, owners.of(dead.connection.inode))
    });
    for dead in spared {
        say(&format!(
            "{} to {} carries this session and is left alone; --force takes it, too",
            dead.connection.local, dead.connection.remote
        ));
    }

    let mut output = Output::new(presentation, &totals);
    let mut written = Ok(());
    let mut emit = |dead: &Dead, fate: Fate, evidence: &str| {
        let holders = owners.of(dead.connection.inode);
        let view = View {
            connection: &dead.connection,
            owners: holders,
            cgroup: cgroups.path(&dead.connection, holders),
        };
        if written.is_ok() {
            written = output.add(&view, fate, evidence);
        }
    };
    let mut refused = None;
    match &mut journal {
        None => dead
            .iter()
            .for_each(|dead| emit(dead, Fate::WouldDestroy, &dead.verdict.reason)),
        Some(journal) => {
            refused = refusal(args, dead.len(), checked.selected);
            if refused.is_none() {
                let method = match args.destroy_by {
                    Some(DestroyBy::Bpf) => Method::Bpf,
                    Some(DestroyBy::Netlink) => Method::SockDiag,
                    None => best_method(),
                };
                let reap = reap::Reap {
                    sweeper,
                    namespaces,
                    checked: &checked,
                    method,
                    journal,
                    stop: &stop,
                };
                let mut told = 0;
                let ended = reap.run(
                    &dead,
                    &|dead| owners.of(dead.connection.inode).to_vec(),
                    &mut |dead, fate| {
                        told += 1;
                        let detail = fate.detail().unwrap_or_else(|| dead.verdict.reason.clone());
                        emit(dead, shown(&fate), &detail);
                    },
                );
                // What was done is told before why it was not all.
                let rest = dead.len() - told;
                refused = match ended {
                    Err(error) => Some(Failure::Midway(format!(
                        "{error}; {rest} dead connections were left alone"
                    ))),
                    Ok(()) if rest > 0 => Some(Failure::Midway(format!(
                        "stopped; {rest} dead connections were left alone"
                    ))),
                    Ok(()) => None,
                };
            } else {
                dead.iter()
                    .for_each(|dead| emit(dead, Fate::WouldDestroy, &dead.verdict.reason));
            }
        }
    }
    written?;
    output.finish(u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX))?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    if let (Some(journal), false, false) = (&journal, dead.is_empty(), presentation.json) {
        say(&format!(
            "what was destroyed is noted in {}",
            journal.path().display()
        ));
    }
    Ok(if totals.of(Outcome::Dead) + totals.of(Outcome::Gone) > 0 {
        Found::Something
    } else {
        Found::Nothing
    })
}

fn open_journal(args: &Args) -> Result<Journal, Failure> {
    Journal::open(&args.journal).map_err(|error| {
        Failure::Usage(format!(
            "opening the journal {}: {error}; nothing was done. --journal FILE names another",
            args.journal.display()
        ))
    })
}

/// Why so many are not destroyed, if they are too many.
fn refusal(args: &Args, dead: usize, selected: usize) -> Option<Failure> {
    if dead == 0 {
        return None;
    }
    if let Some(share) = args.max_fraction {
        return (dead as f64 > share * selected as f64).then(|| {
            Failure::Midway(format!(
                "{dead} of {selected} selected connections are dead, more than --max-fraction {share} allows; nothing \
                 was destroyed"
            ))
        });
    }
    let asks = dead == selected && io::stdin().is_terminal() && io::stderr().is_terminal();
    (asks && !confirmed(dead)).then(|| Failure::Midway("nothing was destroyed".into()))
}

fn confirmed(dead: usize) -> bool {
    let mut stderr = io::stderr();
    let _ = write!(
        stderr,
        "All {dead} selected connections are dead. Destroy them all? [y/N] "
    );
    let _ = stderr.flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn shown(fate: &reap::Fate) -> Fate {
    match fate {
        reap::Fate::Destroyed => Fate::Destroyed,
        reap::Fate::AlreadyClosed => Fate::AlreadyClosed,
        reap::Fate::Changed(_) => Fate::Changed,
        reap::Fate::Failed(_) => Fate::Failed,
    }
}

/// Where the results go.
struct Output {
    presentation: Presentation,
    report: ReapReport,
    buffer: Vec<u8>,
}

impl Output {
    fn new(presentation: Presentation, totals: &CheckTotals) -> Self {
        Self {
            presentation,
            report: ReapReport::after(totals),
            buffer: Vec::new(),
        }
    }

    fn add(&mut self, view: &View<'_>, fate: Fate, evidence: &str) -> io::Result<()> {
        if !self.presentation.json {
            self.report.add(view, fate, evidence);
            return Ok(());
        }
        self.report.totals.add(view, fate);
        json::reaped(&mut self.buffer, view, fate.name(), Some(evidence));
        if self.buffer.len() >= CHUNK {
            io::stdout().write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(mut self, elapsed_ms: u64) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.presentation.json {
            json::reap_summary(&mut self.buffer, &self.report.totals, elapsed_ms);
            stdout.write_all(&self.buffer)?;
        } else {
            self.report
                .write(&mut stdout, self.presentation.style, elapsed_ms)?;
        }
        stdout.flush()
    }
}
