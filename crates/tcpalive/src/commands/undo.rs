//! `tcpalive undo`: what connections had before `enable` or `disable`.

use super::changing::{Output, options, setter, view};
use super::probing::stop_flag;
use crate::cli::{Failure, Found, Presentation, SourceArgs};
use crate::survey::Survey;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Instant;
use tcpalive_connections::{Selection, State};
use tcpalive_kernel::sysctl::KeepaliveSysctls;
use tcpalive_liveness::enable::{Left, Planned, in_force};
use tcpalive_liveness::undo::{self, Noted, UndoError, WayBack};

/// Arguments of `undo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive enable --port 3333 --idle 60s --undo-file /root/before.jsonl
  tcpalive undo /root/before.jsonl --dry-run
  tcpalive undo /root/before.jsonl

Each connection gets back exactly what it had of its own: keep-alive on or off, idle time,
interval, count and user timeout. Only those are touched that still have what they were given;
those that somebody gave other values since, and those that have closed, are reported.
Undoing twice does no harm.

One thing cannot be undone: a value that followed the sysctl of its network namespace and was
set follows it no longer, since Linux does not let go of a value that was set. It gets the
value that the sysctl has now (32767 s and 127 at most; below 1 it keeps what it was given),
and that is said. Where `enable` was given no values, nothing is lost. The file holds for this boot of this host.

Exit codes: 0 done (what was left alone is said); 2 wrong usage or bad input; 3 this host or
user does not allow it; 4 failed or was stopped midway.")]
pub struct Args {
    /// What `--undo-file` of `enable` or `disable` wrote
    file: PathBuf,
    /// Change nothing, only say what would be changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// Gives back what was there.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let begin = Instant::now();
    let noted = undo::read(&args.file).map_err(refused)?;
    let stop = stop_flag()?;
    let mut survey = Survey::open(&args.source)?;
    survey.look_around(true)?;
    let Survey {
        sweeper,
        namespaces,
        owners,
        cgroups,
    } = &mut survey;
    let owners = &*owners;
    let setter = setter(sweeper, owners)?;

    let mut output = Output::new(presentation, args.dry_run);
    let mut planned = Vec::new();
    let mut missing: HashMap<(u64, u64), &Noted> = noted
        .iter()
        .map(|one| ((one.netns, one.cookie), one))
        .collect();
    for (index, namespace) in namespaces.iter().enumerate() {
        if !noted.iter().any(|one| one.netns == namespace.inode()) {
            continue;
        }
        let sysctls = KeepaliveSysctls::read(namespace)?;
        let mut written = Ok(());
        sweeper.sweep(namespace, &Selection::ALL, |swept| {
            let connection = &swept.connection;
            let key = (connection.netns, connection.cookie);
            // In TIME-WAIT the connection has left its options behind.
            let ended = matches!(connection.state, State::Close | State::TimeWait);
            if ended || written.is_err() {
                return;
            }
            let Some(one) = missing.remove(&key) else {
                return;
            };
            let now = match options(swept, setter, &sysctls) {
                Ok(now) => now,
                Err(left) => {
                    let view = view(connection, owners, cgroups);
                    written = output.skipped(&view, None, &left);
                    return;
                }
            };
            match one.way_back(&now, &sysctls) {
                WayBack::Already => output.report.totals.unchanged += 1,
                WayBack::Changed => {
                    let view = view(connection, owners, cgroups);
                    let values = in_force(&now, &sysctls);
                    written = output.skipped(&view, Some(&values), &Left::Changed(now));
                }
                WayBack::Restore(after) => planned.push(Planned {
                    namespace: index,
                    connection: *connection,
                    before: now,
                    after,
                    sysctls,
                }),
            }
        })?;
        written?;
    }
    noted
        .iter()
        .filter(|one| missing.contains_key(&(one.netns, one.cookie)))
        .for_each(|one| output.gone(one));

    let by_cookie: HashMap<(u64, u64), &Noted> = noted
        .iter()
        .map(|one| ((one.netns, one.cookie), one))
        .collect();
    let ended = output.make(
        setter,
        namespaces,
        None,
        &stop,
        &planned,
        (owners, cgroups),
        &|one| {
            let key = (one.connection.netns, one.connection.cookie);
            by_cookie
                .get(&key)
                .map_or_else(Vec::new, |noted| noted.no_longer_follows())
        },
    );
    output.finish(None, begin)?;
    ended?;
    Ok(Found::Nothing)
}

fn refused(error: UndoError) -> Failure {
    match &error {
        UndoError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Failure::NotAllowed(format!("{error}. Run it as the user who made it"))
        }
        _ => Failure::Usage(error.to_string()),
    }
}
