//! TCP keep-alive as Linux does it, with time as a parameter.
//!
//! * [`params`]: [`Params`], the values that a socket can be given.
//! * [`options`]: [`Options`], what a socket has set, and [`Sysctl`] for the rest.
//! * [`detection`]: how soon the death of a peer is noticed; how late a kernel's timers are.
//! * [`machine`]: [`Machine`], `tcp_keepalive_timer` as a state machine.
//! * [`measured`]: what keep-alive costs a kernel.
//! * [`time`]: [`Time`], a point in time.

#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod detection;
pub mod machine;
pub mod measured;
pub mod options;
pub mod params;
mod text;
pub mod time;

pub use detection::{Detection, Hz, Span, Timing};
pub use machine::{Abort, Action, Errno, Event, Machine};
pub use options::{Options, SetOption, Sysctl, SysctlError};
pub use params::{Count, Params, ParamsError, Seconds, UserTimeout};
pub use time::Time;
