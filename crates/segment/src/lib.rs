//! IPv4, IPv6 and TCP headers as bytes, and the keep-alive probes in them.
//!
//! A keep-alive probe is an ACK without data, one byte to the left of what
//! was acknowledged. The peer finds it out of window and must answer with an
//! ACK that says where the window is (RFC 9293 §3.10.7.4): that answer is the
//! proof that it lives. This crate writes such probes exactly as Linux does
//! (`tcp_xmit_probe_skb`), and recognises probes and answers in packets that
//! came from a wire or a capture.
//!
//! * [`segment`]: [`Segment`], a thin view over the bytes of an IP packet that
//!   carries TCP; [`ParseError`], what is wrong with a packet that cannot be one.
//! * [`draft`]: [`Draft`], any TCP segment to be sent; [`IcmpError`], which quotes one.
//! * [`IpPayload`], what an IP packet carries if it is not TCP itself: a tunnel.
//! * [`flags`]: [`Flags`], shown as `tcpdump` shows them.
//! * [`options`]: the TCP options, [`TcpOption`], and an iterator over them.
//! * [`probe`]: [`Probe`], and its bytes.
//! * [`recognise`]: what a segment is to a keep-alive engine: a probe, an answer.
//! * [`sequence`]: order among sequence numbers, which wrap.
//! * [`checksum`]: the Internet checksum.
//!
//! Packets begin with the IP header: what stands before it (Ethernet, Linux
//! cooked, nothing) is for the one who captured them to take off. Parsing
//! allocates nothing and panics on no input. A capture that cut a packet
//! short is good enough as long as the first 20 bytes of the TCP header are
//! there; lengths come from the IP header, not from what was captured.
//!
//! This crate reads no clock and opens nothing.
//!
//! # Example
//!
//! A socket has everything acknowledged up to 1000 and expects 5000 from its
//! peer. Its probe, and how the peer reads it:
//!
//! ```
//! use tcpalive_segment::{IpFields, MAX_PROBE_LEN, Probe, Segment, Timestamps};
//! use tcpalive_segment::{acknowledges, is_empty_probe};
//!
//! let snd_una = 1000_u32;
//! let probe = Probe {
//!     local: "192.0.2.1:40000".parse()?,
//!     remote: "192.0.2.2:7".parse()?,
//!     sequence: snd_una.wrapping_sub(1),
//!     acknowledgment: 5000,
//!     window: 63,
//!     timestamps: Some(Timestamps { value: 77, echo_reply: 66 }),
//!     garbage: false,
//!     ip: IpFields { ttl: 64, traffic_class: 0, dont_fragment: true, flow_label: 0 },
//! };
//! let mut buffer = [0; MAX_PROBE_LEN];
//! let length = probe.write(&mut buffer)?;
//! assert_eq!(length, 20 + 20 + 12);
//!
//! let segment = Segment::parse(&buffer[..length])?;
//! assert_eq!(segment.checksum_ok(), Some(true));
//! assert_eq!(segment.flags().to_string(), ".");
//! assert!(is_empty_probe(&segment, snd_una));
//! // It acknowledges what the peer sent, up to 5000.
//! assert!(acknowledges(&segment, 4900, 5000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod checksum;
pub mod draft;
pub mod flags;
mod ip;
pub mod options;
pub mod probe;
pub mod recognise;
pub mod segment;
pub mod sequence;

pub use draft::{Draft, IcmpError};
pub use flags::Flags;
pub use ip::IpPayload;
pub use options::{Options, SackBlock, SackBlocks, TcpOption, Timestamps};
pub use probe::{BuildError, IpFields, MAX_PROBE_LEN, Probe};
pub use recognise::{acknowledges, is_empty_probe, is_garbage_probe};
pub use segment::{ParseError, Segment};
