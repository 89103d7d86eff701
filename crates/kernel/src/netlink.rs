//! A thin layer over netlink: requests, dumps and attributes as bytes.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};
use std::io;
use std::os::fd::OwnedFd;

/// `NLMSG_*` and `NLM_F_*` (include/uapi/linux/netlink.h).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const HEADER: usize = 16;

/// A netlink socket of one protocol, in the namespace it was opened in.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket of `NETLINK_ROUTE`.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn route() -> io::Result<Self> {
        // NETLINK_ROUTE is protocol 0, which is the default.
        Self::open(None)
    }

    /// Opens a socket of `NETLINK_SOCK_DIAG`.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn sock_diag() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::SOCK_DIAG))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; 256 << 10],
        })
    }

    /// Asks for a dump and hands each message's type and payload to `visit`.
    ///
    /// # Errors
    /// When sending or receiving fails or the kernel answers with an error.
    pub fn dump(
        &mut self,
        kind: u16,
        payload: &[u8],
        mut visit: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)?;
        self.receive(&mut visit, false)
    }

    /// Makes a request whose answer is one message, or an error.
    ///
    /// # Errors
    /// When sending or receiving fails or the kernel answers with an error.
    pub fn get(&mut self, kind: u16, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.send(kind, NLM_F_REQUEST, payload)?;
        let mut answer = Vec::new();
        self.receive(&mut |_, payload| answer.extend_from_slice(payload), true)?;
        Ok(answer)
    }

    /// Makes a request that is answered with an acknowledgment. `flags` are
    /// added to `NLM_F_REQUEST | NLM_F_ACK`.
    ///
    /// # Errors
    /// When sending or receiving fails or the kernel answers with an error.
    pub fn change(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, payload)?;
        self.receive(&mut |_, _| {}, false)
    }

    fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + payload.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER + payload.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(payload);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &kernel)?;
        Ok(())
    }

    /// Receives until the dump is done, the request is acknowledged or, when
    /// `one` is set, a message came.
    fn receive(&mut self, visit: &mut dyn FnMut(u16, &[u8]), one: bool) -> io::Result<()> {
        loop {
            let (length, _) = match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            let mut rest = &self.buffer[..length];
            while rest.len() >= HEADER {
                let size = u32_at(rest, 0) as usize;
                if size < HEADER || size > rest.len() {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a netlink message of impossible length",
                    ));
                }
                let kind = u16_at(rest, 4);
                let sequence = u32_at(rest, 8);
                let payload = &rest[HEADER..size];
                rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
                // What is left of an earlier request that failed midway.
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match payload.get(..4).map(|code| i32_at(code, 0)) {
                            Some(0) | None => Ok(()),
                            Some(code) => Err(io::Error::from_raw_os_error(-code)),
                        };
                    }
                    _ => visit(kind, payload),
                }
                if one {
                    return Ok(());
                }
            }
        }
    }
}

/// The attributes in `bytes`: pairs of type and value. Stops at the first
/// that does not fit.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.len() < 4 {
            return None;
        }
        let size = usize::from(u16_at(rest, 0));
        // The two high bits say "nested" and "network byte order".
        let kind = u16_at(rest, 2) & 0x3fff;
        let value = rest.get(4..size)?;
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Appends an attribute with its padding.
pub fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let size = u16::try_from(4 + value.len()).expect("attributes here are short");
    message.extend_from_slice(&size.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Two bytes in the machine's order.
///
/// # Panics
/// When they are not there.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes in the machine's order.
///
/// # Panics
/// When they are not there.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    u32_at(bytes, at).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_back_as_written() {
        let mut message = Vec::new();
        push_attribute(&mut message, 1, b"abc");
        push_attribute(&mut message, 2, b"");
        push_attribute(&mut message, 3, &7_u32.to_ne_bytes());
        let read: Vec<_> = attributes(&message).collect();
        assert_eq!(
            read,
            [
                (1, &b"abc"[..]),
                (2, &b""[..]),
                (3, &7_u32.to_ne_bytes()[..])
            ]
        );
    }

    #[test]
    fn a_cut_attribute_ends_the_list() {
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
    }
}
