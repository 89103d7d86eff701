//! A flow's life as rows: what is alike becomes one row.

use super::kept::Kept;
use super::log::{Event, Log};
use super::moment::{date, since, time};
use crate::render::analyze;
use crate::render::svg::{Mark, Panel};
use crate::render::timeline::Arrow;
use crate::render::units::{Bytes, Count, Of, RoundTrip};
use std::fmt::Write;
use tcpalive_capture::flow::{End, Estimate, Flow, FlowEnd, FrameKind, Verdict};
use tcpalive_segment::Flags;

/// Of a run of rows that are alike, so many are shown at its beginning, and
/// at its end.
const RUN: (usize, usize) = (4, 3);

/// Rows of a diagram, at its beginning and at its end.
const ROWS: (usize, usize) = (24, 48);

/// Something that is to be a row.
#[derive(Debug)]
struct Row {
    frame: u64,
    ns: u64,
    last_ns: u64,
    arrow: Arrow,
    says: String,
    /// What may stand in a run: probes with answers, probes without.
    run: Option<Run>,
    warns: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Answered,
    Unanswered,
}

/// The diagram of a flow. The prober's line is the left one.
pub(super) fn panel(kept: &Kept, log: &Log, file: Option<&str>) -> Panel {
    let flow = &kept.flow;
    let left = flow.prober().unwrap_or(FlowEnd::A);
    let (from, to) = match left {
        FlowEnd::A => (flow.a, flow.b),
        FlowEnd::B => (flow.b, flow.a),
    };
    let low_is_left = from <= to;
    let mut rows = rows(log.head.iter(), low_is_left);
    if log.omitted.packets > 0 {
        let (packets, omitted) = (log.omitted.packets, &log.omitted);
        let ns = rows.last().map_or(flow.first_ns, |row| row.last_ns);
        rows.push(Row {
            frame: 0,
            ns,
            last_ns: ns,
            arrow: Arrow::Skip,
            says: format!(
                "{} not drawn: {} and {} among them",
                Of(packets, "packet"),
                Of(omitted.probes, "probe"),
                Of(omitted.answers, "answer")
            ),
            run: None,
            warns: false,
        });
    }
    rows.extend(self::rows(log.tail.iter(), low_is_left));
    let rows = shortened(collapsed(rows), flow);
    let mut last = flow.first_ns;
    let mut marks: Vec<Mark> = rows
        .into_iter()
        .map(|row| {
            let silence = row.ns.saturating_sub(last) as f64 / 1e9;
            last = last.max(row.last_ns);
            let is_skip = row.arrow == Arrow::Skip;
            Mark {
                time: if is_skip {
                    String::new()
                } else {
                    since(row.ns.saturating_sub(flow.first_ns))
                },
                silence,
                arrow: row.arrow,
                warns: row.warns,
                says: row.says,
                note: if is_skip {
                    String::new()
                } else {
                    format!("frame {} · {}", row.frame, time(row.ns))
                },
            }
        })
        .collect();
    marks.push(ending(flow, left));
    let both = flow.both_probe();
    Panel {
        title: format!("{from} {} {to}", if both { "⇄" } else { "→" }),
        about: about(flow, file),
        hosts: match flow.prober() {
            Some(_) if both => ["prober".to_owned(), "also probes".to_owned()],
            Some(_) => ["prober".to_owned(), "peer".to_owned()],
            None => ["opened".to_owned(), "accepted".to_owned()],
        },
        unit: "since start".to_owned(),
        marks,
    }
}

/// The flow in a sentence, and its figures.
fn about(flow: &Flow, file: Option<&str>) -> Vec<String> {
    let mut verdict = summary(flow);
    let timers = timers(flow);
    if !timers.is_empty() {
        let _ = write!(verdict, " · {timers}");
    }
    let mut figures = format!(
        "{}, {} of data · {} UTC · first frame {}",
        Of(u64::from(flow.packets), "packet"),
        Bytes(flow.bytes),
        date(flow.first_ns),
        Count(flow.first_frame)
    );
    if !flow.handshake_seen {
        figures.push_str(" · began before the capture");
    }
    if let Some(file) = file {
        let _ = write!(figures, " · {file}");
    }
    vec![verdict, figures]
}

/// What became of it: `dead: the prober gave up after 9 probes`.
pub(super) fn summary(flow: &Flow) -> String {
    let run = flow.unanswered_run();
    let end = match flow.end {
        End::KeepAliveTimeout => {
            let run = flow
                .reset_by
                .map_or(run, |by| flow.probing(by).unanswered_at_end);
            format!(
                "the prober gave up after {}",
                Of(run.into(), "unanswered probe")
            )
        }
        End::Reset => "reset".to_owned(),
        End::Fin => "closed".to_owned(),
        End::Open if flow.verdict == Verdict::Dead => {
            format!(
                "{} at the end of the capture",
                Of(run.into(), "unanswered probe")
            )
        }
        End::Open => "open at the end of the capture".to_owned(),
    };
    format!("{}: {end}", analyze::verdict(flow.verdict))
}

/// `idle 60 s, interval 10 s, count 9`, as far as they are known.
pub(super) fn timers(flow: &Flow) -> String {
    let seconds =
        |name: &str, it: Option<Estimate>| it.map(|it| format!("{name} {} s", it.seconds));
    let parts = [
        seconds("idle", flow.idle()),
        seconds("interval", flow.interval()),
        flow.count().map(|count| format!("count {count}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

fn ending(flow: &Flow, left: FlowEnd) -> Mark {
    let warns = flow.verdict == Verdict::Dead;
    let is_here = warns || flow.reset_by.is_none_or(|by| by == left);
    Mark {
        time: since(flow.last_ns.saturating_sub(flow.first_ns)),
        silence: 0.0,
        arrow: if is_here { Arrow::Here } else { Arrow::There },
        warns,
        says: summary(flow),
        note: String::new(),
    }
}

/// Rows of packets that follow each other.
fn rows<'a>(events: impl Iterator<Item = &'a Event>, low_is_left: bool) -> Vec<Row> {
    let events: Vec<&Event> = events.collect();
    let mut rows = Vec::new();
    let mut at = 0;
    while let Some(event) = events.get(at) {
        if is_ordinary(event) {
            let run = events[at..].iter().take_while(|event| is_ordinary(event));
            let run: Vec<&Event> = run.copied().collect();
            at += run.len();
            rows.push(exchange(&run, low_is_left));
        } else {
            rows.push(special(event, &events[at + 1..], low_is_left));
            at += 1;
        }
    }
    rows
}

/// Data, and acknowledgments of data.
fn is_ordinary(event: &Event) -> bool {
    event.kind.is_none() && !event.flags.intersects(Flags::SYN | Flags::FIN | Flags::RST)
}

fn exchange(run: &[&Event], low_is_left: bool) -> Row {
    let (first, last) = (run[0], run[run.len() - 1]);
    let to_right = |event: &Event| event.from_low == low_is_left;
    let bytes = |right: bool| -> u64 {
        let of = run.iter().filter(|event| to_right(event) == right);
        of.map(|event| u64::from(event.length)).sum()
    };
    let (there, back) = (bytes(true), bytes(false));
    let arrow = match (
        run.iter().any(|e| to_right(e)),
        run.iter().any(|e| !to_right(e)),
    ) {
        (true, true) => Arrow::Both,
        (true, false) => Arrow::Sent,
        _ => Arrow::Received,
    };
    let mut says = match (there, back) {
        (0, 0) if run.len() == 1 => "ACK".to_owned(),
        (0, 0) => Of(run.len() as u64, "ACK").to_string(),
        (sent, 0) => format!("data → {}", Bytes(sent)),
        (0, got) => format!("data ← {}", Bytes(got)),
        (sent, got) => format!("data → {}, ← {}", Bytes(sent), Bytes(got)),
    };
    if run.len() > 1 {
        if there + back > 0 {
            let _ = write!(says, " in {}", Of(run.len() as u64, "packet"));
        }
        let over = last.ns.saturating_sub(first.ns) / 1000;
        let _ = write!(says, " over {}", RoundTrip(over));
    }
    Row {
        frame: first.frame,
        ns: first.ns,
        last_ns: last.ns,
        arrow,
        says,
        run: None,
        warns: false,
    }
}

/// A packet that has a row of its own.
fn special(event: &Event, later: &[&Event], low_is_left: bool) -> Row {
    let to_right = event.from_low == low_is_left;
    let way = if to_right {
        Arrow::Sent
    } else {
        Arrow::Received
    };
    let lost = if to_right {
        Arrow::Lost
    } else {
        Arrow::LostBack
    };
    let (arrow, says, run, warns) = match event.kind {
        Some(FrameKind::KeepAlive {
            garbage,
            unanswered,
        }) => {
            let byte = if garbage { " with a byte" } else { "" };
            if is_heard(event, later) && unanswered <= 1 {
                (way, format!("probe{byte}"), Some(Run::Answered), false)
            } else {
                let says = format!("probe {unanswered}{byte}, no answer seen");
                if is_heard(event, later) {
                    let says = format!("probe {unanswered}{byte}");
                    (way, says, None, false)
                } else {
                    (lost, says, Some(Run::Unanswered), true)
                }
            }
        }
        Some(FrameKind::KeepAliveAck { delay_ns }) => {
            let says = format!("answer after {}", RoundTrip(delay_ns / 1000));
            (way, says, Some(Run::Answered), false)
        }
        Some(FrameKind::ZeroWindowProbe) => {
            (way, "probe of a closed window".to_owned(), None, false)
        }
        Some(FrameKind::Exhausted { unanswered }) => {
            let probes = Of(unanswered.into(), "unanswered probe");
            (way, format!("RST: gives up after {probes}"), None, true)
        }
        _ if event.flags.contains(Flags::RST) => (way, "RST".to_owned(), None, true),
        _ => {
            let mut says = String::new();
            for (flag, name) in [
                (Flags::SYN, "SYN"),
                (Flags::FIN, "FIN"),
                (Flags::ACK, "ACK"),
            ] {
                if event.flags.contains(flag) {
                    says.push_str(if says.is_empty() { "" } else { ", " });
                    says.push_str(name);
                }
            }
            if event.length > 0 {
                let _ = write!(says, ", {} of data", Bytes(event.length.into()));
            }
            (way, says, None, false)
        }
    };
    Row {
        frame: event.frame,
        ns: event.ns,
        last_ns: event.ns,
        arrow,
        says,
        run,
        warns,
    }
}

/// Whether the other end was heard after a probe and before the next.
pub(super) fn is_heard(probe: &Event, later: &[&Event]) -> bool {
    let is_next = |event: &&&Event| {
        event.from_low == probe.from_low
            && matches!(
                event.kind,
                Some(FrameKind::KeepAlive { .. } | FrameKind::Exhausted { .. })
            )
    };
    let until = later
        .iter()
        .position(|event| is_next(&event))
        .unwrap_or(later.len());
    later[..until]
        .iter()
        .any(|event| event.from_low != probe.from_low)
}

/// Long runs lose their middles.
fn collapsed(rows: Vec<Row>) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.next() {
        let Some(kind) = first.run else {
            out.push(first);
            continue;
        };
        let mut run = vec![first];
        while let Some(row) = rows.next_if(|row| row.run == Some(kind)) {
            run.push(row);
        }
        // An answered probe has two rows.
        let step = if kind == Run::Answered { 2 } else { 1 };
        let (head, tail) = (RUN.0, RUN.1 * step);
        if run.len() <= head + tail + step {
            out.extend(run);
            continue;
        }
        let tail = run.split_off(run.len() - tail);
        let middle = run.split_off(head);
        out.extend(run);
        let is_probe = |row: &&Row| row.says.starts_with("probe");
        let probes = middle.iter().filter(is_probe).count() as u64;
        let what = match kind {
            Run::Answered => "each answered",
            Run::Unanswered => "none answered",
        };
        out.extend(skip(middle, |_| {
            format!("… {}, {what}", Of(probes, "more probe"))
        }));
        out.extend(tail);
    }
    out
}

/// A row for rows that are not shown.
fn skip(middle: Vec<Row>, says: impl FnOnce(&[Row]) -> String) -> Option<Row> {
    let (first, last) = (middle.first()?, middle.last()?);
    let from = first.frame;
    Some(Row {
        frame: from,
        ns: first.ns,
        last_ns: last.last_ns,
        arrow: Arrow::Skip,
        says: format!("{}, frames {} to {}", says(&middle), from, last.frame),
        run: None,
        warns: false,
    })
}

/// A long life loses its middle.
fn shortened(mut rows: Vec<Row>, flow: &Flow) -> Vec<Row> {
    if rows.len() <= ROWS.0 + ROWS.1 + 1 {
        return rows;
    }
    let tail = rows.split_off(rows.len() - ROWS.1);
    let middle = rows.split_off(ROWS.0);
    rows.extend(skip(middle, |middle| {
        let span = middle[middle.len() - 1].ns.saturating_sub(flow.first_ns);
        format!("… more of the like, until {}", since(span))
    }));
    rows.extend(tail);
    rows
}
