//! Whole frames on one interface: what passes, with the kernel's time of it,
//! and what is to be sent as it is.
//!
//! This is for veth pairs at whose far end user space plays the host. Frames
//! are best received at the near end, as they leave: there the kernel stamps
//! them on their way into the device. At the far end it stamps what TCP sent
//! when it gets to it, which after a tick with many timers is tens of
//! milliseconds later (`skb_clear_delivery_time` in `__netif_receive_skb_core`).

use crate::clock::process_monotonic_ns;
use crate::error::{Doing, Error, Result};
use crate::probe::set_option;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with, sockopt};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Memory for frames that wait: bursts of thousands.
const RECEIVE_BUFFER: usize = 64 << 20;
/// `PACKET_STATISTICS`, include/uapi/linux/if_packet.h.
const STATISTICS: i32 = 6;

/// A packet socket that is bound to one interface.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    interface: String,
}

/// A frame that left or arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes of it that the buffer holds, from the Ethernet header on.
    pub length: usize,
    /// When it passed, in nanoseconds of this process's monotonic clock.
    ///
    /// The kernel stamps frames with the wall clock (`SO_TIMESTAMPNS`). The
    /// stamp's age is what the wall clock has advanced since, and is taken
    /// off the monotonic clock: an adjustment of the wall clock matters only
    /// when it happens while the frame waits to be read.
    pub at_ns: u64,
}

impl Wire {
    /// Opens a packet socket in the calling thread's namespace, for frames of
    /// all protocols that leave and arrive by the interface.
    ///
    /// # Errors
    /// When packet sockets are not allowed (CAP_NET_RAW), or there is no such
    /// interface.
    pub fn open(interface: &str) -> Result<Self> {
        let doing = || format!("opening a packet socket on {interface}");
        let socket = socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .doing(doing)?;
        sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).doing(doing)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1).doing(doing)?;
        let index = netdevice::name_to_index(&socket, interface).doing(doing)?;
        bind(&socket, index).doing(doing)?;
        Ok(Self {
            socket,
            interface: interface.to_owned(),
        })
    }

    /// The next frame that waits, or `None` when none does. Frames longer
    /// than the buffer are cut.
    ///
    /// # Errors
    /// When the interface went down, or the kernel gave no time stamp.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>> {
        let doing = || format!("receiving from {}", self.interface);
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let mut control = Control([MaybeUninit::uninit(); CONTROL_LENGTH]);
        // SAFETY: msghdr is plain integers and pointers; all zero is valid
        // and stands for nothing.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_LENGTH;
        // SAFETY: the message points to one buffer for the frame and one for
        // control data, with their lengths; both outlive the call, and
        // nothing else refers to them meanwhile.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error).doing(doing),
            };
        };
        let stamp_ns = time_stamp(&message).ok_or_else(|| Error::System {
            doing: doing(),
            source: io::Error::other("the kernel gave a frame without a time stamp"),
        })?;
        Ok(Some(Received {
            length,
            at_ns: process_monotonic_ns() - wall_clock_ns().saturating_sub(stamp_ns),
        }))
    }

    /// Sends a frame, from its Ethernet header on, and tells whether the
    /// interface took it: `false` when a queue on its way is full, such as
    /// the processor's backlog behind a veth pair (`net.core.netdev_max_backlog`).
    ///
    /// # Errors
    /// When the interface is gone or down.
    pub fn send(&self, frame: &[u8]) -> Result<bool> {
        match rustix::net::send(&self.socket, frame, rustix::net::SendFlags::empty()) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error).doing(|| format!("sending a frame by {}", self.interface)),
        }
    }

    /// How many frames were lost since the last call, because nobody read
    /// them soon enough.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn lost(&self) -> Result<u32> {
        // struct tpacket_stats: packets, drops
        let mut statistics = [0_u32; 2];
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the pointers are to two numbers, the kernel's struct in
        // size and layout, and to their length; both outlive the call.
        let code = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                STATISTICS,
                statistics.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if code < 0 {
            return Err(io::Error::last_os_error())
                .doing(|| format!("asking for frames lost on {}", self.interface));
        }
        Ok(statistics[1])
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const CONTROL_LENGTH: usize = 128;

/// Control messages begin with a `size_t`.
#[repr(align(8))]
struct Control([MaybeUninit<u8>; CONTROL_LENGTH]);

fn time_stamp(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel filled the message's control data in, and the
    // message says how long they are; the buffer is still alive.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: a header that the macros give lies whole in the control data.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: this message's data are a timespec. It need not be aligned.
            let stamp = unsafe {
                libc::CMSG_DATA(header)
                    .cast::<libc::timespec>()
                    .read_unaligned()
            };
            return Some(stamp.tv_sec as u64 * 1_000_000_000 + stamp.tv_nsec as u64);
        }
        // SAFETY: as for the first header.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

fn wall_clock_ns() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain integers; all zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the pointer is to a sockaddr_ll that lives through the call,
    // and the length is its own.
    let code = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if code < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
