//! Live captures through libpcap, and its filter language.
//!
//! * [`Live`]: packets of one interface, or of all, of a network namespace.
//! * [`PcapFilter`]: a compiled filter for packets that come from elsewhere.
//! * [`interfaces`]: what can be captured on.

mod filter;

use crate::error::{Doing, Error, Result};
use crate::netns::Namespace;
pub use filter::PcapFilter;
use pcap::{Active, Capture, Device, Linktype};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The name that stands for all interfaces of a namespace.
pub const ANY: &str = "any";

/// Linux "cooked", with the interface's index in each packet.
const LINUX_SLL2: Linktype = Linktype(276);

/// What to capture, and with how much room.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// An interface's name, or [`ANY`].
    pub interface: String,
    /// Bytes of a packet that are kept, 1 to 262,144.
    pub snap_length: u32,
    /// The ring that the kernel fills while nobody reads, in bytes.
    pub buffer: u32,
    /// How long the kernel may keep packets back to hand out many at once, in
    /// milliseconds.
    pub delay_ms: u32,
    /// Packets are handed out one by one at once. The ring then has a slot of
    /// the snap length for each packet, so it holds far fewer.
    pub immediate: bool,
    /// The interface also takes what is sent to others. [`ANY`] never does.
    pub promiscuous: bool,
}

/// A packet as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// Nanoseconds since the Unix epoch, in whole microseconds.
    pub time: u64,
    /// The bytes that were kept.
    pub data: &'a [u8],
    /// Bytes that the packet had.
    pub original_len: u32,
}

/// How many packets there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Those that the filter let pass, dropped ones too.
    pub received: u32,
    /// Those that found no room in the ring.
    pub dropped: u32,
    /// Those that the interface or its driver dropped.
    pub dropped_by_interface: u32,
}

/// A capture under way. It can be polled: its descriptor is readable when
/// packets wait.
pub struct Live {
    capture: Capture<Active>,
    names: InterfaceNames,
    interface: String,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// Begins to capture in the namespace, without a filter.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such interface;
    /// [`Error::NotAllowed`] without CAP_NET_RAW, or without CAP_SYS_ADMIN
    /// for another namespace; what libpcap says otherwise.
    pub fn open(namespace: &Namespace, options: &LiveOptions) -> Result<Self> {
        namespace.enter(|| Self::open_here(namespace, options))?
    }

    fn open_here(namespace: &Namespace, options: &LiveOptions) -> Result<Self> {
        let interface = &options.interface;
        let place = namespace.label();
        let doing = || format!("opening {interface} in network namespace {place}");
        let names = InterfaceNames::here()?;
        if interface != ANY && !names.has(interface) {
            let others: Vec<String> = interfaces_here()?
                .into_iter()
                .map(|other| other.name)
                .collect();
            return Err(Error::NotFound(format!(
                "there is no interface '{interface}' in network namespace {place}; there are: {}",
                others.join(", ")
            )));
        }
        may_capture(&doing)?;
        let error = |error| pcap_error(&doing(), &error);
        let mut capture = Capture::from_device(interface.as_str())
            .map_err(error)?
            .snaplen(clamp(options.snap_length))
            .buffer_size(clamp(options.buffer))
            .timeout(clamp(options.delay_ms.max(1)))
            .immediate_mode(options.immediate)
            .promisc(options.promiscuous)
            .open()
            .map_err(error)?
            .setnonblock()
            .map_err(error)?;
        if interface == ANY {
            capture.set_datalink(LINUX_SLL2).map_err(error)?;
        }
        Ok(Self {
            capture,
            names,
            interface: interface.clone(),
        })
    }

    /// What packets begin with: a number of the registry of link types.
    #[must_use]
    pub fn link(&self) -> u16 {
        // Only link types of links that carry TCP differ between systems.
        u16::try_from(self.capture.get_datalink().0).unwrap_or(u16::MAX)
    }

    /// The link type as libpcap calls it, and in words.
    #[must_use]
    pub fn link_name(&self) -> String {
        let link = self.capture.get_datalink();
        let name = link.get_name().unwrap_or_else(|_| link.0.to_string());
        match link.get_description() {
            Ok(words) => format!("{name} ({words})"),
            Err(_) => name,
        }
    }

    /// From now on only packets that fulfil the filter are handed out. Those
    /// in the ring that do not are taken out of it.
    ///
    /// # Errors
    /// What libpcap says about the filter.
    pub fn set_filter(&mut self, filter: &str) -> std::result::Result<(), String> {
        self.capture
            .filter(filter, true)
            .map_err(|error| filter::text(&error))
    }

    /// Hands out packets that wait, at most `limit` and no more than the
    /// kernel has made ready, and says how many. It does not wait for any.
    ///
    /// # Errors
    /// When the interface went away or down.
    pub fn receive(
        &mut self,
        limit: Option<u64>,
        mut visit: impl FnMut(Captured<'_>),
    ) -> Result<usize> {
        let limit = limit.map(|limit| usize::try_from(limit).map_or(MOST, |limit| limit.min(MOST)));
        let result = self.capture.dispatch(limit, |packet| {
            let stamp = packet.header.ts;
            let micros = stamp.tv_sec * 1_000_000 + stamp.tv_usec;
            visit(Captured {
                // The kernel's clock is after 1970.
                time: u64::try_from(micros).unwrap_or(0) * 1000,
                data: packet.data,
                original_len: packet.header.len,
            });
        });
        result.map_err(|error| pcap_error(&format!("capturing on {}", self.interface), &error))
    }

    /// Packets so far.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn statistics(&mut self) -> Result<Statistics> {
        let stat = self
            .capture
            .stats()
            .map_err(|error| pcap_error("asking for the drops", &error))?;
        Ok(Statistics {
            received: stat.received,
            dropped: stat.dropped,
            dropped_by_interface: stat.if_dropped,
        })
    }

    /// The names of the namespace's interfaces.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn names(&self) -> Result<InterfaceNames> {
        let socket = self
            .names
            .socket
            .try_clone()
            .doing(|| "keeping the names of interfaces".into())?;
        Ok(InterfaceNames { socket })
    }

    /// What is captured on: an interface, or [`ANY`].
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }
}

impl AsFd for Live {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }
}

/// The interfaces of one namespace by name, wherever the thread is later.
#[derive(Debug)]
pub struct InterfaceNames {
    /// Any socket knows the interfaces of the namespace it was made in.
    socket: OwnedFd,
}

impl InterfaceNames {
    /// Those of the calling thread's namespace.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub fn here() -> Result<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .doing(|| "opening a socket".into())?;
        Ok(Self { socket })
    }

    /// The name of the interface with this index, if there is one.
    #[must_use]
    pub fn name(&self, index: u32) -> Option<String> {
        netdevice::index_to_name(&self.socket, index).ok()
    }

    fn has(&self, name: &str) -> bool {
        netdevice::name_to_index(&self.socket, name).is_ok()
    }
}

/// Packets that are asked for at once.
const MOST: usize = 1 << 20;

/// An interface that can be captured on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What libpcap says of it.
    pub description: Option<String>,
    /// Whether it is up.
    pub is_up: bool,
}

/// The interfaces of the namespace, with [`ANY`], in libpcap's order and
/// words. What libpcap has beside them (Bluetooth, D-Bus) carries no TCP.
///
/// # Errors
/// When the namespace may not be entered, or libpcap cannot list them.
pub fn interfaces(namespace: &Namespace) -> Result<Vec<Interface>> {
    namespace.enter(interfaces_here)?
}

fn interfaces_here() -> Result<Vec<Interface>> {
    let devices = Device::list().map_err(|error| pcap_error("listing the interfaces", &error))?;
    let names = InterfaceNames::here()?;
    Ok(devices
        .into_iter()
        .filter(|device| device.name == ANY || names.has(&device.name))
        .map(|device| Interface {
            is_up: device.flags.is_up(),
            name: device.name,
            description: device.desc,
        })
        .collect())
}

/// libpcap tells a lack of rights in words only: ask the kernel itself.
fn may_capture(doing: &dyn Fn() -> String) -> Result<()> {
    match socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    ) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => Err(Error::NotAllowed {
            doing: doing(),
            why: "packet sockets need CAP_NET_RAW".into(),
            remedy: "Run it as root, or with that capability; a file is read (-r) without.".into(),
        }),
        Err(errno) => Err(Error::system(doing(), errno)),
    }
}

fn pcap_error(doing: &str, error: &pcap::Error) -> Error {
    Error::System {
        doing: doing.to_owned(),
        source: std::io::Error::other(filter::text(error)),
    }
}

fn clamp(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
