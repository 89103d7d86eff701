//! `tcpalive undo`: what connections had before `enable` or `disable`.

use super::changing::{Output, setter, view};
use super::probing::stop_flag;
use crate::cli::{Failure, Found, Presentation};
use crate::survey::{Cgroups, find_namespaces, open_sweeper};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Instant;
use tcpalive_connections::{Selection, State};
use tcpalive_kernel::netns::Scope;
use tcpalive_kernel::sweep::BackendChoice;
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
value that the sysctl has now, and that is said. (Where `enable` was given no values, nothing
is lost.) The file holds for this boot of this host.

Exit codes: 0 done (what was left alone is said); 2 wrong usage or bad input; 3 this host or
user does not allow it; 4 failed or was stopped midway.")]
pub struct Args {
    /// What `--undo-file` of `enable` or `disable` wrote
    file: PathBuf,
    /// Change nothing, only say what would be changed
    #[arg(long)]
    dry_run: bool,
}

/// Gives back what was there.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let begin = Instant::now();
    let noted = undo::read(&args.file).map_err(refused)?;
    let stop = stop_flag()?;
    let namespaces = find_namespaces(&Scope::All, true)?;
    let mut sweeper = open_sweeper(BackendChoice::Bpf)?;
    let setter = setter(&sweeper)?;
    let owners = sweeper.owners()?;
    let mut cgroups = Cgroups::read();

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
            let (Some(one), Some(now)) = (missing.get(&key), swept.options()) else {
                return;
            };
            if matches!(connection.state, State::Close | State::TimeWait) || written.is_err() {
                return;
            }
            let one = *one;
            missing.remove(&key);
            match one.way_back(&now, &sysctls) {
                WayBack::Already => output.report.totals.unchanged += 1,
                WayBack::Changed => {
                    let view = view(connection, &owners, &mut cgroups);
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
        &setter,
        &namespaces,
        None,
        &stop,
        &planned,
        (&owners, &mut cgroups),
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
