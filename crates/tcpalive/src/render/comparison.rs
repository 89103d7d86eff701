//! Scenarios beside their lives on the real kernel.

use super::sim::decimal;
use super::style::{Paint, Style};
use super::text;
use serde_json::Value;
use std::fmt::{self, Write};
use std::io;
use std::time::Duration;
use tcpalive_keepalive::{Moment, Sight};
use tcpalive_lab::play::{Comparison, Row};

/// A comparison as a table for people.
#[derive(Debug)]
pub struct Text<'a> {
    /// What the scenario is called.
    pub name: &'a str,
    /// The scenario and what the kernel did.
    pub comparison: &'a Comparison,
    /// How it is laid out.
    pub style: Style,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { rows, .. } = self.comparison;
        let color = self.style.color;
        let mut out = String::new();
        Paint::Bold.push(&mut out, &text::clean(self.name), color);
        let hz = self.comparison.hz.get();
        write!(out, ", on the real kernel ({hz} ticks a second")?;
        match self.comparison.scale {
            1 => out.push_str(")\n"),
            scale => writeln!(out, ", times divided by {scale})")?,
        }
        if rows.is_empty() {
            out.push_str("nothing was predicted, and nothing was seen\n");
        } else {
            writeln!(
                out,
                "{:>11}  {:>11}  {:>9}  {:>9}  ",
                "PREDICTED", "MEASURED", "LATE BY", "ALLOWED"
            )?;
        }
        for row in rows {
            let time = |moment: Option<Moment>| {
                moment.map_or_else(|| "-".to_owned(), |moment| format!("{} s", rounded(moment)))
            };
            write!(
                out,
                "{:>11}  {:>11}  {:>9}  {:>9}  ",
                time(row.predicted),
                time(row.measured),
                span(row.lateness),
                span(row.allowed)
            )?;
            let (paint, sign) = if row.held {
                (Paint::Green, "✓ ")
            } else {
                (Paint::Yellow, "✗ ")
            };
            paint.push(&mut out, sign, color);
            out.push_str(&words(row));
            out.push('\n');
        }
        if self.comparison.congested {
            out.push_str(
                "This host dropped packets of its own meanwhile, for want of time, and tried them again: the times \
                 above are not those predicted, and the machine was told of it.\n",
            );
        }
        match &self.comparison.disagreement {
            None if self.comparison.congested => {
                out.push_str("The kernel did what the machine says.\n");
            }
            None if self.comparison.held() => out.push_str("The kernel did what was predicted.\n"),
            None => out.push_str("The kernel did not do what was predicted.\n"),
            Some(why) => writeln!(out, "The kernel did not do what was predicted: {why}")?,
        }
        f.write_str(&out)
    }
}

/// To the millisecond: the load of the machine is coarser than that.
fn rounded(moment: Moment) -> String {
    let micros = moment.at.as_nanos() / 1000;
    format!("{}.{:03}", micros / 1_000_000, micros / 1000 % 1000)
}

fn span(duration: Option<Duration>) -> String {
    match duration {
        None => "-".to_owned(),
        Some(duration) if duration < Duration::from_secs(10) => {
            format!("{} ms", duration.as_millis())
        }
        Some(duration) => format!("{} s", duration.as_secs()),
    }
}

fn words(row: &Row) -> String {
    match (row.predicted, row.measured) {
        (Some(predicted), Some(measured)) if predicted.what != measured.what => {
            format!(
                "{}, predicted {}",
                sight(&measured.what),
                sight(&predicted.what)
            )
        }
        (_, Some(measured)) => sight(&measured.what),
        (Some(predicted), None) => format!("{}: not seen", sight(&predicted.what)),
        (None, None) => String::new(),
    }
}

fn sight(sight: &Sight) -> String {
    match sight {
        Sight::Probe { probes_out } => format!("probe {probes_out}"),
        Sight::Dropped => "probe dropped by this host's own queue".to_owned(),
        Sight::Answer => "answer".to_owned(),
        Sight::Abort(abort) => format!("RST|ACK, {}", abort.error),
        Sight::Reset { error } => format!("RST, {error}"),
    }
}

/// Writes a comparison as NDJSON: an object for each step.
///
/// # Errors
/// When it cannot be written.
pub fn write_ndjson(
    out: &mut impl io::Write,
    name: &str,
    comparison: &Comparison,
) -> io::Result<()> {
    let scenario = Value::from(name);
    for row in &comparison.rows {
        let kind = row
            .measured
            .or(row.predicted)
            .map_or("nothing", |moment| kind(&moment.what));
        let time = |moment: Option<Moment>| {
            moment.map_or_else(|| "null".to_owned(), |moment| decimal(moment.at))
        };
        let millis = |duration: Option<Duration>| {
            duration.map_or_else(
                || "null".to_owned(),
                |duration| format!("{:.3}", duration.as_secs_f64() * 1e3),
            )
        };
        writeln!(
            out,
            "{{\"type\":\"step\",\"scenario\":{scenario},\"what\":\"{kind}\",\"t\":{},\
             \"measured_t\":{},\"late_ms\":{},\"allowed_ms\":{},\"held\":{}}}",
            time(row.predicted),
            time(row.measured),
            millis(row.lateness),
            millis(row.allowed),
            row.held
        )?;
    }
    let disagreement = comparison.disagreement.as_deref();
    writeln!(
        out,
        "{{\"type\":\"result\",\"scenario\":{scenario},\"held\":{},\"steps\":{},\"scale\":{},\
         \"hz\":{},\"congested\":{},\"disagreement\":{}}}",
        comparison.held(),
        comparison.rows.len(),
        comparison.scale,
        comparison.hz.get(),
        comparison.congested,
        Value::from(disagreement)
    )
}

/// Writes the last object.
///
/// # Errors
/// When it cannot be written.
pub fn write_summary<'a>(
    out: &mut impl io::Write,
    comparisons: impl Iterator<Item = &'a Comparison>,
) -> io::Result<()> {
    let (mut held, mut failed) = (0, 0);
    for comparison in comparisons {
        if comparison.held() {
            held += 1;
        } else {
            failed += 1;
        }
    }
    let scenarios = held + failed;
    writeln!(
        out,
        "{{\"type\":\"summary\",\"scenarios\":{scenarios},\"held\":{held},\"failed\":{failed}}}"
    )
}

fn kind(sight: &Sight) -> &'static str {
    match sight {
        Sight::Probe { .. } => "probe",
        Sight::Dropped => "dropped",
        Sight::Answer => "answer",
        Sight::Abort(_) => "abort",
        Sight::Reset { .. } => "reset",
    }
}
