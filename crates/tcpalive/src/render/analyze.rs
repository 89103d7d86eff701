//! What was found in captures, for programs and for people.

use super::json::push_address;
use super::line::{Align, Slot, push_line};
use super::style::{Paint, Style};
use super::text::{Cut, push_wrapped};
use super::units::{Count, Of, Span};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use tcpalive_capture::Link;
use tcpalive_capture::findings::{self, Concern, Pair};
use tcpalive_capture::flow::{End, Estimate, Flow, FlowEnd, FrameKind, Verdict};

/// Flows that are shown to people one by one; the rest is counted.
const SHOWN: usize = 40;

/// All that was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Some capture was not read to its end.
    pub is_partial: bool,
    /// Packets of the files, of whatever protocol.
    pub frames: u64,
    /// Packets with TCP that the filter took.
    pub packets: u64,
    /// Packets whose TCP header was malformed or not captured whole.
    pub malformed: u64,
    /// Flows with a dead peer.
    pub dead: u64,
    pub(super) flows: u64,
    pub(super) alive: u64,
    pub(super) unknown: u64,
    pub(super) probed: u64,
    pub(super) probes: u64,
    pub(super) answers: u64,
    pub(super) timeouts: u64,
    /// Those that are shown: with probes, the dead first.
    shown: Vec<Flow>,
    pairs: findings::Findings,
    pub(super) unknown_links: Vec<Link>,
}

/// What is said of a host.
#[derive(Debug)]
pub struct HostReport {
    pub(super) host: IpAddr,
    pub(super) probes_flows: u64,
    pub(super) probed_flows: u64,
    pub(super) dead_peers: u64,
    pub(super) findings: Vec<String>,
}

impl Findings {
    /// Counts a flow. `show` keeps it if it is one that people want to see.
    pub fn add(&mut self, flow: &Flow, show: bool) {
        self.flows += 1;
        match flow.verdict {
            Verdict::Alive => self.alive += 1,
            Verdict::Dead => self.dead += 1,
            Verdict::Unknown => self.unknown += 1,
        }
        self.timeouts += u64::from(flow.end == End::KeepAliveTimeout);
        self.probes += flow.probes();
        self.answers += flow.answers();
        if flow.probes() == 0 {
            return;
        }
        self.probed += 1;
        self.pairs.add(flow);
        if show {
            self.keep(flow);
        }
    }

    /// Keeps the flow if it is among those to be shown: the dead, then those
    /// of which nothing is known, then the rest, each in the capture's order.
    fn keep(&mut self, flow: &Flow) {
        let rank = |flow: &Flow| {
            let verdict = match flow.verdict {
                Verdict::Dead => 0,
                Verdict::Unknown => 1,
                Verdict::Alive => 2,
            };
            (verdict, flow.first_frame)
        };
        if self.shown.len() >= SHOWN
            && self
                .shown
                .last()
                .is_some_and(|last| rank(last) <= rank(flow))
        {
            return;
        }
        let at = self
            .shown
            .partition_point(|shown| rank(shown) <= rank(flow));
        self.shown.insert(at, flow.clone());
        self.shown.truncate(SHOWN);
    }

    /// Takes note that frames of a link type were not looked into.
    pub fn unknown_link(&mut self, link: Link) {
        if !self.unknown_links.contains(&link) {
            self.unknown_links.push(link);
        }
    }

    /// The hosts that probe, those with the most dead peers first.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostReport> {
        let mut hosts: BTreeMap<IpAddr, (HostReport, Concerns)> = BTreeMap::new();
        let mut probed: HashMap<IpAddr, u64> = HashMap::new();
        for (prober, peer, pair) in self.pairs.pairs() {
            *probed.entry(peer).or_default() += pair.flows;
            let (report, concerns) = hosts.entry(prober).or_insert_with(|| {
                let report = HostReport {
                    host: prober,
                    probes_flows: 0,
                    probed_flows: 0,
                    dead_peers: 0,
                    findings: Vec::new(),
                };
                (report, Concerns::default())
            });
            report.probes_flows += pair.flows;
            report.dead_peers += pair.dead;
            concerns.add(peer, pair);
        }
        let mut reports: Vec<HostReport> = hosts
            .into_values()
            .map(|(report, concerns)| HostReport {
                probed_flows: probed.get(&report.host).copied().unwrap_or(0),
                findings: concerns.sentences(),
                ..report
            })
            .collect();
        reports.sort_by_key(|report| {
            let (dead, probes) = (report.dead_peers, report.probes_flows);
            (std::cmp::Reverse((dead, probes)), report.host)
        });
        reports
    }

    /// All of it, for people.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        self.push_flows(&mut out, style);
        self.push_hosts(&mut out, style);
        self.push_totals(&mut out, style);
        out
    }

    fn push_flows(&self, out: &mut String, style: Style) {
        if self.shown.is_empty() {
            return;
        }
        let rows: Vec<[String; 11]> = self.shown.iter().map(cells).collect();
        const HEAD: [&str; 11] = [
            "A", "B", "PACKETS", "PROBER", "PROBES", "ANSWERED", "IDLE", "INTERVAL", "COUNT",
            "END", "VERDICT",
        ];
        let slots: Vec<Slot> = HEAD
            .iter()
            .enumerate()
            .map(|(column, head)| {
                let widest = rows.iter().map(|row| row[column].len()).max();
                Slot {
                    width: widest.unwrap_or(0).max(head.len()),
                    align: if (2..9).contains(&column) && column != 3 {
                        Align::Right
                    } else {
                        Align::Left
                    },
                    cut: Cut::Never,
                }
            })
            .collect();
        let head = HEAD.iter().map(|head| (*head, Paint::Bold));
        push_line(out, &slots, head, style);
        for (row, flow) in rows.iter().zip(&self.shown) {
            let paint = match flow.verdict {
                Verdict::Alive => Paint::Green,
                Verdict::Dead => Paint::Yellow,
                Verdict::Unknown => Paint::Plain,
            };
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let paint = if column == 10 { paint } else { Paint::Plain };
                (cell.as_str(), paint)
            });
            push_line(out, &slots, cells, style);
        }
        let more = self.probed - self.shown.len() as u64;
        if more > 0 {
            let _ = writeln!(
                out,
                "… and {} more with probes; --json tells all",
                Count(more)
            );
        }
        out.push('\n');
    }

    fn push_hosts(&self, out: &mut String, style: Style) {
        let hosts = self.hosts();
        for report in hosts.iter().take(SHOWN) {
            let mut line = format!(
                "{} probes {}",
                report.host,
                Of(report.probes_flows, "connection")
            );
            if report.dead_peers > 0 {
                let _ = write!(
                    line,
                    ", {} of them with dead peers",
                    Count(report.dead_peers)
                );
            }
            if !report.findings.is_empty() {
                let _ = write!(line, "; {}", report.findings.join("; "));
            }
            line.push('.');
            push_wrapped(out, &line, 2, style.prose_width());
        }
        if hosts.len() > SHOWN {
            let more = hosts.len() - SHOWN;
            let _ = writeln!(
                out,
                "… and {} more that probe; --json tells all",
                Count(more as u64)
            );
        }
        if !hosts.is_empty() {
            out.push('\n');
        }
    }

    fn push_totals(&self, out: &mut String, style: Style) {
        let mut line = format!(
            "{} of TCP in {}, {}: ",
            Of(self.packets, "packet"),
            Of(self.frames, "frame"),
            Of(self.flows, "connection")
        );
        if self.probed == 0 {
            line.push_str("no keep-alive probe.");
        } else {
            let _ = write!(
                line,
                "{} with keep-alive, {}, {}; {} alive, {} dead, {} unknown.",
                Count(self.probed),
                Of(self.probes, "probe"),
                Of(self.answers, "answer"),
                Count(self.alive),
                Count(self.dead),
                Count(self.unknown)
            );
        }
        push_wrapped(out, &line, 0, style.prose_width());
        if self.malformed > 0 {
            let _ = writeln!(
                out,
                "{} had a TCP header that is malformed or was not captured whole.",
                Of(self.malformed, "packet")
            );
        }
        for link in &self.unknown_links {
            let _ = writeln!(out, "Frames of {link} were not looked into.");
        }
    }
}

/// What does not fit between a host and those that it probes.
#[derive(Debug, Default)]
struct Concerns {
    /// Peers, and the least idle time.
    forgotten: Option<(IpAddr, u64, u32)>,
    eager: Option<(IpAddr, u64, u32)>,
}

impl Concerns {
    fn add(&mut self, peer: IpAddr, pair: &Pair) {
        for concern in pair.concerns() {
            let (kept, idle_s) = match concern {
                Concern::ForgottenOnTheWay { idle_s } => (&mut self.forgotten, idle_s),
                Concern::TooEager { idle_s } => (&mut self.eager, idle_s),
                _ => continue,
            };
            *kept = Some(match *kept {
                None => (peer, 1, idle_s),
                Some((first, peers, least)) => (first, peers + 1, least.min(idle_s)),
            });
        }
    }

    fn sentences(&self) -> Vec<String> {
        let those = |first: IpAddr, peers: u64| match peers {
            1 => first.to_string(),
            _ => format!("{first} and {} more", Of(peers - 1, "host")),
        };
        let forgotten = self.forgotten.map(|(first, peers, idle_s)| {
            format!(
                "connections to {} died in silence after {idle_s} s or more, while others to the same host live: \
                 something on the way may forget quiet connections sooner than they are probed",
                those(first, peers)
            )
        });
        let eager = self.eager.map(|(first, peers, idle_s)| {
            format!(
                "probes {} after no more than {idle_s} s of silence, far more often than NATs ask for: that wakes \
                 radios, and a brief outage ends living connections",
                those(first, peers)
            )
        });
        forgotten.into_iter().chain(eager).collect()
    }
}

fn cells(flow: &Flow) -> [String; 11] {
    let seconds = |estimate: Option<Estimate>| {
        estimate.map_or_else(
            || "-".to_owned(),
            |it| Span(u64::from(it.seconds) * 1000).to_string(),
        )
    };
    [
        flow.a.to_string(),
        flow.b.to_string(),
        Count(u64::from(flow.packets)).to_string(),
        prober(flow).unwrap_or("-").to_owned(),
        Count(flow.probes()).to_string(),
        Count(flow.answers()).to_string(),
        seconds(flow.idle()),
        seconds(flow.interval()),
        flow.count()
            .map_or_else(|| "-".to_owned(), |count| count.to_string()),
        end(flow.end).to_owned(),
        verdict(flow.verdict).to_owned(),
    ]
}

pub(super) fn prober(flow: &Flow) -> Option<&'static str> {
    if flow.both_probe() {
        return Some("both");
    }
    flow.prober().map(|end| match end {
        FlowEnd::A => "a",
        FlowEnd::B => "b",
    })
}

pub(super) const fn end(end: End) -> &'static str {
    match end {
        End::Open => "open",
        End::Fin => "fin",
        End::Reset => "reset",
        End::KeepAliveTimeout => "keepalive-timeout",
    }
}

pub(super) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Alive => "alive",
        Verdict::Dead => "dead",
        Verdict::Unknown => "unknown",
    }
}

/// Writes a flow as JSON. What the contract promises comes first.
///
/// # Errors
/// When it cannot be written.
pub fn write_flow(out: &mut impl io::Write, flow: &Flow, file: Option<&str>) -> io::Result<()> {
    let mut addresses = [Vec::new(), Vec::new()];
    for (text, address) in addresses.iter_mut().zip([flow.a, flow.b]) {
        push_address(text, &address);
    }
    let [a, b] = addresses.map(|text| String::from_utf8_lossy(&text).into_owned());
    let number = |number: Option<u64>| Value::from(number).to_string();
    let seconds = |estimate: Option<Estimate>| number(estimate.map(|it| u64::from(it.seconds)));
    let prober_name = Value::from(prober(flow));
    write!(
        out,
        "{{\"type\":\"flow\",\"a\":\"{a}\",\"b\":\"{b}\",\"first_frame\":{},\"packets\":{},\
         \"handshake_seen\":{},\"probes\":{},\"answers\":{},\"unanswered_run\":{},\"prober\":{prober_name},\
         \"idle_s\":{},\"interval_s\":{},\"count\":{},\"end\":\"{}\",\"verdict\":\"{}\"",
        flow.first_frame,
        flow.packets,
        flow.handshake_seen,
        flow.probes(),
        flow.answers(),
        flow.unanswered_run(),
        seconds(flow.idle()),
        seconds(flow.interval()),
        number(flow.count().map(u64::from)),
        end(flow.end),
        verdict(flow.verdict)
    )?;
    let round_trip = flow
        .prober()
        .and_then(|prober| flow.probing(prober).round_trip);
    let micros = |of: Option<std::time::Duration>| {
        number(of.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    };
    let [a, b] = [&flow.a_probing, &flow.b_probing];
    write!(
        out,
        ",\"context\":{},\"first_s\":{},\"last_s\":{},\"bytes\":{},\"rtt_min_us\":{},\"rtt_us\":{},\
         \"rtt_max_us\":{},\"unanswered_at_end\":{},\"garbage_probes\":{},\"zero_window_probes\":{}",
        flow.context,
        epoch(flow.first_ns),
        epoch(flow.last_ns),
        flow.bytes,
        micros(round_trip.map(|it| it.least)),
        micros(round_trip.map(|it| it.typical)),
        micros(round_trip.map(|it| it.most)),
        a.unanswered_at_end.max(b.unanswered_at_end),
        u32::from(a.garbage) + u32::from(b.garbage),
        u32::from(a.zero_window_probes) + u32::from(b.zero_window_probes)
    )?;
    write_file(out, file)?;
    writeln!(out, "}}")
}

fn write_file(out: &mut impl io::Write, file: Option<&str>) -> io::Result<()> {
    match file {
        Some(file) => write!(out, ",\"file\":{}", Value::from(file)),
        None => Ok(()),
    }
}

fn epoch(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// Writes that a frame is a probe or an answer. Other kinds are not written.
///
/// # Errors
/// When it cannot be written.
pub fn write_frame(
    out: &mut impl io::Write,
    frame: u64,
    kind: FrameKind,
    file: Option<&str>,
    json: bool,
) -> io::Result<()> {
    let name = match kind {
        FrameKind::KeepAlive { .. } => "keepalive",
        FrameKind::KeepAliveAck { .. } => "keepalive-ack",
        _ => return Ok(()),
    };
    if !json {
        return writeln!(out, "frame {frame}: {name}");
    }
    write!(
        out,
        "{{\"type\":\"frame\",\"frame\":{frame},\"kind\":\"{name}\""
    )?;
    write_file(out, file)?;
    writeln!(out, "}}")
}

/// Writes what is said of a host as JSON.
///
/// # Errors
/// When it cannot be written.
pub fn write_host(out: &mut impl io::Write, report: &HostReport) -> io::Result<()> {
    let object = json!({
        "type": "host", "host": report.host.to_string(), "probes_flows": report.probes_flows,
        "probed_flows": report.probed_flows, "dead_peers": report.dead_peers, "findings": report.findings,
    });
    writeln!(out, "{object}")
}

/// Writes the last object.
///
/// # Errors
/// When it cannot be written.
pub fn write_summary(out: &mut impl io::Write, findings: &Findings) -> io::Result<()> {
    let object = json!({
        "type": "summary", "frames": findings.frames, "packets": findings.packets,
        "malformed": findings.malformed, "flows": findings.flows, "probed": findings.probed,
        "probes": findings.probes, "answers": findings.answers, "alive": findings.alive,
        "dead": findings.dead, "unknown": findings.unknown, "keepalive_timeouts": findings.timeouts,
        "complete": !findings.is_partial,
    });
    writeln!(out, "{object}")
}
