//! What tcpalive does with connections.
//!
//! * [`check`]: proves the peers of connections alive or dead, by probes.
//! * [`reap`]: destroys what a check proved dead, and nothing else.
//! * [`enable`]: sets keep-alive options of live connections, where that harms none.
//! * [`undo`]: what was there before that, on disk before it happens, and its way back.
//! * [`journal`]: what was destroyed, on disk before it happens.
//! * [`loss`]: how many lost exchanges are too many to be chance.
//! * [`schedule`]: when a connection is probed, and when silence is enough.
//! * [`way`]: whether silence may be the fault of this side.
//! * [`evidence`]: the sentences that go with a verdict.
//! * [`own`]: the connection that this very session runs over.
//!
//! Nothing but [`enable`] sets an option of anybody's socket, and nothing puts
//! a byte into a stream: probes go out beside the sockets, and what came back is
//! read from the kernel's state and from the wire.

#![forbid(unsafe_code)]

pub mod check;
pub mod enable;
pub mod evidence;
pub mod journal;
pub mod loss;
pub mod own;
pub mod reap;
pub mod schedule;
pub mod undo;
pub mod way;

pub use check::{Check, CheckOptions, Checked, Dead, Observer};
pub use reap::{Fate, Reap};
