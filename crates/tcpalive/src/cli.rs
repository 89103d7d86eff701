//! The arguments and the commands.

use std::process::ExitCode;

/// Runs the program with the process's own arguments.
#[must_use]
pub fn main() -> ExitCode {
    eprintln!("tcpalive: no command is built in yet");
    ExitCode::from(2)
}
