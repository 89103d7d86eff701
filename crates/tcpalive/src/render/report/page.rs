//! The page: one file without anything from elsewhere, of use without scripts.

use super::kept::Kept;
use super::moment::date;
use super::tables::{self, push};
use super::{ROWS, Report, chart, heat, story};
use crate::render::analyze::Findings;
use crate::render::svg::{self, embedded, escape};
use crate::render::units::{Count, Of, Span};
use std::fmt::Write;

const LOOKS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn render(report: &Report, findings: &Findings) -> String {
    let shown = report.keeper.shown();
    let lives: Vec<_> = report
        .telling(&shown)
        .into_iter()
        .filter_map(|id| shown.iter().find(|kept| kept.id == id))
        .filter(|kept| report.log(kept).is_some())
        .collect();
    let ids: Vec<_> = lives.iter().map(|kept| kept.id).collect();
    let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
    let title = escape(&format!("TCP keep-alive in {}", names.join(", ")));
    let mut out = String::with_capacity(1 << 20);
    push!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{LOOKS}{}{}\n</style>\n</head>\n<body>\n<main>\n",
        svg::STYLE,
        chart::STYLE
    );
    header(&mut out, report, findings);
    overview(&mut out, report, &shown);
    tables::hosts(&mut out, findings);
    tables::pairs(&mut out, report);
    drawn(&mut out, report, &lives);
    tables::flows(&mut out, report, &shown, &ids);
    push!(
        out,
        "</main>\n<footer>Made by tcpalive {}. A peer is called dead when the prober gave up, or when three \
         probes or more had no answer and nothing else came from it. Times are UTC; idle, interval and count are \
         what the prober’s timers were set to, as far as the capture tells.</footer>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    out
}

/// What was found, in a sentence.
pub(super) fn headline(findings: &Findings) -> String {
    match (findings.flows, findings.probed, findings.dead) {
        (0, _, _) => "There is no TCP connection in it.".to_owned(),
        (_, 0, _) => "Nobody is probed: there is no keep-alive in it.".to_owned(),
        (_, 1, 0) => "One connection is probed, and its peer is not dead.".to_owned(),
        (_, 1, 1) => "One connection is probed, and its peer is dead.".to_owned(),
        (_, probed, 0) => format!(
            "{} are probed, and no peer is dead.",
            Of(probed, "connection")
        ),
        (_, probed, 1) => format!("1 of {} probed connections has a dead peer.", Count(probed)),
        (_, probed, dead) => {
            format!(
                "{} of {} probed connections have dead peers.",
                Count(dead),
                Count(probed)
            )
        }
    }
}

/// The span of time that the capture covers: when, and how long.
pub(super) fn span(report: &Report) -> Option<(String, String)> {
    let scale = report.activity.scale?;
    let length = scale.last_ns - scale.first_ns;
    let times = format!("{} to {} UTC", date(scale.first_ns), date(scale.last_ns));
    Some((times, Span(length / 1_000_000).to_string()))
}

fn header(out: &mut String, report: &Report, findings: &Findings) {
    out.push_str("<header>\n<h1>TCP keep-alive</h1>\n<p class=\"files\">");
    for (index, file) in report.files.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        push!(out, "{comma}<code>{}</code>", escape(&file.name));
    }
    if let Some((times, length)) = span(report) {
        push!(out, " · {times} · {length}");
    }
    if !report.filter.is_empty() {
        push!(out, " · filter <code>{}</code>", escape(&report.filter));
    }
    let dead = if findings.dead > 0 { " dead" } else { "" };
    push!(
        out,
        "</p>\n<p class=\"headline{dead}\">{}</p>\n<dl>",
        headline(findings)
    );
    for (name, number) in totals(report, findings) {
        let class = if name == "dead" && number > 0 {
            " class=\"dead\""
        } else {
            ""
        };
        push!(
            out,
            "<div{class}><dt>{name}</dt><dd>{}</dd></div>",
            Count(number)
        );
    }
    out.push_str("</dl>\n");
    if findings.malformed > 0 {
        push!(
            out,
            "<p>{} had a TCP header that is malformed or was not captured whole.</p>\n",
            Of(findings.malformed, "packet")
        );
    }
    for link in &findings.unknown_links {
        push!(
            out,
            "<p>Frames of {} were not looked into.</p>\n",
            escape(&link.to_string())
        );
    }
    out.push_str("</header>\n");
}

/// Figures and their names. Dead, unknown and alive are those that are probed.
pub(super) fn totals(report: &Report, findings: &Findings) -> [(&'static str, u64); 10] {
    let [dead, unknown, alive, not_probed] = report.keeper.counts;
    [
        ("frames", findings.frames),
        ("TCP packets", findings.packets),
        ("connections", findings.flows),
        ("not probed", not_probed),
        ("probed", findings.probed),
        ("dead", dead),
        ("unknown", unknown),
        ("alive", alive),
        ("probes", findings.probes),
        ("answers", findings.answers),
    ]
}

/// Draws the overview that fits; says where it ends.
pub(super) fn draw_overview(out: &mut String, report: &Report, shown: &[Kept], top: f64) -> f64 {
    if report.keeper.total() <= ROWS {
        chart::draw(out, report, shown, top)
    } else {
        heat::draw(out, report, top)
    }
}

fn overview(out: &mut String, report: &Report, shown: &[Kept]) {
    if shown.is_empty() {
        return;
    }
    let mut body = String::new();
    let height = draw_overview(&mut body, report, shown, 10.0);
    push!(
        out,
        "<section><h2>When it happened</h2>\n{}</section>\n",
        embedded(
            "All connections over time: who is probed, and who died when",
            chart::WIDTH,
            height,
            &body
        )
    );
}

fn drawn(out: &mut String, report: &Report, lives: &[&Kept]) {
    if lives.is_empty() {
        return;
    }
    let all = report.keeper.total();
    out.push_str("<section><h2>Lives</h2>\n");
    if all > lives.len() as u64 {
        push!(
            out,
            "<p>The most telling {} of {}. Silences are drawn shorter than they are.</p>\n",
            Count(lives.len() as u64),
            Of(all, "connection")
        );
    } else {
        out.push_str("<p>Silences are drawn shorter than they are.</p>\n");
    }
    if report.files.iter().any(|file| file.is_stream) {
        out.push_str(
            "<p>What came through a pipe cannot be read again: lives in it begin with the first probe.</p>\n",
        );
    }
    for (index, kept) in lives.iter().enumerate() {
        let Some(log) = report.log(kept) else {
            continue;
        };
        let panel = story::panel(kept, log, report.file_of(kept.id));
        let mut body = String::new();
        let height = svg::panel(&mut body, &panel, 16.0);
        let label = format!("{}: {}", panel.title, panel.about.join("; "));
        push!(
            out,
            "<figure id=\"life-{}\">\n{}</figure>\n",
            index + 1,
            embedded(&label, svg::WIDTH, height, &body)
        );
    }
    out.push_str("</section>\n");
}
