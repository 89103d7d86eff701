//! What Linux's keep-alive does, one behaviour a test, on the real kernel and
//! on the wire; each step is held against the machine, too. These tests need
//! root and fail without it.

mod clock_and_count;
mod ends;
mod host;
mod linux_peer;
mod page;
mod scene;
mod setsockopt;
