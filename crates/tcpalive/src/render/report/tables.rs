//! The tables of the page.

use super::Report;
use super::heat::sorted;
use super::kept::{Class, Kept};
use super::moment::date;
use crate::render::analyze::{self, Findings};
use crate::render::svg::escape;
use crate::render::units::{Count, Of};
use std::fmt::Write;
use tcpalive_capture::flow::{Estimate, FlowEnd};

/// Rows of the tables of hosts and of pairs.
const HOSTS: usize = 100;

/// Writing to a `String` cannot fail.
macro_rules! push {
    ($out:expr, $($arguments:tt)*) => {
        let _ = write!($out, $($arguments)*);
    };
}
pub(super) use push;

pub(super) fn hosts(out: &mut String, findings: &Findings) {
    let hosts = findings.hosts();
    if hosts.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Hosts that probe</h2>\n<div class=\"wide\"><table><thead><tr><th scope=\"col\">Host\
         <th scope=\"col\" class=\"n\">connections it probes<th scope=\"col\" class=\"n\">dead peers\
         <th scope=\"col\" class=\"n\">connections it is probed on<th scope=\"col\">What is odd</tr></thead><tbody>\n",
    );
    for host in hosts.iter().take(HOSTS) {
        let odd = if host.findings.is_empty() {
            "–".to_owned()
        } else {
            escape(&host.findings.join("; "))
        };
        push!(
            out,
            "<tr><th scope=\"row\">{}<td class=\"n\">{}<td class=\"n{}\">{}<td class=\"n\">{}<td>{odd}</tr>\n",
            host.host,
            Count(host.probes_flows),
            if host.dead_peers > 0 { " dead" } else { "" },
            Count(host.dead_peers),
            Count(host.probed_flows)
        );
    }
    out.push_str("</tbody></table></div>\n");
    more(out, hosts.len(), HOSTS, "host");
    out.push_str("</section>\n");
}

/// Who probes whom.
pub(super) fn pairs(out: &mut String, report: &Report) {
    let groups = &report.activity.pairs;
    if groups.by.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Who probes whom</h2>\n<div class=\"wide\"><table><thead><tr><th scope=\"col\">Prober\
         <th scope=\"col\">Peer<th scope=\"col\" class=\"n\">connections<th scope=\"col\" class=\"n\">dead\
         <th scope=\"col\" class=\"n\">unknown<th scope=\"col\" class=\"n\">alive<th scope=\"col\" class=\"n\">probes\
         <th scope=\"col\" class=\"n\">answers<th scope=\"col\" class=\"n\">least idle time (s)</tr></thead><tbody>\n",
    );
    let pairs = sorted(&groups.by);
    for ((prober, peer), group) in pairs.iter().take(HOSTS) {
        let (Some(prober), Some(peer)) = (prober, peer) else {
            continue;
        };
        push!(
            out,
            "<tr><th scope=\"row\">{prober}<th scope=\"row\">{peer}<td class=\"n\">{}<td class=\"n{}\">{}\
             <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>\n",
            Count(group.flows),
            if group.dead > 0 { " dead" } else { "" },
            Count(group.dead),
            Count(group.unknown),
            Count(group.alive),
            Count(group.probes),
            Count(group.answers),
            group
                .idle_s
                .map_or_else(|| "–".to_owned(), |idle| idle.to_string())
        );
    }
    out.push_str("</tbody></table></div>\n");
    more(out, pairs.len(), HOSTS, "pair");
    if groups.others.flows > 0 {
        push!(
            out,
            "<p>{} of pairs that came later, {} dead peers, are not told apart here.</p>\n",
            Of(groups.others.flows, "connection"),
            Count(groups.others.dead)
        );
    }
    out.push_str("</section>\n");
}

fn more(out: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let left = Of((all - shown) as u64, what);
        push!(
            out,
            "<p>… and {left} more; <code>--json</code> tells all.</p>\n"
        );
    }
}

/// The connections. `lives`: whose diagrams there are.
pub(super) fn flows(out: &mut String, report: &Report, shown: &[Kept], lives: &[super::Id]) {
    if shown.is_empty() {
        return;
    }
    let all = report.keeper.total();
    out.push_str("<section><h2>Connections</h2>\n");
    if all > shown.len() as u64 {
        let mut parts = Vec::new();
        for (class, count) in Class::ALL.into_iter().zip(report.keeper.counts) {
            let here = shown.iter().filter(|kept| kept.class() == class).count() as u64;
            if here < count {
                parts.push(format!(
                    "{} of {} {}",
                    Count(here),
                    Count(count),
                    class.word().1
                ));
            }
        }
        push!(
            out,
            "<p class=\"left-out\">{} of {} are here, the first of each kind ({}). \
             <code>--json</code> tells all.</p>\n",
            Count(shown.len() as u64),
            Of(all, "connection"),
            parts.join(", ")
        );
    }
    out.push_str(
        "<p class=\"controls\"><label>Show <select id=\"verdict\"><option value=\"\">all<option>dead<option>unknown\
         <option>alive<option>not probed</select></label> <label>whose row has <input id=\"words\" type=\"search\" \
         placeholder=\"an address, a port, a word\"></label> <span id=\"count\" role=\"status\"></span></p>\n",
    );
    let several = report.files.len() > 1;
    push!(
        out,
        "<div class=\"wide\"><table id=\"flows\"><thead><tr>{}</tr></thead><tbody>\n",
        head(several)
    );
    for kept in shown {
        row(
            out,
            report,
            kept,
            lives.iter().position(|id| *id == kept.id),
        );
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn head(several: bool) -> String {
    const COLUMNS: [(&str, &str); 15] = [
        ("verdict", ""),
        ("A", ""),
        ("B", ""),
        ("prober", ""),
        ("start (UTC)", ""),
        ("length (s)", "n"),
        ("packets", "n"),
        ("probes", "n"),
        ("answers", "n"),
        ("most unanswered", "n"),
        ("idle (s)", "n"),
        ("interval (s)", "n"),
        ("count", "n"),
        ("end", ""),
        ("first frame", "n"),
    ];
    let mut out = String::new();
    for (name, class) in COLUMNS.iter().chain(several.then_some(&("capture", ""))) {
        push!(out, "<th scope=\"col\" class=\"{class}\">{name}");
    }
    out
}

fn row(out: &mut String, report: &Report, kept: &Kept, life: Option<usize>) {
    let flow = &kept.flow;
    let class = kept.class();
    let (sign, word) = class.word();
    let verdict = match life {
        Some(life) => format!("<a href=\"#life-{}\">{sign} {word}</a>", life + 1),
        None => format!("{sign} {word}"),
    };
    let dead = if class == Class::Dead {
        " class=\"dead\""
    } else {
        ""
    };
    let prober = match (flow.both_probe(), flow.prober()) {
        (true, _) => "both",
        (_, Some(FlowEnd::A)) => "A",
        (_, Some(FlowEnd::B)) => "B",
        (_, None) => "–",
    };
    let ms = flow.last_ns.saturating_sub(flow.first_ns) / 1_000_000;
    let seconds =
        |it: Option<Estimate>| it.map_or_else(|| "–".to_owned(), |it| it.seconds.to_string());
    push!(
        out,
        "<tr><td{dead}>{verdict}<td>{}<td>{}<td>{prober}<td>{}<td class=\"n\">{}.{:03}<td class=\"n\">{}\
         <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\
         <td>{}<td class=\"n\">{}",
        flow.a,
        flow.b,
        date(flow.first_ns),
        Count(ms / 1000),
        ms % 1000,
        Count(flow.packets.into()),
        Count(flow.probes()),
        Count(flow.answers()),
        flow.unanswered_run(),
        seconds(flow.idle()),
        seconds(flow.interval()),
        flow.count()
            .map_or_else(|| "–".to_owned(), |count| count.to_string()),
        analyze::end(flow.end),
        Count(flow.first_frame)
    );
    if let Some(file) = report.file_of(kept.id) {
        push!(out, "<td>{}", escape(file));
    }
    out.push_str("</tr>\n");
}
