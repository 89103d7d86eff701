//! Keep-alive read out of captures: packets → flows → findings.

#![forbid(unsafe_code)]

pub mod findings;
pub mod flow;
