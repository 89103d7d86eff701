//! The `tcpalive` command: arguments in, rendering out.
//!
//! It is a library only so that tests and benchmarks can reach its modules;
//! programs should use the crates below it.
//!
//! * [`cli`]: the arguments and the commands.
//! * [`render`]: the one place that turns results into JSON or tables.

pub mod cli;
pub mod render;
