//! Keep-alive options of other programs' sockets, set by cookie.
//!
//! An iterator over the namespace's sockets compares each with what it had
//! when the change was decided, and makes the whole change under the socket's
//! lock (`bpf/setopt.bpf.c`), or says what stands against it. Where BPF is not
//! to be had, descriptors of the holders do what they can.

mod descriptors;

use crate::bpf::setopt::types::{tcpalive_change, tcpalive_options};
use crate::bpf::setopt::{SetoptSkel, SetoptSkelBuilder};
use crate::bpf::{bytes_of, create_iterator, object_storage, read_plain, silence_libbpf};
use crate::error::{Doing, Result};
use crate::netns::Namespace;
use crate::owners::Owners;
use crate::sysctl::KeepaliveSysctls;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags};
use std::io;
use tcpalive_keepalive::{Count, Options, Seconds, UserTimeout};

/// Entries handed to the map at a time.
const BATCH: usize = 4096;

/// Options that a socket shall have in place of those it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Which socket.
    pub cookie: u64,
    /// Inode of its file.
    pub inode: u64,
    /// What it must still have of its own for the change to be made.
    pub before: Options,
    /// What it shall have. A value of its own cannot be taken from a socket:
    /// what is `None` here stays as it is.
    pub after: Options,
    /// The count in force then: its own or the namespace's.
    pub count_in_force: u32,
}

impl Change {
    /// Whether it sets a user timeout where none was, or a shorter one.
    fn shortens_user_timeout(&self) -> bool {
        let (was, is) = (self.before.user_timeout, self.after.user_timeout);
        is != UserTimeout::OFF && (was == UserTimeout::OFF || is < was)
    }
}

/// What became of a change.
#[derive(Debug)]
pub enum Outcome {
    /// It was made. (In a dry run: it would have been.)
    Changed,
    /// The socket is not there any more.
    Gone,
    /// It has other options than those of [`Change::before`].
    OtherOptions(Options),
    /// It is in a state that keep-alive means nothing in.
    OtherState,
    /// No program can reach it any more.
    NoOwner,
    /// So many probes are unanswered that the kernel would end the connection
    /// the next time its timer fires, without another probe.
    Unanswered(u32),
    /// Data is being retransmitted, perhaps for longer than the user timeout.
    Retransmitting,
    /// The peer does not read, perhaps for longer than the user timeout.
    WindowClosed,
    /// No descriptor of it can be had, for this reason.
    Unreachable(&'static str),
    /// The kernel refused; the socket has these options now.
    Failed(io::Error, Options),
}

/// Sets options of sockets.
#[derive(Debug, Clone, Copy)]
pub struct Setter<'a> {
    way: Way<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Way<'a> {
    Bpf { hz: u32 },
    Descriptors(&'a Owners),
}

impl<'a> Setter<'a> {
    /// By a BPF iterator. Makes sure that its program can be loaded. `hz` is
    /// the kernel's tick rate: [`KernelClock::hz`](crate::clock::KernelClock::hz).
    ///
    /// # Errors
    /// When the kernel has no `bpf_setsockopt` in iterators (before Linux
    /// 5.16), or this user may not load it.
    pub fn by_bpf(hz: u32) -> Result<Self> {
        load(1, true).doing(|| "loading the iterator that sets options".into())?;
        Ok(Self {
            way: Way::Bpf { hz },
        })
    }

    /// Through the descriptors of these owners, as far as this user may.
    #[must_use]
    pub const fn by_descriptors(owners: &'a Owners) -> Self {
        Self {
            way: Way::Descriptors(owners),
        }
    }

    /// The options of a socket whose sweep does not tell them.
    ///
    /// # Errors
    /// Why they cannot be known.
    pub fn read(
        &self,
        inode: u64,
        cookie: u64,
        sysctls: &KeepaliveSysctls,
    ) -> Result<Options, Outcome> {
        match self.way {
            // The sweep tells all that have any.
            Way::Bpf { .. } => Err(Outcome::OtherState),
            Way::Descriptors(owners) => descriptors::read(owners, inode, cookie, sysctls),
        }
    }

    /// Makes each change, or in a dry run none, in one walk over the sockets
    /// of the namespace. The outcomes are in the order of `changes`.
    ///
    /// # Errors
    /// When nothing could be tried at all; nothing was changed then.
    pub fn set(
        &self,
        namespace: &Namespace,
        sysctls: &KeepaliveSysctls,
        changes: &[Change],
        dry_run: bool,
    ) -> Result<Vec<Outcome>> {
        match self.way {
            Way::Bpf { hz } => set_by_bpf(namespace, hz, changes, dry_run),
            Way::Descriptors(owners) => Ok(changes
                .iter()
                .map(|change| descriptors::set(owners, change, sysctls, dry_run))
                .collect()),
        }
    }
}

fn set_by_bpf(
    namespace: &Namespace,
    hz: u32,
    changes: &[Change],
    dry_run: bool,
) -> Result<Vec<Outcome>> {
    let loading = || "loading the iterator that sets options".to_string();
    let skeleton = load(changes.len(), dry_run).doing(loading)?;
    for batch in changes.chunks(BATCH) {
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for change in batch {
            keys.extend_from_slice(&change.cookie.to_ne_bytes());
            values.extend_from_slice(bytes_of(&entry(change, hz)));
        }
        let count = batch.len() as u32;
        let map = &skeleton.maps.changes;
        map.update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY)
            .doing(|| "noting the options to set".into())?;
    }
    let link = skeleton.progs.set_options.attach().doing(loading)?;
    let iterator = namespace.enter(|| create_iterator(&link))?.doing(loading)?;
    // It writes nothing: one read walks all sockets, or a million of them.
    let walked = loop {
        match rustix::io::read(&iterator, &mut [0_u8; 64][..]) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    let outcome = |change: &Change| {
        let key = change.cookie.to_ne_bytes();
        let Ok(Some(bytes)) = skeleton.maps.changes.lookup(&key, MapFlags::ANY) else {
            let lost = io::Error::other("the kernel lost the entry of this socket");
            return Outcome::Failed(lost, change.before);
        };
        let entry: tcpalive_change = read_plain(&bytes);
        let now = options(&entry.now, hz);
        match (entry.result, walked) {
            (0, Ok(_)) => Outcome::Gone,
            (0, Err(errno)) => Outcome::Failed(errno.into(), change.before),
            (1, _) => Outcome::Changed,
            (2, _) => Outcome::OtherOptions(now),
            (3, _) => Outcome::OtherState,
            (4, _) => Outcome::NoOwner,
            (5, _) => Outcome::Unanswered(entry.probes_out),
            (6, _) => Outcome::Retransmitting,
            (7, _) => Outcome::WindowClosed,
            _ => Outcome::Failed(io::Error::from_raw_os_error(-(entry.error as i32)), now),
        }
    };
    Ok(changes.iter().map(outcome).collect())
}

fn entry(change: &Change, hz: u32) -> tcpalive_change {
    let Change { before, after, .. } = change;
    let seconds = |before: Option<Seconds>, after: Option<Seconds>| match after {
        Some(after) if before != Some(after) => u32::from(after.get()),
        _ => 0,
    };
    let (was, is) = (before.user_timeout, after.user_timeout);
    tcpalive_change {
        before: tcpalive_options {
            idle: before.idle.map_or(0, |idle| u32::from(idle.get()) * hz),
            interval: before
                .interval
                .map_or(0, |interval| u32::from(interval.get()) * hz),
            user_timeout: was.as_millis(),
            count: before.count.map_or(0, |count| u16::from(count.get())),
            enabled: u16::from(before.enabled),
        },
        now: tcpalive_options::default(),
        idle_s: seconds(before.idle, after.idle),
        interval_s: seconds(before.interval, after.interval),
        count: match after.count {
            Some(count) if before.count != Some(count) => u32::from(count.get()),
            _ => 0,
        },
        user_timeout: is.as_millis(),
        sets_user_timeout: u8::from(was != is),
        shortens_user_timeout: u8::from(change.shortens_user_timeout()),
        user_timeout_in_force: u8::from(is != UserTimeout::OFF),
        enabled: u8::from(after.enabled),
        count_in_force: change.count_in_force,
        probes_out: 0,
        result: 0,
        error: 0,
    }
}

fn load(entries: usize, dry_run: bool) -> libbpf_rs::Result<SetoptSkel<'static>> {
    silence_libbpf();
    let mut open = SetoptSkelBuilder::default().open(object_storage())?;
    open.maps
        .changes
        .set_max_entries(u32::try_from(entries.max(1)).unwrap_or(u32::MAX))?;
    let variables = open.maps.bss_data.as_deref_mut();
    variables.expect("the object has variables").dry_run = dry_run;
    open.load()
}

fn options(raw: &tcpalive_options, hz: u32) -> Options {
    own_options(
        raw.enabled != 0,
        (raw.idle, raw.interval),
        u32::from(raw.count),
        raw.user_timeout,
        hz,
    )
}

/// A socket's own options from the kernel's fields. Linux lets sockets have
/// no values that [`Options`] cannot hold.
pub(crate) fn own_options(
    enabled: bool,
    (idle, interval): (u32, u32),
    count: u32,
    user_timeout: u32,
    hz: u32,
) -> Options {
    Options {
        enabled,
        idle: Seconds::new(idle / hz),
        interval: Seconds::new(interval / hz),
        count: Count::new(count),
        user_timeout: UserTimeout::from_millis(u64::from(user_timeout)).unwrap_or(UserTimeout::MAX),
    }
}
