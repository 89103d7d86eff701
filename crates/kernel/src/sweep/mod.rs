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
pub use sock_diag::{SockDiagSweeper, armed_keepalive_timers};
pub use transmission::{TimestampClock, Transmission, retransmission_limit_ms};

use crate::bpf::sweep::types::tcpalive_record as Record;
use crate::error::Result;
use crate::netns::Namespace;
use crate::owners::Owners;
use crate::setopt::own_options;
use crate::sysctl::Settings;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use tcpalive_connections::{Connection, Selection};
use tcpalive_keepalive::Options;

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
    for_probing: bool,
}

impl Swept<'_> {
    /// What a probe is built from and a stall is judged by; `None` unless the
    /// sweep was [for probing](BpfSweeper::sweep_for_probing), and for sockets that send nothing (time-wait,
    /// request sockets, listeners).
    #[must_use]
    pub fn transmission(&self) -> Option<Transmission> {
        let (record, settings, clock) = self.record.filter(|_| self.for_probing)?;
        Transmission::from_record(record, settings, clock)
    }

    /// The keep-alive options that the socket has of its own, where
    /// [`Connection::keepalive`] has those in force; `None` where it has.
    #[must_use]
    pub fn options(&self) -> Option<Options> {
        let (record, _, clock) = self.record?;
        let keepalive = self.connection.keepalive?;
        Some(own_options(
            keepalive.enabled,
            (record.keepalive_time, record.keepalive_intvl),
            u32::from(record.keepalive_probes),
            record.user_timeout,
            clock.hz(),
        ))
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
/// its table changes under the walk. They are counted, so most are close
/// together: bits in pages of a cache line each, where a hash table of cookies
/// takes a cache miss for each of a million.
#[derive(Debug, Default)]
struct Seen {
    /// Which of `pages` has the cookies from this multiple of 512 on.
    index: HashMap<u64, usize, BuildHasherDefault<CookieHasher>>,
    pages: Vec<[u64; PAGE_WORDS]>,
}

/// 512 cookies in 64 bytes: what one cookie far from all others costs.
const PAGE_WORDS: usize = 8;

impl Seen {
    /// Whether the cookie is seen for the first time.
    fn first_time(&mut self, cookie: u64) -> bool {
        let number = cookie / (64 * PAGE_WORDS as u64);
        let page = *self.index.entry(number).or_insert_with(|| {
            self.pages.push([0; PAGE_WORDS]);
            self.pages.len() - 1
        });
        let word = &mut self.pages[page][(cookie / 64) as usize % PAGE_WORDS];
        let bit = 1 << (cookie % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

/// Numbers of pages are not of an adversary's choosing: a multiplication
/// spreads them well enough.
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

    fn write_u64(&mut self, number: u64) {
        // 2⁶⁴ divided by the golden ratio: Fibonacci hashing.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_seen_for_the_first_time_once() {
        let mut seen = Seen::default();
        let cookies =
            (0..2_000_u64)
                .map(|n| n * 7 % 4_099)
                .chain([u64::MAX, u64::MAX - 512, 1 << 40]);
        let cookies: std::collections::BTreeSet<u64> = cookies.collect();
        for cookie in &cookies {
            assert!(seen.first_time(*cookie), "{cookie}");
        }
        for cookie in &cookies {
            assert!(!seen.first_time(*cookie), "{cookie}");
        }
        assert!(seen.first_time(5_000));
    }
}
