//! The `tcpalive` command: arguments in, rendering out.
//!
//! It is a library only so that tests and benchmarks can reach its modules;
//! programs should use the crates below it.
//!
//! * [`cli`]: the arguments, and what a command's end means for the shell.
//! * [`commands`]: one module per command.
//! * [`survey`]: what a command sees of the host: namespaces, sockets, owners.
//! * [`render`]: the one place that turns results into JSON or tables.

pub mod cli;
pub mod commands;
pub mod render;
pub mod survey;

mod recent;
