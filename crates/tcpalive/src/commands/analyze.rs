//! `tcpalive analyze`: keep-alive read out of captures.

mod report;

use super::dump::source::Stop;
use super::dump::source::file::{Filter, Input, unusable};
use crate::cli::{Failure, Found, Presentation, say};
use crate::render::analyze::{Findings, write_flow, write_frame, write_host, write_summary};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tcpalive_capture::flow::{Flow, FrameKind, Tracker, TrackerOptions};
use tcpalive_capture::{FileError, Packet, Reader};

/// Arguments of `analyze`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive analyze night.pcap
  tcpalive analyze --filter 'port 3333' night.pcapng
  tcpalive analyze --json night.pcap | jq 'select(.verdict == \"dead\")'
  tcpalive analyze --json --frames night.pcap
  tcpalive analyze --report night.html night.pcap
  tcpalive analyze --follow --json growing.pcap
  ssh gateway tcpdump -U -w - tcp | tcpalive analyze -

Captures are pcap or pcapng, whole or cut, starting anywhere; the filter is libpcap's: see
pcap-filter(7). Times are those that the prober's timers were set to, as far as the capture
tells; a dash where it does not. A peer is called dead when the prober gave up, or when three
probes or more had no answer and nothing else came from it.

Where more has to be waited for, in a pipe or with --follow, Ctrl-C ends the waiting, and what
was found until then is told.

Exit codes: 0 done, no dead peers; 1 done, and peers are dead; 2 wrong usage, a filter or a file
that is none; 4 failed midway, a damaged file for example: what came before it was analyzed.")]
pub struct Args {
    /// Capture files; - reads one from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only packets that this libpcap filter takes
    #[arg(
        long,
        value_name = "PCAP FILTER",
        default_value = "",
        hide_default_value = true
    )]
    filter: String,
    /// Also tell of each frame that is a probe or an answer
    #[arg(long)]
    frames: bool,
    /// Also write a report: a page or, by its name, a drawing
    #[arg(long, value_name = "FILE.html|FILE.svg")]
    report: Option<PathBuf>,
    /// Wait for more at the end of the file, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

/// How often ended flows are taken out of the tracker: so that memory is that
/// of the live ones.
const SWEEP: u64 = 1 << 16;

/// How long to wait at the end of a growing file.
const PAUSE: Duration = Duration::from_millis(100);

/// Analyzes the captures.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    // A filter that is none is said before anything is read.
    let mut filter = Filter::new(&args.filter)?;
    let report = args
        .report
        .as_deref()
        .map(|path| report::Output::new(path, &args.filter))
        .transpose()?;
    if args.follow && args.files.len() > 1 {
        return Err(Failure::Usage(
            "--follow waits at the end of a capture: expected one, not several".to_owned(),
        ));
    }
    // Where a signal ends the waiting, it does not end the program: what was
    // found until then is told.
    let stop = if args.follow || args.files.iter().any(|path| is_stream(path)) {
        Some(Rc::new(Stop::on_signals(true)?))
    } else {
        None
    };
    let captures = args
        .files
        .iter()
        .map(|path| Capture::open(path, args.follow, stop.clone()))
        .collect::<Result<Vec<Capture>, Failure>>()?;
    let mut findings = Findings::default();
    let mut output = Output {
        out: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
        json: presentation.json,
        frames: args.frames,
        file: None,
        is_live: false,
        report,
    };
    let mut damage = None;
    for capture in captures {
        if args.files.len() > 1 {
            output.file = Some(capture.name.clone());
        }
        let end = capture.analyze(&mut filter, &mut findings, &mut output)?;
        if let Some(failure) = end {
            // The others may be whole. The first damage is the exit code's.
            if let Some(text) = failure.text() {
                say(&text);
                if let Some(output) = &mut output.report {
                    let note = format!("{text}: what came before it is here");
                    output.report.note(&note);
                }
            }
            findings.is_partial = true;
            damage.get_or_insert(failure);
        }
    }
    output.finish(&findings, presentation)?;
    if let Some(report) = &mut output.report {
        for (index, path) in args.files.iter().enumerate() {
            report.read_again(index, path, &mut filter)?;
        }
        report.write(&findings)?;
    }
    match damage {
        Some(_) => Err(Failure::Midway(format!(
            "{} not read to the end: what was read is above",
            if args.files.len() > 1 {
                "some captures were"
            } else {
                "the capture was"
            }
        ))),
        None if findings.dead > 0 => Ok(Found::Something),
        None => Ok(Found::Nothing),
    }
}

/// Whether more may come that has to be waited for.
fn is_stream(path: &Path) -> bool {
    path == Path::new("-") || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

/// A capture that is to be read.
struct Capture {
    path: PathBuf,
    name: String,
    /// At its end, more is waited for.
    grows: bool,
    stop: Option<Rc<Stop>>,
    /// Files are opened again when it is their turn: there may be thousands.
    opened: Option<Result<Reader<Input>, FileError>>,
    is_stream: bool,
}

impl Capture {
    /// What is no capture is refused. What is cut or damaged within its first
    /// bytes is a capture of which nothing could be read.
    fn open(path: &Path, follow: bool, stop: Option<Rc<Stop>>) -> Result<Self, Failure> {
        let name = if path == Path::new("-") {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let input = Input::open(path, stop.clone())
            .map_err(|error| Failure::Usage(format!("the capture {name}: {error}")))?;
        let is_stream = input.is_stream;
        let reader = Reader::new(input);
        match &reader {
            Err(FileError::Io { source, .. }) if source.kind() != io::ErrorKind::BrokenPipe => {
                return Err(Failure::Usage(format!("the capture {name}: {source}")));
            }
            Err(error @ (FileError::NotACapture { .. } | FileError::Io { .. })) => {
                return Err(unusable(&name, error));
            }
            _ => {}
        }
        Ok(Self {
            path: path.to_owned(),
            name,
            grows: follow && !is_stream,
            stop,
            opened: (is_stream || path == Path::new("-")).then_some(reader),
            is_stream,
        })
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.is_requested())
    }

    /// The reader; for a file that grows, once its header is written. `None`
    /// when the waiting was ended.
    fn reader(&mut self) -> Option<Result<Reader<Input>, FileError>> {
        if let Some(reader) = self.opened.take() {
            return Some(reader);
        }
        loop {
            let input = Input::open(&self.path, self.stop.clone());
            let reader = input
                .map_err(|source| FileError::Io {
                    frame: 1,
                    offset: 0,
                    source,
                })
                .and_then(Reader::new);
            match reader {
                Err(FileError::Truncated { .. }) if self.grows => {
                    if self.is_stopped() {
                        return None;
                    }
                    std::thread::sleep(PAUSE);
                }
                reader => return Some(reader),
            }
        }
    }

    /// Reads to the end. Damage is returned, so that what came before it is
    /// told.
    fn analyze(
        mut self,
        filter: &mut Filter,
        findings: &mut Findings,
        output: &mut Output<'_>,
    ) -> Result<Option<Failure>, Failure> {
        let mut options = TrackerOptions::default();
        options.late_frames = output.frames || output.report.is_some();
        if let Some(output) = &mut output.report {
            // Standard input cannot be opened again, be it a file or not.
            let is_read_once = self.is_stream || self.path == Path::new("-");
            output.report.begin(&self.name, is_read_once);
        }
        let mut reader = match self.reader() {
            Some(Ok(reader)) => reader,
            Some(Err(error)) => return Ok(Some(unusable(&self.name, &error))),
            None => return Ok(None),
        };
        output.is_live = self.is_stream;
        let mut tracker = Tracker::new(options);
        let mut damage = None;
        let mut next_sweep = SWEEP;
        loop {
            let packet = match reader.next() {
                Ok(Some(packet)) => packet,
                // The rest of what is still being written is for later.
                Ok(None) | Err(FileError::Truncated { .. }) if self.is_stopped() => break,
                Ok(None) | Err(FileError::Truncated { .. }) if self.grows => {
                    output.take_ended(&mut tracker, findings)?;
                    output.out.flush()?;
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Ok(None) => break,
                Err(error) => {
                    damage = Some(unusable(&self.name, &error));
                    break;
                }
            };
            if let Some(kind) = observe(&mut tracker, &packet, filter, findings, output)? {
                output.frame(packet.frame, kind)?;
            }
            if options.late_frames {
                for (frame, kind) in tracker.take_late() {
                    output.late(frame, kind)?;
                }
            }
            if packet.frame >= next_sweep {
                next_sweep = packet.frame + SWEEP;
                output.take_ended(&mut tracker, findings)?;
                if self.is_stopped() {
                    break;
                }
            }
        }
        findings.frames += reader.frames();
        let mut written = Ok(());
        tracker.finish(|flow| {
            if written.is_ok() {
                written = output.flow(&flow, findings);
            }
        });
        written?;
        Ok(damage)
    }
}

#[inline]
fn observe(
    tracker: &mut Tracker,
    packet: &Packet<'_>,
    filter: &mut Filter,
    findings: &mut Findings,
    output: &mut Output<'_>,
) -> Result<Option<FrameKind>, Failure> {
    let Some(ip) = packet.ip_packet() else {
        if !packet.link.is_known() {
            findings.unknown_link(packet.link);
        }
        return Ok(None);
    };
    if !filter.matches(packet.link, packet.data, packet.original_len)? {
        return Ok(None);
    }
    let Ok(segment) = ip.segment() else {
        findings.malformed += 1;
        return Ok(None);
    };
    findings.packets += 1;
    let context = ip.context.number();
    let kind = tracker.observe(packet.frame, packet.time, context, &segment);
    if let Some(output) = &mut output.report {
        let report = &mut output.report;
        report.packet(packet.frame, packet.time, context, &segment, kind);
    }
    Ok(kind)
}

/// Where findings go.
struct Output<'a> {
    out: BufWriter<io::StdoutLock<'a>>,
    json: bool,
    frames: bool,
    /// Which capture it is about, where there are several.
    file: Option<String>,
    /// Somebody may be waiting for lines.
    is_live: bool,
    report: Option<report::Output>,
}

impl Output<'_> {
    fn frame(&mut self, frame: u64, kind: FrameKind) -> Result<(), Failure> {
        if self.frames {
            write_frame(&mut self.out, frame, kind, self.file.as_deref(), self.json)?;
            if self.is_live {
                self.out.flush()?;
            }
        }
        Ok(())
    }

    /// A frame whose kind became clear after it.
    fn late(&mut self, frame: u64, kind: FrameKind) -> Result<(), Failure> {
        if let Some(output) = &mut self.report {
            output.report.late(frame, kind);
        }
        self.frame(frame, kind)
    }

    fn flow(&mut self, flow: &Flow, findings: &mut Findings) -> Result<(), Failure> {
        findings.add(flow, !self.json);
        if let Some(output) = &mut self.report {
            output.report.flow(flow);
        }
        if self.json {
            write_flow(&mut self.out, flow, self.file.as_deref())?;
        }
        Ok(())
    }

    /// Tells of flows that ended.
    fn take_ended(
        &mut self,
        tracker: &mut Tracker,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let mut written = Ok(());
        tracker.take_ended(|flow| {
            if written.is_ok() {
                written = self.flow(&flow, findings);
            }
        });
        written
    }

    fn finish(&mut self, findings: &Findings, presentation: Presentation) -> Result<(), Failure> {
        if self.json {
            for host in findings.hosts() {
                write_host(&mut self.out, &host)?;
            }
            write_summary(&mut self.out, findings)?;
        } else {
            let text = findings.text(presentation.style);
            self.out.write_all(text.as_bytes())?;
        }
        self.out.flush()?;
        Ok(())
    }
}
