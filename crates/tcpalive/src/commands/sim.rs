//! `tcpalive sim`: a connection's life in virtual time.

use crate::cli::{Failure, Found, Presentation};
use crate::render::sim::{End, Life, Text, write_ndjson, write_summary};
use crate::render::{comparison, svg};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tcpalive_keepalive::Scenario;
use tcpalive_lab::play::{self, Comparison, Part};

/// Arguments of `sim`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive sim scenario.toml
  tcpalive sim scenario.toml --svg life.svg
  tcpalive sim --compare-kernel --scale 10 scenario.toml
  tcpalive sim - <<'END'
  until = 200.0
  [keepalive]
  enabled = true
  idle = 10
  interval = 20
  count = 5
  [peer]
  silent_from = 0.0
  END

A scenario is TOML; all times are seconds since the connection was established:
  until = S                            when to stop
  opened = \"connect\"|\"accept\"
  [keepalive] enabled idle interval count user_timeout      the socket's own options
  [sysctl] time interval probes        the namespace's, for what the socket has not set
  [peer] rtt silent_from resets_from
  [[event]] at kind ...                in time order, of these kinds:
    receive-data receive-ack receive-probe receive-garbage-probe receive-out-of-order
    receive-old-ack receive-future-ack peer-closes icmp-error (error, quotes = \"ack\"|\"probe\")
    send-data (acked) set (enabled idle interval count user_timeout, set in this order)
    shutdown close sysctl (time interval probes) queue-full queue-drained

Times are those of an exact clock: a kernel's timers are late by up to an eighth.

--compare-kernel plays the scenario on this host's kernel, in a network namespace that goes
away, with a scripted peer, and shows how late each step was. It needs root, and as long as
the scenario says: --scale divides its times where seconds stay whole.

Exit codes: 0 done; 1 the kernel did not do what was predicted; 2 wrong usage, or a scenario
that is none; 3 this host or user does not allow it; 4 failed midway.")]
pub struct Args {
    /// Scenario files; - reads one from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also draw the scenarios into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Play the scenarios on the real kernel, and show both side by side
    #[arg(long, conflicts_with = "svg")]
    compare_kernel: bool,
    /// Divide the scenarios' times by this
    #[arg(long, value_name = "N", requires = "compare_kernel", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..))]
    scale: u32,
}

/// Plays the scenarios, and prints what is seen.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    if args.files.iter().filter(|file| is_stdin(file)).count() > 1 {
        let message = "- is given more than once: standard input holds one scenario";
        return Err(Failure::Usage(message.to_owned()));
    }
    // All are read before anything is printed.
    let scenarios: Vec<(String, Scenario)> = args
        .files
        .iter()
        .map(|file| Ok((name(file), read(file)?)))
        .collect::<Result<_, Failure>>()?;
    if args.compare_kernel {
        return compare(&scenarios, args.scale, presentation);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if presentation.json {
        let several = scenarios.len() > 1;
        let ends = scenarios
            .iter()
            .map(|(name, scenario)| write_ndjson(&mut out, name, scenario, several))
            .collect::<io::Result<Vec<End>>>()?;
        write_summary(&mut out, &ends)?;
    }
    if presentation.json && args.svg.is_none() {
        out.flush()?;
        return Ok(Found::Nothing);
    }
    let lives: Vec<Life<'_>> = scenarios
        .iter()
        .map(|(name, scenario)| Life::watch(name, scenario))
        .collect();
    if !presentation.json {
        for (index, life) in lives.iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            write!(out, "{gap}{}", Text(life, presentation.style))?;
        }
    }
    out.flush()?;
    if let Some(file) = &args.svg {
        fs::write(file, svg::lives(&lives)).map_err(|error| {
            Failure::Midway(format!("writing the drawing {}: {error}", file.display()))
        })?;
    }
    Ok(Found::Nothing)
}

/// Plays all scenarios on the kernel, at the same time.
fn compare(
    scenarios: &[(String, Scenario)],
    scale: u32,
    presentation: Presentation,
) -> Result<Found, Failure> {
    let parts: Vec<Part> = scenarios
        .iter()
        .map(|(name, scenario)| {
            let scaled = play::scaled(scenario, scale)
                .map_err(|error| Failure::Usage(format!("the scenario {name}: {error}")))?;
            Ok(Part::from(scaled))
        })
        .collect::<Result<_, Failure>>()?;
    let hz = play::ticks_per_second()?;
    let records = play::play(&parts)?;
    let comparisons: Vec<Comparison> = parts
        .iter()
        .zip(&records)
        .map(|(part, record)| Comparison {
            scale,
            ..Comparison::new(&part.scenario, record, hz)
        })
        .collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (index, (comparison, (name, _))) in comparisons.iter().zip(scenarios).enumerate() {
        if presentation.json {
            comparison::write_ndjson(&mut out, name, comparison)?;
        } else {
            let gap = if index > 0 { "\n" } else { "" };
            let style = presentation.style;
            let text = comparison::Text {
                name,
                comparison,
                style,
            };
            write!(out, "{gap}{text}")?;
        }
    }
    if presentation.json {
        comparison::write_summary(&mut out, comparisons.iter())?;
    }
    out.flush()?;
    Ok(if comparisons.iter().all(Comparison::held) {
        Found::Nothing
    } else {
        Found::Something
    })
}

fn name(file: &Path) -> String {
    match file.file_stem() {
        Some(stem) if !is_stdin(file) => stem.to_string_lossy().into_owned(),
        _ => "standard input".to_owned(),
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn read(file: &Path) -> Result<Scenario, Failure> {
    let (shown, bytes) = if is_stdin(file) {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        ("standard input".to_owned(), read.map(|_| bytes))
    } else {
        (file.display().to_string(), fs::read(file))
    };
    let bytes =
        bytes.map_err(|error| Failure::Usage(format!("reading the scenario {shown}: {error}")))?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Failure::Usage(format!(
            "the scenario {shown}: line {line}: not text: a scenario is UTF-8"
        ))
    })?;
    Scenario::from_toml(text)
        .map_err(|error| Failure::Usage(format!("the scenario {shown}: {error}")))
}
