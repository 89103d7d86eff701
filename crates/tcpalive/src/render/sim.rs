//! Lives of connections, as `sim` shows them.

use super::style::{Paint, Style};
use super::text;
use super::timeline::{Arrow, Row, rows};
use serde_json::Value;
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::io;
use tcpalive_keepalive::{Abort, Happening, Moment, Scenario, Sight, Simulation, Time, Timing};

/// A connection's life, short enough to be shown.
#[derive(Debug)]
pub struct Life<'a> {
    /// What the scenario is called.
    pub name: &'a str,
    /// The scenario.
    pub scenario: &'a Scenario,
    pub(crate) seen: Vec<Seen>,
    /// What became of the connection.
    pub end: End,
}

/// Something that was seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// By itself, with the values that were in force.
    Moment(Moment, Timing),
    /// Probes that were answered, one like the other.
    Answered {
        first: Time,
        last: Time,
        probes: u64,
    },
}

/// What became of a connection.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// How many probes left.
    pub probes: u64,
    /// Whether it is over.
    pub closed: bool,
    /// What ended it, if it was keep-alive or a reset.
    pub(crate) by: Option<Moment>,
    /// When the peer was last heard.
    pub(crate) heard: Time,
}

impl End {
    /// `established` or `closed`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        if self.closed { "closed" } else { "established" }
    }
}

/// So many answered probes in a row are shown one by one.
const SHOWN: usize = 3;

impl<'a> Life<'a> {
    /// Plays a scenario to its end. However long it is, what is kept is short
    /// unless the peer stays silent.
    #[must_use]
    pub fn watch(name: &'a str, scenario: &'a Scenario) -> Self {
        let mut seen: Vec<Seen> = Vec::new();
        let mut run = 0;
        let end = play(scenario, |moment, timing| {
            seen.push(Seen::Moment(moment, timing));
            match seen.as_slice() {
                [.., Seen::Moment(probe, _), Seen::Moment(answer, _)]
                    if is_answered(probe, answer) =>
                {
                    run += 1;
                    if run > SHOWN {
                        let at = probe.at;
                        seen.truncate(seen.len() - 2);
                        answered(&mut seen, at);
                    }
                }
                _ if matches!(moment.what, Sight::Probe { probes_out: 1 }) => {}
                _ => run = 0,
            }
            Ok::<(), Infallible>(())
        });
        let Ok(end) = end;
        Self {
            name,
            scenario,
            seen,
            end,
        }
    }
}

fn is_answered(probe: &Moment, answer: &Moment) -> bool {
    matches!(probe.what, Sight::Probe { probes_out: 1 }) && answer.what == Sight::Answer
}

fn answered(seen: &mut Vec<Seen>, at: Time) {
    if let Some(Seen::Answered { last, probes, .. }) = seen.last_mut() {
        *last = at;
        *probes += 1;
    } else {
        seen.push(Seen::Answered {
            first: at,
            last: at,
            probes: 1,
        });
    }
}

/// Plays a scenario, and shows each moment as it comes.
fn play<E>(
    scenario: &Scenario,
    mut show: impl FnMut(Moment, Timing) -> Result<(), E>,
) -> Result<End, E> {
    let mut simulation = Simulation::new(scenario);
    let (mut probes, mut by) = (0, None);
    while let Some(moment) = simulation.next() {
        probes += u64::from(matches!(moment.what, Sight::Probe { .. }));
        if matches!(moment.what, Sight::Abort(_) | Sight::Reset { .. }) {
            by = Some(moment);
        }
        show(moment, simulation.timing())?;
    }
    let given_up = scenario
        .events
        .iter()
        .any(|step| step.what == Happening::Close && step.at <= scenario.until);
    Ok(End {
        probes,
        closed: simulation.machine().is_closed() || given_up,
        by,
        heard: simulation.machine().heard(),
    })
}

/// Plays a scenario and writes NDJSON: one object for each thing that is
/// seen. With several scenarios each object says whose it is.
///
/// # Errors
/// When it cannot be written.
pub fn write_ndjson(
    out: &mut impl io::Write,
    name: &str,
    scenario: &Scenario,
    several: bool,
) -> io::Result<End> {
    let of = if several {
        format!(",\"scenario\":{}", Value::from(name))
    } else {
        String::new()
    };
    let end = play(scenario, |moment, _| {
        let t = decimal(moment.at);
        match moment.what {
            Sight::Probe { probes_out } => writeln!(
                out,
                "{{\"type\":\"probe\",\"t\":{t},\"probes_out\":{probes_out}{of}}}"
            ),
            Sight::Dropped => writeln!(out, "{{\"type\":\"dropped\",\"t\":{t}{of}}}"),
            Sight::Answer => writeln!(out, "{{\"type\":\"answer\",\"t\":{t}{of}}}"),
            Sight::Abort(Abort { error, .. }) => writeln!(
                out,
                "{{\"type\":\"abort\",\"t\":{t},\"error\":\"{error}\",\"segment\":\"RST|ACK\"{of}}}"
            ),
            Sight::Reset { error } => writeln!(
                out,
                "{{\"type\":\"reset\",\"t\":{t},\"error\":\"{error}\"{of}}}"
            ),
        }
    })?;
    if several {
        let (state, probes) = (end.state(), end.probes);
        writeln!(
            out,
            "{{\"type\":\"scenario\"{of},\"state\":\"{state}\",\"probes\":{probes}}}"
        )?;
    }
    Ok(end)
}

/// The last object: the state and the probes of the one life, or of all.
///
/// # Errors
/// When it cannot be written.
pub fn write_summary(out: &mut impl io::Write, ends: &[End]) -> io::Result<()> {
    let probes: u64 = ends.iter().map(|end| end.probes).sum();
    if let [end] = ends {
        let state = end.state();
        return writeln!(
            out,
            "{{\"type\":\"summary\",\"state\":\"{state}\",\"probes\":{probes}}}"
        );
    }
    let (scenarios, closed) = (ends.len(), ends.iter().filter(|end| end.closed).count());
    writeln!(
        out,
        "{{\"type\":\"summary\",\"scenarios\":{scenarios},\"closed\":{closed},\"probes\":{probes}}}"
    )
}

/// Seconds as JSON has them, with one decimal at least: `10.0`, `10.001`.
pub(crate) fn decimal(time: Time) -> String {
    let text = seconds(time);
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

/// A life as a timeline for people.
#[derive(Debug)]
pub struct Text<'a>(pub &'a Life<'a>, pub Style);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(life, style) = self;
        let rows = rows(life);
        let mut out = String::new();
        Paint::Bold.push(&mut out, &text::clean(life.name), style.color);
        out.push('\n');
        let times: Vec<String> = rows.iter().map(|row| seconds(row.at)).collect();
        let wide = times.iter().map(String::len).max().unwrap_or(0).max(7);
        writeln!(out, "{:>wide$}", "seconds")?;
        for (row, time) in rows.iter().zip(&times) {
            let time = if row.arrow == Arrow::Skip { "" } else { time };
            write!(out, "{time:>wide$}  ")?;
            out.push_str(match row.arrow {
                Arrow::Sent => "├────▶ ",
                Arrow::Lost => "├───✕  ",
                Arrow::LostBack => " ✕───┤ ",
                Arrow::Both => "◀────▶ ",
                Arrow::Received => "◀────┤ ",
                Arrow::Here => "●      ",
                Arrow::There => "     ● ",
                Arrow::Skip => "⋮      ",
            });
            row.paint().push(&mut out, &row.says, style.color);
            out.push('\n');
        }
        f.write_str(&out)
    }
}

impl Row {
    fn paint(&self) -> Paint {
        match self.arrow {
            Arrow::Received => Paint::Green,
            Arrow::Lost | Arrow::LostBack => Paint::Yellow,
            Arrow::Both | Arrow::Sent | Arrow::Here | Arrow::There | Arrow::Skip => Paint::Plain,
        }
    }
}

/// Seconds with as many decimals as there are: `10`, `10.001`.
pub(crate) fn seconds(time: Time) -> String {
    let nanos = time.as_nanos();
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
