//! The one buffer that all packets lie in.

use super::{FileError, MAX_BLOCK, MAX_CAPTURED};
use std::io::{self, Read};

/// The longest block, and a packet more: so most of a full buffer can be
/// handed out before bytes have to be moved to its front.
const CAPACITY: usize = (MAX_BLOCK + MAX_CAPTURED) as usize;

/// How much is asked for at a time. What was read last is read by the parser
/// next: as much as stays in the processor's own cache until then.
const READ: usize = 256 * 1024;

/// Bytes that were read and not yet consumed.
pub(super) struct Buffer<R> {
    read: R,
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the file before `start`.
    offset: u64,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(read: R) -> Self {
        Self {
            read,
            bytes: vec![0; CAPACITY].into(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// Whether `length` bytes are there, if need be after reading on. `false`
    /// at the end of the file; then all there are, are there.
    #[inline]
    pub(super) fn has(&mut self, length: usize, frames: u64) -> Result<bool, FileError> {
        if self.end - self.start >= length {
            return Ok(true);
        }
        self.fill(length).map_err(|source| FileError::Io {
            frame: frames + 1,
            offset: self.offset,
            source,
        })
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, length: usize) -> io::Result<bool> {
        debug_assert!(length <= CAPACITY);
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end < length {
            let until = self.bytes.len().min(length.max(self.end + READ));
            match self.read.read(&mut self.bytes[self.end..until]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl<R> Buffer<R> {
    /// What is there.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes `length` bytes, which must be there, off the front.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        debug_assert!(length <= self.end - start);
        self.start += length;
        self.offset += length as u64;
        &self.bytes[start..self.start]
    }

    /// How many bytes of the file were taken.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// What is at the front is not all there.
    #[cold]
    pub(super) fn truncated(&self, frames: u64, what: &'static str, needed: usize) -> FileError {
        FileError::Truncated {
            frame: frames + 1,
            offset: self.offset,
            what,
            needed: needed as u64,
            found: self.bytes().len() as u64,
        }
    }

    /// What is at the front cannot be right.
    #[cold]
    pub(super) fn damaged(&self, frames: u64, expected: &'static str, found: u64) -> FileError {
        FileError::Damaged {
            frame: frames + 1,
            offset: self.offset,
            expected,
            found,
        }
    }
}

impl<R> std::fmt::Debug for Buffer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("buffered", &(self.end - self.start))
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// A number of four bytes, in the byte order of the file.
#[inline]
pub(super) fn number(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    // One bounds check for all four.
    let bytes = &bytes[at..at + 4];
    let bytes = std::array::from_fn(|at| bytes[at]);
    if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

/// A number of two bytes, in the byte order of the file.
#[inline]
pub(super) fn short_number(bytes: &[u8], at: usize, big_endian: bool) -> u16 {
    let bytes = &bytes[at..at + 2];
    let bytes = std::array::from_fn(|at| bytes[at]);
    if big_endian {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    }
}
