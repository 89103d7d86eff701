//! Lives of connections as a drawing: two hosts, time downwards, an arrow for
//! each segment. One file, without scripts or fonts of its own. `sim` and the
//! report of `analyze` draw with it.

use super::sim::{Life, seconds};
use super::timeline::{Arrow, rows};
use super::units::Span;
use std::fmt::Write;
use tcpalive_keepalive::Time;

/// Pixels. The times stand left of this host's line, the words right of the peer's.
const HERE: f64 = 120.0;
const PEER: f64 = 330.0;
const WORDS: f64 = 350.0;
/// How wide a drawing is.
pub(crate) const WIDTH: f64 = 860.0;
/// The least distance of two rows, and what a silence between them adds at most.
const ROW: f64 = 24.0;
const SILENCE: f64 = 44.0;
/// A silence from which on its length is written into it.
const LONG_S: f64 = 5.0;

/// The looks of drawings, for `<style>`. All of it is about what stands
/// inside of the class `life`.
pub(crate) const STYLE: &str = "\
.life text{font:13px system-ui,-apple-system,\"Segoe UI\",\"DejaVu Sans\",sans-serif;fill:#1f2430}\
.life .bg{fill:#fff}.life .t{font-size:15px;font-weight:600}\
.life .s{fill:#5b6472;text-anchor:end;font-variant-numeric:tabular-nums}\
.life .h{text-anchor:middle;font-weight:600}.life .l{stroke:#8a94a6;stroke-width:1.5}\
.life .a{stroke:#1b66c9;stroke-width:1.8;fill:none}.life .k{stroke:#1a7f37;stroke-width:1.8;fill:none}\
.life .x{stroke:#c4432b;stroke-width:1.8;fill:none}.life .o{fill:#5b6472}\
.life .d{fill:#5b6472}.life .w{fill:#b3371f;font-weight:600}.life .g{fill:#1a7f37}\
.life .n{fill:#5b6472;font-size:12px;font-weight:400}.life .q{fill:#5b6472;font-size:11px;text-anchor:middle}\
@media screen and (prefers-color-scheme:dark){.life text{fill:#e4e8ef}.life .bg{fill:#14171c}\
.life .s,.life .d,.life .n,.life .q{fill:#a3adbb}.life .l{stroke:#67707f}.life .a{stroke:#6ba6f5}\
.life .k{stroke:#5fc27e}.life .x{stroke:#ff8a70}.life .o{fill:#a3adbb}.life .w{fill:#ff9a83}.life .g{fill:#6fce8c}}";

/// Two hosts, and what goes between them.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// Lines below the title.
    pub(crate) about: Vec<String>,
    /// Whose lines these are: the left, the right.
    pub(crate) hosts: [String; 2],
    /// What the times are.
    pub(crate) unit: String,
    pub(crate) marks: Vec<Mark>,
}

/// A row of a panel.
#[derive(Debug)]
pub(crate) struct Mark {
    /// When, as it is written.
    pub(crate) time: String,
    /// Seconds since the row before.
    pub(crate) silence: f64,
    pub(crate) arrow: Arrow,
    /// That something is wrong.
    pub(crate) warns: bool,
    pub(crate) says: String,
    /// Where it was found, if anywhere.
    pub(crate) note: String,
}

/// A drawing of all lives, one below the other.
#[must_use]
pub fn lives(lives: &[Life<'_>]) -> String {
    let mut body = String::new();
    let mut y = 20.0;
    for life in lives {
        y = panel(&mut body, &Panel::of(life), y);
    }
    let names: Vec<&str> = lives.iter().map(|life| life.name).collect();
    document(
        &format!("Timeline of {}", names.join(", ")),
        WIDTH,
        y,
        "",
        &body,
    )
}

/// A whole file. `style`: further looks.
pub(crate) fn document(title: &str, width: f64, height: f64, style: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"life\" viewBox=\"0 0 {width} {height:.0}\" \
         width=\"{width}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n\
         <style>{STYLE}{style}</style>\n<rect class=\"bg\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
    )
}

/// A part of a page, whose style has [`STYLE`].
pub(crate) fn embedded(title: &str, width: f64, height: f64, body: &str) -> String {
    let title = escape(title);
    format!(
        "<svg class=\"life\" viewBox=\"0 0 {width} {height:.0}\" role=\"img\" aria-label=\"{title}\">\n\
         <title>{title}</title>\n{body}</svg>\n"
    )
}

impl Panel {
    fn of(life: &Life<'_>) -> Self {
        let mut last = Time::ZERO;
        let marks = rows(life).into_iter().map(|row| {
            let silence = row.at.since(last).as_secs_f64();
            last = row.at;
            Mark {
                time: if row.arrow == Arrow::Skip {
                    String::new()
                } else {
                    seconds(row.at)
                },
                silence,
                arrow: row.arrow,
                warns: matches!(row.arrow, Arrow::Lost | Arrow::LostBack),
                says: row.says,
                note: String::new(),
            }
        });
        Self {
            title: life.name.to_owned(),
            about: Vec::new(),
            hosts: ["this host".to_owned(), "peer".to_owned()],
            unit: "seconds".to_owned(),
            marks: marks.collect(),
        }
    }
}

/// Draws from `top` down, and says where it ends.
pub(crate) fn panel(out: &mut String, panel: &Panel, top: f64) -> f64 {
    text(out, 20.0, top + 8.0, "t", &panel.title);
    let mut y = top + 8.0;
    for about in &panel.about {
        y += 19.0;
        text(out, 20.0, y, "d", about);
    }
    let head = y + 36.0;
    text(out, HERE, head - 10.0, "h", &panel.hosts[0]);
    text(out, PEER, head - 10.0, "h", &panel.hosts[1]);
    text(out, HERE - 14.0, head + 12.0, "s", &panel.unit);
    let mut lines = String::new();
    let mut y = head + 12.0;
    for mark in &panel.marks {
        let more = silence(mark.silence);
        if mark.silence >= LONG_S && y > head + 12.0 {
            let middle = y + (ROW + more) / 2.0 + 4.0;
            let length = Span((mark.silence * 1000.0) as u64).to_string();
            text(&mut lines, (HERE + PEER) / 2.0, middle, "q", &length);
        }
        y += ROW + more;
        draw(&mut lines, mark, y);
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

fn draw(out: &mut String, mark: &Mark, y: f64) {
    let words = match mark.arrow {
        _ if mark.warns => "w",
        Arrow::Received => "g",
        Arrow::Skip | Arrow::There => "d",
        Arrow::Sent | Arrow::Here | Arrow::Lost | Arrow::LostBack | Arrow::Both => "b",
    };
    text(out, HERE - 14.0, y + 4.0, "s", &mark.time);
    let _ = write!(
        out,
        "<text class=\"{words}\" x=\"{WORDS}\" y=\"{:.1}\">{}",
        y + 4.0,
        escape(&mark.says)
    );
    if !mark.note.is_empty() {
        let _ = write!(
            out,
            "<tspan class=\"n\" dx=\"10\">{}</tspan>",
            escape(&mark.note)
        );
    }
    out.push_str("</text>\n");
    let middle = (HERE + PEER) / 2.0;
    let by_warning = |class| if mark.warns { "x" } else { class };
    match mark.arrow {
        Arrow::Sent => arrow(out, by_warning("a"), HERE, PEER, y),
        Arrow::Received => arrow(out, by_warning("k"), PEER, HERE, y),
        Arrow::Both => {
            arrow(out, "a", middle, PEER, y);
            arrow(out, "k", middle, HERE, y);
        }
        Arrow::Lost => lost(out, HERE, middle + 30.0, y),
        Arrow::LostBack => lost(out, PEER, middle - 30.0, y),
        Arrow::Here => dot(out, HERE, y),
        Arrow::There => dot(out, PEER, y),
        Arrow::Skip => {
            for dy in [-6.0, 0.0, 6.0] {
                dot(out, middle, y + dy);
            }
        }
    }
}

fn lost(out: &mut String, from: f64, x: f64, y: f64) {
    let before = if from < x { x - 8.0 } else { x + 8.0 };
    line(out, "x", from, y, before, y);
    line(out, "x", x - 5.0, y - 5.0, x + 5.0, y + 5.0);
    line(out, "x", x - 5.0, y + 5.0, x + 5.0, y - 5.0);
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

pub(crate) fn line(out: &mut String, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1:.1}\" x2=\"{x2}\" y2=\"{y2:.1}\"/>"
    );
}

fn dot(out: &mut String, x: f64, y: f64) {
    let _ = writeln!(
        out,
        "<circle class=\"o\" cx=\"{x}\" cy=\"{y:.1}\" r=\"3\"/>"
    );
}

pub(crate) fn text(out: &mut String, x: f64, y: f64, class: &str, says: &str) {
    let says = escape(says);
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y:.1}\">{says}</text>"
    );
}

/// Text as XML takes it: control characters are not allowed in any form.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No order of reading but the one that was written, and no control.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                out.push('\u{fffd}');
            }
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}');
            }
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
