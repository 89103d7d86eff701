//! The model of a TCP connection that every command shares.
//!
//! A sweep of the kernel yields [`Connection`]s: plain, copyable records with
//! no pointer in them, so that a million of them cost no allocation. What
//! takes text (owners, the cgroup's path) is joined on in a [`View`] when a
//! filter or a renderer asks for it.
//!
//! * [`connection`]: [`Connection`], its [`State`], its [`KeepAlive`] values.
//! * [`owner`]: which process holds the socket: [`Owner`], [`View`].
//! * [`cgroup`]: what a cgroup path says about containers and systemd units.
//! * [`verdict`]: what a check found out about the peer: [`Verdict`].
//! * [`filter`]: the filter language, its parser and its evaluation.
//! * [`selection`]: the part of a filter that the kernel can apply by itself.
//!
//! This crate reads no clock and opens nothing: ages are milliseconds that
//! the sweep computed from the kernel's own clock.

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod connection;
pub mod filter;
pub mod owner;
pub mod selection;
pub mod verdict;

pub use connection::{Connection, Family, KeepAlive, Origin, State};
pub use filter::{Filter, FilterError};
pub use owner::{Comm, Owner, View};
pub use selection::{PortRange, Prefix, Selection, StateSet};
pub use verdict::{Outcome, Verdict};
