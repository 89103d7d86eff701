//! Flows read from scripted, simulated and recorded conversations.

mod conduct;
mod conversation;
mod ending;
mod findings;
mod inference;
mod middle;
mod recognition;
mod recorded;
