//! Running `ip` and `nft`.

use crate::error::{Doing, LabError, Result};
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a command to its end, feeds it `stdin`, and returns its stdout.
pub(crate) fn capture(command: &mut Command, stdin: &str) -> Result<String> {
    let line = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| format!("start `{line}`"))?;
    // A program that ends before it has read everything says why on stderr.
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let output = child
        .wait_with_output()
        .doing(|| format!("wait for `{line}`"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !stdin.is_empty() {
        stderr.push_str("\nits input was:\n");
        stderr.push_str(stdin);
    }
    Err(LabError::Command {
        command: line,
        status: output.status.to_string(),
        stderr,
    })
}

/// `ip` with arguments separated by white space, in the caller's namespace.
pub(crate) fn ip(arguments: &str) -> Result<String> {
    capture(Command::new("ip").args(arguments.split_whitespace()), "")
}

/// Several `ip` commands, one a line, inside the namespace `netns`: one process for all.
pub(crate) fn ip_batch(netns: &str, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let script = lines.join("\n") + "\n";
    capture(
        Command::new("ip").args(["-n", netns, "-batch", "-"]),
        &script,
    )
    .map(drop)
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
