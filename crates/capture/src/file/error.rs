//! Why a capture cannot be read on.

use std::io;
use thiserror::Error;

/// Why a file is no capture, or cannot be read further. Packets before the
/// place have been handed out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The first four bytes begin neither a pcap nor a pcapng file.
    #[error("expected a pcap or pcapng file, found one that begins with {}{}", hex(*.found), hint(*.found))]
    NotACapture {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The file ends in the middle of something, as a capture does that was
    /// cut off, or one that is still being written.
    #[error(
        "the file is cut short: {what} at byte {offset}, in frame {frame}, needs {needed} bytes, found {found}"
    )]
    Truncated {
        /// The frame that is not complete, or would have come next.
        frame: u64,
        /// Where in the file the thing starts that is not complete.
        offset: u64,
        /// What it is.
        what: &'static str,
        /// How many bytes it has, as far as can be told.
        needed: u64,
        /// How many of them are there.
        found: u64,
    },
    /// What stands in the file cannot be right.
    #[error(
        "the file is damaged at byte {offset}, in frame {frame}: expected {expected}, found {found}"
    )]
    Damaged {
        /// The frame that would have come next.
        frame: u64,
        /// Where in the file the record or block starts that cannot be right.
        offset: u64,
        /// What should have been there.
        expected: &'static str,
        /// The number that is there.
        found: u64,
    },
    /// The underlying reader failed.
    #[error("reading on at byte {offset}, in frame {frame}, failed")]
    Io {
        /// The frame that would have come next.
        frame: u64,
        /// Where in the file the reader was.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
}

fn hex(bytes: [u8; 4]) -> String {
    let [a, b, c, d] = bytes;
    format!("{a:02x} {b:02x} {c:02x} {d:02x}")
}

/// What a person can do about files of other kinds that hold captures.
const fn hint(found: [u8; 4]) -> &'static str {
    match found {
        [0x1f, 0x8b, ..] => " (gzip: decompress it, `zcat FILE`, and read that)",
        [0x28, 0xb5, 0x2f, 0xfd] => " (zstd: decompress it, `zstdcat FILE`, and read that)",
        [0x04, 0x22, 0x4d, 0x18] => " (lz4: decompress it, `lz4cat FILE`, and read that)",
        [0xfd, b'7', b'z', b'X'] => " (xz: decompress it, `xzcat FILE`, and read that)",
        [b'B', b'Z', b'h', _] => " (bzip2: decompress it, `bzcat FILE`, and read that)",
        [b's', b'n', b'o', b'o'] => {
            " (snoop: convert it with Wireshark's `editcap FILE NEW.pcapng`)"
        }
        _ => "",
    }
}
