//! The pieces that JSON objects are made of.

/// Appends bytes that are JSON already.
#[inline]
pub(super) fn raw(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

#[inline]
pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    raw(out, itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    raw(out, if value { b"true" } else { b"false" });
}

/// Appends `head`, which ends in the key and its colon, and the number.
#[inline]
pub(super) fn pair(out: &mut Vec<u8>, head: &[u8], value: impl itoa::Integer) {
    raw(out, head);
    integer(out, value);
}

/// [`pair`], or `null` for what is not known.
#[inline]
pub(super) fn opt(out: &mut Vec<u8>, head: &[u8], value: Option<impl itoa::Integer>) {
    raw(out, head);
    match value {
        Some(value) => integer(out, value),
        None => raw(out, b"null"),
    }
}

/// Appends `head` and a string, or `null`.
#[inline]
pub(super) fn opt_text(out: &mut Vec<u8>, head: &[u8], value: Option<&str>) {
    raw(out, head);
    match value {
        Some(value) => text(out, value),
        None => raw(out, b"null"),
    }
}

/// Appends a string with its quotes, escaped as RFC 8259 section 7 demands.
pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    raw(out, b"\"");
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        raw(out, &rest[..at]);
        escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    raw(out, rest);
    raw(out, b"\"");
}

#[inline]
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f
}

/// DEL needs no escape by the RFC; it gets one because the output may well
/// be looked at on a terminal.
#[cold]
fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => raw(out, b"\\\""),
        b'\\' => raw(out, b"\\\\"),
        b'\n' => raw(out, b"\\n"),
        b'\r' => raw(out, b"\\r"),
        b'\t' => raw(out, b"\\t"),
        _ => {
            raw(out, b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}
