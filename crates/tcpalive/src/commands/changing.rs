//! What `enable`, `disable` and `undo` share: options set on live
//! connections, with all that was done and not done told.

use super::probing::stop_flag;
use crate::cli::{Failure, Found, Presentation, SelectionArgs, SourceArgs, say};
use crate::render::changes::{ChangeReport, Changed};
use crate::render::json;
use crate::survey::{Cgroups, Survey};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tcpalive_connections::{Connection, KeepAlive, View};
use tcpalive_keepalive::Options;
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::owners::Owners;
use tcpalive_kernel::setopt::Setter;
use tcpalive_kernel::sweep::{Sweeper, Swept};
use tcpalive_kernel::sysctl::KeepaliveSysctls;
use tcpalive_liveness::enable::{
    ChangeError, Changer, Left, Planned, Wanted, in_force, obstacle, takes_options,
};
use tcpalive_liveness::undo::UndoFile;

/// Bytes of JSON that are gathered before they are written.
const CHUNK: usize = 64 << 10;

/// How changes are made; for `enable` and `disable`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How it is done")]
pub struct ChangeArgs {
    /// Change nothing, only say what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Where to note what was there, for `tcpalive undo`; must not exist
    #[arg(long, value_name = "FILE")]
    undo_file: Option<PathBuf>,
}

/// Gives the selected connections what is wanted.
///
/// # Errors
/// See [`Failure`].
pub fn change_selected(
    selection: &SelectionArgs,
    source: &SourceArgs,
    how: &ChangeArgs,
    wanted: Wanted,
    presentation: Presentation,
) -> Result<Found, Failure> {
    let begin = Instant::now();
    let selected = selection.resolve()?;
    let stop = stop_flag()?;
    if let Some(path) = how.undo_file.as_deref().filter(|path| path.exists()) {
        // It is made when it is known what to note; this is known now.
        return Err(not_made(path, &io::ErrorKind::AlreadyExists.into()));
    }
    let mut survey = Survey::open(source)?;
    survey.look_around(true)?;
    let Survey {
        sweeper,
        namespaces,
        owners,
        cgroups,
    } = &mut survey;
    let owners = &*owners;
    let setter = setter(sweeper, owners)?;
    let mut output = Output::new(presentation, how.dry_run);
    let mut planned = Vec::new();
    for (index, namespace) in namespaces.iter().enumerate() {
        let sysctls = KeepaliveSysctls::read(namespace)?;
        let mut written = Ok(());
        sweeper.sweep(namespace, &selected.selection, |swept| {
            let connection = &swept.connection;
            let view = view(connection, owners, cgroups);
            if written.is_err() || !selected.contains(&view) {
                return;
            }
            let before = match options(swept, setter, &sysctls) {
                Ok(before) => before,
                Err(left) => {
                    written = output.skipped(&view, None, &left);
                    return;
                }
            };
            let after = wanted.of(&before);
            let values = in_force(&before, &sysctls);
            if let Some(left) = obstacle(connection.state, &before, &after, &sysctls) {
                written = output.skipped(&view, Some(&values), &left);
            } else if before == after {
                output.report.totals.unchanged += 1;
            } else {
                planned.push(Planned {
                    namespace: index,
                    connection: *connection,
                    before,
                    after,
                    sysctls,
                });
            }
        })?;
        written?;
    }

    let mut undo_file = match &how.undo_file {
        Some(path) if !how.dry_run => {
            Some(UndoFile::create(path).map_err(|error| not_made(path, &error))?)
        }
        _ => None,
    };
    if undo_file.is_none() && !how.dry_run && !planned.is_empty() {
        say("what was there is not noted, and cannot be restored: --undo-file FILE notes it");
    }
    let ended = output.make(
        setter,
        namespaces,
        undo_file.as_mut(),
        &stop,
        &planned,
        (owners, cgroups),
        &|_| Vec::new(),
    );
    let shown = how.undo_file.as_deref().filter(|_| !how.dry_run);
    output.finish(shown, begin)?;
    ended?;
    if output.unreachable > 0 && output.unreachable == output.report.totals.selected() {
        return Err(Failure::NotAllowed(
            "no selected connection can be reached: it needs BPF, or the right to trace the processes that hold them. \
             Run it as root; `tcpalive doctor` says what is missing"
                .into(),
        ));
    }
    if let (Some(file), false) = (&undo_file, presentation.json) {
        say(&format!(
            "`tcpalive undo {}` restores what was there",
            file.path().display()
        ));
    }
    Ok(Found::Nothing)
}

fn not_made(path: &Path, error: &io::Error) -> Failure {
    let what = if error.kind() == io::ErrorKind::AlreadyExists {
        "it is there already, and may be needed: name another file".to_owned()
    } else {
        error.to_string()
    };
    Failure::Usage(format!(
        "making the undo file {}: {what}; nothing was changed",
        path.display()
    ))
}

/// What sets options: the BPF iterator, or without BPF the descriptors of the
/// processes that hold the sockets.
///
/// # Errors
/// When the kernel cannot.
pub fn setter<'a>(sweeper: &Sweeper, owners: &'a Owners) -> Result<Setter<'a>, Failure> {
    Ok(match sweeper {
        Sweeper::Bpf(sweeper) => Setter::by_bpf(sweeper.clock().hz())?,
        Sweeper::SockDiag(_) => Setter::by_descriptors(owners),
    })
}

/// The options that a socket has of its own, or why they are not known.
///
/// # Errors
/// Why it must be left alone.
pub fn options(
    swept: &Swept<'_>,
    setter: Setter<'_>,
    sysctls: &KeepaliveSysctls,
) -> Result<Options, Left> {
    let connection = &swept.connection;
    let state = connection.state;
    if let Some(options) = swept.options() {
        return Ok(options);
    }
    if !takes_options(state) {
        return Err(Left::State(state));
    }
    setter
        .read(connection.inode, connection.cookie, sysctls)
        .map_err(|outcome| Left::from_outcome(state, outcome))
}

/// A connection with what belongs to it.
pub fn view<'a>(
    connection: &'a Connection,
    owners: &'a Owners,
    cgroups: &'a mut Cgroups,
) -> View<'a> {
    let holders = owners.of(connection.inode);
    View {
        connection,
        owners: holders,
        cgroup: cgroups.path(connection, holders),
    }
}

/// Where the results go.
pub struct Output {
    presentation: Presentation,
    dry_run: bool,
    /// What was done so far.
    pub report: ChangeReport,
    buffer: Vec<u8>,
    unreachable: u64,
}

impl Output {
    /// Nothing yet.
    #[must_use]
    pub fn new(presentation: Presentation, dry_run: bool) -> Self {
        Self {
            presentation,
            dry_run,
            report: ChangeReport::default(),
            buffer: Vec::new(),
            unreachable: 0,
        }
    }

    /// Makes the changes and takes in what became of each. `lost` names the
    /// values of one that followed the sysctls and cannot any more.
    ///
    /// # Errors
    /// When not all could be done: what was not is said.
    #[expect(clippy::too_many_arguments, reason = "one call each by three commands")]
    pub fn make(
        &mut self,
        setter: Setter<'_>,
        namespaces: &[Namespace],
        undo_file: Option<&mut UndoFile>,
        stop: &AtomicBool,
        planned: &[Planned],
        (owners, cgroups): (&Owners, &mut Cgroups),
        lost: &dyn Fn(&Planned) -> Vec<&'static str>,
    ) -> Result<(), Failure> {
        let dry_run = self.dry_run;
        let mut written = Ok(());
        let mut told = 0;
        let changer = Changer {
            setter,
            namespaces,
            undo_file,
            dry_run,
            stop,
        };
        let ended = changer.run(planned, &mut |one, result| {
            told += 1;
            if written.is_err() {
                return;
            }
            let view = view(&one.connection, owners, cgroups);
            let before = in_force(&one.before, &one.sysctls);
            written = match result {
                Ok(()) => {
                    let lost = lost(one);
                    let changed = Changed {
                        before,
                        after: in_force(&one.after, &one.sysctls),
                        no_longer_follows: &lost,
                        dry_run,
                    };
                    self.changed(&view, &changed)
                }
                Err(left) => {
                    let values = match &left {
                        Left::Changed(now) | Left::Failed(_, now) => in_force(now, &one.sysctls),
                        _ => before,
                    };
                    self.skipped(&view, Some(&values), &left)
                }
            };
        });
        written?;
        let rest = planned.len() - told;
        match ended {
            Err(error @ ChangeError::UndoFile { .. }) => Err(Failure::Midway(error.to_string())),
            Err(ChangeError::Kernel(error)) if told == 0 => Err(error.into()),
            Err(error) => Err(Failure::Midway(format!(
                "{error}; {rest} connections were left alone"
            ))),
            Ok(()) if rest > 0 => Err(Failure::Midway(format!(
                "stopped; {rest} connections were left alone"
            ))),
            Ok(()) if self.report.totals.failed > 0 => Err(Failure::Midway(format!(
                "the kernel refused to change {} connections",
                self.report.totals.failed
            ))),
            Ok(()) => Ok(()),
        }
    }

    fn changed(&mut self, view: &View<'_>, changed: &Changed<'_>) -> io::Result<()> {
        if !self.presentation.json {
            self.report.changed(view, changed);
            return Ok(());
        }
        self.report.totals.changed += 1;
        json::changed(&mut self.buffer, view, changed);
        self.flush()
    }

    /// Takes in a connection that was left alone.
    ///
    /// # Errors
    /// Those of the output.
    pub fn skipped(
        &mut self,
        view: &View<'_>,
        values: Option<&KeepAlive>,
        left: &Left,
    ) -> io::Result<()> {
        let failed = matches!(left, Left::Failed(..));
        self.unreachable += u64::from(matches!(left, Left::Unreachable(_)));
        if !self.presentation.json {
            self.report.skipped(view, failed, &left.reason());
            return Ok(());
        }
        if failed {
            self.report.totals.failed += 1;
        } else {
            self.report.totals.skipped += 1;
        }
        json::skipped(&mut self.buffer, view, values, left.name(), &left.reason());
        self.flush()
    }

    /// Takes in a connection of an undo file that is not there any more.
    pub fn gone(&mut self, noted: &tcpalive_liveness::undo::Noted) {
        self.report.gone();
        if self.presentation.json {
            let addresses = (&noted.local, &noted.remote);
            let (name, reason) = (Left::Gone.name(), Left::Gone.reason());
            let out = &mut self.buffer;
            json::skipped_unseen(out, noted.netns, noted.cookie, addresses, name, &reason);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.len() >= CHUNK {
            io::stdout().write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes what is left to write.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(&mut self, undo_file: Option<&Path>, begin: Instant) -> io::Result<()> {
        let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut stdout = io::stdout().lock();
        if self.presentation.json {
            let file = undo_file.map(|path| path.display().to_string());
            let totals = &self.report.totals;
            let out = &mut self.buffer;
            json::changes_summary(out, totals, file.as_deref(), self.dry_run, elapsed_ms);
            stdout.write_all(out)?;
        } else {
            let style = self.presentation.style;
            let text = self.report.text(style, self.dry_run, elapsed_ms);
            stdout.write_all(text.as_bytes())?;
        }
        stdout.flush()
    }
}
