//! Lives of connections, as `sim` shows them.

use super::style::{Paint, Style};
use super::text;
use super::timeline::{Arrow, Row, rows};
use serde_json::Value;
use std::fmt::{self, Write};
use tcpalive_keepalive::{Abort, Happening, Moment, Scenario, Sight, Simulation, Time, Timing};

/// What became of a scenario.
#[derive(Debug)]
pub struct Life<'a> {
    /// What the scenario is called.
    pub name: &'a str,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What was seen, with the values that were in force.
    pub moments: Vec<(Moment, Timing)>,
    /// When the peer was last heard.
    pub(crate) heard: Time,
    closed: bool,
}

impl<'a> Life<'a> {
    /// Plays a scenario to its end.
    #[must_use]
    pub fn watch(name: &'a str, scenario: &'a Scenario) -> Self {
        let mut simulation = Simulation::new(scenario);
        let mut moments = Vec::new();
        while let Some(moment) = simulation.next() {
            moments.push((moment, simulation.timing()));
        }
        let given_up = scenario
            .events
            .iter()
            .any(|step| step.what == Happening::Close && step.at <= scenario.until);
        Self {
            name,
            scenario,
            heard: simulation.machine().heard(),
            closed: simulation.machine().is_closed() || given_up,
            moments,
        }
    }

    /// How many probes left.
    #[must_use]
    pub fn probes(&self) -> usize {
        let probe = |(moment, _): &&(Moment, Timing)| matches!(moment.what, Sight::Probe { .. });
        self.moments.iter().filter(probe).count()
    }

    /// `established` or `closed`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        if self.closed { "closed" } else { "established" }
    }
}

/// A life as NDJSON: one object for each thing that is seen. With several
/// lives each object says whose it is.
#[must_use]
pub fn ndjson(life: &Life<'_>, several: bool) -> String {
    let of = if several {
        format!(",\"scenario\":{}", Value::from(life.name))
    } else {
        String::new()
    };
    let mut out = String::new();
    for (moment, _) in &life.moments {
        let (kind, more) = match moment.what {
            Sight::Probe { probes_out } => ("probe", format!(",\"probes_out\":{probes_out}")),
            Sight::Dropped => ("dropped", String::new()),
            Sight::Answer => ("answer", String::new()),
            Sight::Abort(Abort { error, .. }) => (
                "abort",
                format!(",\"error\":\"{error}\",\"segment\":\"RST|ACK\""),
            ),
            Sight::Reset { error } => ("reset", format!(",\"error\":\"{error}\"")),
        };
        let t = decimal(moment.at);
        out.push_str(&format!("{{\"type\":\"{kind}\",\"t\":{t}{more}{of}}}\n"));
    }
    if several {
        let (state, probes) = (life.state(), life.probes());
        out.push_str(&format!(
            "{{\"type\":\"scenario\"{of},\"state\":\"{state}\",\"probes\":{probes}}}\n"
        ));
    }
    out
}

/// The last object: the state and the probes of the one life, or of all.
#[must_use]
pub fn summary(lives: &[Life<'_>]) -> String {
    let probes: usize = lives.iter().map(Life::probes).sum();
    if let [life] = lives {
        let state = life.state();
        return format!("{{\"type\":\"summary\",\"state\":\"{state}\",\"probes\":{probes}}}\n");
    }
    let (scenarios, closed) = (lives.len(), lives.iter().filter(|life| life.closed).count());
    format!(
        "{{\"type\":\"summary\",\"scenarios\":{scenarios},\"closed\":{closed},\"probes\":{probes}}}\n"
    )
}

/// Seconds as JSON has them, with one decimal at least: `10.0`, `10.001`.
fn decimal(time: Time) -> String {
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
            Arrow::Lost => Paint::Yellow,
            Arrow::Sent | Arrow::Here | Arrow::There | Arrow::Skip => Paint::Plain,
        }
    }
}

/// Seconds with as many decimals as there are: `10`, `10.001`.
pub(crate) fn seconds(time: Time) -> String {
    let nanos = time.as_nanos();
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
