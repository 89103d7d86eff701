//! Packets of interfaces, as they pass.

use super::{End, Event, NameCache, Stop, TcpPacket, Visit, cooked};
use crate::cli::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tcpalive_capture::{Link, ip_packet};
use tcpalive_kernel::Error;
use tcpalive_kernel::live::{ANY, Live, LiveOptions, PcapFilter, Statistics};
use tcpalive_kernel::netns::Namespace;

/// A capture under way.
#[derive(Debug)]
pub(in super::super) struct LiveSource {
    live: Live,
    names: NameCache,
    stop: Stop,
    taken: u64,
    namespace: String,
    snap_length: u32,
    /// How long the kernel may keep packets back.
    delay: Duration,
}

impl LiveSource {
    pub(super) fn open(
        namespace: &Namespace,
        options: &LiveOptions,
        filter: &str,
        stop: Stop,
    ) -> Result<Self, Failure> {
        let mut live = Live::open(namespace, options).map_err(|error| match error {
            Error::NotFound(text) => Failure::Usage(text),
            error => error.into(),
        })?;
        let filter = with_tcp(live.link(), filter)?;
        live.set_filter(&filter)
            .map_err(|error| bad_filter(&filter, &error))?;
        Ok(Self {
            names: NameCache::new(live.names()?),
            live,
            stop,
            taken: 0,
            namespace: namespace.label().to_owned(),
            snap_length: options.snap_length,
            delay: Duration::from_millis(options.delay_ms.into()),
        })
    }

    pub(super) fn each(&mut self, count: Option<u64>, visit: Visit<'_>) -> Result<End, Failure> {
        let link = self.link();
        let one = (self.live.interface() != ANY).then(|| self.live.interface().to_owned());
        let mut passed = 0;
        // Once it is told to stop: what was captured until then is still
        // handed out, and the kernel may keep that back for a while.
        let mut stopping: Option<Stopping> = None;
        loop {
            let missing = count.map(|count| count - passed);
            if missing == Some(0) || stopping.as_ref().is_some_and(Stopping::is_over) {
                return Ok(End::Done);
            }
            if stopping.is_none() && self.stop.is_requested() {
                stopping = Some(Stopping::begin(self.delay));
            }
            let mut failure = None;
            let (names, taken) = (&mut self.names, &mut self.taken);
            let received = self.live.receive(missing, |captured| {
                if failure.is_some() {
                    return;
                }
                if let Some(stopping) = &mut stopping
                    && stopping.is_later(captured.time)
                {
                    return;
                }
                *taken += 1;
                let Some(ip) = ip_packet(link, captured.data, captured.original_len) else {
                    return;
                };
                let cooked = cooked(link, captured.data);
                let packet = TcpPacket {
                    frame: *taken,
                    time: captured.time,
                    interface: match cooked {
                        Some((index, _)) => names.name(index),
                        None => one.as_deref(),
                    },
                    direction: cooked.map(|(_, direction)| direction),
                    link,
                    data: captured.data,
                    original_len: captured.original_len,
                    ip,
                    segment: ip.segment().ok(),
                };
                passed += 1;
                failure = visit(Event::Packet(&packet)).err();
            })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            if received == 0 {
                visit(Event::Waiting)?;
                match &stopping {
                    Some(stopping) => stopping.wait(self.live.as_fd())?,
                    None => self.stop.wait(self.live.as_fd())?,
                }
            }
        }
    }

    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn statistics(&mut self) -> Result<Statistics, Failure> {
        Ok(self.live.statistics()?)
    }

    pub(super) fn link(&self) -> Link {
        Link(self.live.link())
    }

    pub(super) fn listening(&self) -> String {
        format!(
            "listening on {}, network namespace {}, link-type {}, snapshot length {} bytes",
            self.live.interface(),
            self.namespace,
            self.live.link_name(),
            self.snap_length
        )
    }
}

/// The end of a capture that was told to stop.
struct Stopping {
    /// Nanoseconds since the Unix epoch, which packets have, too.
    asked: u64,
    until: Instant,
    /// A packet came that was captured later.
    passed: bool,
}

impl Stopping {
    fn begin(delay: Duration) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            asked: now.map_or(u64::MAX, |now| {
                u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
            }),
            // A block may just have been begun, and its timer be late.
            until: Instant::now() + 2 * delay,
            passed: false,
        }
    }

    fn is_over(&self) -> bool {
        self.passed || self.left().is_zero()
    }

    fn is_later(&mut self, time: u64) -> bool {
        self.passed |= time > self.asked;
        self.passed
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn wait(&self, source: BorrowedFd<'_>) -> io::Result<()> {
        let left = Timespec::try_from(self.left()).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The filter with `tcp` added. It stands behind, since words such as `vlan`
/// move where the rest of a filter looks. What carries TCP inside something
/// else ("udp port 4789") rejects all packets with it, and stays as it is:
/// packets without TCP are passed over later.
fn with_tcp(link: u16, filter: &str) -> Result<String, Failure> {
    if filter.trim().is_empty() {
        return Ok("tcp".to_owned());
    }
    PcapFilter::compile(link, filter).map_err(|error| bad_filter(filter, &error))?;
    let both = format!("({filter}) and tcp");
    Ok(match PcapFilter::compile(link, &both) {
        Ok(_) => both,
        Err(_) => filter.to_owned(),
    })
}

pub(super) fn bad_filter(filter: &str, error: &str) -> Failure {
    Failure::Usage(format!(
        "the filter '{filter}': {error}; pcap-filter(7) describes what can stand there"
    ))
}
