//! What keep-alive costs a kernel, as measured.
//!
//! Written by `make bench-cost`; do not edit. `docs/cost.md` says how it was
//! measured, and what these figures are not.
//!
//! * 2026-11-23
//! * Linux 6.18.44, x86_64
//! * AMD EPYC, 2 cores

/// Nanoseconds of processor time for a probe that is answered, at the end that
/// probes, without the work of a network device.
pub const PROBE_CPU_NS: u64 = 4941;

/// The same with the peer's work.
pub const PROBE_CPU_BOTH_ENDS_NS: u64 = 9451;

/// Packets for a probe that is answered: itself and the answer.
pub const PACKETS_PER_PROBE: u64 = 2;

/// Bytes of such a packet over IPv4: IP, TCP and timestamps.
pub const PACKET_BYTES: u64 = 52;

/// Bytes of kernel memory of an idle socket that a program holds: what a
/// connection to a dead peer holds for as long as nobody notices.
pub const SOCKET_BYTES: u64 = 3640;

/// Bytes of kernel memory that keep-alive adds to a socket.
pub const KEEP_ALIVE_BYTES: u64 = 0;
