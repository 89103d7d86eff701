//! Where packets come from: an interface, a file, a pipe.

pub(in crate::commands) mod file;
mod live;
mod stop;

use crate::cli::Failure;
use file::FileSource;
use live::LiveSource;
use std::collections::HashMap;
use std::path::Path;
pub(in crate::commands) use stop::Stop;
use tcpalive_capture::{IpPacket, Link};
use tcpalive_kernel::live::{InterfaceNames, LiveOptions, Statistics};
use tcpalive_kernel::netns::Namespace;
use tcpalive_segment::Segment;

/// A packet with TCP in it.
#[derive(Debug)]
pub(super) struct TcpPacket<'a> {
    /// From 1, over all packets.
    pub(super) frame: u64,
    /// Nanoseconds since the Unix epoch.
    pub(super) time: u64,
    pub(super) interface: Option<&'a str>,
    /// In which direction it passed the interface, where the capture tells.
    pub(super) direction: Option<&'static str>,
    pub(super) link: Link,
    /// The whole frame.
    pub(super) data: &'a [u8],
    pub(super) original_len: u32,
    pub(super) ip: IpPacket<'a>,
    /// `None` where its header is malformed or was not captured whole.
    pub(super) segment: Option<Segment<'a>>,
}

/// What a source says.
#[derive(Debug)]
pub(super) enum Event<'a> {
    Packet(&'a TcpPacket<'a>),
    /// The next packet may take a while: what is buffered should be shown.
    Waiting,
}

/// How packets came to their end.
#[derive(Debug)]
pub(super) enum End {
    /// There are no more, or enough.
    Done,
    /// The file cannot be read further.
    Damaged(Failure),
}

/// Takes what a source says.
pub(super) type Visit<'v> = &'v mut dyn FnMut(Event<'_>) -> Result<(), Failure>;

/// Where packets come from.
#[derive(Debug)]
pub(super) enum Source {
    Live(LiveSource),
    File(FileSource),
}

impl Source {
    /// Begins to capture.
    pub(super) fn live(
        namespace: &Namespace,
        options: &LiveOptions,
        filter: &str,
        stop: Stop,
    ) -> Result<Self, Failure> {
        LiveSource::open(namespace, options, filter, stop).map(Self::Live)
    }

    /// Opens a file; `-` is standard input.
    pub(super) fn file(path: &Path, filter: &str, stop: Stop) -> Result<Self, Failure> {
        FileSource::open(path, filter, stop).map(Self::File)
    }

    /// Hands out packets until there are no more, until `count` were handed
    /// out, or until it is told to stop.
    pub(super) fn each(&mut self, count: Option<u64>, visit: Visit<'_>) -> Result<End, Failure> {
        match self {
            Self::Live(live) => live.each(count, visit),
            Self::File(file) => file.each(count, visit),
        }
    }

    /// Packets taken so far, whatever is in them.
    pub(super) fn taken(&self) -> u64 {
        match self {
            Self::Live(live) => live.taken(),
            Self::File(file) => file.taken(),
        }
    }

    /// What was dropped; a file does not tell.
    pub(super) fn statistics(&mut self) -> Result<Option<Statistics>, Failure> {
        match self {
            Self::Live(live) => live.statistics().map(Some),
            Self::File(_) => Ok(None),
        }
    }

    /// What frames begin with, where that is known before the first.
    pub(super) fn link(&self) -> Option<Link> {
        match self {
            Self::Live(live) => Some(live.link()),
            Self::File(_) => None,
        }
    }

    /// What people are told when a capture begins.
    pub(super) fn listening(&self) -> Option<String> {
        match self {
            Self::Live(live) => Some(live.listening()),
            Self::File(_) => None,
        }
    }

    /// Whether packets come from this very file.
    pub(super) fn is_file(&self, path: &Path) -> bool {
        match self {
            Self::Live(_) => false,
            Self::File(file) => file.is(path),
        }
    }
}

/// What the link header of a capture on all interfaces tells: the interface's
/// index and the packet's direction, in tcpdump's words.
fn cooked(link: Link, data: &[u8]) -> Option<(u32, &'static str)> {
    if link != Link::LINUX_SLL2 {
        return None;
    }
    let index = u32::from_be_bytes(*data.get(4..)?.first_chunk()?);
    // PACKET_HOST to PACKET_OUTGOING, include/uapi/linux/if_packet.h.
    let direction = match data.get(10)? {
        0 => "In",
        1 => "B",
        2 => "M",
        3 => "P",
        4 => "Out",
        _ => "?",
    };
    Some((index, direction))
}

/// The names of interfaces by index, each asked for once.
#[derive(Debug)]
struct NameCache {
    names: InterfaceNames,
    known: HashMap<u32, Option<String>>,
}

impl NameCache {
    fn new(names: InterfaceNames) -> Self {
        Self {
            names,
            known: HashMap::new(),
        }
    }

    fn name(&mut self, index: u32) -> Option<&str> {
        self.known
            .entry(index)
            .or_insert_with(|| self.names.name(index))
            .as_deref()
    }
}
