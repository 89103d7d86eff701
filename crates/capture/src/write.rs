//! Packets into a pcap file.

use crate::file::MAX_CAPTURED;
use crate::link::Link;
use std::io::{self, Write};

/// What times are rounded down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The form that every program reads.
    Microseconds,
    /// As exact as the capture was; read by libpcap 1.5 (2013) and later.
    Nanoseconds,
}

/// Writes a pcap file, little endian, of packets of one link type.
///
/// Each packet is two writes: for a file or a socket, put a
/// [`BufWriter`](std::io::BufWriter) between.
#[derive(Debug)]
pub struct Writer<W> {
    write: W,
    resolution: Resolution,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn new(mut write: W, link: Link, resolution: Resolution) -> io::Result<Self> {
        let magic: u32 = match resolution {
            Resolution::Microseconds => 0xa1b2_c3d4,
            Resolution::Nanoseconds => 0xa1b2_3c4d,
        };
        let mut header = [0; 24];
        header[..4].copy_from_slice(&magic.to_le_bytes());
        // Version 2.4; the time zone and the accuracy are always 0.
        header[4] = 2;
        header[6] = 4;
        header[16..20].copy_from_slice(&MAX_CAPTURED.to_le_bytes());
        header[20..22].copy_from_slice(&link.0.to_le_bytes());
        write.write_all(&header)?;
        Ok(Self { write, resolution })
    }

    /// Writes a packet that was captured at `time`, in nanoseconds since the
    /// Unix epoch: `data` of the `original_len` bytes that it had.
    ///
    /// # Errors
    ///
    /// When writing fails. [`io::ErrorKind::InvalidInput`], with nothing
    /// written, for a time after the year 2106, which the form cannot hold,
    /// and for more than [`MAX_CAPTURED`] bytes, which no reader takes.
    pub fn packet(&mut self, time: u64, data: &[u8], original_len: u32) -> io::Result<()> {
        let seconds = u32::try_from(time / 1_000_000_000)
            .map_err(|_| refuse("expected a time before 2106, as pcap files have"))?;
        let captured = u32::try_from(data.len())
            .ok()
            .filter(|length| *length <= MAX_CAPTURED)
            .ok_or_else(|| refuse("expected a packet of at most 262144 bytes"))?;
        // Lossless: below 10⁹.
        let nanoseconds = (time % 1_000_000_000) as u32;
        let fraction = match self.resolution {
            Resolution::Microseconds => nanoseconds / 1000,
            Resolution::Nanoseconds => nanoseconds,
        };
        let mut header = [0; 16];
        header[..4].copy_from_slice(&seconds.to_le_bytes());
        header[4..8].copy_from_slice(&fraction.to_le_bytes());
        header[8..12].copy_from_slice(&captured.to_le_bytes());
        header[12..].copy_from_slice(&original_len.to_le_bytes());
        self.write.write_all(&header)?;
        self.write.write_all(data)
    }

    /// Hands what was written on to where it goes.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write.flush()
    }

    /// What was written to. It is not flushed.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.write
    }
}

fn refuse(expected: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, expected)
}
