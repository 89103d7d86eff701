//! The pcap form: a header, then records of a fixed header and a packet
//! (draft-ietf-opsawg-pcap; libpcap's `pcap-savefile(5)`).

use super::buffer::{Buffer, number, short_number};
use super::{FileError, MAX_CAPTURED, Packet};
use crate::link::Link;
use std::io::Read;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// The "modified" form of old Linux distributions adds interface, protocol
/// and packet type to each record (libpcap's `pcap_sf_patched_pkthdr`).
const MODIFIED_RECORD_HEADER: usize = 24;

/// What the file header says.
#[derive(Debug)]
pub(super) struct Pcap {
    big_endian: bool,
    record_header: usize,
    /// Nanoseconds in a unit of the fraction of a second.
    unit: u64,
    link: Link,
}

impl Pcap {
    pub(super) fn begin<R: Read>(buffer: &mut Buffer<R>) -> Result<Self, FileError> {
        if !buffer.has(4, 0)? {
            return Err(buffer.truncated(0, "the file header", FILE_HEADER));
        }
        let found: [u8; 4] = std::array::from_fn(|at| buffer.bytes()[at]);
        let (big_endian, record_header, unit) = match found {
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, RECORD_HEADER, 1000),
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, RECORD_HEADER, 1000),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, RECORD_HEADER, 1),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, RECORD_HEADER, 1),
            [0xa1, 0xb2, 0xcd, 0x34] => (true, MODIFIED_RECORD_HEADER, 1000),
            [0x34, 0xcd, 0xb2, 0xa1] => (false, MODIFIED_RECORD_HEADER, 1000),
            _ => return Err(FileError::NotACapture { found }),
        };
        if !buffer.has(FILE_HEADER, 0)? {
            return Err(buffer.truncated(0, "the file header", FILE_HEADER));
        }
        let version = short_number(buffer.bytes(), 4, big_endian);
        if version != 2 {
            let expected = "version 2 of the pcap form";
            return Err(buffer.damaged(0, expected, version.into()));
        }
        // The upper half says how long the frame check sequence is; IP's own
        // length leaves that out.
        let link = Link(number(buffer.bytes(), 20, big_endian) as u16);
        buffer.take(FILE_HEADER);
        Ok(Self {
            big_endian,
            record_header,
            unit,
            link,
        })
    }

    #[inline]
    pub(super) fn next<'b, R: Read>(
        &mut self,
        buffer: &'b mut Buffer<R>,
        frames: &mut u64,
    ) -> Result<Option<Packet<'b>>, FileError> {
        if !buffer.has(self.record_header, *frames)? {
            if buffer.bytes().is_empty() {
                return Ok(None);
            }
            return Err(buffer.truncated(*frames, "the record header", self.record_header));
        }
        let header = &buffer.bytes()[..RECORD_HEADER];
        let seconds = number(header, 0, self.big_endian);
        let fraction = number(header, 4, self.big_endian);
        let captured = number(header, 8, self.big_endian);
        let original_len = number(header, 12, self.big_endian);
        if captured > MAX_CAPTURED {
            let expected = "a packet of at most 262144 captured bytes";
            return Err(buffer.damaged(*frames, expected, captured.into()));
        }
        let length = self.record_header + captured as usize;
        if !buffer.has(length, *frames)? {
            return Err(buffer.truncated(*frames, "the record", length));
        }
        *frames += 1;
        Ok(Some(Packet {
            frame: *frames,
            time: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit,
            interface: 0,
            link: self.link,
            original_len,
            data: &buffer.take(length)[self.record_header..],
        }))
    }
}
