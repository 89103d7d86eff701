//! Keep-alive read out of captures: packets → flows → findings.
//!
//! * [`flow`]: segments to flows; which of them are keep-alive probes and
//!   answers, what timers they show, and who is dead.
//! * [`findings`]: what the flows say about hosts.

#![forbid(unsafe_code)]

pub mod findings;
pub mod flow;
