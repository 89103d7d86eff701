//! The arguments, and what a command's end means for the shell.
//!
//! * [`arguments`]: groups of arguments that commands share, and what they
//!   resolve to.
//! * [`failure`]: why a command did not come to its end, and its exit code.
//!
//! A new command is a module in [`crate::commands`] with its `Args`, and two
//! lines here: a variant of [`Command`] and its arm in [`run`].

pub mod arguments;
pub mod failure;

pub use arguments::{OutputArgs, Presentation, Selected, SelectionArgs, SourceArgs};
pub use failure::{Failure, Found};

use crate::commands::{
    analyze, check, disable, doctor, dump, enable, lab, ls, nc, plan, reap, sim, sysctl, undo,
};
use clap::{CommandFactory, Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs the program with the process's own arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and the version are errors for clap, too; a closed pipe is none.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    raise_descriptor_limit();
    match run(cli) {
        Ok(found) => found.into(),
        Err(failure) => {
            if let Some(text) = failure.text() {
                say(&text);
            }
            failure.exit_code()
        }
    }
}

/// Takes what the hard limit of descriptors allows: every network namespace
/// that is looked into takes a few.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Refused or not, the namespaces that do not fit are reported as such.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

/// Tells people something beside the data: one line on stderr.
pub fn say(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(io::stderr(), "tcpalive: {text}");
}

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "tcpalive",
    version,
    about = "Finds TCP connections whose peers are dead, proves it, and lets go of them",
    after_help = "\
Examples:
  tcpalive ls                                  every established connection of this host
  tcpalive ls 'not keepalive and idle > 10m'   those that nobody would miss
  tcpalive ls --summary                        by state, process and peer network
  tcpalive check --port 3333                   which peers are dead, with the evidence
  tcpalive reap --port 3333 --yes              let go of the dead ones
  tcpalive enable --port 3333 --idle 60s --interval 10s --count 5
                                               keep-alive on connections that are open
  tcpalive sysctl                              the kernel's three values, and what follows
  tcpalive plan --detect-within 2m             which values, and what they cost
  tcpalive sim scenario.toml                   what values will do, in virtual time
  tcpalive dump port 3333                      packets, with what they mean for keep-alive
  tcpalive analyze night.pcap                  who probes whom, and which peers are dead
  tcpalive nc -l 3333                          netcat, with keep-alive on
  tcpalive doctor                              what this kernel and user allow

Exit codes: 0 done, nothing bad found; 1 done, and found what the command looks for;
2 wrong usage or bad input; 3 this host or user does not allow it; 4 failed midway."
)]
pub struct Cli {
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// List connections with their keep-alive, owner, age and cost
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Find out which peers are dead, by probes, with the evidence
    Check(check::Args),
    /// Let go of connections whose peers are proven dead, and of nothing else
    Reap(reap::Args),
    /// Switch keep-alive on for connections that are open, with these values
    Enable(enable::Args),
    /// Switch keep-alive off for connections that are open
    Disable(disable::Args),
    /// Give connections back what they had before an `enable` or `disable`
    Undo(undo::Args),
    /// Play a connection's life in virtual time: which probes, when, and how it ends
    Sim(sim::Args),
    /// Choose keep-alive values, with their cost and the lines to paste
    Plan(plan::Args),
    /// Show TCP packets as tcpdump does, with what they mean for keep-alive
    Dump(dump::Args),
    /// Read keep-alive out of captures: who probes whom, and which peers are dead
    Analyze(analyze::Args),
    /// Copy bytes over one TCP connection, as netcat does, with keep-alive on
    Nc(nc::Args),
    /// Say what this kernel and user allow, and find leftovers
    Doctor(doctor::Args),
    /// Show or set the keep-alive sysctls, with the detection time that follows
    Sysctl(sysctl::Args),
    /// Repeat experiments on the real kernel, in network namespaces of their own
    Lab(lab::Args),
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    #[command(hide = true)]
    Man,
}

fn run(cli: Cli) -> Result<Found, Failure> {
    let presentation = cli.output.resolve();
    match cli.command {
        Command::Ls(args) => ls::run(&args, presentation),
        Command::Check(args) => check::run(&args, presentation),
        Command::Reap(args) => reap::run(&args, presentation),
        Command::Enable(args) => enable::run(&args, presentation),
        Command::Disable(args) => disable::run(&args, presentation),
        Command::Undo(args) => undo::run(&args, presentation),
        Command::Sim(args) => sim::run(&args, presentation),
        Command::Plan(args) => plan::run(&args, presentation),
        Command::Dump(args) => dump::run(&args, presentation),
        Command::Analyze(args) => analyze::run(&args, presentation),
        Command::Nc(args) => nc::run(&args, presentation),
        Command::Doctor(args) => doctor::run(&args, presentation),
        Command::Sysctl(args) => sysctl::run(&args, presentation),
        Command::Lab(args) => lab::run(args, presentation),
        Command::Completions { shell } => print(|out| {
            clap_complete::generate(shell, &mut Cli::command(), "tcpalive", out);
            Ok(())
        }),
        Command::Man => print(|out| clap_mangen::Man::new(Cli::command()).render(out)),
    }
}

fn print(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<Found, Failure> {
    let mut text = Vec::new();
    write(&mut text)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&text)?;
    stdout.flush()?;
    Ok(Found::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_and_its_exit_codes() {
        fn look(command: &clap::Command) {
            if !command.is_hide_set() {
                let after = command.get_after_help().map(ToString::to_string);
                let after =
                    after.unwrap_or_else(|| panic!("{} has no example", command.get_name()));
                assert!(after.contains("Example"), "{}", command.get_name());
                assert!(after.contains("Exit codes"), "{}", command.get_name());
                command.get_subcommands().for_each(look);
            }
        }
        look(&Cli::command());
    }
}
