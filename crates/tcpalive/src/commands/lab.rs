//! `tcpalive lab`: experiments on the real kernel.

use crate::cli::{Failure, Found, Presentation};
use serde_json::json;
use std::io::{self, Write};
use tcpalive_lab::article;
use tcpalive_lab::night::{self, ALIVE_CONNECTIONS, NightOptions};

const EXIT_CODES: &str = "\
Exit codes: 0 done, and every scenario held; 1 a scenario did not hold; 2 wrong usage;
3 this host or user does not allow it; 4 failed midway, and everything was taken down.";

/// Arguments of `lab`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  tcpalive lab list
  tcpalive lab run night

{EXIT_CODES}"))]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the scenarios
    #[command(after_help = "\
Example:
  tcpalive lab list --json

Exit codes: 0 done; 2 wrong usage.")]
    List,
    /// Run scenarios, and hold what is observed against what is expected
    #[command(after_help = format!("\
Example:
  tcpalive lab run night

Hosts are network namespaces of their own: nothing leaves this machine and nothing of it
is touched. Everything is taken down in the end, also after Ctrl-C. It needs root, and the
programs ip and nft.

{EXIT_CODES}"))]
    Run(RunArgs),
    /// What a scenario starts as its servers and clients
    #[command(hide = true)]
    Worker {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Names of scenarios, as `lab list` shows them, or all
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Connections of the night's host that dies
    #[arg(long, hide = true, default_value_t = article::DEAD_CONNECTIONS)]
    dead: usize,
    /// Connections of its host that lives
    #[arg(long, hide = true, default_value_t = ALIVE_CONNECTIONS)]
    alive: usize,
}

/// A scenario: its name, and what it is about.
struct Scenario {
    name: &'static str,
    about: &'static str,
}

const SCENARIOS: [Scenario; 1] = [Scenario {
    name: "night",
    about: "20,000 connections whose host lost its power beside 480 that live: listed, checked, reaped",
}];

/// Runs the subcommand.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: Args, presentation: Presentation) -> Result<Found, Failure> {
    match args.command {
        Command::List => list(presentation),
        Command::Run(args) => run_scenarios(&args, presentation),
        Command::Worker { arguments } => {
            night::worker_main(&arguments)?;
            Ok(Found::Nothing)
        }
    }
}

fn list(presentation: Presentation) -> Result<Found, Failure> {
    let mut out = io::stdout().lock();
    for Scenario { name, about } in SCENARIOS {
        if presentation.json {
            let object = json!({"type": "scenario", "name": name, "about": about});
            writeln!(out, "{object}")?;
        } else {
            writeln!(out, "{name:<12}  {about}")?;
        }
    }
    if presentation.json {
        let object = json!({"type": "summary", "scenarios": SCENARIOS.len()});
        writeln!(out, "{object}")?;
    }
    out.flush()?;
    Ok(Found::Nothing)
}

fn run_scenarios(args: &RunArgs, presentation: Presentation) -> Result<Found, Failure> {
    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    let unknown = |name: &&String| *name != "all" && !names.contains(&name.as_str());
    if let Some(name) = args.names.iter().find(unknown) {
        let names = names.join(", ");
        return Err(Failure::Usage(format!(
            "there is no scenario '{name}'; there are: {names}, or all"
        )));
    }
    // There is but one, however often it is named.
    let held = run_night(args, presentation)?;
    let mut out = io::stdout().lock();
    if presentation.json {
        let (held, failed) = (u8::from(held), u8::from(!held));
        let object = json!({"type": "summary", "scenarios": 1, "held": held, "failed": failed});
        writeln!(out, "{object}")?;
    }
    out.flush()?;
    Ok(if held {
        Found::Nothing
    } else {
        Found::Something
    })
}

fn run_night(args: &RunArgs, presentation: Presentation) -> Result<bool, Failure> {
    if args.dead == 0 || args.alive == 0 {
        return Err(Failure::Usage(
            "a night needs at least one dead and one living connection".into(),
        ));
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::Midway(format!("finding the program itself: {error}")))?;
    let options = NightOptions {
        dead: args.dead,
        alive: args.alive,
        ..NightOptions::new(program)
    };
    let report = night::run(&options, &mut io::stderr())?;
    let mut out = io::stdout().lock();
    if presentation.json {
        serde_json::to_writer(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(report.table(presentation.style.color).as_bytes())?;
    }
    Ok(report.held())
}
