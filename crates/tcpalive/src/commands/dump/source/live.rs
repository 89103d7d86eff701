//! Packets of interfaces, as they pass.

use super::{End, Event, NameCache, Stop, TcpPacket, Visit, cooked};
use crate::cli::Failure;
use std::os::fd::AsFd;
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
        })
    }

    pub(super) fn each(&mut self, count: Option<u64>, visit: Visit<'_>) -> Result<End, Failure> {
        let link = self.link();
        let one = (self.live.interface() != ANY).then(|| self.live.interface().to_owned());
        let mut passed = 0;
        loop {
            let missing = count.map(|count| count - passed);
            if missing == Some(0) || self.stop.is_requested() {
                return Ok(End::Done);
            }
            let mut failure = None;
            let (names, taken) = (&mut self.names, &mut self.taken);
            let received = self.live.receive(missing, |captured| {
                if failure.is_some() {
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
                self.stop.wait(self.live.as_fd())?;
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
