//! Hosts, cables and faults on the real kernel, and the experiments that are
//! made with them.
//!
//! A [`Lab`] is a set of [`Host`]s. A host is a named network namespace, so
//! `ip netns exec NAME …` works for whoever wants to look inside while an
//! experiment runs; veth pairs are the cables, nftables cuts them. Nothing is
//! imitated: the subject is this machine's TCP.
//!
//! ```no_run
//! use tcpalive_lab::{Lab, connections, faults};
//!
//! let lab = Lab::new("example")?;
//! let a = lab.host("a")?;
//! let b = lab.host("b")?;
//! lab.link(&a, "10.9.1.1/24 fd09:1::1/64", &b, "10.9.1.2/24 fd09:1::2/64")?;
//!
//! let pairs = connections::open(&a, &b, "10.9.1.2:3333", 100, &connections::Options::default())?;
//! let cable = faults::cut(&a, "10.9.1.2")?;
//! // … what does B believe now? …
//! cable.undo()?;
//! # drop(pairs);
//! # Ok::<(), tcpalive_lab::LabError>(())
//! ```
//!
//! * [`lab`]: [`Lab`] makes hosts and takes everything away when it is dropped.
//! * [`host`]: [`Host`]: closures, commands, rules and sysctls inside a namespace.
//! * [`links`]: cables, routers, bridges, addresses and routes.
//! * [`power`]: hosts that lose their power, come back, or go for good.
//! * [`faults`]: cut cables, loss, resets, outages, ARP failures, each with its undo.
//! * [`connections`]: many connections between two hosts, quickly.
//! * [`crowd`]: a million sockets that do nothing, to measure with.
//! * [`leftovers`]: what a lab left behind that was killed, and its removal.
//! * [`play`](mod@play): keep-alive scenarios on the real kernel, beside what the machine predicts.
//! * [`article`]: the numbers of the article that the project sets out from.
//! * [`night`]: the article's night: 20,000 dead connections among 20,480.
//!
//! Everything here needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and the
//! programs `ip` and `nft`, and `tc` where a queue is stopped. Traffic never leaves the namespaces: no host has
//! a link to the outside.

pub mod article;
mod command;
pub mod connections;
pub mod crowd;
mod error;
pub mod faults;
pub mod host;
pub mod lab;
pub mod leftovers;
pub mod links;
pub mod night;
pub mod play;
pub mod power;

pub use error::{LabError, Result};
pub use faults::Fault;
pub use host::Host;
pub use lab::Lab;
pub use links::Link;
