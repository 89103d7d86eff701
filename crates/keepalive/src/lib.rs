//! TCP keep-alive as Linux does it, with time as a parameter.
//!
//! Keep-alive finds out that the other end of a silent connection is gone: after
//! an *idle* time without a sign of life it sends a probe, then one every
//! *interval*, and after a *count* of unanswered ones it ends the connection.
//! This crate has the values ([`Params`]), the state machine ([`Machine`]), and
//! an engine that runs it for millions of connections of any protocol
//! ([`Engine`]). It reads no clock, opens nothing and starts no thread; only
//! the feature `socket2` touches sockets, those that it is given.
//!
//! | To | use |
//! |---|---|
//! | set the values on a real socket, or read them | `socket` (feature `socket2`), [`Params`] |
//! | know how soon a dead peer is noticed | [`Params::detection_time`], [`Timing`], [`Hz`] |
//! | see what would happen to a connection, without one | [`Scenario`], [`simulate`] |
//! | choose values for a detection time and a path | [`Wish`] |
//! | give keep-alive to the connections of your own stack or protocol | [`Engine`] |
//! | the same for one connection, with a timer of your own | [`Machine`] |
//! | have timers by the million for something else | [`Wheel`] |
//!
//! Values are written `IDLE/INTERVAL/COUNT`, with a user timeout as a fourth:
//! `7200/75/9` is what Linux starts with, `2h/75s/9/30s` has units. A
//! [`Params`] that exists is one that Linux takes.
//!
//! Four types hold values, for four questions: [`Params`] is a full set that a
//! socket can be given; [`Options`] is what a socket has set, with gaps;
//! [`Sysctl`] is what its network namespace fills them with; [`Timing`] is what
//! comes of both, as durations.
//!
//! # Values on a socket
//! Any descriptor of a TCP socket will do: `std`'s, tokio's, a listener, whose
//! values are inherited by all that it accepts.
#![cfg_attr(feature = "socket2", doc = "More in [`socket`].")]
//!
#![cfg_attr(feature = "socket2", doc = "```")]
#![cfg_attr(not(feature = "socket2"), doc = "```text")]
//! use tcpalive_keepalive::{Params, socket};
//!
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let params: Params = "60/10/6".parse()?;
//! socket::apply(&listener, params)?;
//! assert_eq!(socket::read(&listener)?, Some(params));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How soon is a dead peer noticed?
//! ```
//! use tcpalive_keepalive::{Hz, Params};
//!
//! let found = Params::LINUX.detection_time();
//! assert_eq!(found.from_last_heard.worst.as_secs(), 2 * 3600 + 11 * 60 + 15);
//! // A peer that dies just before it is probed is noticed sooner.
//! assert_eq!(found.from_death.best.as_secs(), 9 * 75);
//! // Kernels are late, by as much as their tick allows; never early.
//! let late = Params::LINUX.timing().lateness(Hz::DEBIAN);
//! assert_eq!(late.as_secs(), 149);
//! ```
//!
//! # A connection's life in virtual time
//! ```
//! use tcpalive_keepalive::{Params, Peer, Scenario, Sight, Time, simulate};
//!
//! let params: Params = "10/20/5".parse()?;
//! let seen = simulate(&Scenario {
//!     options: params.into(),
//!     peer: Peer { silent_from: Some(Time::from_secs(1)), ..Peer::default() },
//!     ..Scenario::default()
//! });
//! // Five probes, and the end.
//! assert_eq!(seen.len(), 6);
//! assert_eq!(seen[5].at, Time::from_secs(110));
//! assert!(matches!(seen[5].what, Sight::Abort(_)));
//! # Ok::<(), tcpalive_keepalive::ParamsError>(())
//! ```
//!
//! # Keep-alive for connections of your own
//! **The engine neither sends nor waits. You tell it what happened, ask it what
//! is to be done, and come back when it says.** The loop around it is always
//! this one:
//!
//! 1. Wait for the network until [`Engine::next_timeout`] at the latest.
//! 2. Tell the engine of *everything* that has arrived ([`Engine::handle`]).
//!    For TCP that is what [`Event`] says; for any other protocol, each sign of
//!    life is an `Event::Ack { outstanding: false }`. Do this before the next
//!    step, also when you are late: what waits in a buffer may be the answer of
//!    a connection that would be given up.
//! 3. Call [`Engine::poll`] until it gives `None`, and do what it says: send a
//!    probe, or end the connection and [`remove`](Engine::remove) it.
//!
//! To poll too early or too often does nothing. To poll late makes what is due
//! late, and skips nothing: however late, it is one probe, and the next one
//! follows an interval after. Time must not run backwards: take a monotonic
//! clock. Whether it goes on while the host sleeps is your choice; Linux's does
//! not.
//!
//! ```
//! use tcpalive_keepalive::{Engine, Event, Output, Params, Time};
//!
//! let params: Params = "10/5/2".parse()?;
//! let mut engine = Engine::new(Time::ZERO);
//! let alice = engine.insert("alice", params.into(), Time::ZERO);
//! engine.insert("bob", params.into(), Time::ZERO);
//!
//! let mut given_up = Vec::new();
//! // A real loop waits; here time is a number, and jumps.
//! while let Some(now) = engine.next_timeout().filter(|at| *at < Time::from_secs(60)) {
//!     while let Some((key, output)) = engine.poll(now) {
//!         match output {
//!             // Alice answers each probe, Bob none.
//!             Output::Probe { .. } if key == alice => {
//!                 engine.handle(key, Event::Ack { outstanding: false }, now);
//!             }
//!             Output::Probe { .. } => {}
//!             Output::Abort(_) => given_up.push((now, engine.remove(key))),
//!         }
//!     }
//! }
//! assert_eq!(given_up, [(Time::from_secs(20), Some("bob"))]);
//! # Ok::<(), tcpalive_keepalive::ParamsError>(())
//! ```
//!
//! Two programs to copy from are in `examples/`: `udp_sessions` (a real socket
//! and a clock) and `smoltcp_sockets` (a TCP stack in virtual time).
//!
//! # What is as in Linux
//! Read in the source of Linux 6.12, and most of it tried on 6.18. `scenarios/`
//! has the rules as files, each with what is seen beside it.
//!
//! * When a probe is sent and when the connection is given up, and with which
//!   error (`tcp_keepalive_timer`). The timer is lazy: an answer does not move
//!   it, so an interval longer than the idle time delays the first probe.
//! * Data in flight: keep-alive waits until they are acknowledged.
//! * `TCP_USER_TIMEOUT`, which replaces the count.
//! * Options that are set on a living connection, and sysctls, which are read
//!   each time the timer fires; the ranges of both.
//! * What counts as a sign of life, and which ICMP errors are remembered.
//!
//! # What is not modelled
//! * Segments. Whoever owns an engine sends probes, and judges whether an
//!   acknowledgment is acceptable before it tells of one.
//! * Retransmission and the persist timer, which decide while data are in flight
//!   or the peer's window is closed: a connection that only they would end
//!   lives until its owner says [`Event::Closed`].
//! * How late a kernel's timers are: [`Timing::lateness`] bounds it; the engine
//!   rounds up to its own tick.
//! * The retry 50 ms later when a program holds the socket's lock, and the wait
//!   of an orphan in FIN_WAIT2.
//! * Negative sysctls, which are refused.
//!
//! # Features
//! Without any, the crate needs `core` and `alloc`, and no other crate.
//!
//! | Feature | Adds |
//! |---|---|
//! | `std` (default) | `std` in the crates that other features bring |
//! | `serde` | [`Params`] to and from data |
//! | `toml` | scenarios from TOML ([`Scenario`]`::from_toml`); implies `serde` and `std` |
//! | `socket2` | `socket`; Linux only; implies `std` |

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
