//! The columns of the table of connections: what stands in them.

use crate::render::findings::push_owners;
use crate::render::json::push_address;
use crate::render::line::Align;
use crate::render::style::Paint;
use crate::render::text::{Cut, push_clean};
use crate::render::units::{Bytes, Count, Span};
use std::fmt::Write as _;
use std::net::SocketAddr;
use tcpalive_connections::cgroup::systemd_unit;
use tcpalive_connections::{KeepAlive, Origin, View};

/// In the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    State,
    Local,
    Remote,
    KeepAlive,
    UserTimeout,
    Heard,
    Probes,
    DataIn,
    DataOut,
    Unacked,
    Unsent,
    Retransmits,
    Memory,
    Uid,
    Netns,
    Owner,
    Place,
}

/// Something that a socket does not have, or none of it.
const NONE: &str = "-";
/// Something that could not be read.
const UNKNOWN: &str = "?";

impl Column {
    pub(super) const ALL: [Self; 17] = [
        Self::State,
        Self::Local,
        Self::Remote,
        Self::KeepAlive,
        Self::UserTimeout,
        Self::Heard,
        Self::Probes,
        Self::DataIn,
        Self::DataOut,
        Self::Unacked,
        Self::Unsent,
        Self::Retransmits,
        Self::Memory,
        Self::Uid,
        Self::Netns,
        Self::Owner,
        Self::Place,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Local => "LOCAL",
            Self::Remote => "REMOTE",
            Self::KeepAlive => "KEEPALIVE",
            Self::UserTimeout => "USER TMO",
            Self::Heard => "HEARD",
            Self::Probes => "PROBES",
            Self::DataIn => "DATA IN",
            Self::DataOut => "DATA OUT",
            Self::Unacked => "UNACKED",
            Self::Unsent => "UNSENT",
            Self::Retransmits => "RETR",
            Self::Memory => "MEMORY",
            Self::Uid => "UID",
            Self::Netns => "NETNS",
            Self::Owner => "OWNER",
            Self::Place => "CONTAINER/UNIT",
        }
    }

    pub(super) const fn align(self) -> Align {
        match self {
            Self::State
            | Self::Local
            | Self::Remote
            | Self::KeepAlive
            | Self::Owner
            | Self::Place => Align::Left,
            _ => Align::Right,
        }
    }

    /// Addresses are never shortened: half an address names another host.
    pub(super) const fn cut(self) -> Cut {
        match self {
            Self::Local | Self::Remote => Cut::Never,
            Self::Place => Cut::Start,
            Self::Owner => Cut::Name,
            _ => Cut::End,
        }
    }

    /// Room that is kept for values longer than those of the first rows.
    pub(super) const fn least(self) -> usize {
        match self {
            Self::Heard | Self::DataIn | Self::DataOut => 7, // 23h 59m
            Self::Memory | Self::Unacked | Self::Unsent => 8, // 41.3 MiB
            _ => 0,
        }
    }

    /// Whether the cell says nothing.
    pub(super) fn is_empty(text: &str) -> bool {
        text == NONE || text == UNKNOWN || text.is_empty()
    }

    /// Appends the cell's text.
    pub(super) fn push(self, out: &mut Text<'_>, view: &View<'_>) -> Paint {
        let socket = view.connection;
        match self {
            Self::State => out.push_str(socket.state.name()),
            Self::Local => out.push_address(&socket.local),
            Self::Remote if socket.remote.ip().is_unspecified() => out.push_str(NONE),
            Self::Remote => out.push_address(&socket.remote),
            Self::KeepAlive => return push_keepalive(out.0, socket.keepalive.as_ref()),
            Self::UserTimeout => match socket.keepalive {
                None => out.push_str(UNKNOWN),
                Some(KeepAlive {
                    user_timeout_ms: 0, ..
                }) => out.push_str(NONE),
                Some(keepalive) => out.push(Span(keepalive.user_timeout_ms.into())),
            },
            Self::Heard => out.push_known(socket.last_heard_ms.map(Span)),
            Self::Probes => out.push_some(socket.probes_out.map(u64::from), Count),
            Self::DataIn => out.push_known(socket.last_data_in_ms.map(Span)),
            Self::DataOut => out.push_known(socket.last_data_out_ms.map(Span)),
            Self::Unacked => out.push_some(socket.unacked_bytes, Bytes),
            Self::Unsent => out.push_some(socket.unsent_bytes, Bytes),
            Self::Retransmits => out.push_some(socket.retransmits.map(u64::from), Count),
            Self::Memory => out.push(Bytes(socket.memory_bytes)),
            Self::Uid => out.push(socket.uid),
            Self::Netns => out.push(socket.netns),
            Self::Owner => push_owners(out.0, view.owners),
            Self::Place => push_place(out.0, view),
        }
        Paint::Plain
    }
}

/// Where a cell's text goes.
pub(super) struct Text<'a>(pub(super) &'a mut String);

impl Text<'_> {
    fn push_str(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn push(&mut self, value: impl std::fmt::Display) {
        write!(self.0, "{value}").expect("a String takes everything");
    }

    fn push_known(&mut self, value: Option<impl std::fmt::Display>) {
        match value {
            Some(value) => self.push(value),
            None => self.push_str(UNKNOWN),
        }
    }

    /// Zero is the usual case and is not to catch the eye.
    fn push_some<D: std::fmt::Display>(&mut self, value: Option<u64>, show: fn(u64) -> D) {
        match value {
            None => self.push_str(UNKNOWN),
            Some(0) => self.push_str(NONE),
            Some(value) => self.push(show(value)),
        }
    }

    fn push_address(&mut self, address: &SocketAddr) {
        let mut bytes = Vec::new();
        push_address(&mut bytes, address);
        self.0
            .push_str(std::str::from_utf8(&bytes).expect("addresses are ASCII"));
    }
}

/// `off`, `7200s/75s/9`: idle, interval, count. A star marks values of the
/// socket's own.
fn push_keepalive(out: &mut String, keepalive: Option<&KeepAlive>) -> Paint {
    let Some(keepalive) = keepalive else {
        out.push_str(UNKNOWN);
        return Paint::Plain;
    };
    if !keepalive.enabled {
        out.push_str("off");
        return Paint::Yellow;
    }
    let mark = match keepalive.from {
        Origin::Socket => "*",
        Origin::Sysctl => "",
    };
    let (idle, interval, count) = (keepalive.idle_s, keepalive.interval_s, keepalive.count);
    write!(out, "{idle}s/{interval}s/{count}{mark}").expect("a String takes everything");
    Paint::Green
}

/// The container, by its name or as much of its id as its engine shows; else
/// the systemd unit; else the cgroup's path.
fn push_place(out: &mut String, view: &View<'_>) {
    const ID: usize = 64;
    let Some(path) = view.cgroup else {
        return out.push_str(UNKNOWN);
    };
    match (view.container(), systemd_unit(path)) {
        (Some(id), _) if id.len() == ID => push_clean(out, id.get(..12).unwrap_or(id)),
        (Some(name), _) => push_clean(out, name),
        (None, Some(unit)) => push_clean(out, unit),
        (None, None) if path == "/" => out.push_str(NONE),
        (None, None) => push_clean(out, path),
    }
}
