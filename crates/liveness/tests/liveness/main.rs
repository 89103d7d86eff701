//! Checks and reaps on the real kernel: hosts are network namespaces, and
//! every test has a lab of its own, so all of them run side by side. They
//! mostly wait: give them threads (`RUST_TEST_THREADS=24`), processors are
//! not what they lack. They need root, BPF, `ip`, `nft`, `tcpdump` and
//! `python3`, and fail without.
//!
//! * [`verdicts`]: what a check says of which peer.
//! * [`sockets`]: sockets that are out of the ordinary.
//! * [`segments`]: the probes on the wire.
//! * [`quiet`]: what programs notice of a check: nothing.
//! * [`paths`]: silence that may be the fault of this side.
//! * [`ways`]: connections that do not go the way that a raw socket's packets go.
//! * [`outages`]: networks that are away for a while.
//! * [`loss`]: networks that lose packets at random.
//! * [`races`]: what happens while a check runs.
//! * [`reap`]: what is destroyed and what is not.
//! * [`journal`]: what a reap leaves on disk, also one that is killed.

mod capture;
mod conversation;
mod journal;
mod loss;
mod outages;
mod paths;
mod program;
mod quiet;
mod races;
mod reap;
mod segments;
mod sockets;
mod verdicts;
mod ways;
mod world;
