//! Any bytes are a capture or an error with a place in it, and of every
//! packet in it the way down to TCP can be tried.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;
use tcpalive_capture::file::MAX_CAPTURED;
use tcpalive_capture::{FileError, Reader};

/// The file as far as it has been written yet.
struct Growing<'a> {
    file: &'a [u8],
    at: usize,
    length: Rc<Cell<usize>>,
}

impl Read for Growing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = (&self.file[self.at..self.length.get()]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// Reads to the end and gives how far it got, and a digest of the packets.
fn walk<R: Read>(reader: &mut Reader<R>, digest: &mut u64) -> Option<FileError> {
    loop {
        let before = reader.frames();
        match reader.next() {
            Ok(Some(packet)) => {
                assert!(packet.frame > before);
                assert!(packet.data.len() <= MAX_CAPTURED as usize);
                let mut mix = |number: u64| *digest = digest.wrapping_mul(31).wrapping_add(number);
                mix(packet.frame);
                mix(packet.time);
                mix(packet.data.len() as u64);
                mix(packet.original_len.into());
                if let Some(ip) = packet.ip_packet() {
                    assert!(ip.bytes.len() <= packet.data.len());
                    assert!(ip.sent <= packet.original_len.max(packet.data.len() as u32));
                    mix(ip.context.number());
                    mix(ip.bytes.len() as u64);
                    let _ = ip.context.to_string();
                    if let Ok(segment) = ip.segment() {
                        let _ = (segment.source(), segment.destination(), segment.checksum_ok());
                        mix(segment.sequence().into());
                        mix(segment.payload_len() as u64);
                    }
                }
            }
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut digest = 0;
    let (error, frames, offset) = match Reader::new(bytes) {
        Ok(mut reader) => {
            let error = walk(&mut reader, &mut digest);
            (error, reader.frames(), reader.offset())
        }
        Err(error) => (Some(error), 0, 0),
    };
    assert!(offset <= bytes.len() as u64);
    match &error {
        None => assert_eq!(offset, bytes.len() as u64),
        Some(FileError::Truncated { frame, offset: at, needed, found, .. }) => {
            assert_eq!((*frame, *at), (frames + 1, offset));
            assert_eq!(at + found, bytes.len() as u64);
            assert!(needed > found);
        }
        Some(FileError::Damaged { frame, offset: at, .. }) => {
            assert_eq!((*frame, *at), (frames + 1, offset));
        }
        Some(FileError::NotACapture { .. }) => assert_eq!(offset, 0),
        Some(error) => panic!("no such error can come: {error}"),
    }
    if let Some(error) = &error {
        assert!(!error.to_string().is_empty());
    }

    // The same file while it is being written, in five steps.
    let length = Rc::new(Cell::new(bytes.len().min(24)));
    let growing = Growing { file: bytes, at: 0, length: Rc::clone(&length) };
    let Ok(mut reader) = Reader::new(growing) else {
        return;
    };
    let mut grown = 0;
    for part in 1..=5 {
        length.set(length.get().max(bytes.len() * part / 5));
        let _ = walk(&mut reader, &mut grown);
    }
    assert_eq!((grown, reader.frames(), reader.offset()), (digest, frames, offset));
});
