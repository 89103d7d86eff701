//! What a command sees of the host: the namespaces it reads, the backend that
//! reads them, and what belongs to a socket but is not in it.

use crate::cli::{Failure, SourceArgs, say};
use std::collections::HashMap;
use tcpalive_connections::{Connection, Owner};
use tcpalive_kernel::cgroups::{self, CgroupPaths};
use tcpalive_kernel::netns::{self, Namespace, Scope};
use tcpalive_kernel::owners::Owners;
use tcpalive_kernel::sweep::{BackendChoice, Sweeper};

/// The host as a command sees it. The parts are public so that a sweep can
/// borrow one of them while its visitor uses the others.
#[derive(Debug)]
pub struct Survey {
    /// The backend, opened.
    pub sweeper: Sweeper,
    /// The namespaces to read, the current one first.
    pub namespaces: Vec<Namespace>,
    /// Who holds which socket; nobody, until [`Survey::look_around`].
    pub owners: Owners,
    /// Which cgroup a socket belongs to.
    pub cgroups: Cgroups,
}

impl Survey {
    /// Opens the backend and the namespaces. What is missing is said on
    /// stderr, a line each.
    ///
    /// # Errors
    /// A namespace that does not exist is wrong usage; what this user may not
    /// do is said with the way to be allowed to.
    pub fn open(source: &SourceArgs) -> Result<Self, Failure> {
        let namespaces = find_namespaces(&source.netns, true)?;
        Ok(Self {
            sweeper: open_sweeper(source.backend())?,
            namespaces,
            owners: Owners::default(),
            cgroups: Cgroups::default(),
        })
    }

    /// Finds the namespaces anew: containers come and go.
    ///
    /// # Errors
    /// As [`Survey::open`].
    pub fn find_again(&mut self, source: &SourceArgs) -> Result<(), Failure> {
        self.namespaces = find_namespaces(&source.netns, false)?;
        Ok(())
    }

    /// Reads who holds which socket, if that is wanted, and the cgroups.
    ///
    /// # Errors
    /// When the kernel stops answering.
    pub fn look_around(&mut self, owners: bool) -> Result<(), Failure> {
        self.cgroups = Cgroups::read();
        if owners {
            self.owners = self.sweeper.owners()?;
        }
        Ok(())
    }
}

/// Opens the backend. What is missing is said on stderr.
///
/// # Errors
/// What this user may not do is said with the way to be allowed to.
pub(crate) fn open_sweeper(backend: BackendChoice) -> Result<Sweeper, Failure> {
    let (sweeper, note) = Sweeper::open(backend)?;
    if let Some(note) = note {
        say(&note);
    }
    Ok(sweeper)
}

/// Finds the namespaces, and says how many are closed to this user if wanted.
///
/// # Errors
/// A namespace that does not exist is wrong usage; what this user may not do
/// is said with the way to be allowed to.
pub(crate) fn find_namespaces(scope: &Scope, tell: bool) -> Result<Vec<Namespace>, Failure> {
    let mut found = netns::find(scope).map_err(|error| {
        if error.is_not_allowed() {
            Failure::NotAllowed(error.to_string())
        } else {
            Failure::Usage(error.to_string())
        }
    })?;
    if *scope == Scope::All {
        // Their files can be opened by more users than may enter them.
        let known = found.namespaces.len();
        found
            .namespaces
            .retain(|namespace| namespace.enter(|| ()).is_ok());
        let closed = found.skipped + known - found.namespaces.len();
        if closed > 0 && tell {
            say(&closed_to_this_user(closed));
        }
    }
    Ok(found.namespaces)
}

fn closed_to_this_user(count: usize) -> String {
    let what = match count {
        1 => "1 process or namespace is closed".to_owned(),
        n => format!("{n} processes or namespaces are closed"),
    };
    let advice = if rustix::process::geteuid().is_root() {
        "this process lacks capabilities that theirs have"
    } else {
        "run it as root"
    };
    format!(
        "{what} to this user, so connections may be missing: {advice}, or say --netns current to read this namespace alone"
    )
}

/// Which cgroup a socket belongs to.
#[derive(Debug, Default)]
pub struct Cgroups {
    paths: CgroupPaths,
    /// Where the path is that of the process: on hosts that mount v1 too, the
    /// v2 path of everything is often the root.
    of_processes: HashMap<u32, Option<String>>,
}

impl Cgroups {
    fn read() -> Self {
        Self {
            paths: CgroupPaths::read(),
            of_processes: HashMap::new(),
        }
    }

    /// The path of the cgroup that the socket was made in; where that is the
    /// root, or there is no cgroup v2, that of its first owner.
    pub fn path(&mut self, connection: &Connection, owners: &[Owner]) -> Option<&str> {
        let own = match connection.cgroup_id {
            // A cgroup that was removed is not guessed.
            Some(id) => Some(self.paths.path(id)?),
            None => None,
        };
        match (own, owners.first()) {
            (None | Some("/"), Some(owner)) => self
                .of_processes
                .entry(owner.pid)
                .or_insert_with(|| cgroups::of_process(owner.pid))
                .as_deref()
                .or(own),
            _ => own,
        }
    }
}
