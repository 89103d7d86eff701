//! Which processes hold a socket.

use crate::{Connection, cgroup};
use std::borrow::Cow;
use std::fmt;

/// A process's name: the kernel's `comm`, at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Comm {
    bytes: [u8; 16],
}

impl Comm {
    /// From the kernel's buffer: up to the first NUL; a sixteenth byte is dropped.
    #[must_use]
    pub fn from_kernel(mut bytes: [u8; 16]) -> Self {
        let length = bytes[..15].iter().position(|b| *b == 0).unwrap_or(15);
        bytes[length..].fill(0);
        Self { bytes }
    }

    /// From text; what does not fit in 15 bytes is cut, as the kernel does.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut bytes = [0; 16];
        let length = text.len().min(15);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self::from_kernel(bytes)
    }

    /// The name as the kernel has it; it need not be UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.bytes.iter().position(|b| *b == 0).unwrap_or(15);
        &self.bytes[..length]
    }

    /// The name. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn as_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_text(), f)
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_text())
    }
}

/// A process that has the socket open, and as which descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Process id (thread group id) in the root pid namespace.
    pub pid: u32,
    /// File descriptor.
    pub fd: u32,
    /// Name of the process.
    pub comm: Comm,
}

/// A connection together with what belongs to it and takes text.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The socket.
    pub connection: &'a Connection,
    /// Processes that hold it; empty for the kernel's own sockets, orphans,
    /// sockets in flight between processes, and when owners were not swept.
    pub owners: &'a [Owner],
    /// Path of its cgroup, from the root of the hierarchy.
    pub cgroup: Option<&'a str>,
}

impl<'a> View<'a> {
    /// The container that the cgroup path names, if it names one.
    #[must_use]
    pub fn container(&self) -> Option<&'a str> {
        self.cgroup.and_then(cgroup::container_id)
    }
}
