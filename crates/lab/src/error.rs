//! What can go wrong in a lab.

use std::io;

/// An error of the lab: what was being done, to what, and what came back.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The caller is not root.
    #[error(
        "a lab makes network namespaces, which needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): run it with sudo"
    )]
    NotRoot,
    /// A program that the lab relies on failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote to stderr.
        stderr: String,
    },
    /// The kernel refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An argument that makes no sense, or a step that did not come to its end.
    #[error("{0}")]
    Other(String),
    /// Ctrl-C, or a request to end.
    #[error("interrupted; the lab was taken down")]
    Interrupted,
}

/// A result whose error is a [`LabError`].
pub type Result<T> = std::result::Result<T, LabError>;

/// Names the failed operation on the way up.
pub(crate) trait Doing<T> {
    /// Turns the kernel's error into one that says what was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| LabError::Io {
            doing: what(),
            source: error.into(),
        })
    }
}
