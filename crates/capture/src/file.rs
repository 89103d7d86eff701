//! Packets out of pcap and pcapng files, as they stream by.
//!
//! [`Reader`] takes any [`Read`]: a file, a pipe, a slice. Packets are handed
//! out where they lie in its one buffer; nothing is allocated or copied for a
//! packet, and memory does not grow with the file.
//!
//! | Form | What is read |
//! |---|---|
//! | pcap | microseconds and nanoseconds, either byte order, version 2; also the "modified" form with its longer record headers |
//! | pcapng | either byte order, any number of sections, interfaces with their own link type, time resolution and offset; enhanced, simple and obsolete packet blocks; other blocks are passed over |
//!
//! Limits, so that no file makes the reader take more memory than its buffer:
//!
//! * A packet has at most [`MAX_CAPTURED`] captured bytes, libpcap's and
//!   Wireshark's own limit for all links that carry TCP.
//! * A pcapng block that is read has at most [`MAX_BLOCK`] bytes, one that is
//!   passed over [`MAX_SKIPPED_BLOCK`].
//! * A pcapng section has at most [`MAX_INTERFACES`] interfaces.
//!
//! What exceeds them is [`FileError::Damaged`].

mod buffer;
mod error;
mod pcap;
mod pcapng;

use crate::link::{IpPacket, Link, ip_packet};
use buffer::Buffer;
pub use error::FileError;
use pcap::Pcap;
use pcapng::Pcapng;
use std::io::Read;

/// Captured bytes that a packet may have: 256 KiB, libpcap's largest snap
/// length.
pub const MAX_CAPTURED: u32 = 262_144;

/// Bytes that a pcapng block with a packet or an interface in it may have,
/// options included: twice [`MAX_CAPTURED`].
pub const MAX_BLOCK: u32 = 2 * MAX_CAPTURED;

/// Bytes that a pcapng block may have that is passed over: 128 MiB, as much
/// as Wireshark takes for a block of any kind. A longer one is damage, not a
/// block.
pub const MAX_SKIPPED_BLOCK: u32 = 128 << 20;

/// Interfaces that a section of a pcapng file may describe.
pub const MAX_INTERFACES: usize = 65_536;

/// A packet of a capture file. Its bytes lie in the reader's buffer, until
/// the next packet is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its number: from 1 over all packets of the file, of whatever protocol,
    /// as tshark numbers them.
    pub frame: u64,
    /// Nanoseconds since the Unix epoch, whatever the file counts in. Times
    /// before 1970 or after the year 2554 become the nearest one between.
    ///
    /// A pcapng simple packet block has no time; it gets that of the packet
    /// before it, or 0.
    pub time: u64,
    /// The interface that it was captured on, counted from 0 over all
    /// sections of a pcapng file; 0 in a pcap file.
    pub interface: u32,
    /// What the bytes begin with.
    pub link: Link,
    /// The bytes that were captured, at most [`MAX_CAPTURED`].
    pub data: &'a [u8],
    /// How many bytes the packet had on the wire. Usually at least as many as
    /// `data`, but that is the file's word.
    pub original_len: u32,
}

impl<'a> Packet<'a> {
    /// The IP packet with TCP that it carries, if it does: [`ip_packet`].
    #[must_use]
    #[inline]
    pub fn ip_packet(&self) -> Option<IpPacket<'a>> {
        ip_packet(self.link, self.data, self.original_len)
    }
}

/// Reads a capture from its first byte on.
///
/// ```
/// use tcpalive_capture::{Link, Reader, Resolution, Writer};
///
/// let mut file = Vec::new();
/// let mut writer = Writer::new(&mut file, Link::RAW, Resolution::Nanoseconds)?;
/// writer.packet(1_500_000_000_000_000_001, b"not IP at all", 1500)?;
///
/// let mut reader = Reader::new(&file[..])?;
/// let packet = reader.next()?.ok_or("a packet was written")?;
/// assert_eq!((packet.frame, packet.time), (1, 1_500_000_000_000_000_001));
/// assert_eq!((packet.data, packet.original_len), (&b"not IP at all"[..], 1500));
/// assert!(reader.next()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    buffer: Buffer<R>,
    form: Form,
    /// Packets handed out, and those that tshark counts and nobody can use.
    frames: u64,
}

#[derive(Debug)]
enum Form {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl<R: Read> Reader<R> {
    /// Begins to read: as much as shows what form the file has.
    ///
    /// `read` needs no buffer of its own: it is asked for hundreds of
    /// kilobytes at a time.
    ///
    /// # Errors
    ///
    /// [`FileError::NotACapture`]; [`FileError::Truncated`] for a file that
    /// ends within its header, an empty one for example; [`FileError::Damaged`]
    /// for a pcap file of another version; [`FileError::Io`].
    pub fn new(read: R) -> Result<Self, FileError> {
        let mut buffer = Buffer::new(read);
        let form = if Pcapng::recognise(&mut buffer)? {
            Form::Pcapng(Pcapng::default())
        } else {
            Form::Pcap(Pcap::begin(&mut buffer)?)
        };
        Ok(Self {
            buffer,
            form,
            frames: 0,
        })
    }

    /// The next packet, or `None` where the file ends between two packets.
    ///
    /// Neither the end nor an error moves the reader. After `None`,
    /// [`FileError::Truncated`] and [`FileError::Io`] another call asks the
    /// underlying reader again and, if more bytes have come meanwhile, goes
    /// on with them: that is how a growing file is followed. After
    /// [`FileError::Damaged`] it gives the same error again.
    ///
    /// # Errors
    ///
    /// [`FileError::Truncated`] where the file ends inside a packet,
    /// [`FileError::Damaged`] where what follows cannot be a packet,
    /// [`FileError::Io`] when the underlying reader fails. Everything before
    /// has been handed out by then.
    #[expect(
        clippy::should_implement_trait,
        reason = "packets borrow from the reader, which an iterator's items cannot"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, FileError> {
        match &mut self.form {
            Form::Pcap(pcap) => pcap.next(&mut self.buffer, &mut self.frames),
            Form::Pcapng(pcapng) => pcapng.next(&mut self.buffer, &mut self.frames),
        }
    }

    /// How many packets were read: the number of the last one.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// How far the reader got: the number of bytes before the first one that
    /// it has not yet made sense of.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.buffer.offset()
    }
}
