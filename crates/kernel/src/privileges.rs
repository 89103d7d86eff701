//! Giving privileges up.

use crate::error::{Doing, Result};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

/// Gives all capabilities of the calling thread up for good, and the way to
/// get any back by running a program. Call it before there are other threads:
/// those that are there keep theirs.
///
/// Descriptors that are open stay open. Root stays the owner of root's files,
/// but cannot open those of others any more.
///
/// # Errors
/// When the kernel refuses, which it does not without a security module.
pub fn drop_all() -> Result<()> {
    let doing = || "giving privileges up".to_owned();
    set_no_new_privs(true).doing(doing)?;
    // Ambient capabilities go with the permitted ones.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).doing(doing)
}
