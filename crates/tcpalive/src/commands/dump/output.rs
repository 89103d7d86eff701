//! Where packets go: lines or objects on standard output, a file.

use super::source::{Source, TcpPacket};
use crate::cli::Failure;
use crate::render::dump::{Kind, Lines, Meaning, Seen};
use crate::render::dump::{frame_object, packet_object, summary_object};
use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::Path;
use tcpalive_capture::{Link, Resolution, Writer};
use tcpalive_kernel::live::Statistics;

/// Bytes that are collected before a file is written to.
const FILE_BUFFER: usize = 1 << 20;

/// How packets are shown.
#[derive(Debug)]
pub(super) enum Target {
    Lines(Lines),
    Objects,
}

/// Where packets go.
pub(super) struct Output {
    target: Option<Target>,
    stdout: BufWriter<Stdout>,
    file: Option<CaptureFile>,
    packet_buffered: bool,
    packets: u64,
    line: String,
    object: Vec<u8>,
}

impl Output {
    /// Opens the file, if there is to be one.
    pub(super) fn open(
        target: Option<Target>,
        file: Option<&Path>,
        packet_buffered: bool,
        source: &Source,
    ) -> Result<Self, Failure> {
        let file = match file {
            Some(path) if path == Path::new("-") && target.is_some() => {
                return Err(Failure::Usage(
                    "-w - and --print would both write to standard output: write into a file"
                        .into(),
                ));
            }
            Some(path) if source.is_file(path) => {
                return Err(Failure::Usage(format!(
                    "{} is the file that is read: write into another",
                    path.display()
                )));
            }
            Some(path) => Some(CaptureFile::create(path, source.link())?),
            None => None,
        };
        Ok(Self {
            target,
            stdout: BufWriter::with_capacity(1 << 16, io::stdout()),
            file,
            packet_buffered,
            packets: 0,
            line: String::new(),
            object: Vec::new(),
        })
    }

    /// Whether packets are shown on standard output.
    pub(super) const fn shows(&self) -> bool {
        self.target.is_some()
    }

    pub(super) fn packet(
        &mut self,
        packet: &TcpPacket<'_>,
        meaning: Option<&Meaning>,
        late: &[(u64, Kind)],
    ) -> Result<(), Failure> {
        self.packets += 1;
        if let Some(file) = &mut self.file {
            file.packet(packet)?;
            if self.packet_buffered {
                file.flush()?;
            }
        }
        let seen = Seen {
            frame: packet.frame,
            time: packet.time,
            interface: packet.interface,
            direction: packet.direction,
            ip: packet.ip,
        };
        match &mut self.target {
            Some(Target::Lines(lines)) => {
                self.line.clear();
                lines.push(&mut self.line, &seen, meaning);
                self.stdout.write_all(self.line.as_bytes())?;
            }
            Some(Target::Objects) => {
                self.object.clear();
                if let Some(segment) = &packet.segment {
                    packet_object(&mut self.object, &seen, segment, meaning);
                }
                for (frame, kind) in late {
                    frame_object(&mut self.object, *frame, *kind);
                }
                self.stdout.write_all(&self.object)?;
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn summary(
        &mut self,
        captured: u64,
        statistics: Option<Statistics>,
        probes: u64,
        answers: u64,
    ) -> io::Result<()> {
        let dropped = statistics.map(|statistics| {
            let Statistics {
                dropped,
                dropped_by_interface,
                ..
            } = statistics;
            (dropped, dropped_by_interface)
        });
        self.object.clear();
        summary_object(
            &mut self.object,
            self.packets,
            captured,
            dropped,
            probes,
            answers,
        );
        self.stdout.write_all(&self.object)
    }

    /// Brings the file to its end: one without packets is a pcap file, too.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if let Some(file) = &mut self.file {
            file.begin(Link::ETHERNET, Resolution::Microseconds)?;
        }
        self.flush()
    }

    /// Hands on what is collected.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush()?;
        self.file.as_mut().map_or(Ok(()), CaptureFile::flush)
    }
}

/// A pcap file that is being written.
struct CaptureFile {
    name: String,
    state: State,
}

enum State {
    /// The kind of link is not known yet.
    Empty(Option<Box<dyn Write>>),
    Begun(Writer<BufWriter<Box<dyn Write>>>, Link),
}

impl CaptureFile {
    fn create(path: &Path, link: Option<Link>) -> Result<Self, Failure> {
        let write: Box<dyn Write> = if path == Path::new("-") {
            // Not through the buffer of `Stdout`, which looks for line ends.
            use std::os::fd::AsFd;
            Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))
        } else {
            Box::new(File::create(path).map_err(|error| {
                Failure::Usage(format!("the file {} to write: {error}", path.display()))
            })?)
        };
        let mut file = Self {
            name: path.display().to_string(),
            state: State::Empty(Some(write)),
        };
        if let Some(link) = link {
            file.begin(link, Resolution::Microseconds)?;
        }
        Ok(file)
    }

    fn begin(&mut self, link: Link, resolution: Resolution) -> Result<(), Failure> {
        if let State::Empty(write) = &mut self.state
            && let Some(write) = write.take()
        {
            let write = BufWriter::with_capacity(FILE_BUFFER, write);
            let writer =
                Writer::new(write, link, resolution).map_err(|error| failed(&self.name, error))?;
            self.state = State::Begun(writer, link);
        }
        Ok(())
    }

    fn packet(&mut self, packet: &TcpPacket<'_>) -> Result<(), Failure> {
        // A file may have been captured in nanoseconds.
        self.begin(packet.link, Resolution::Nanoseconds)?;
        let State::Begun(writer, link) = &mut self.state else {
            return Ok(());
        };
        if *link != packet.link {
            return Err(Failure::Midway(format!(
                "writing {}: a pcap file has one link type, and frame {} has {} where those before had {}; what came before was written",
                self.name, packet.frame, packet.link.0, link.0
            )));
        }
        writer
            .packet(packet.time, packet.data, packet.original_len)
            .map_err(|error| failed(&self.name, error))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.state {
            State::Begun(writer, _) => writer.flush().map_err(|error| failed(&self.name, error)),
            State::Empty(_) => Ok(()),
        }
    }
}

fn failed(name: &str, error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::ClosedPipe;
    }
    Failure::Midway(format!("writing {name}: {error}; it is not complete"))
}
