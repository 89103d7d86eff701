//! The sweep by BPF iterators.

use super::{Record, Seen, SweepCount, Swept};
use crate::bpf::sweep::types::{tcpalive_descriptor, tcpalive_pulse, tcpalive_selection};
use crate::bpf::sweep::{SweepSkel, SweepSkelBuilder};
use crate::bpf::{Plain, create_iterator, object_storage, read_start, silence_libbpf};
use crate::clock::{KernelClock, process_monotonic_ns};
use crate::error::{Doing, Error, Result};
use crate::netns::Namespace;
use crate::slab::SlabSizes;
use crate::sysctl::Settings;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, ProgramInput, ProgramMut};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::mpsc::sync_channel;
use tcpalive_connections::{Connection, KeepAlive, Origin, Prefix, Selection, State};

/// Bytes that one read of an iterator can take. The kernel fills at most
/// eight pages at a time (`bpf_seq_read`); several reads make a chunk.
const READ: usize = 64 << 10;
/// Bytes handed from the reading to the decoding thread at a time.
const CHUNK: usize = 512 << 10;

/// Bytes of a record that is not for probing.
const LISTED: usize = std::mem::offset_of!(Record, snd_wnd);

/// Flags and kinds of record.h; the generated types leave enums out.
const KIND_FULL: u8 = 0;
const FLAG_KEEPOPEN: u8 = 1;

/// What can change about a connection while it is being checked.
pub type Pulse = tcpalive_pulse;

/// The sweep by BPF iterators: its programs are loaded once, and an iterator
/// is made for each namespace and pass.
pub struct BpfSweeper {
    skeleton: SweepSkel<'static>,
    sockets: Link,
    pulses: Link,
    descriptors: Link,
    clock: KernelClock,
    sizes: SlabSizes,
}

impl std::fmt::Debug for BpfSweeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BpfSweeper")
            .field("clock", &self.clock)
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

impl BpfSweeper {
    /// Loads the programs.
    ///
    /// # Errors
    /// When the kernel has no BTF or no such iterators, or the user no right
    /// to load them (CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN).
    pub fn open() -> Result<Self> {
        silence_libbpf();
        if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
            return Err(Error::NotAllowed {
                doing: "loading the BPF iterators".into(),
                why: "this kernel has no BTF (/sys/kernel/btf/vmlinux)".into(),
                remedy: "It needs a kernel built with CONFIG_DEBUG_INFO_BTF.".into(),
            });
        }
        let loading = || "loading the BPF iterators".to_string();
        let skeleton = SweepSkelBuilder::default()
            .open(object_storage())
            .doing(loading)?
            .load()
            .doing(loading)?;
        let attach = |program: &ProgramMut<'_>| {
            program
                .attach()
                .doing(|| "attaching the BPF iterators".into())
        };
        let sockets = attach(&skeleton.progs.sweep_sockets)?;
        let pulses = attach(&skeleton.progs.pulse_sockets)?;
        let descriptors = attach(&skeleton.progs.sweep_descriptors)?;

        skeleton
            .progs
            .clock
            .test_run(ProgramInput::default())
            .doing(|| "reading the kernel's clocks".into())?;
        let process_ns = process_monotonic_ns();
        let facts = skeleton
            .maps
            .bss_data
            .as_deref()
            .expect("the object has variables");
        let clock =
            KernelClock::from_readings(facts.clock_jiffies, facts.clock_monotonic_ns, process_ns)?;
        let sizes = SlabSizes::of_this_kernel(Some(u64::from(facts.size_of_tcp_sock)));
        Ok(Self {
            skeleton,
            sockets,
            pulses,
            descriptors,
            clock,
            sizes,
        })
    }

    /// The kernel's clocks.
    #[must_use]
    pub const fn clock(&self) -> KernelClock {
        self.clock
    }

    /// See [`super::Sweeper::sweep`].
    ///
    /// # Errors
    /// When the namespace cannot be entered or the iterator cannot be read.
    pub fn sweep(
        &mut self,
        namespace: &Namespace,
        selection: &Selection,
        visit: impl FnMut(&Swept<'_>),
    ) -> Result<SweepCount> {
        self.sweep_sockets(namespace, selection, false, visit)
    }

    /// The same with what probes are built from: only then does
    /// [`Swept::transmission`] give anything.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the iterator cannot be read.
    pub fn sweep_for_probing(
        &mut self,
        namespace: &Namespace,
        selection: &Selection,
        visit: impl FnMut(&Swept<'_>),
    ) -> Result<SweepCount> {
        self.sweep_sockets(namespace, selection, true, visit)
    }

    fn sweep_sockets(
        &mut self,
        namespace: &Namespace,
        selection: &Selection,
        for_probing: bool,
        mut visit: impl FnMut(&Swept<'_>),
    ) -> Result<SweepCount> {
        // The kernel's tables are the whole host's: an empty namespace costs
        // as much as a full one.
        if !namespace.has_tcp_sockets()? {
            return Ok(SweepCount::default());
        }
        let settings = Settings::of(namespace)?;
        let iterator = self.iterate(namespace, selection, for_probing, |this| &this.sockets)?;
        let (clock, sizes) = (self.clock, self.sizes);
        let mut seen = Seen::default();
        let mut count = SweepCount::default();
        let stride = if for_probing {
            size_of::<Record>()
        } else {
            LISTED
        };
        read_records::<Record>(iterator, stride, |record| {
            if !seen.first_time(record.cookie) {
                count.repeated += 1;
                return;
            }
            if let Some(connection) =
                connection(record, namespace.inode(), &settings, &clock, &sizes)
            {
                count.seen += 1;
                visit(&Swept {
                    connection,
                    record: Some((record, &settings, &clock)),
                    for_probing,
                });
            }
        })
        .doing(|| {
            format!(
                "sweeping the sockets of network namespace {}",
                namespace.label()
            )
        })?;
        Ok(count)
    }

    /// Hands out the pulse of every full socket that `selection` selects by
    /// its addresses and ports.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the iterator cannot be read.
    pub fn pulses(
        &mut self,
        namespace: &Namespace,
        selection: &Selection,
        mut visit: impl FnMut(&Pulse),
    ) -> Result<()> {
        let iterator = self.iterate(namespace, &selection.lasting(), false, |this| &this.pulses)?;
        read_records::<Pulse>(iterator, size_of::<Pulse>(), |pulse| visit(pulse)).doing(|| {
            format!(
                "sweeping the sockets of network namespace {}",
                namespace.label()
            )
        })
    }

    /// Hands out every descriptor that refers to a TCP socket.
    pub(crate) fn descriptors(
        &mut self,
        mut visit: impl FnMut(&tcpalive_descriptor),
    ) -> Result<()> {
        let iterator = create_iterator(&self.descriptors)
            .doing(|| "opening the iterator over descriptors".into())?;
        read_records::<tcpalive_descriptor>(
            iterator,
            size_of::<tcpalive_descriptor>(),
            |descriptor| {
                visit(descriptor);
            },
        )
        .doing(|| "sweeping the descriptors of all processes".into())
    }

    /// Opens an iterator over the namespace's sockets: it walks the namespace
    /// of the thread that creates it.
    fn iterate(
        &mut self,
        namespace: &Namespace,
        selection: &Selection,
        for_probing: bool,
        link: impl Fn(&Self) -> &Link,
    ) -> Result<OwnedFd> {
        let variables = self
            .skeleton
            .maps
            .bss_data
            .as_deref_mut()
            .expect("the object has variables");
        variables.selection = tcpalive_selection {
            for_probing: u32::from(for_probing),
            ..kernel_selection(selection, &self.clock)
        };
        let opening = || {
            format!(
                "opening the iterator over network namespace {}",
                namespace.label()
            )
        };
        namespace
            .enter(|| create_iterator(link(self)))?
            .doing(opening)
    }
}

/// Reads records of one type until the iterator ends, of which the first
/// `stride` bytes are handed out; what is behind them is 0. A second thread reads
/// while this one decodes, since half the time is the kernel's.
fn read_records<T: Plain + Default + Send>(
    iterator: OwnedFd,
    stride: usize,
    mut visit: impl FnMut(&T),
) -> io::Result<()> {
    let (filled_tx, filled_rx) = sync_channel::<Vec<u8>>(4);
    let (empty_tx, empty_rx) = sync_channel::<Vec<u8>>(4);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || -> io::Result<()> {
            let mut carried = Vec::new();
            loop {
                let mut chunk = empty_rx.try_recv().unwrap_or_default();
                chunk.clear();
                chunk.append(&mut carried);
                let ended = fill(&iterator, &mut chunk)?;
                // A read ends between records, but nothing promises it.
                let whole = chunk.len() - chunk.len() % stride;
                carried.extend_from_slice(&chunk[whole..]);
                chunk.truncate(whole);
                if filled_tx.send(chunk).is_err() || ended {
                    return Ok(());
                }
            }
        });
        for chunk in filled_rx {
            for bytes in chunk.chunks_exact(stride) {
                visit(&read_start::<T>(bytes));
            }
            // The reader may have ended.
            let _ = empty_tx.try_send(chunk);
        }
        reader.join().expect("the reading thread does not panic")
    })
}

/// Appends to `chunk` until it is full (`false`) or the iterator ends (`true`).
fn fill(iterator: &OwnedFd, chunk: &mut Vec<u8>) -> io::Result<bool> {
    chunk.reserve(CHUNK);
    loop {
        let room = chunk.len();
        if room + READ > CHUNK {
            return Ok(false);
        }
        chunk.resize(room + READ, 0);
        let read = rustix::io::read(iterator, &mut chunk[room..]);
        chunk.truncate(room + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            // A million sockets in a row were not selected (MAX_ITER_OBJECTS).
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn kernel_selection(selection: &Selection, clock: &KernelClock) -> tcpalive_selection {
    let words = |bits: u128| {
        let bytes = bits.to_be_bytes();
        std::array::from_fn(|word| {
            u32::from_ne_bytes(
                bytes[4 * word..4 * word + 4]
                    .try_into()
                    .expect("four bytes of sixteen"),
            )
        })
    };
    let net = |prefix: Prefix| {
        (
            words(u128::from(prefix.address())),
            words(Prefix::mask(prefix.length())),
        )
    };
    let (local, local_mask) = net(selection.local);
    let (remote, remote_mask) = net(selection.remote);
    tcpalive_selection {
        states: u32::from(selection.states.bits()),
        // One tick of tolerance: the exact time is compared later.
        idle_jiffies: clock.jiffies(selection.idle_at_least_ms).saturating_sub(1),
        local_port_low: selection.local_port.low,
        local_port_high: selection.local_port.high,
        remote_port_low: selection.remote_port.low,
        remote_port_high: selection.remote_port.high,
        either_port_low: selection.either_port.low,
        either_port_high: selection.either_port.high,
        keepalive: match selection.keepalive {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        },
        addresses: u16::from(selection.local != Prefix::ALL || selection.remote != Prefix::ALL),
        local,
        local_mask,
        remote,
        remote_mask,
        for_probing: 0,
    }
}

/// The record as the model has it; `None` for a state that no kernel has.
fn connection(
    record: &Record,
    netns: u64,
    settings: &Settings,
    clock: &KernelClock,
    sizes: &SlabSizes,
) -> Option<Connection> {
    let state = State::from_kernel(record.state)?;
    let is_full = record.kind == KIND_FULL;
    let is_connected = is_full && !matches!(state, State::Listen | State::Close);
    let ipv6 = record.flags & super::transmission::FLAG_IPV6_SOCKET != 0;
    let age = |since: u32| is_connected.then(|| clock.milliseconds(record.now.wrapping_sub(since)));
    let last_ack_ms = age(record.rcv_tstamp);
    let last_data_in_ms = age(record.lrcvtime);
    let objects = match (is_full, state) {
        (true, _) => {
            (if ipv6 { sizes.tcp6 } else { sizes.tcp })
                + if record.inode == 0 { 0 } else { sizes.file }
        }
        (false, State::TimeWait) => sizes.time_wait,
        (false, _) => sizes.request,
    };
    let queued = u64::from(record.wmem_queued)
        + u64::from(record.rmem_alloc)
        + u64::try_from(record.forward_alloc).unwrap_or(0);
    Some(Connection {
        netns,
        cookie: record.cookie,
        local: socket_address(record.local, record.local_port),
        remote: socket_address(record.remote, record.remote_port),
        state,
        uid: record.uid,
        inode: record.inode,
        cgroup_id: (record.cgroup_id != 0).then_some(record.cgroup_id),
        keepalive: is_full.then(|| keepalive(record, settings, clock)),
        probes_out: is_connected.then_some(u32::from(record.probes_out)),
        last_heard_ms: last_ack_ms
            .zip(last_data_in_ms)
            .map(|(ack, data)| ack.min(data)),
        last_ack_ms,
        last_data_in_ms,
        last_data_out_ms: age(record.lsndtime),
        unacked_bytes: is_connected.then(|| u64::from(record.snd_nxt.wrapping_sub(record.snd_una))),
        unsent_bytes: is_connected
            .then(|| u64::from(record.write_seq.wrapping_sub(record.snd_nxt))),
        retransmits: is_connected.then_some(u32::from(record.retransmits)),
        memory_bytes: objects + queued,
    })
}

/// `keepalive_time_when` and its siblings: the socket's value, or the
/// namespace's where it is 0.
fn keepalive(record: &Record, settings: &Settings, clock: &KernelClock) -> KeepAlive {
    let seconds = |jiffies: u32, sysctl: i64| match jiffies {
        0 => sysctl,
        jiffies => i64::from(jiffies / clock.hz()),
    };
    let own =
        record.keepalive_time != 0 || record.keepalive_intvl != 0 || record.keepalive_probes != 0;
    KeepAlive {
        enabled: record.flags & FLAG_KEEPOPEN != 0,
        idle_s: seconds(record.keepalive_time, settings.keepalive_time_s),
        interval_s: seconds(record.keepalive_intvl, settings.keepalive_interval_s),
        count: match record.keepalive_probes {
            0 => settings.keepalive_probes,
            probes => u32::from(probes),
        },
        from: if own { Origin::Socket } else { Origin::Sysctl },
        user_timeout_ms: record.user_timeout,
    }
}

/// v4-mapped addresses become IPv4.
fn socket_address(bytes: [u8; 16], port: u16) -> SocketAddr {
    let address = Ipv6Addr::from(bytes);
    let ip = match address.to_ipv4_mapped() {
        Some(v4) => IpAddr::V4(v4),
        None => IpAddr::V6(address),
    };
    SocketAddr::new(ip, port)
}
