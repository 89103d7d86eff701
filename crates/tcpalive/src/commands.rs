//! One module per command: its arguments, and what it does.

pub mod analyze;
pub mod changing;
pub mod check;
pub mod disable;
pub mod doctor;
pub mod dump;
pub mod enable;
pub mod lab;
pub mod ls;
pub mod nc;
pub mod plan;
pub mod probing;
pub mod reap;
pub mod sim;
pub mod sysctl;
pub mod undo;
