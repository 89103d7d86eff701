//! Socket addresses as text, written straight into the buffer.

use super::field::{integer, raw};
use std::net::{Ipv4Addr, SocketAddr};

/// Appends `192.0.2.1:443` or `[2001:db8::1]:443`: what the standard
/// library's `Display` gives (RFC 5952), without its formatting machinery.
pub fn push_address(out: &mut Vec<u8>, address: &SocketAddr) {
    match address {
        SocketAddr::V4(v4) => push_ipv4(out, *v4.ip()),
        SocketAddr::V6(v6) => {
            raw(out, b"[");
            match v6.ip().to_ipv4_mapped() {
                Some(v4) => {
                    raw(out, b"::ffff:");
                    push_ipv4(out, v4);
                }
                None => push_groups(out, v6.ip().segments()),
            }
            if v6.scope_id() != 0 {
                raw(out, b"%");
                integer(out, v6.scope_id());
            }
            raw(out, b"]");
        }
    }
    raw(out, b":");
    integer(out, address.port());
}

fn push_ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let [a, b, c, d] = address.octets();
    integer(out, a);
    raw(out, b".");
    integer(out, b);
    raw(out, b".");
    integer(out, c);
    raw(out, b".");
    integer(out, d);
}

/// RFC 5952: lower case, no leading zeros, the first longest run of at least
/// two zero groups as `::`.
fn push_groups(out: &mut Vec<u8>, groups: [u16; 8]) {
    let (start, length) = longest_zeros(&groups);
    if length < 2 {
        return push_joined(out, &groups);
    }
    push_joined(out, &groups[..start]);
    raw(out, b"::");
    push_joined(out, &groups[start + length..]);
}

fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = 0;
    for (index, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (index + 1 - run, run);
        }
    }
    best
}

fn push_joined(out: &mut Vec<u8>, groups: &[u16]) {
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            raw(out, b":");
        }
        push_hex(out, *group);
    }
}

fn push_hex(out: &mut Vec<u8>, group: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = [12, 8, 4, 0].map(|shift| HEX[usize::from(group >> shift & 15)]);
    let leading = (group.leading_zeros() as usize / 4).min(3);
    raw(out, &digits[leading..]);
}
