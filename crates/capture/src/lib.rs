//! Keep-alive read out of captures: packets → flows → findings.
//!
//! * [`file`](mod@file): [`Reader`], packets out of pcap and pcapng; [`FileError`].
//! * [`link`]: [`ip_packet`], the IP packet with TCP in a frame; [`Context`],
//!   what keeps it apart from others with the same addresses.
//! * [`synthetic`]: captures made up, and the truth about them.
//! * [`write`](mod@write): [`Writer`], packets into pcap.
//! * [`flow`]: segments to flows; which of them are keep-alive probes and
//!   answers, what timers they show, and who is dead.
//! * [`findings`]: what the flows say about hosts.

#![forbid(unsafe_code)]

pub mod file;
pub mod findings;
pub mod flow;
pub mod link;
pub mod synthetic;
pub mod write;

pub use file::{FileError, Packet, Reader};
pub use link::{Context, IpPacket, Link, ip_packet};
pub use write::{Resolution, Writer};
