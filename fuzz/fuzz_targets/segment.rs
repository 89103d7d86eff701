//! Any bytes are a segment or an error, and everything about a segment can be
//! asked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpalive_segment::{Segment, acknowledges, is_empty_probe, is_garbage_probe};

fuzz_target!(|bytes: &[u8]| {
    let Ok(segment) = Segment::parse(bytes) else { return };
    let _ = (segment.source(), segment.destination(), segment.sequence(), segment.acknowledgment());
    let _ = (segment.flags().to_string(), segment.window(), segment.payload_len());
    let _ = (segment.ttl(), segment.traffic_class(), segment.flow_label(), segment.dont_fragment());
    let _ = (segment.timestamps(), segment.checksum_ok());
    assert!(segment.options().count() <= 40);
    let next = segment.sequence().wrapping_add(1);
    assert!(!(is_empty_probe(&segment, next) && is_garbage_probe(&segment, next)));
    let _ = acknowledges(&segment, 0, u32::MAX);
});
