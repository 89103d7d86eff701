//! Why a command did not come to its end, and what the shell is told.

use std::io;
use std::process::ExitCode;
use tcpalive_connections::FilterError;
use tcpalive_kernel::Error;
use tcpalive_lab::LabError;

/// What a command that came to its end found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing bad: exit code 0.
    Nothing,
    /// What it looks for: exit code 1.
    Something,
}

impl From<Found> for ExitCode {
    fn from(found: Found) -> Self {
        Self::from(match found {
            Found::Nothing => 0,
            Found::Something => 1,
        })
    }
}

/// Why a command did not come to its end. Each text is one sentence with what
/// the person can do now.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage or bad input: 2.
    Usage(String),
    /// A filter that was not understood: 2.
    Filter(FilterError),
    /// This host or user does not allow it: 3.
    NotAllowed(String),
    /// Failed midway: 4.
    Midway(String),
    /// Whoever read the output has seen enough: 0, and nothing is said.
    ClosedPipe,
}

impl Failure {
    /// What people are told, if anything.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Usage(text) | Self::NotAllowed(text) | Self::Midway(text) => Some(text.clone()),
            Self::Filter(error) => Some(format!("{error}\n{}", indented(&error.with_caret()))),
            Self::ClosedPipe => None,
        }
    }

    /// The contract's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::ClosedPipe => 0,
            Self::Usage(_) | Self::Filter(_) => 2,
            Self::NotAllowed(_) => 3,
            Self::Midway(_) => 4,
        })
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        Self::Filter(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.is_not_allowed() {
            Self::NotAllowed(error.to_string())
        } else {
            Self::Midway(error.to_string())
        }
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        match error {
            LabError::NotRoot => Self::NotAllowed(error.to_string()),
            error => Self::Midway(error.to_string()),
        }
    }
}

/// Errors of the output: everything else that can fail has an error of its own.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Midway(format!("writing the output: {error}; it is not complete"))
        }
    }
}
