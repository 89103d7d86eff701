//! Lives of connections as a drawing: two hosts, time downwards, an arrow for
//! each segment. One file, without scripts or fonts of its own.

use super::sim::{Life, seconds};
use super::timeline::{Arrow, Row, rows};
use std::fmt::Write;
use tcpalive_keepalive::Time;

/// Pixels. The times stand left of this host's line, the words right of the peer's.
const HERE: f64 = 120.0;
const PEER: f64 = 330.0;
const WORDS: f64 = 350.0;
const WIDTH: f64 = 860.0;
/// The least distance of two rows, and what a silence between them adds at most.
const ROW: f64 = 24.0;
const SILENCE: f64 = 44.0;

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,\"Segoe UI\",\"DejaVu Sans\",sans-serif;fill:#1f2430}\
.t{font-size:15px;font-weight:600}.s{fill:#5b6472;text-anchor:end;font-variant-numeric:tabular-nums}\
.h{text-anchor:middle;font-weight:600}.l{stroke:#8a94a6;stroke-width:1.5}\
.a{stroke:#1b66c9;stroke-width:1.8;fill:none}.k{stroke:#1a7f37;stroke-width:1.8;fill:none}\
.x{stroke:#c4432b;stroke-width:1.8;fill:none}.d{fill:#5b6472}.w{fill:#c4432b}.g{fill:#1a7f37}";

/// A drawing of all lives, one below the other.
#[must_use]
pub fn lives(lives: &[Life<'_>]) -> String {
    let mut body = String::new();
    let mut y = 20.0;
    for life in lives {
        y = panel(&mut body, life, y);
    }
    let names: Vec<String> = lives.iter().map(|life| escape(life.name)).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         height=\"{y}\" role=\"img\" aria-label=\"Timeline of {}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        names.join(", ")
    )
}

/// Draws one life from `top` down, and says where it ends.
fn panel(out: &mut String, life: &Life<'_>, top: f64) -> f64 {
    let rows = rows(life);
    let head = top + 44.0;
    text(out, 20.0, top + 8.0, "t", life.name);
    text(out, HERE, head - 10.0, "h", "this host");
    text(out, PEER, head - 10.0, "h", "peer");
    text(out, HERE - 14.0, head + 12.0, "s", "seconds");
    let mut lines = String::new();
    let mut y = head + 12.0;
    let mut last = Time::ZERO;
    for row in &rows {
        y += ROW + silence(row.at.since(last).as_secs_f64());
        last = row.at;
        draw(&mut lines, row, y);
    }
    let end = y + 14.0;
    for x in [HERE, PEER] {
        line(out, "l", x, head, x, end);
    }
    out.push_str(&lines);
    end + 36.0
}

/// A silence shows as a longer way, not in proportion: two hours would not
/// fit beside a second.
fn silence(seconds: f64) -> f64 {
    (seconds.ln_1p() * 5.0).min(SILENCE)
}

fn draw(out: &mut String, row: &Row, y: f64) {
    let words = match row.arrow {
        Arrow::Lost => "w",
        Arrow::Received => "g",
        Arrow::Skip | Arrow::There => "d",
        Arrow::Sent | Arrow::Here => "b",
    };
    if row.arrow != Arrow::Skip {
        text(out, HERE - 14.0, y + 4.0, "s", &seconds(row.at));
    }
    text(out, WORDS, y + 4.0, words, &row.says);
    match row.arrow {
        Arrow::Sent => arrow(out, "a", HERE, PEER, y),
        Arrow::Received => arrow(out, "k", PEER, HERE, y),
        Arrow::Lost => {
            let x = (HERE + PEER) / 2.0 + 30.0;
            line(out, "x", HERE, y, x - 8.0, y);
            line(out, "x", x - 5.0, y - 5.0, x + 5.0, y + 5.0);
            line(out, "x", x - 5.0, y + 5.0, x + 5.0, y - 5.0);
        }
        Arrow::Here => dot(out, HERE, y),
        Arrow::There => dot(out, PEER, y),
        Arrow::Skip => {
            let middle = (HERE + PEER) / 2.0;
            for dy in [-6.0, 0.0, 6.0] {
                dot(out, middle, y + dy);
            }
        }
    }
}

fn arrow(out: &mut String, class: &str, from: f64, to: f64, y: f64) {
    line(out, class, from, y, to, y);
    let back = if to > from { -8.0 } else { 8.0 };
    let x = to + back;
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<path class=\"{class}\" d=\"M{x} {} L{to} {y} L{x} {}\"/>",
        y - 4.0,
        y + 4.0
    );
}

fn line(out: &mut String, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1:.1}\" x2=\"{x2}\" y2=\"{y2:.1}\"/>"
    );
}

fn dot(out: &mut String, x: f64, y: f64) {
    let _ = writeln!(
        out,
        "<circle cx=\"{x}\" cy=\"{y:.1}\" r=\"3\" fill=\"#5b6472\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, class: &str, says: &str) {
    let says = escape(says);
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y:.1}\">{says}</text>"
    );
}

/// Text as XML takes it: control characters are not allowed in any form.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpalive_keepalive::Scenario;

    #[test]
    fn names_cannot_break_the_drawing() {
        let scenario = Scenario::default();
        let life = Life::watch("<script>\"&\u{1}", &scenario);
        let drawing = lives(&[life]);
        assert!(!drawing.contains("<script"));
        assert!(!drawing.contains('\u{1}'));
        assert!(drawing.contains("&lt;script&gt;&quot;&amp;\u{fffd}"));
    }
}
