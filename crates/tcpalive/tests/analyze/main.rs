//! `analyze` beside tshark, and as scripts meet it.
//!
//! Captures are recorded by tcpdump from real sockets in namespaces of their
//! own (needs root, and fails without), or made by the generator. What is true
//! of them the lab knows, the kernel's own counters, and the generator.
//!
//! The tables of docs/analyze.md are what this prints:
//!
//! ```sh
//! cargo test -p tcpalive --test analyze -- --nocapture --test-threads 1
//! ```

mod contract;
mod judge;
mod late;
mod program;
mod reading;
mod recording;
mod scenes;
mod surroundings;
