//! The drawing: the overview, and below it the first lives.

use super::page::{draw_overview, headline, span, totals};
use super::{Report, chart, story};
use crate::render::analyze::Findings;
use crate::render::svg::{document, panel, text};
use crate::render::units::{Count, Of};

pub(super) fn render(report: &Report, findings: &Findings) -> String {
    let shown = report.keeper.shown();
    let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
    let names = names.join(", ");
    let title = format!("TCP keep-alive in {names}");
    let mut body = String::new();
    text(&mut body, 20.0, 34.0, "t", &title);
    let mut y = 56.0;
    let mut about = match span(report) {
        Some((times, length)) => format!("{times} · {length}"),
        None => "no packet".to_owned(),
    };
    if !report.filter.is_empty() {
        about = format!("{about} · filter {}", report.filter);
    }
    let totals: Vec<String> = totals(report, findings)
        .into_iter()
        .map(|(name, number)| format!("{} {name}", Count(number)))
        .collect();
    let class = if findings.dead > 0 { "w" } else { "b" };
    for (class, says) in [
        ("d", about),
        (class, headline(findings)),
        ("d", totals.join(" · ")),
    ] {
        text(&mut body, 20.0, y, class, &says);
        y += 20.0;
    }
    if !shown.is_empty() {
        y = draw_overview(&mut body, report, &shown, y);
    }
    let lives = report.telling(&shown);
    let drawn: Vec<_> = lives
        .iter()
        .filter_map(|id| shown.iter().find(|kept| kept.id == *id))
        .filter_map(|kept| Some((kept, report.log(kept)?)))
        .collect();
    for (kept, log) in &drawn {
        y = panel(
            &mut body,
            &story::panel(kept, log, report.file_of(kept.id)),
            y + 16.0,
        );
    }
    let left = report.keeper.total() - drawn.len() as u64;
    if left > 0 {
        let says = format!(
            "{} not drawn as lives; --json tells all.",
            Of(left, "connection")
        );
        text(&mut body, 20.0, y + 10.0, "d", &says);
        y += 30.0;
    }
    document(&title, chart::WIDTH, y, chart::STYLE, &body)
}
