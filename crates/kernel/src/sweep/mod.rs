//! One pass over every TCP socket of a network namespace.
//!
//! Two backends give the same [`Connection`]s. [`BpfSweeper`] reads
//! everything, a million sockets in about a second. [`SockDiagSweeper`] works
//! without BPF, but the kernel does not tell it whether keep-alive is on nor
//! where the sequence numbers stand: such fields are unknown, and nothing can
//! be probed.

mod bpf;
mod sock_diag;
mod transmission;

pub use bpf::{BpfSweeper, Pulse};
pub use sock_diag::SockDiagSweeper;
pub use transmission::{TimestampClock, Transmission, retransmission_limit_ms};

use crate::bpf::sweep::types::tcpalive_record as Record;
use crate::error::Result;
use crate::netns::Namespace;
use crate::owners::Owners;
use crate::sysctl::Settings;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use tcpalive_connections::{Connection, Selection};

/// Which backend to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// BPF where it is to be had, else netlink.
    #[default]
    Auto,
    /// BPF, or fail.
    Bpf,
    /// sock_diag netlink.
    Netlink,
}

/// A socket in the middle of a sweep.
#[derive(Debug, Clone, Copy)]
pub struct Swept<'a> {
    /// The socket as the model has it.
    pub connection: Connection,
    record: Option<(&'a Record, &'a Settings, &'a crate::clock::KernelClock)>,
}

impl Swept<'_> {
    /// What a probe is built from and a stall is judged by; `None` unless the
    /// sweep was [for probing](BpfSweeper::sweep_for_probing), and for sockets that send nothing (time-wait,
    /// request sockets, listeners).
    #[must_use]
    pub fn transmission(&self) -> Option<Transmission> {
        let (record, settings, clock) = self.record?;
        Transmission::from_record(record, settings, clock)
    }
}

/// What a sweep met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepCount {
    /// Sockets that the selection accepted and the visitor saw.
    pub seen: u64,
    /// Sockets that the kernel handed out more than once, seen once.
    pub repeated: u64,
}

/// A backend, opened.
#[derive(Debug)]
pub enum Sweeper {
    /// BPF iterators.
    Bpf(Box<BpfSweeper>),
    /// sock_diag netlink.
    SockDiag(SockDiagSweeper),
}

impl Sweeper {
    /// Opens the chosen backend. The text that may come with it says, in one
    /// line, what is missing because BPF is not to be had, and why.
    ///
    /// # Errors
    /// When the chosen backend, or with [`BackendChoice::Auto`] both, cannot
    /// be used.
    pub fn open(choice: BackendChoice) -> Result<(Self, Option<String>)> {
        let netlink = || SockDiagSweeper::open().map(Self::SockDiag);
        match choice {
            BackendChoice::Netlink => Ok((netlink()?, None)),
            BackendChoice::Bpf => Ok((Self::Bpf(Box::new(BpfSweeper::open()?)), None)),
            BackendChoice::Auto => match BpfSweeper::open() {
                Ok(sweeper) => Ok((Self::Bpf(Box::new(sweeper)), None)),
                Err(error) => Ok((
                    netlink()?,
                    Some(format!(
                        "keep-alive values and probing are missing, by netlink alone: {error}"
                    )),
                )),
            },
        }
    }

    /// Hands every selected socket of the namespace to `visit`, each once.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel stops answering.
    pub fn sweep(
        &mut self,
        namespace: &Namespace,
        selection: &Selection,
        visit: impl FnMut(&Swept<'_>),
    ) -> Result<SweepCount> {
        match self {
            Self::Bpf(sweeper) => sweeper.sweep(namespace, selection, visit),
            Self::SockDiag(sweeper) => sweeper.sweep(namespace, selection, visit),
        }
    }

    /// Finds who holds which socket.
    ///
    /// # Errors
    /// When the kernel stops answering.
    pub fn owners(&mut self) -> Result<Owners> {
        match self {
            Self::Bpf(sweeper) => Owners::by_bpf(sweeper),
            Self::SockDiag(_) => Ok(Owners::by_proc()),
        }
    }
}

/// Cookies seen in one namespace: the kernel can hand a socket out twice when
/// its table changes under the walk.
#[derive(Debug, Default)]
struct Seen {
    cookies: HashSet<u64, BuildHasherDefault<CookieHasher>>,
}

impl Seen {
    /// Whether the cookie is seen for the first time.
    fn first_time(&mut self, cookie: u64) -> bool {
        self.cookies.insert(cookie)
    }
}

/// Cookies are counters of the kernel's, not of an adversary's choosing: a
/// multiplication spreads them well enough.
#[derive(Debug, Default)]
struct CookieHasher(u64);

impl Hasher for CookieHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, cookie: u64) {
        // 2⁶⁴ divided by the golden ratio: Fibonacci hashing.
        self.0 = cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}
