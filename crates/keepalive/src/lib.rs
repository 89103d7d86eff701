//! TCP keep-alive as Linux does it, with time as a parameter.
//!
//! * [`params`]: [`Params`], the values that a socket can be given.
//! * [`options`]: [`Options`], what a socket has set, and [`Sysctl`] for the rest.
//! * [`detection`]: how soon the death of a peer is noticed; how late a kernel's timers are.
//! * [`engine`]: [`Engine`], many connections on one wheel.
//! * [`machine`]: [`Machine`], `tcp_keepalive_timer` as a state machine.
//! * [`scenario`]: [`Scenario`], a connection's life as data, also from TOML.
//! * [`simulation`]: a scenario played in virtual time.
//! * `socket` (feature `socket2`): values on real sockets.
//! * [`plan`]: which values fit a wish, and why none may.
//! * [`time`]: [`Time`], a point in time.
//! * [`wheel`]: [`Wheel`], timers by the million.

#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod detection;
pub mod engine;
pub mod machine;
pub mod options;
pub mod params;
pub mod plan;
pub mod scenario;
pub mod simulation;
#[cfg(feature = "socket2")]
pub mod socket;
mod text;
pub mod time;
pub mod wheel;

pub use detection::{Detection, Hz, Span, Timing};
pub use engine::{Engine, Key, Output};
pub use machine::{Abort, Action, Errno, Event, Machine};
pub use options::{Options, SetOption, Sysctl, SysctlError};
pub use params::{Count, Params, ParamsError, Seconds, UserTimeout};
pub use plan::{DecidedBy, IdleTimeout, Impossible, Plan, Wish};
#[cfg(feature = "toml")]
pub use scenario::ScenarioError;
pub use scenario::{Happening, Opened, Peer, Reaction, Scenario, Step};
pub use simulation::{Moment, Sight, Simulation, simulate};
pub use time::Time;
pub use wheel::Wheel;
