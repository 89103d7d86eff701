//! All that tcpalive asks of Linux.
//!
//! * [`sweep`]: one pass over every TCP socket of a network namespace, by a
//!   BPF iterator or, where BPF is not to be had, by sock_diag netlink.
//! * [`owners`]: which processes hold which sockets.
//! * [`netns`]: which network namespaces there are, and doing something in one.
//! * [`probe`]: raw sockets that send keep-alive probes for other sockets.
//! * [`tap`]: what really left and what came back, seen on the wire.
//! * [`wire`]: whole frames on one interface, received with their time, and sent.
//! * [`softirq`]: how long soft interrupts run, where keep-alive spends its time.
//! * [`live`]: captures through libpcap, and its filter language.
//! * [`privileges`], [`local_time`]: giving rights up; the wall clock here.
//! * [`ending`]: what a socket of this process knows about its peer's silence.
//! * [`destroy`]: closing sockets by cookie.
//! * [`setopt`]: keep-alive options of other programs' sockets, set by cookie.
//! * [`path`]: routes, next hops and interfaces towards a peer.
//! * [`clock`], [`sysctl`], [`slab`], [`cgroups`], [`process`]: facts about
//!   this kernel and its processes.
//! * [`capabilities`]: what this kernel and this user allow, and what is lost
//!   without it.
//!
//! This is the only crate with unsafe code and with BPF programs. Everything
//! it hands out speaks the types of `tcpalive-connections`.

pub mod capabilities;
pub mod cgroups;
pub mod clock;
pub mod destroy;
pub mod ending;
pub mod error;
pub mod live;
pub mod local_time;
pub mod netlink;
pub mod netns;
pub mod owners;
pub mod path;
pub mod privileges;
pub mod probe;
pub mod process;
pub mod setopt;
pub mod slab;
pub mod softirq;
pub mod sweep;
pub mod sysctl;
pub mod tap;
pub mod wire;

mod bpf;

pub use error::{Error, Result};
