//! Results as JSON for programs or as text for people.
//!
//! Nothing here reads a clock, a socket table or `/proc`: what is printed is
//! passed in. The one exception is [`Style::stdout`], which asks the terminal
//! for its width.
//!
//! * [`json`]: newline-delimited JSON, the hot path of `ls --json`.
//! * [`table`]: the streamed table of `ls`.
//! * [`summary`]: counts by state, process and peer network (`ls --summary`).
//! * [`verdicts`]: what `check` and `reap` found and did.
//! * [`doctor`]: what this host allows, and what was left behind.
//! * [`dump`]: packets as lines, and what they mean for keep-alive.
//! * [`analyze`]: what was found in captures; [`report`] draws it.
//! * [`comparison`]: scenarios beside their lives on the real kernel.
//! * [`sim`]: lives of connections in virtual time; [`svg`] draws them.
//! * [`sysctl`]: the keep-alive sysctls, and what a change of them reaches.
//! * [`plan`]: values, what they cost, and the lines to paste.
//! * [`units`]: durations, sizes, counts and round-trip times as text, and
//!   durations from text.
//! * [`style`]: colour and width.

pub mod analyze;
pub mod comparison;
pub mod doctor;
pub mod dump;
pub mod json;
pub mod plan;
pub mod report;
pub mod sim;
pub mod style;
pub mod summary;
pub mod svg;
pub mod sysctl;
pub mod table;
pub mod units;
pub mod verdicts;

mod findings;
mod line;
mod text;
mod timeline;

pub use style::Style;
