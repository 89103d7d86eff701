//! What can go wrong when Linux is asked, told apart by what to do about it.

use std::io;

/// Result of asking Linux.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation that the kernel refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{doing}: {source}")]
    System {
        /// What was being done, to what.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// This host or user does not allow it.
    #[error("{doing}: not allowed here ({why}). {remedy}")]
    NotAllowed {
        /// What was being done, to what.
        doing: String,
        /// What is missing.
        why: String,
        /// How to get it.
        remedy: String,
    },
    /// The named thing does not exist.
    #[error("{0}")]
    NotFound(String),
}

impl Error {
    /// An error of a system call, with permission problems told apart.
    pub(crate) fn system(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::NotAllowed {
                doing: doing.into(),
                why: source.to_string(),
                remedy: "Run it as root; `tcpalive doctor` lists what is missing.".into(),
            };
        }
        Self::System {
            doing: doing.into(),
            source,
        }
    }

    /// Whether this process, or the host, has no descriptor left.
    pub(crate) fn is_out_of_descriptors(&self) -> bool {
        matches!(self, Self::System { source, .. }
            if matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)))
    }

    /// Whether the host or the user's rights are the obstacle.
    #[must_use]
    pub const fn is_not_allowed(&self) -> bool {
        matches!(self, Self::NotAllowed { .. })
    }
}

impl From<libbpf_rs::Error> for BpfSource {
    fn from(error: libbpf_rs::Error) -> Self {
        Self(error)
    }
}

/// Carries a libbpf error into [`Error`] with its kind kept.
#[derive(Debug)]
pub(crate) struct BpfSource(libbpf_rs::Error);

impl From<BpfSource> for io::Error {
    fn from(BpfSource(error): BpfSource) -> Self {
        let kind = match error.kind() {
            libbpf_rs::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            libbpf_rs::ErrorKind::NotFound => io::ErrorKind::NotFound,
            libbpf_rs::ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, format!("{error:#}"))
    }
}

/// Names what was being done when a result of a system call is an error.
pub(crate) trait Doing<T> {
    /// Attaches what was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::system(what(), source))
    }
}

impl<T> Doing<T> for std::result::Result<T, rustix::io::Errno> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::system(what(), source))
    }
}

impl<T> Doing<T> for libbpf_rs::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::system(what(), BpfSource::from(source)))
    }
}
