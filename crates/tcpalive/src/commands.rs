//! One module per command: its arguments, and what it does.

pub mod doctor;
pub mod lab;
pub mod ls;
