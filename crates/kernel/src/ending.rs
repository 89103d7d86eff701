//! What a TCP socket knows about its peer's silence, while it lives and after
//! it has ended.

use crate::error::{Doing, Error, Result};
use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Facts about a connection. Linux keeps them when it has given the
/// connection up, until the socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Unanswered probes, of keep-alive or of a closed window (`tcpi_probes`).
    pub probes: u8,
    /// The most bytes that a segment carries (`tcpi_snd_mss`).
    pub segment_size: u32,
    /// Segments in flight (`tcpi_unacked`); none after the end.
    pub segments_in_flight: u32,
    /// Bytes that the peer has not acknowledged, sent or not (`SIOCOUTQ`).
    pub unacknowledged: u32,
    /// Since an acknowledgment was heard (`tcpi_last_ack_recv`).
    pub last_heard: Duration,
    /// The window that the peer offers, in bytes (`tcpi_snd_wnd`); `None`
    /// before Linux 5.4, which does not tell.
    pub window: Option<u32>,
}

/// What a socket knows about its peer's silence.
///
/// # Errors
/// When the descriptor is not a TCP socket.
pub fn silence(socket: &impl AsFd) -> Result<Silence> {
    let descriptor = socket.as_fd().as_raw_fd();
    let doing = || "reading TCP_INFO".to_owned();
    // The head of the kernel's `struct tcp_info` is fixed for ever; what a
    // kernel does not know stays zero, and the length says how far it got.
    let mut info = MaybeUninit::<Info>::zeroed();
    let mut length = size_of::<Info>() as libc::socklen_t;
    // SAFETY: the pointers lead to `length` writable bytes and to the length.
    let status = unsafe {
        libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error()).doing(doing);
    }
    // SAFETY: all of its fields are numbers, and it was zeroed.
    let info = unsafe { info.assume_init() };
    let known = length as usize;
    if known < offset_of!(Info, later) {
        return Err(Error::NotFound(format!(
            "reading TCP_INFO: the kernel handed out {known} bytes only"
        )));
    }
    let mut unacknowledged: libc::c_int = 0;
    // SAFETY: SIOCOUTQ writes one int.
    let status = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut unacknowledged) };
    if status != 0 {
        return Err(io::Error::last_os_error()).doing(|| "reading SIOCOUTQ".to_owned());
    }
    Ok(Silence {
        probes: info.probes,
        segment_size: info.segment_size,
        segments_in_flight: info.unacked,
        unacknowledged: u32::try_from(unacknowledged).unwrap_or(0),
        last_heard: Duration::from_millis(info.last_ack_recv.into()),
        window: (known >= size_of::<Info>()).then_some(info.window),
    })
}

/// The head of `struct tcp_info`, include/uapi/linux/tcp.h, up to `tcpi_snd_wnd`.
#[repr(C)]
struct Info {
    /// `tcpi_state`, `tcpi_ca_state`, `tcpi_retransmits`.
    states: [u8; 3],
    probes: u8,
    /// `tcpi_backoff`, options, window scales, bit fields.
    bytes: [u8; 4],
    /// `tcpi_rto`, `tcpi_ato`.
    times: [u32; 2],
    segment_size: u32,
    /// `tcpi_rcv_mss`.
    received_size: u32,
    unacked: u32,
    /// From `tcpi_sacked` to `tcpi_last_data_recv`.
    before_last_ack_recv: [u32; 7],
    last_ack_recv: u32,
    /// From `tcpi_pmtu` to `tcpi_reord_seen` (offsets 60 to 228).
    later: [u32; 42],
    window: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn fields_lie_where_the_kernel_has_them() {
        // From include/uapi/linux/tcp.h.
        assert_eq!(offset_of!(Info, probes), 3);
        assert_eq!(offset_of!(Info, segment_size), 16);
        assert_eq!(offset_of!(Info, unacked), 24);
        assert_eq!(offset_of!(Info, last_ack_recv), 56);
        assert_eq!(offset_of!(Info, window), 228);
    }

    #[test]
    fn bytes_that_do_not_fit_the_peers_window_are_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_peer, _) = listener.accept().unwrap();
        assert_eq!(silence(&client).unwrap().unacknowledged, 0);
        assert!(silence(&client).unwrap().window.unwrap() > 0);
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 65536]).is_ok() {}
        assert!(silence(&client).unwrap().unacknowledged > 0);
    }

    #[test]
    fn a_file_has_no_peer() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let text = silence(&file).unwrap_err().to_string();
        assert!(text.contains("TCP_INFO"), "{text}");
    }
}
