//! Packets out of files and pipes.

use super::live::bad_filter;
use super::{End, Event, NameCache, Stop, TcpPacket, Visit, cooked};
use crate::cli::{Failure, say};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tcpalive_capture::{FileError, Link, Reader};
use tcpalive_kernel::live::{InterfaceNames, PcapFilter};

/// A file that is being read.
#[derive(Debug)]
pub(in super::super) struct FileSource {
    reader: Reader<Input>,
    /// As people know it.
    name: String,
    /// Device and inode.
    identity: (u64, u64),
    filter: Filter,
    names: NameCache,
    stop: std::rc::Rc<Stop>,
    /// What is read may be still being made.
    is_stream: bool,
    /// It was said whose names interfaces have.
    warned: bool,
}

impl FileSource {
    pub(super) fn open(path: &Path, filter: &str, stop: Stop) -> Result<Self, Failure> {
        let filter = Filter::new(filter)?;
        let name = if path == Path::new("-") {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let stop = std::rc::Rc::new(stop);
        let input = Input::open(path, Some(stop.clone()))
            .map_err(|error| Failure::Usage(format!("the capture {name}: {error}")))?;
        let (identity, is_stream) = (input.identity, input.is_stream);
        let reader = Reader::new(input).map_err(|error| unusable(&name, &error))?;
        Ok(Self {
            reader,
            identity,
            filter,
            names: NameCache::new(InterfaceNames::here()?),
            stop,
            is_stream,
            warned: false,
            name,
        })
    }

    pub(super) fn each(&mut self, count: Option<u64>, visit: Visit<'_>) -> Result<End, Failure> {
        let mut passed = 0;
        while count != Some(passed) && !self.stop.is_requested() {
            let packet = match self.reader.next() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(End::Done),
                // Whoever asks to stop does not wait for the rest of a packet.
                Err(_) if self.stop.is_requested() => return Ok(End::Done),
                Err(error) => return Ok(End::Damaged(unusable(&self.name, &error))),
            };
            let Some(ip) = packet.ip_packet() else {
                continue;
            };
            if !self
                .filter
                .matches(packet.link, packet.data, packet.original_len)?
            {
                continue;
            }
            let cooked = cooked(packet.link, packet.data);
            if cooked.is_some() && !self.warned {
                self.warned = true;
                say(
                    "the file has interfaces by number: their names are those of this network namespace, now",
                );
            }
            let tcp = TcpPacket {
                frame: packet.frame,
                time: packet.time,
                interface: cooked.and_then(|(index, _)| self.names.name(index)),
                direction: cooked.map(|(_, direction)| direction),
                link: packet.link,
                data: packet.data,
                original_len: packet.original_len,
                ip,
                segment: ip.segment().ok(),
            };
            passed += 1;
            visit(Event::Packet(&tcp))?;
            if self.is_stream {
                visit(Event::Waiting)?;
            }
        }
        Ok(End::Done)
    }

    pub(super) const fn taken(&self) -> u64 {
        self.reader.frames()
    }

    pub(super) fn is(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == self.identity)
    }
}

/// Bytes of a capture. Waiting for more of a pipe ends when it is told to
/// stop.
#[derive(Debug)]
pub(in crate::commands) struct Input {
    file: File,
    /// It is a pipe or the like: it can be read but once.
    pub(in crate::commands) is_stream: bool,
    /// Device and inode.
    identity: (u64, u64),
    stop: Option<std::rc::Rc<Stop>>,
}

impl Input {
    /// Opens a file or a pipe; `-` is standard input.
    pub(in crate::commands) fn open(
        path: &Path,
        stop: Option<std::rc::Rc<Stop>>,
    ) -> io::Result<Self> {
        let file = if path == Path::new("-") {
            File::from(io::stdin().as_fd().try_clone_to_owned()?)
        } else {
            File::open(path)?
        };
        let metadata = file.metadata()?;
        let is_stream = !metadata.is_file();
        Ok(Self {
            file,
            is_stream,
            identity: (metadata.dev(), metadata.ino()),
            stop: stop.filter(|_| is_stream),
        })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(stop) = &self.stop {
            stop.wait(self.file.as_fd())?;
            if stop.is_requested() {
                return Ok(0);
            }
        }
        self.file.read(buffer)
    }
}

/// The filter for each kind of link that stands in the file.
#[derive(Debug)]
pub(in crate::commands) struct Filter {
    /// Empty: everything.
    text: String,
    compiled: HashMap<Link, PcapFilter>,
}

impl Filter {
    /// A filter that no link knows is refused before anything is read.
    pub(in crate::commands) fn new(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if !text.is_empty() {
            let compile = |link: Link| PcapFilter::compile(link.0, text);
            compile(Link::ETHERNET)
                .or_else(|error| compile(Link::LINUX_SLL2).map_err(|_| error))
                .map_err(|error| bad_filter(text, &error))?;
        }
        Ok(Self {
            text: text.to_owned(),
            compiled: HashMap::new(),
        })
    }

    pub(in crate::commands) fn matches(
        &mut self,
        link: Link,
        data: &[u8],
        original_len: u32,
    ) -> Result<bool, Failure> {
        if self.text.is_empty() {
            return Ok(true);
        }
        if !self.compiled.contains_key(&link) {
            let filter = PcapFilter::compile(link.0, &self.text)
                .map_err(|error| bad_filter(&self.text, &error))?;
            self.compiled.insert(link, filter);
        }
        Ok(self.compiled[&link].matches(data, original_len))
    }
}

pub(in crate::commands) fn unusable(name: &str, error: &FileError) -> Failure {
    let mut text = format!("reading {name}: {error}");
    if let FileError::Io { source, .. } = error {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Failure::ClosedPipe;
        }
        text = format!("{text}: {source}");
    }
    match error {
        FileError::NotACapture { .. } => Failure::Usage(text),
        _ => Failure::Midway(text),
    }
}
