//! Packets as objects.

use super::{Kind, Meaning, Seen};
use crate::render::json::push_address;
use serde_json::Value;
use std::io::Write;
use tcpalive_segment::{Flags, Segment};

/// Appends `{"type":"packet",…}`. Numbers are those that stand in the packet.
pub fn packet_object(
    out: &mut Vec<u8>,
    seen: &Seen<'_>,
    segment: &Segment<'_>,
    meaning: Option<&Meaning>,
) {
    let flags = segment.flags();
    let text = |text: Option<String>| text.map_or(Value::Null, Value::String);
    let (seconds, fraction) = (seen.time / 1_000_000_000, seen.time / 1000 % 1_000_000);
    // Writing to a vector does not fail.
    let _ = write!(
        out,
        "{{\"type\":\"packet\",\"frame\":{},\"time\":{seconds}.{fraction:06},\"interface\":{},\"source\":\"",
        seen.frame,
        text(seen.interface.map(str::to_owned)),
    );
    push_address(out, &segment.source());
    out.extend(b"\",\"destination\":\"");
    push_address(out, &segment.destination());
    let ack = flags.contains(Flags::ACK).then(|| segment.acknowledgment());
    let _ = writeln!(
        out,
        "\",\"flags\":\"{flags}\",\"seq\":{},\"ack\":{},\"win\":{},\"len\":{},\"kind\":{},\"note\":{}}}",
        segment.sequence(),
        ack.map_or(Value::Null, Value::from),
        segment.window(),
        segment.payload_len(),
        text(
            meaning
                .and_then(Meaning::kind)
                .map(|kind| kind.name().to_owned())
        ),
        text(meaning.map(Meaning::to_string)),
    );
}

/// Appends `{"type":"frame",…}`: what an earlier packet was, where that became
/// clear later.
pub fn frame_object(out: &mut Vec<u8>, frame: u64, kind: Kind) {
    let _ = writeln!(
        out,
        "{{\"type\":\"frame\",\"frame\":{frame},\"kind\":\"{}\"}}",
        kind.name()
    );
}

/// Appends `{"type":"interface",…}`.
pub fn interface_object(out: &mut Vec<u8>, name: &str, description: Option<&str>, is_up: bool) {
    let _ = writeln!(
        out,
        "{{\"type\":\"interface\",\"name\":{},\"description\":{},\"up\":{is_up}}}",
        Value::from(name),
        description.map_or(Value::Null, Value::from),
    );
}

/// Appends `{"type":"summary",…}`. The drops of a file are not known.
pub fn summary_object(
    out: &mut Vec<u8>,
    packets: u64,
    captured: u64,
    dropped: Option<(u32, u32)>,
    probes: u64,
    answers: u64,
) {
    let number = |number: Option<u32>| number.map_or(Value::Null, Value::from);
    let _ = writeln!(
        out,
        "{{\"type\":\"summary\",\"packets\":{packets},\"captured\":{captured},\"dropped_kernel\":{},\"dropped_interface\":{},\"probes\":{probes},\"answers\":{answers}}}",
        number(dropped.map(|(kernel, _)| kernel)),
        number(dropped.map(|(_, interface)| interface)),
    );
}
