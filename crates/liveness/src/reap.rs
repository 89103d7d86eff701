//! Letting go of what was proven dead, and of nothing else.
//!
//! A connection is destroyed only when all of this holds: this run proved it
//! dead; nothing was heard of its peer since, neither by the socket nor on
//! the wire; the socket is the same one, by cookie; nothing about it has
//! moved, which the kernel compares under the socket's own lock where it has
//! `bpf_sock_destroy`; and the journal on disk says that it is about to be.

use crate::check::{Checked, Dead};
use crate::journal::Journal;
use std::io;
use tcpalive_connections::Owner;
use tcpalive_kernel::Result;
use tcpalive_kernel::destroy::{Destroyed, Method, destroy};
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::BpfSweeper;

/// Connections journaled and destroyed at a time: what a reap that is killed
/// leaves in doubt.
const BATCH: usize = 4096;

/// How to reap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReapOptions {
    /// How sockets are destroyed.
    pub method: Method,
}

/// What became of a connection that was to be destroyed.
#[derive(Debug)]
pub enum Fate {
    /// It is gone: its program got ECONNABORTED.
    Destroyed,
    /// It had closed by itself.
    AlreadyClosed,
    /// It moved or was heard since the proof, and was left alone.
    Changed(&'static str),
    /// The kernel refused.
    Failed(io::Error),
}

impl Fate {
    /// The result as the contract names it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::AlreadyClosed => "already-closed",
            Self::Changed(_) => "changed",
            Self::Failed(_) => "failed",
        }
    }

    /// What there is to say beyond the name.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Destroyed | Self::AlreadyClosed => None,
            Self::Changed(what) => Some((*what).into()),
            Self::Failed(error) => Some(error.to_string()),
        }
    }
}

/// A reap that stopped midway.
#[derive(Debug, thiserror::Error)]
pub enum ReapError {
    /// The journal could not be written: nothing was destroyed after that.
    #[error("writing the journal {path}: {source}; no connection was destroyed without being journaled")]
    Journal {
        /// The journal.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The kernel would not.
    #[error(transparent)]
    Kernel(#[from] tcpalive_kernel::Error),
}

/// Destroys the connections that `checked` proved dead, batch by batch, and
/// tells `done` of each.
///
/// # Errors
/// When the journal cannot be written or nothing can be destroyed at all.
/// What `done` was told of stands.
pub fn reap(
    sweeper: &mut BpfSweeper,
    namespaces: &[Namespace],
    checked: &Checked,
    dead: &[&Dead],
    options: ReapOptions,
    journal: &mut Journal,
    owners: &dyn Fn(&Dead) -> Vec<Owner>,
    done: &mut dyn FnMut(&Dead, Fate),
) -> std::result::Result<(), ReapError> {
    for (index, namespace) in namespaces.iter().enumerate() {
        let here: Vec<&Dead> = dead.iter().copied().filter(|dead| dead.namespace == index).collect();
        // Few passes over a large table: each walks all of its sockets.
        for batch in here.chunks(BATCH.max(here.len() / 8)) {
            let (silent, heard): (Vec<&Dead>, Vec<&Dead>) =
                batch.iter().copied().partition(|dead| is_still_silent(checked, dead));
            for dead in heard {
                done(dead, Fate::Changed("its peer was heard after the proof"));
            }
            for dead in &silent {
                journal.destroying(dead, &owners(dead));
            }
            sync(journal)?;
            let condemned: Vec<_> = silent.iter().map(|dead| dead.condemned).collect();
            let results: Result<_> = destroy(sweeper, namespace, &condemned, options.method);
            for (dead, destroyed) in silent.iter().zip(results?) {
                let fate = match destroyed {
                    Destroyed::Destroyed => Fate::Destroyed,
                    Destroyed::AlreadyClosed => Fate::AlreadyClosed,
                    Destroyed::Changed => Fate::Changed("the connection moved after the proof"),
                    Destroyed::Failed(error) => Fate::Failed(error),
                };
                journal.result(dead, &fate);
                done(dead, fate);
            }
            sync(journal)?;
        }
    }
    Ok(())
}

fn sync(journal: &mut Journal) -> std::result::Result<(), ReapError> {
    journal
        .sync()
        .map_err(|source| ReapError::Journal { path: journal.path().display().to_string(), source })
}

/// Whether the wire has been as silent as the socket since the proof.
fn is_still_silent(checked: &Checked, dead: &Dead) -> bool {
    checked.taps[dead.namespace].as_ref().is_some_and(|tap| {
        let seen = tap.sighting(dead.connection.local, dead.connection.remote);
        seen.heard == 0 && seen.resets == 0
    })
}
