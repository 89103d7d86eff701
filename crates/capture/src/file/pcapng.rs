//! The pcapng form: sections of blocks (draft-ietf-opsawg-pcapng).

mod interface;

use super::buffer::{Buffer, number, short_number};
use super::{FileError, MAX_BLOCK, MAX_CAPTURED, MAX_INTERFACES, MAX_SKIPPED_BLOCK, Packet};
use interface::Interface;
use std::io::Read;

// Types of blocks. That of a section header reads the same in either order.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// An entry of a journal. tshark counts it among the frames.
const SYSTEMD_JOURNAL: u32 = 9;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Type and length before the body of a block, and the length again behind.
const BEFORE: usize = 8;
const BEHIND: usize = 4;
/// A section header block as far as its section length.
const SECTION_FIXED: usize = 24;

/// What the blocks before said.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    /// The interfaces of this section.
    interfaces: Vec<Interface>,
    /// Interfaces of the sections before.
    interfaces_before: u32,
    /// The rest of a block that is being passed over.
    rest: Option<Rest>,
    /// When the last packet was captured.
    last_time: u64,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    /// Bytes before the length at the end.
    bytes: usize,
    /// What stood in front, and must stand at the end.
    length: u32,
}

/// Where a packet lies in its block, and what is known about it.
struct Found {
    interface: usize,
    /// `None` in a simple packet block.
    ticks: Option<u64>,
    captured: u32,
    original_len: u32,
    /// Where in the block its bytes start.
    data: usize,
}

impl Pcapng {
    /// Whether the file begins as pcapng does. Nothing is taken.
    pub(super) fn recognise<R: Read>(buffer: &mut Buffer<R>) -> Result<bool, FileError> {
        Ok(buffer.has(4, 0)? && number(buffer.bytes(), 0, false) == SECTION_HEADER)
    }

    #[inline]
    pub(super) fn next<'b, R: Read>(
        &mut self,
        buffer: &'b mut Buffer<R>,
        frames: &mut u64,
    ) -> Result<Option<Packet<'b>>, FileError> {
        loop {
            self.pass_rest(buffer, *frames)?;
            if !buffer.has(BEFORE, *frames)? {
                if buffer.bytes().is_empty() {
                    return Ok(None);
                }
                return Err(buffer.truncated(*frames, "the block header", BEFORE));
            }
            let kind = number(buffer.bytes(), 0, self.big_endian);
            match kind {
                SECTION_HEADER => self.section(buffer, *frames)?,
                INTERFACE_DESCRIPTION => self.interface(buffer, *frames)?,
                PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                    let length = self.whole_block(buffer, *frames)?;
                    let found = self
                        .packet(kind, &buffer.bytes()[..length - BEHIND])
                        .map_err(|(expected, found)| buffer.damaged(*frames, expected, found))?;
                    let interface = &self.interfaces[found.interface];
                    if let Some(ticks) = found.ticks {
                        self.last_time = interface.time(ticks);
                    }
                    *frames += 1;
                    let captured = found.captured as usize;
                    return Ok(Some(Packet {
                        frame: *frames,
                        time: self.last_time,
                        // Lossless: below MAX_INTERFACES.
                        interface: self.interfaces_before.wrapping_add(found.interface as u32),
                        link: interface.link,
                        original_len: found.original_len,
                        data: &buffer.take(length)[found.data..][..captured],
                    }));
                }
                _ => {
                    let length =
                        self.length(buffer, *frames, BEFORE + BEHIND, MAX_SKIPPED_BLOCK)?;
                    self.pass(buffer, BEFORE, length);
                    *frames += u64::from(kind == SYSTEMD_JOURNAL);
                }
            }
        }
    }

    /// A section header: from here on, its byte order and its interfaces.
    fn section<R: Read>(&mut self, buffer: &mut Buffer<R>, frames: u64) -> Result<(), FileError> {
        if !buffer.has(SECTION_FIXED, frames)? {
            return Err(buffer.truncated(frames, "the section header", SECTION_FIXED));
        }
        let bytes = buffer.bytes();
        let big_endian = match number(bytes, 8, false) {
            BYTE_ORDER_MAGIC => false,
            magic if magic.swap_bytes() == BYTE_ORDER_MAGIC => true,
            magic => {
                let expected = "a section header with the byte-order magic 439041101";
                return Err(buffer.damaged(frames, expected, magic.into()));
            }
        };
        let version = short_number(bytes, 12, big_endian);
        if version != 1 {
            let expected = "version 1 of the pcapng form";
            return Err(buffer.damaged(frames, expected, version.into()));
        }
        self.big_endian = big_endian;
        let length = self.length(buffer, frames, SECTION_FIXED + BEHIND, MAX_SKIPPED_BLOCK)?;
        self.pass(buffer, SECTION_FIXED, length);
        // Lossless: at most MAX_INTERFACES.
        let interfaces = self.interfaces.len() as u32;
        self.interfaces_before = self.interfaces_before.wrapping_add(interfaces);
        self.interfaces.clear();
        Ok(())
    }

    fn interface<R: Read>(&mut self, buffer: &mut Buffer<R>, frames: u64) -> Result<(), FileError> {
        let length = self.whole_block(buffer, frames)?;
        let body = &buffer.bytes()[BEFORE..length - BEHIND];
        let Some(interface) = Interface::parse(body, self.big_endian) else {
            let expected = "an interface description of at least 20 bytes";
            return Err(buffer.damaged(frames, expected, length as u64));
        };
        if self.interfaces.len() == MAX_INTERFACES {
            let expected = "at most 65536 interfaces in a section";
            return Err(buffer.damaged(frames, expected, MAX_INTERFACES as u64 + 1));
        }
        self.interfaces.push(interface);
        buffer.take(length);
        Ok(())
    }

    /// Reads the fixed part of a packet block. The error is what was expected
    /// and what was found.
    #[inline]
    fn packet(&self, kind: u32, block: &[u8]) -> Result<Found, (&'static str, u64)> {
        let fixed = if kind == SIMPLE_PACKET { 12 } else { 28 };
        if block.len() < fixed {
            let expected = "a packet block with all of its fields";
            return Err((expected, (block.len() + BEHIND) as u64));
        }
        let word = |at| number(block, at, self.big_endian);
        let interface = match kind {
            ENHANCED_PACKET => word(8) as usize,
            PACKET => short_number(block, 8, self.big_endian).into(),
            _ => 0,
        };
        let Some(described) = self.interfaces.get(interface) else {
            return Err(("an interface that was described", interface as u64));
        };
        let found = if kind == SIMPLE_PACKET {
            // How much was captured follows from the snap length; padding of
            // up to three bytes must not count.
            let original_len = word(8);
            let room = (block.len() - fixed).min(u32::MAX as usize) as u32;
            Found {
                interface,
                ticks: None,
                captured: original_len.min(described.snap_length).min(room),
                original_len,
                data: fixed,
            }
        } else {
            Found {
                interface,
                ticks: Some(u64::from(word(12)) << 32 | u64::from(word(16))),
                captured: word(20),
                original_len: word(24),
                data: fixed,
            }
        };
        if found.captured > MAX_CAPTURED {
            let expected = "a packet of at most 262144 captured bytes";
            return Err((expected, found.captured.into()));
        }
        if found.captured as usize > block.len() - fixed {
            let expected = "no more captured bytes than the block has";
            return Err((expected, found.captured.into()));
        }
        Ok(found)
    }

    /// Waits for a whole block and checks that its two lengths agree. Gives
    /// its length with padding.
    #[inline]
    fn whole_block<R: Read>(
        &self,
        buffer: &mut Buffer<R>,
        frames: u64,
    ) -> Result<usize, FileError> {
        let length = self.length(buffer, frames, BEFORE + BEHIND, MAX_BLOCK)?;
        if !buffer.has(length, frames)? {
            return Err(buffer.truncated(frames, "the block", length));
        }
        let bytes = buffer.bytes();
        let in_front = number(bytes, 4, self.big_endian);
        let at_end = number(bytes, length - BEHIND, self.big_endian);
        if in_front != at_end {
            return Err(buffer.damaged(frames, LENGTHS_AGREE, at_end.into()));
        }
        Ok(length)
    }

    /// The length of the block that begins here. Some writers leave the
    /// padding out of it, as Wireshark knows too.
    #[inline]
    fn length<R: Read>(
        &self,
        buffer: &Buffer<R>,
        frames: u64,
        least: usize,
        most: u32,
    ) -> Result<usize, FileError> {
        let length = number(buffer.bytes(), 4, self.big_endian);
        if (length as usize) < least {
            let expected = "a block length that holds the block's own fields";
            return Err(buffer.damaged(frames, expected, length.into()));
        }
        if length > most {
            let expected = if most == MAX_BLOCK {
                "a block of a packet or an interface of at most 524288 bytes"
            } else {
                "a block of at most 134217728 bytes"
            };
            return Err(buffer.damaged(frames, expected, length.into()));
        }
        Ok(length.next_multiple_of(4) as usize)
    }

    /// Takes the first bytes of a block and leaves the rest to be passed over.
    fn pass<R>(&mut self, buffer: &mut Buffer<R>, taken: usize, length: usize) {
        let in_front = number(buffer.bytes(), 4, self.big_endian);
        buffer.take(taken);
        self.rest = Some(Rest {
            bytes: length - taken - BEHIND,
            length: in_front,
        });
    }

    #[inline]
    fn pass_rest<R: Read>(&mut self, buffer: &mut Buffer<R>, frames: u64) -> Result<(), FileError> {
        let Some(rest) = &mut self.rest else {
            return Ok(());
        };
        while rest.bytes > 0 {
            if !buffer.has(1, frames)? {
                return Err(buffer.truncated(frames, REST, rest.bytes + BEHIND));
            }
            let count = rest.bytes.min(buffer.bytes().len());
            buffer.take(count);
            rest.bytes -= count;
        }
        if !buffer.has(BEHIND, frames)? {
            return Err(buffer.truncated(frames, REST, BEHIND));
        }
        let at_end = number(buffer.bytes(), 0, self.big_endian);
        if at_end != rest.length {
            return Err(buffer.damaged(frames, LENGTHS_AGREE, at_end.into()));
        }
        buffer.take(BEHIND);
        self.rest = None;
        Ok(())
    }
}

const REST: &str = "the rest of a block";
const LENGTHS_AGREE: &str = "the block's length again at its end";
