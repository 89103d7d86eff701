//! `tcpalive ls`: which connections there are.

mod order;

use crate::cli::{Failure, Found, Presentation, Selected, SelectionArgs, SourceArgs};
use crate::render::json;
use crate::render::summary::{ProcessLimits, Summary, Totals};
use crate::render::table::Table;
use crate::render::units::parse_duration;
use crate::survey::Survey;
use order::Order;
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tcpalive_connections::View;
use tcpalive_kernel::process;

/// Bytes of JSON that are gathered before they are written.
const CHUNK: usize = 128 << 10;

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive ls 'local.port = 3333 and not keepalive and idle > 10m'
  tcpalive ls 'remote.addr in 10.0.0.0/8' --sort -memory
  tcpalive ls --summary --state all --netns pid:4711
  tcpalive ls --json --no-owner | jq 'select(.last_heard_ms > 3600000)'

KEEPALIVE is idle/interval/count as they are in effect; HEARD is when anything last came
from the peer. What cannot be known is null in JSON, and no filter is fulfilled by it.

Exit codes: 0 done; 2 wrong usage or bad input; 3 this host or user does not allow it;
4 failed midway.")]
pub struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// Count by state, process and peer network instead of listing; point out
    /// processes near their limit of descriptors
    #[arg(long)]
    summary: bool,
    /// Sort by a field of the filter language, such as idle; -idle for the
    /// largest first. What is unknown comes last
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    sort: Option<Order>,
    /// Do not ask which processes hold the sockets
    #[arg(long)]
    no_owner: bool,
    /// Do it again and again, with this pause, until Ctrl-C
    #[arg(long, value_name = "PAUSE", value_parser = parse_pause)]
    watch: Option<Duration>,
}

fn parse_pause(text: &str) -> Result<Duration, String> {
    match parse_duration(text).map_err(|error| error.to_string())? {
        pause if pause < Duration::from_millis(100) => {
            Err("a pause of at least 100ms is needed: each round asks for every socket".into())
        }
        pause => Ok(pause),
    }
}

/// Lists the connections.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let selected = args.selection.resolve()?;
    let mut survey = Survey::open(&args.source)?;
    let Some(pause) = args.watch else {
        list(args, &selected, &mut survey, presentation)?;
        return Ok(Found::Nothing);
    };
    let interrupted = on_interrupt()?;
    loop {
        if !presentation.json && io::stdout().is_terminal() {
            // To the first line, and everything below it away.
            io::stdout().write_all(b"\x1b[H\x1b[2J")?;
        }
        list(args, &selected, &mut survey, presentation)?;
        if interrupted.recv_timeout(pause).is_ok() {
            return Ok(Found::Nothing);
        }
        survey.find_again(&args.source)?;
    }
}

/// Hears of Ctrl-C (and of a polite request to end), so that a round in
/// progress is printed to its end.
fn on_interrupt() -> Result<Receiver<()>, Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::Midway(format!("preparing for Ctrl-C: {error}")))?;
    let (tell, heard) = sync_channel(1);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            // One is enough.
            let _ = tell.try_send(());
        }
    });
    Ok(heard)
}

fn list(
    args: &Args,
    selected: &Selected,
    survey: &mut Survey,
    presentation: Presentation,
) -> Result<(), Failure> {
    let sorting = args.sort.is_some_and(Order::needs_owners);
    survey.look_around(!args.no_owner || selected.needs_owners() || sorting)?;
    let mut report = Report::new(args.summary, presentation);
    let mut kept = Vec::new();
    let Survey {
        sweeper,
        namespaces,
        owners,
        cgroups,
    } = survey;
    for namespace in namespaces {
        // The sweep cannot be stopped midway; after a failure it only runs out.
        let mut written = Ok(());
        sweeper.sweep(namespace, &selected.selection, |swept| {
            if written.is_err() {
                return;
            }
            let connection = &swept.connection;
            let owners = owners.of(connection.inode);
            let mut view = View {
                connection,
                owners,
                cgroup: cgroups.path(connection, owners),
            };
            if !selected.contains(&view) {
                return;
            }
            if let Some(order) = args.sort {
                kept.push((order.key(&view), *connection));
                return;
            }
            if args.no_owner {
                view.owners = &[];
            }
            written = report.add(&view);
        })?;
        written?;
    }
    if let Some(order) = args.sort {
        order.sort(&mut kept);
    }
    for (_, connection) in &kept {
        let owners = owners.of(connection.inode);
        report.add(&View {
            connection,
            owners: if args.no_owner { &[] } else { owners },
            cgroup: cgroups.path(connection, owners),
        })?;
    }
    Ok(report.finish()?)
}

/// Where the connections go.
enum Report {
    Json {
        out: StdoutLock<'static>,
        text: Vec<u8>,
        totals: Box<Totals>,
    },
    Table(Box<Table<StdoutLock<'static>>>),
    Summary(Box<Summary>, Presentation),
}

impl Report {
    fn new(summary: bool, presentation: Presentation) -> Self {
        let out = || io::stdout().lock();
        match (summary, presentation.json) {
            (true, _) => Self::Summary(Box::default(), presentation),
            (false, true) => Self::Json {
                out: out(),
                text: Vec::with_capacity(CHUNK + (CHUNK >> 2)),
                totals: Box::default(),
            },
            (false, false) => Self::Table(Box::new(Table::new(out(), presentation.style))),
        }
    }

    fn add(&mut self, view: &View<'_>) -> io::Result<()> {
        match self {
            Self::Json { out, text, totals } => {
                totals.add(view.connection);
                json::connection(text, view);
                if text.len() >= CHUNK {
                    out.write_all(text)?;
                    text.clear();
                }
                Ok(())
            }
            Self::Table(table) => table.row(view),
            Self::Summary(summary, _) => {
                summary.add(view);
                Ok(())
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Json {
                mut out,
                mut text,
                totals,
            } => {
                json::totals(&mut text, &totals);
                out.write_all(&text)?;
                out.flush()
            }
            Self::Table(table) => table.finish()?.flush(),
            Self::Summary(summary, presentation) => {
                let mut out = io::stdout().lock();
                if presentation.json {
                    let mut text = Vec::new();
                    json::summary(&mut text, &summary, limits);
                    out.write_all(&text)?;
                } else {
                    summary.write(&mut out, presentation.style, limits)?;
                }
                out.flush()
            }
        }
    }
}

fn limits(pid: u32) -> Option<ProcessLimits> {
    process::descriptors(pid).map(|descriptors| ProcessLimits {
        open: descriptors.open,
        soft_limit: descriptors.limit,
    })
}
