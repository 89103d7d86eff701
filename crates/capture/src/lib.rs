//! Keep-alive read out of captures: packets → flows → findings.
//!
//! * [`file`]: [`Reader`], packets out of pcap and pcapng; [`FileError`].
//! * [`link`]: [`ip_packet`], the IP packet with TCP in a frame; [`Context`],
//!   what keeps it apart from others with the same addresses.
//! * [`flow`]: connections as a capture shows them, and their keep-alive.
//! * [`findings`]: what the flows say about hosts and services.
//! * [`write`](mod@write): [`Writer`], packets into pcap.

#![forbid(unsafe_code)]

pub mod file;
pub mod findings;
pub mod flow;
pub mod link;
pub mod write;

pub use file::{FileError, Packet, Reader};
pub use link::{Context, IpPacket, Link, ip_packet};
pub use write::{Resolution, Writer};
