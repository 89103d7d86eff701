//! Keep-alive options of live connections: which are set, which are not, and
//! why.
//!
//! The first rule holds here, too: a connection that lives is not harmed. The
//! kernel takes every value at any moment, and some of them end a connection
//! whose peer would have answered. What is refused, and by which rule of
//! Linux:
//!
//! * keep-alive while so many probes are unanswered that the next fire of the
//!   timer ends the connection without another one (`tcp_keepalive_timer`);
//! * values in force, mostly from sysctls, that end it without a probe or
//!   before an answer can come: a count of 0, an interval below a second;
//! * a user timeout that leaves time for one probe alone: one lost answer is
//!   not death (RFC 9293, MUST-29);
//! * a shorter user timeout while data is being retransmitted
//!   (`tcp_write_timeout`) or the peer's window is closed (`tcp_probe_timer`):
//!   it may be over already;
//! * anything on a socket that no program holds: in FIN-WAIT-2 its timer is
//!   the one that ends it.
//!
//! What depends on the moment is looked at by the kernel under the socket's
//! lock ([`tcpalive_kernel::setopt`]); the rest is decided here.

use crate::undo::UndoFile;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tcpalive_connections::{Connection, KeepAlive, Origin, State};
use tcpalive_keepalive::{Count, Options, Seconds, UserTimeout};
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::setopt::{Change, Outcome, Setter};
use tcpalive_kernel::sysctl::KeepaliveSysctls;

/// What sockets shall have; what is `None` they keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// `SO_KEEPALIVE`.
    pub enabled: bool,
    /// `TCP_KEEPIDLE`.
    pub idle: Option<Seconds>,
    /// `TCP_KEEPINTVL`.
    pub interval: Option<Seconds>,
    /// `TCP_KEEPCNT`.
    pub count: Option<Count>,
    /// `TCP_USER_TIMEOUT`.
    pub user_timeout: Option<UserTimeout>,
}

impl Wanted {
    /// The options of a socket that had these.
    #[must_use]
    pub fn of(&self, before: &Options) -> Options {
        Options {
            enabled: self.enabled,
            idle: self.idle.or(before.idle),
            interval: self.interval.or(before.interval),
            count: self.count.or(before.count),
            user_timeout: self.user_timeout.unwrap_or(before.user_timeout),
        }
    }
}

/// The values in force: the socket's own or the namespace's.
#[must_use]
pub fn in_force(options: &Options, sysctls: &KeepaliveSysctls) -> KeepAlive {
    let own = options.idle.is_some() || options.interval.is_some() || options.count.is_some();
    let seconds = |own: Option<Seconds>, sysctl| own.map_or(sysctl, |own| i64::from(own.get()));
    KeepAlive {
        enabled: options.enabled,
        idle_s: seconds(options.idle, sysctls.time_s),
        interval_s: seconds(options.interval, sysctls.interval_s),
        count: options.count.map_or_else(
            || u32::try_from(sysctls.probes).unwrap_or(0),
            |count| u32::from(count.get()),
        ),
        from: if own { Origin::Socket } else { Origin::Sysctl },
        user_timeout_ms: options.user_timeout.as_millis(),
    }
}

/// Why a socket was left alone.
#[derive(Debug)]
pub enum Left {
    /// It is not there any more.
    Gone,
    /// Its options are not those that it had when the change was decided, or
    /// for an undo, not those that it was given.
    Changed(Options),
    /// Keep-alive means nothing in its state.
    State(State),
    /// No program can reach it any more.
    NoOwner,
    /// The backend cannot reach it.
    Unreachable(&'static str),
    /// So many probes are unanswered now.
    Unanswered(u32),
    /// Data is being retransmitted now.
    Retransmitting,
    /// The peer does not read now.
    WindowClosed,
    /// A value in force would end connections whose peers live.
    Dangerous(String),
    /// The kernel refused; the socket has these options now.
    Failed(io::Error, Options),
}

impl Left {
    /// The name in output.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Changed(_) => "changed-meanwhile",
            Self::State(_) => "state",
            Self::NoOwner => "no-owner",
            Self::Unreachable(_) => "unreachable",
            Self::Unanswered(_) => "unanswered-probes",
            Self::Retransmitting => "retransmitting",
            Self::WindowClosed => "window-closed",
            Self::Dangerous(_) => "dangerous-values",
            Self::Failed(..) => "failed",
        }
    }

    /// The reason as a sentence without its full stop.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Gone => "it has closed".into(),
            Self::Changed(_) => "somebody set other values meanwhile".into(),
            Self::State(state) => format!("keep-alive means nothing in state {state}"),
            Self::NoOwner => "no program can reach it any more".into(),
            Self::Unreachable(why) => (*why).into(),
            Self::Unanswered(1) => {
                "1 probe is unanswered now: the next fire of its timer would end it".into()
            }
            Self::Unanswered(n) => {
                format!("{n} probes are unanswered now: the next fire of its timer would end it")
            }
            Self::Retransmitting => {
                "its data is being retransmitted now: the user timeout may be over already".into()
            }
            Self::WindowClosed => {
                "its peer does not read now: the user timeout may be over already".into()
            }
            Self::Dangerous(why) => why.clone(),
            Self::Failed(error, _) => format!("the kernel refused: {error}"),
        }
    }
}

/// A socket and what it shall have.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Index of its namespace among those of the [`Changer`].
    pub namespace: usize,
    /// The socket.
    pub connection: Connection,
    /// What it has of its own.
    pub before: Options,
    /// What it shall have.
    pub after: Options,
    /// The sysctls of its namespace.
    pub sysctls: KeepaliveSysctls,
}

impl Planned {
    fn change(&self) -> Change {
        Change {
            cookie: self.connection.cookie,
            inode: self.connection.inode,
            before: self.before,
            after: self.after,
            count_in_force: in_force(&self.after, &self.sysctls).count,
        }
    }
}

/// Whether keep-alive options mean anything in this state, or to those that a
/// listener accepts.
#[must_use]
pub fn takes_options(state: State) -> bool {
    state.answers_keepalive() || state == State::Listen
}

/// Why options must not be given to a socket at any moment, if so.
#[must_use]
pub fn obstacle(
    state: State,
    before: &Options,
    after: &Options,
    sysctls: &KeepaliveSysctls,
) -> Option<Left> {
    if !takes_options(state) {
        return Some(Left::State(state));
    }
    if !after.enabled || before == after {
        return None;
    }
    let values = in_force(after, sysctls);
    let dangerous = |what: String| Some(Left::Dangerous(what));
    if values.count == 0 {
        return dangerous(
            "the namespace's count is 0, which ends connections without a probe: give --count"
                .into(),
        );
    }
    if values.interval_s < 1 {
        return dangerous(format!(
            "the namespace's interval is {} s, which ends connections before an answer can come: give --interval",
            values.interval_s
        ));
    }
    if values.idle_s < 1 {
        return dangerous(format!(
            "the namespace's idle time is {} s, which probes without end or never: give --idle",
            values.idle_s
        ));
    }
    if let Some(timeout) = after.user_timeout.duration() {
        let second = values.idle_s.saturating_add(values.interval_s);
        if timeout <= Duration::from_secs(second.unsigned_abs()) {
            return dangerous(format!(
                "with a user timeout of {} ms it would be ended after one unanswered probe: more than {second} s are \
                 needed, or none",
                after.user_timeout.as_millis()
            ));
        }
    }
    None
}

/// A change that stopped midway.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The undo file could not be written.
    #[error("writing the undo file {path}: {source}; nothing was changed")]
    UndoFile {
        /// The file.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The kernel would not.
    #[error(transparent)]
    Kernel(#[from] tcpalive_kernel::Error),
}

/// Sets options, about to run.
#[derive(Debug)]
pub struct Changer<'a> {
    /// Sets them.
    pub setter: Setter<'a>,
    /// The namespaces of the sockets.
    pub namespaces: &'a [Namespace],
    /// Where what was there is noted before anything is changed.
    pub undo_file: Option<&'a mut UndoFile>,
    /// Change nothing, only say what would become of each.
    pub dry_run: bool,
    /// Set from outside to stop between two namespaces.
    pub stop: &'a AtomicBool,
}

impl Changer<'_> {
    /// Makes the changes, and tells `done` of each; those it was not told of
    /// were not touched. The undo file is on disk before the first.
    ///
    /// # Errors
    /// When the undo file cannot be written or nothing can be set at all.
    /// What `done` was told of stands.
    pub fn run(
        self,
        planned: &[Planned],
        done: &mut dyn FnMut(&Planned, Result<(), Left>),
    ) -> Result<(), ChangeError> {
        let Self {
            setter,
            namespaces,
            mut undo_file,
            dry_run,
            stop,
        } = self;
        if let Some(file) = undo_file.as_deref_mut().filter(|_| !dry_run) {
            planned.iter().for_each(|one| file.note(one));
            sync(file)?;
        }
        for (index, namespace) in namespaces.iter().enumerate() {
            let here: Vec<&Planned> = planned
                .iter()
                .filter(|one| one.namespace == index)
                .collect();
            let Some(first) = here.first() else {
                continue;
            };
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let changes: Vec<Change> = here.iter().map(|one| one.change()).collect();
            let outcomes = setter.set(namespace, &first.sysctls, &changes, dry_run)?;
            for (one, outcome) in here.into_iter().zip(outcomes) {
                let result = fate(one.connection.state, outcome);
                if let (Err(_), Some(file)) = (&result, undo_file.as_deref_mut()) {
                    file.note_left(one, &result);
                }
                done(one, result);
            }
            if let Some(file) = undo_file.as_deref_mut().filter(|_| !dry_run) {
                // What is lost here only makes an undo look at more sockets.
                let _ = file.sync();
            }
        }
        Ok(())
    }
}

fn sync(file: &mut UndoFile) -> Result<(), ChangeError> {
    file.sync().map_err(|source| ChangeError::UndoFile {
        path: file.path().display().to_string(),
        source,
    })
}

/// Why a socket in this state was left alone, unless it was changed.
fn fate(state: State, outcome: Outcome) -> Result<(), Left> {
    Err(match outcome {
        Outcome::Changed => return Ok(()),
        outcome => Left::from_outcome(state, outcome),
    })
}

impl Left {
    /// Why options of a socket in this state cannot be known.
    #[must_use]
    pub fn from_outcome(state: State, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Gone => Self::Gone,
            Outcome::OtherOptions(now) => Self::Changed(now),
            Outcome::Changed | Outcome::OtherState => Self::State(state),
            Outcome::NoOwner => Self::NoOwner,
            Outcome::Unreachable(why) => Self::Unreachable(why),
            Outcome::Unanswered(probes) => Self::Unanswered(probes),
            Outcome::Retransmitting => Self::Retransmitting,
            Outcome::WindowClosed => Self::WindowClosed,
            Outcome::Failed(error, now) => Self::Failed(error, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: KeepaliveSysctls = KeepaliveSysctls::LINUX;

    fn refused(after: &Options, sysctls: &KeepaliveSysctls) -> Option<String> {
        obstacle(State::Established, &Options::default(), after, sysctls).map(|left| left.reason())
    }

    #[test]
    fn sysctls_that_end_living_connections_are_refused_unless_the_socket_has_its_own() {
        let harmful = [
            (KeepaliveSysctls { probes: 0, ..LINUX }, "--count"),
            (
                KeepaliveSysctls {
                    interval_s: 0,
                    ..LINUX
                },
                "--interval",
            ),
            (
                KeepaliveSysctls {
                    time_s: -1,
                    ..LINUX
                },
                "--idle",
            ),
        ];
        let own = Options::from(tcpalive_keepalive::Params::LINUX);
        for (sysctls, remedy) in harmful {
            let reason = refused(&Options::ON, &sysctls).unwrap();
            assert!(reason.contains(remedy), "{reason}");
            assert_eq!(refused(&own, &sysctls), None);
            assert_eq!(refused(&Options::default(), &sysctls), None, "off");
        }
    }

    #[test]
    fn a_user_timeout_must_leave_time_for_a_second_probe() {
        let with = |ms| Options {
            user_timeout: UserTimeout::from_millis(ms).unwrap(),
            .."60/10/5"
                .parse::<tcpalive_keepalive::Params>()
                .unwrap()
                .into()
        };
        assert!(refused(&with(70_000), &LINUX).unwrap().contains("70 s"));
        assert_eq!(refused(&with(70_001), &LINUX), None);
        assert_eq!(refused(&with(0), &LINUX), None);
    }

    #[test]
    fn states_without_keep_alive_are_left_alone() {
        for state in State::ALL {
            let left = obstacle(state, &Options::default(), &Options::ON, &LINUX);
            let takes_it = matches!(
                state,
                State::Established | State::CloseWait | State::FinWait2 | State::Listen
            );
            assert_eq!(left.is_none(), takes_it, "{state}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_kept() {
        let before = Options {
            idle: Seconds::new(7),
            ..Options::default()
        };
        let wanted = Wanted {
            enabled: true,
            count: Count::new(4),
            ..Wanted::default()
        };
        let after = wanted.of(&before);
        assert_eq!(after.idle, Seconds::new(7));
        assert_eq!((after.interval, after.count), (None, Count::new(4)));
        let values = in_force(&after, &LINUX);
        assert_eq!((values.idle_s, values.interval_s, values.count), (7, 75, 4));
        assert_eq!(values.from, Origin::Socket);
        assert_eq!(in_force(&Options::ON, &LINUX).from, Origin::Sysctl);
    }
}
