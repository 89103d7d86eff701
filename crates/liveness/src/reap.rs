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
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tcpalive_connections::Owner;
use tcpalive_kernel::destroy::{Destroyed, Method, destroy};
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::BpfSweeper;

/// Connections journaled and destroyed at a time: what a reap that is killed
/// leaves in doubt.
const BATCH: usize = 4096;

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
    #[error(
        "writing the journal {path}: {source}; no connection was destroyed without being journaled"
    )]
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

/// A reap, about to run.
#[derive(Debug)]
pub struct Reap<'a> {
    /// Sweeps the sockets.
    pub sweeper: &'a mut BpfSweeper,
    /// The namespaces that were checked.
    pub namespaces: &'a [Namespace],
    /// The check that proved the connections dead, its taps still listening.
    pub checked: &'a Checked,
    /// How sockets are destroyed.
    pub method: Method,
    /// Where it is noted.
    pub journal: &'a mut Journal,
    /// Set from outside to stop between two batches.
    pub stop: &'a AtomicBool,
}

impl Reap<'_> {
    /// Destroys these connections batch by batch, and tells `done` of each;
    /// those it was not told of when it was stopped were not touched.
    /// `owners` is asked who holds one, for the journal.
    ///
    /// # Errors
    /// When the journal cannot be written or nothing can be destroyed at all.
    /// What `done` was told of stands.
    pub fn run(
        self,
        dead: &[&Dead],
        owners: &dyn Fn(&Dead) -> Vec<Owner>,
        done: &mut dyn FnMut(&Dead, Fate),
    ) -> Result<(), ReapError> {
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let here: Vec<&Dead> = dead
                .iter()
                .copied()
                .filter(|dead| dead.namespace == index)
                .collect();
            // Few passes over a large table: each walks all of its sockets.
            for batch in here.chunks(BATCH.max(here.len() / 8)) {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let (silent, heard): (Vec<&Dead>, Vec<&Dead>) = batch
                    .iter()
                    .copied()
                    .partition(|dead| is_still_silent(self.checked, dead));
                for dead in heard {
                    done(dead, Fate::Changed("its peer was heard after the proof"));
                }
                for dead in &silent {
                    self.journal.destroying(dead, &owners(dead));
                }
                sync(self.journal)?;
                let condemned: Vec<_> = silent.iter().map(|dead| dead.condemned).collect();
                let results = destroy(
                    self.sweeper,
                    namespace,
                    &condemned,
                    self.method,
                    &|socket| wire_is_silent(self.checked, index, socket.local, socket.remote),
                )?;
                for (dead, destroyed) in silent.iter().zip(results) {
                    let fate = Fate::from(destroyed);
                    self.journal.result(dead, &fate);
                    done(dead, fate);
                }
                sync(self.journal)?;
            }
        }
        Ok(())
    }
}

impl From<Destroyed> for Fate {
    fn from(destroyed: Destroyed) -> Self {
        match destroyed {
            Destroyed::Destroyed => Self::Destroyed,
            Destroyed::AlreadyClosed => Self::AlreadyClosed,
            Destroyed::Changed => Self::Changed("the connection moved after the proof"),
            Destroyed::Failed(error) => Self::Failed(error),
        }
    }
}

fn sync(journal: &mut Journal) -> Result<(), ReapError> {
    journal.sync().map_err(|source| ReapError::Journal {
        path: journal.path().display().to_string(),
        source,
    })
}

/// Whether the wire has been as silent as the socket since the proof.
fn is_still_silent(checked: &Checked, dead: &Dead) -> bool {
    let Dead {
        namespace,
        connection,
        ..
    } = dead;
    wire_is_silent(checked, *namespace, connection.local, connection.remote)
}

fn wire_is_silent(
    checked: &Checked,
    namespace: usize,
    local: SocketAddr,
    remote: SocketAddr,
) -> bool {
    checked.taps[namespace].as_ref().is_some_and(|tap| {
        let seen = tap.sighting(local, remote);
        seen.heard == 0 && seen.resets == 0
    })
}
