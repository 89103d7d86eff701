//! What `plan` chose, for programs and for people.

use super::Style;
use super::style::Paint;
use super::text::{push_wrapped, width};
use super::units::{Bytes, Count, Of, Span};
use crate::cli::Presentation;
use crate::commands::plan::cost::{Cost, Dead, Held};
use crate::commands::plan::presets::{Preset, Presets};
use crate::commands::plan::snippets::Filled;
use serde::Serialize;
use std::fmt::{self, Write};
use std::time::Duration;
use tcpalive_keepalive::{DecidedBy, Params, Plan};

/// All that `plan` has to say.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The values.
    pub plan: &'a Plan,
    /// Why they are what they are.
    pub why: Vec<String>,
    /// What to beware of.
    pub warnings: Vec<String>,
    /// What they cost.
    pub cost: Cost,
    /// What dead connections hold, with them and without.
    pub dead: Dead,
    /// The lines to paste.
    pub snippets: Vec<Filled<'a>>,
}

/// `{"type":"plan",…}`: the contract's keys first.
#[derive(Serialize)]
struct PlanObject<'a> {
    r#type: &'static str,
    idle_s: u16,
    interval_s: u16,
    count: u8,
    user_timeout_ms: u32,
    detects_within_s: u64,
    lateness_s: f64,
    in_flight_detects_within_s: f64,
    survives_outage_s: f64,
    decided_by: &'static str,
    idle_timeout_s: Option<f64>,
    quiet_s: f64,
    #[serde(flatten)]
    cost: Cost,
    dead: Dead,
    why: &'a [String],
    warnings: &'a [String],
    snippets: Vec<SnippetObject<'a>>,
}

#[derive(Serialize)]
struct SnippetObject<'a> {
    name: &'a str,
    goes_to: &'a str,
    cannot: Option<&'a str>,
    checked_by: &'a str,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct PlanSummary {
    r#type: &'static str,
    idle_s: u16,
    interval_s: u16,
    count: u8,
    user_timeout_ms: u32,
    warnings: usize,
    snippets: usize,
}

#[derive(Serialize)]
struct PresetObject<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    preset: &'a Preset,
}

#[derive(Serialize)]
struct PresetSummary {
    r#type: &'static str,
    presets: usize,
}

fn push_object(out: &mut String, object: &impl Serialize) {
    out.push_str(&serde_json::to_string(object).expect("keys are strings"));
    out.push('\n');
}

impl Report<'_> {
    /// The plan, and a summary last.
    #[must_use]
    pub fn json(&self) -> String {
        let Params {
            idle,
            interval,
            count,
            user_timeout,
        } = self.plan.params;
        let snippets = self.snippets.iter().map(|it| SnippetObject {
            name: it.name,
            goes_to: it.goes_to,
            cannot: it.cannot,
            checked_by: it.checked_by,
            text: it.text.as_deref(),
        });
        let mut out = String::new();
        push_object(
            &mut out,
            &PlanObject {
                r#type: "plan",
                idle_s: idle.get(),
                interval_s: interval.get(),
                count: count.get(),
                user_timeout_ms: user_timeout.as_millis(),
                detects_within_s: self.plan.detects_within().as_secs(),
                lateness_s: seconds(self.plan.lateness()),
                in_flight_detects_within_s: f64::from(user_timeout.as_millis()) / 1000.0,
                survives_outage_s: seconds(self.plan.survives()),
                decided_by: match self.plan.decided_by {
                    DecidedBy::Detection => "detect-within",
                    DecidedBy::IdleTimeout(_) => "idle-timeout",
                    DecidedBy::Assumption => "assumption",
                    DecidedBy::Longest => "longest",
                },
                idle_timeout_s: self.plan.idle_timeout().map(seconds),
                quiet_s: seconds(self.plan.quiet()),
                cost: self.cost,
                dead: self.dead,
                why: &self.why,
                warnings: &self.warnings,
                snippets: snippets.collect(),
            },
        );
        push_object(
            &mut out,
            &PlanSummary {
                r#type: "summary",
                idle_s: idle.get(),
                interval_s: interval.get(),
                count: count.get(),
                user_timeout_ms: user_timeout.as_millis(),
                warnings: self.warnings.len(),
                snippets: self.snippets.len(),
            },
        );
        out
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        self.push_values(&mut out, style);
        push_title(&mut out, "Why", style);
        push_points(&mut out, &self.why, style);
        if !self.warnings.is_empty() {
            push_title(&mut out, "Beware", style);
            push_points(&mut out, &self.warnings, style);
        }
        self.push_cost(&mut out, style);
        self.push_dead(&mut out, style);
        push_title(&mut out, "Lines to paste", style);
        out.push_str("`tcpalive plan … --for NAME` prints those of one program, for a file.\n");
        for snippet in &self.snippets {
            push_snippet(&mut out, snippet, style);
        }
        out
    }

    /// The lines alone, for a file.
    #[must_use]
    pub fn lines_to_paste(&self) -> String {
        let texts = self.snippets.iter().filter_map(|it| it.text.as_deref());
        texts.collect::<Vec<_>>().join("\n")
    }

    fn push_values(&self, out: &mut String, style: Style) {
        let Params {
            idle,
            interval,
            count,
            user_timeout,
        } = self.plan.params;
        let detects = self.plan.detects_within();
        let rows = [
            ("idle", format!("{}s", idle.get()), "TCP_KEEPIDLE"),
            ("interval", format!("{}s", interval.get()), "TCP_KEEPINTVL"),
            ("count", count.get().to_string(), "TCP_KEEPCNT"),
            (
                "user timeout",
                format!("{}ms", user_timeout.as_millis()),
                "TCP_USER_TIMEOUT",
            ),
        ];
        for (name, value, option) in rows {
            let _ = write!(out, "{name:<14}");
            Paint::Bold.push(out, &value, style.color);
            let _ = writeln!(out, "{:pad$}{option}", "", pad = 12 - value.len());
        }
        let line = format!(
            "A peer that dies is noticed after {}s ({}) of silence, up to {:.1}s later by the kernel's \
             coarse timers; with data in flight after {}s.",
            detects.as_secs(),
            span(detects),
            self.plan.lateness().as_secs_f64(),
            f64::from(user_timeout.as_millis()) / 1000.0,
        );
        out.push('\n');
        push_wrapped(out, &line, 0, style.prose_width());
    }

    fn push_cost(&self, out: &mut String, style: Style) {
        let cost = &self.cost;
        push_title(
            out,
            &format!("Cost of {}", Of(cost.connections, "quiet connection")),
            style,
        );
        let rows = [
            (
                "probes",
                format!("{}/s, and as many answers", Rate(cost.probes_per_second)),
            ),
            (
                "network",
                format!(
                    "{}/s (IPv6: {}/s), both ways, Ethernet included",
                    Bytes(cost.bytes_per_second as u64),
                    Bytes(cost.bytes_per_second_ipv6 as u64)
                ),
            ),
            (
                "timers",
                format!(
                    "{}/s, {} of a core in this tool's engine; sending not counted",
                    Rate(cost.timer_events_per_second),
                    Share(cost.timer_ns_per_second / 1e9)
                ),
            ),
        ];
        for (name, value) in rows {
            let _ = writeln!(out, "  {name:<9}{value}");
        }
    }

    fn push_dead(&self, out: &mut String, style: Style) {
        let dead = &self.dead;
        let title = format!(
            "What {} per hour hold",
            Of(dead.churn_per_hour, "silent death")
        );
        push_title(out, &title, style);
        let linux = Params::LINUX.detection_time().from_last_heard.worst;
        let rows = [
            (
                "with these values",
                span(self.plan.detects_within()).to_string(),
                dead.planned,
                "",
            ),
            (
                "Linux's defaults",
                span(linux).to_string(),
                dead.linux_defaults,
                "",
            ),
            ("no keep-alive", "never".to_owned(), dead.off_per_day, "+"),
        ];
        let _ = writeln!(
            out,
            "  {:<19}{:>8}{:>18}{:>15}",
            "", "noticed", "dead connections", "memory"
        );
        for (
            name,
            noticed,
            Held {
                connections,
                memory_bytes,
            },
            sign,
        ) in rows
        {
            let connections = format!("{sign}{}", Rate(connections));
            let memory = format!("{sign}{}", Bytes(memory_bytes));
            let a_day = if sign.is_empty() { "" } else { " a day" };
            let _ = writeln!(
                out,
                "  {name:<19}{noticed:>8}{connections:>18}{memory:>15}{a_day}"
            );
        }
        let line = format!(
            "Each holds a descriptor and {} bytes of this kernel's memory with empty queues; what the \
             program keeps for it comes on top.",
            Count(dead.memory_bytes_per_connection)
        );
        push_wrapped(out, &line, 0, style.prose_width());
        let line = format!(
            "So why is it not on by default? Not for its cost: {}/s, and timers that take {} of a core. It ends \
             connections that a brief outage would have spared, wakes radios, and is billed where \
             traffic is; so RFC 9293 (MUST-25) leaves it to the program, which knows.",
            Bytes(self.cost.bytes_per_second as u64),
            Share(self.cost.timer_ns_per_second / 1e9)
        );
        push_wrapped(out, &line, 0, style.prose_width());
    }
}

fn push_title(out: &mut String, title: &str, style: Style) {
    out.push('\n');
    Paint::Bold.push(out, title, style.color);
    out.push('\n');
}

fn push_points(out: &mut String, points: &[String], style: Style) {
    for point in points {
        out.push_str("- ");
        push_wrapped(out, point, 2, style.prose_width());
    }
}

fn push_snippet(out: &mut String, snippet: &Filled<'_>, style: Style) {
    push_title(
        out,
        &format!("{}: {}", snippet.title, snippet.goes_to),
        style,
    );
    if let Some(cannot) = snippet.cannot {
        push_wrapped(
            out,
            &format!("Cannot express: {cannot}."),
            0,
            style.prose_width(),
        );
    }
    match &snippet.text {
        Some(text) => {
            for line in text.lines() {
                let indent = if line.is_empty() { "" } else { "    " };
                let _ = writeln!(out, "{indent}{line}");
            }
        }
        None => {
            let line = "No lines: no number that it takes notices a dead peer as soon as the plan and \
                        keeps the path open.";
            push_wrapped(out, line, 0, style.prose_width());
        }
    }
}

/// What `--via` knows.
#[must_use]
pub fn preset_list(presets: &Presets, presentation: Presentation) -> String {
    let mut out = String::new();
    let all = presets.all();
    if presentation.json {
        for preset in all {
            push_object(
                &mut out,
                &PresetObject {
                    r#type: "preset",
                    preset,
                },
            );
        }
        push_object(
            &mut out,
            &PresetSummary {
                r#type: "summary",
                presets: all.len(),
            },
        );
        return out;
    }
    let names = all.iter().map(|preset| width(&preset.name)).max();
    let column = names.unwrap_or(0);
    let header = format!(
        "{:<column$}  {:>7}  {:<11}  {:<6}  {:<8}  WHAT",
        "NAME", "IDLE", "SETTABLE", "PROBES", "THEN"
    );
    Paint::Bold.push(&mut out, &header, presentation.style.color);
    out.push('\n');
    for preset in all {
        let range = preset.range_s;
        let range = range.map_or_else(String::new, |(least, most)| format!("{least}-{most}"));
        let refreshed = if preset.refreshed_by_probes {
            "count"
        } else {
            "no"
        };
        let then = preset.at_expiry.name();
        let idle = format!("{}s", preset.idle_s);
        let start = format!(
            "{:<column$}  {idle:>7}  {range:<11}  {refreshed:<6}  {then:<8}  ",
            preset.name
        );
        out.push_str(&start);
        let mut what = preset.title.clone();
        if let Some(note) = &preset.note {
            let _ = write!(what, "; {note}");
        }
        if !preset.verified {
            what.push_str("; NOT CONFIRMED");
        }
        let _ = write!(what, " ({}, {})", preset.source, preset.date);
        push_wrapped(&mut out, &what, width(&start), presentation.style.width);
    }
    out
}

fn span(time: Duration) -> Span {
    Span(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Something per second: `0.0058`, `1.2`, `58.5`, `1,667`.
struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate >= 100.0 => Count(rate.round() as u64).fmt(f),
            rate if rate >= 1.0 => write!(f, "{rate:.1}"),
            0.0 => f.write_str("0"),
            rate => write!(f, "{rate:.3}"),
        }
    }
}

/// A share of one: `0.0012 %`, `3.4 %`.
struct Share(f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 * 100.0 {
            percent if percent >= 1.0 => write!(f, "{percent:.1} %"),
            percent if percent >= 0.0001 => write!(f, "{percent:.4} %"),
            _ => f.write_str("less than 0.0001 %"),
        }
    }
}
