//! One module per command: its arguments, and what it does.

pub mod check;
pub mod doctor;
pub mod lab;
pub mod ls;
pub mod nc;
pub mod plan;
pub mod probing;
pub mod reap;
pub mod sim;
pub mod sysctl;
