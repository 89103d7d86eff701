//! The overview of not too many flows: one row for each, time to the right.

use super::Report;
use super::kept::{Class, Kept};
use super::log::Log;
use super::moment::{date, step};
use super::story;
use crate::render::svg::{escape, line, text};
use crate::render::units::{Of, Span};
use std::fmt::Write;
use tcpalive_capture::flow::{End, FrameKind};

/// Pixels: the whole, and where the plot begins and ends.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const LEFT: f64 = 316.0;
pub(super) const RIGHT: f64 = 760.0;
const ROW: f64 = 22.0;

/// Looks of the overviews, inside of the class `life`.
pub(super) const STYLE: &str = "\
.life .c{font-size:12px}.life .v{font-size:12px;fill:#5b6472}.life .r{font-size:12px;text-anchor:end}\
.life .m{font-size:11px;fill:#5b6472;text-anchor:middle}.life .i{stroke:#dfe3ea;stroke-width:1}\
.life .span{stroke:#b3bccb;stroke-width:5}.life .p{stroke:#1b66c9;stroke-width:1.5}\
.life .u{stroke:#c4432b;stroke-width:1.5}.life .z{fill:none;stroke:#c4432b;stroke-width:2.5}\
.life .f{fill:none;stroke:#5b6472;stroke-width:1.5}.life .e{fill:#9cc0ee}.life .y{fill:#c4432b}\
@media screen and (prefers-color-scheme:dark){.life .v,.life .m{fill:#a3adbb}.life .i{stroke:#2c323b}\
.life .span{stroke:#4a5361}.life .p{stroke:#6ba6f5}.life .u,.life .z{stroke:#ff8a70}.life .f{stroke:#a3adbb}\
.life .e{fill:#2f5f9e}.life .y{fill:#ff8a70}}";

/// Time, to the right.
#[derive(Debug)]
pub(super) struct Axis {
    first_ns: u64,
    span_ns: u64,
}

impl Axis {
    pub(super) fn new(first_ns: u64, last_ns: u64) -> Self {
        Self {
            first_ns,
            span_ns: last_ns.saturating_sub(first_ns).max(1),
        }
    }

    pub(super) fn x(&self, ns: u64) -> f64 {
        let part = ns.saturating_sub(self.first_ns) as f64 / self.span_ns as f64;
        LEFT + part.min(1.0) * (RIGHT - LEFT)
    }

    /// The marks of time, and lines down to `bottom`.
    pub(super) fn draw(&self, out: &mut String, top: f64, bottom: f64) {
        let last_ns = self.first_ns.saturating_add(self.span_ns);
        text(out, LEFT, top, "v", &format!("{} UTC", date(self.first_ns)));
        text(out, RIGHT, top, "v r", &format!("{} UTC", date(last_ns)));
        let step = step(self.span_ns).max(1);
        let mut at = 0;
        while at <= self.span_ns {
            let x = self.x(self.first_ns + at);
            let label = format!("+{}", Span(at / 1_000_000));
            let label = if at == 0 { "0" } else { &label };
            text(out, x, top + 18.0, "m", label);
            line(out, "i", x, top + 23.0, x, bottom);
            at += step;
        }
    }
}

/// Draws a row for each flow from `top` down, and says where it ends.
pub(super) fn draw(out: &mut String, report: &Report, shown: &[Kept], top: f64) -> f64 {
    let Some(scale) = &report.activity.scale else {
        return top;
    };
    let axis = Axis::new(scale.first_ns, scale.last_ns);
    let legend = [
        ("p", "probe, answered"),
        ("u", "probe, no answer seen"),
        ("z", "gave up or reset"),
        ("f", "closed"),
    ];
    let mut x = LEFT;
    for (class, says) in legend {
        sign(out, class, x, top + 6.0);
        text(out, x + 10.0, top + 10.0, "v", says);
        x += 34.0 + says.len() as f64 * 6.6;
    }
    let rows = top + 62.0;
    let bottom = rows + shown.len() as f64 * ROW;
    axis.draw(out, top + 34.0, bottom);
    text(out, LEFT - 10.0, rows - 10.0, "v r", "prober → peer");
    let mut y = rows + ROW / 2.0;
    for kept in shown {
        row(out, &axis, kept, report.log(kept), y);
        y += ROW;
    }
    bottom + 16.0
}

fn row(out: &mut String, axis: &Axis, kept: &Kept, log: Option<&Log>, y: f64) {
    let flow = &kept.flow;
    let (sign_of_class, word) = kept.class().word();
    let summary = story::summary(flow);
    let _ = writeln!(
        out,
        "<g><title>{} ↔ {}: {}</title>",
        flow.a,
        flow.b,
        escape(&summary)
    );
    let from_b = flow.prober() == Some(tcpalive_capture::flow::FlowEnd::B);
    let (from, to) = if from_b {
        (flow.b, flow.a)
    } else {
        (flow.a, flow.b)
    };
    text(
        out,
        LEFT - 10.0,
        y + 4.0,
        "r",
        &short(&from.to_string(), &to.to_string()),
    );
    let (begins, ends) = (axis.x(flow.first_ns), axis.x(flow.last_ns));
    line(out, "span", begins, y, ends.max(begins + 1.0), y);
    if let Some(log) = log {
        ticks(out, axis, log, y);
    }
    match flow.end {
        End::KeepAliveTimeout | End::Reset => sign(out, "z", ends, y),
        End::Fin => sign(out, "f", ends, y),
        End::Open => {}
    }
    let unanswered = flow.unanswered_run();
    let says = match kept.class() {
        Class::NotProbed => format!("{sign_of_class} {word}"),
        Class::Dead => format!("{sign_of_class} {word}, {unanswered} unanswered"),
        _ => format!("{sign_of_class} {word}, {}", Of(flow.probes(), "probe")),
    };
    let class = if kept.class() == Class::Dead {
        "w c"
    } else {
        "c"
    };
    text(out, RIGHT + 14.0, y + 4.0, class, &says);
    out.push_str("</g>\n");
}

/// Probes with answers stand above the line, those without go through it.
fn ticks(out: &mut String, axis: &Axis, log: &Log, y: f64) {
    let mut answered = String::new();
    let mut unanswered = String::new();
    let (mut last_answered, mut last_unanswered) = (f64::MIN, f64::MIN);
    let events: Vec<_> = log.head.iter().chain(&log.tail).collect();
    for (at, event) in events.iter().enumerate() {
        if !matches!(event.kind, Some(FrameKind::KeepAlive { .. })) {
            continue;
        }
        let x = axis.x(event.ns);
        // What lies on the same pixel adds nothing.
        if story::is_heard(event, &events[at + 1..]) {
            if x - last_answered >= 0.7 {
                last_answered = x;
                let _ = write!(answered, "M{x:.1} {:.1}v7", y - 8.0);
            }
        } else if x - last_unanswered >= 0.7 {
            last_unanswered = x;
            let _ = write!(unanswered, "M{x:.1} {:.1}v16", y - 8.0);
        }
    }
    for (class, path) in [("p", answered), ("u", unanswered)] {
        if !path.is_empty() {
            let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
}

fn sign(out: &mut String, class: &str, x: f64, y: f64) {
    let path = match class {
        "p" => format!("M{x} {}v7", y - 6.0),
        "u" => format!("M{x} {}v14", y - 7.0),
        "z" => format!("M{} {}l9 9m0 -9l-9 9", x - 4.5, y - 4.5),
        _ => format!("M{} {}h8v8h-8z", x - 4.0, y - 4.0),
    };
    let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>");
}

/// Both addresses in the room that there is.
pub(super) fn short(from: &str, to: &str) -> String {
    const MOST: usize = 46;
    if from.len() + to.len() + 3 <= MOST {
        return format!("{from} → {to}");
    }
    let each = (MOST - 3) / 2;
    format!("{} → {}", cut(from, each), cut(to, each))
}

/// An address without its middle: what tells hosts and ports apart is at the
/// ends.
pub(super) fn cut(address: &str, most: usize) -> String {
    // Addresses are ASCII.
    if address.len() <= most {
        return address.to_owned();
    }
    let end = (most - 1) * 2 / 3;
    let start = most - 1 - end;
    format!("{}…{}", &address[..start], &address[address.len() - end..])
}
