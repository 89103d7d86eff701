//! What `enable`, `disable` and `undo` did to connections.

use super::field::{boolean, opt_text, pair, raw, text};
use super::{address::push_address, identity, keepalive};
use crate::render::changes::{ChangeTotals, Changed};
use std::net::SocketAddr;
use tcpalive_connections::{KeepAlive, View};

/// Appends `{"type":"changed",…}`: the connection's identity, the values in
/// force before and after, which of them were the sysctls' and are now the
/// socket's own for good (an undo cannot help it), and whether it was only a
/// dry run.
pub fn changed(out: &mut Vec<u8>, view: &View<'_>, changed: &Changed<'_>) {
    identity(out, b"{\"type\":\"changed\",\"netns\":", view);
    raw(out, b",\"before\":");
    keepalive(out, Some(&changed.before));
    raw(out, b",\"after\":");
    keepalive(out, Some(&changed.after));
    raw(out, b",\"no_longer_follows_sysctl\":[");
    for (index, name) in changed.no_longer_follows.iter().enumerate() {
        if index > 0 {
            raw(out, b",");
        }
        text(out, name);
    }
    raw(out, b"],\"dry_run\":");
    boolean(out, changed.dry_run);
    raw(out, b"}\n");
}

/// Appends `{"type":"skipped",…}`: a connection that was left alone, the
/// values in force if they are known, and why.
pub fn skipped(
    out: &mut Vec<u8>,
    view: &View<'_>,
    values: Option<&KeepAlive>,
    result: &str,
    reason: &str,
) {
    identity(out, b"{\"type\":\"skipped\",\"netns\":", view);
    raw(out, b",\"keepalive\":");
    keepalive(out, values);
    opt_text(out, b",\"result\":", Some(result));
    opt_text(out, b",\"reason\":", Some(reason));
    raw(out, b"}\n");
}

/// The same of a connection that is not there any more.
pub fn skipped_unseen(
    out: &mut Vec<u8>,
    netns: u64,
    cookie: u64,
    addresses: (&SocketAddr, &SocketAddr),
    result: &str,
    reason: &str,
) {
    pair(out, b"{\"type\":\"skipped\",\"netns\":", netns);
    raw(out, b",\"local\":\"");
    push_address(out, addresses.0);
    raw(out, b"\",\"remote\":\"");
    push_address(out, addresses.1);
    pair(out, b"\",\"cookie\":", cookie);
    opt_text(out, b",\"result\":", Some(result));
    opt_text(out, b",\"reason\":", Some(reason));
    raw(out, b"}\n");
}

/// Appends the summary of `enable`, `disable` and `undo`.
pub fn changes_summary(
    out: &mut Vec<u8>,
    totals: &ChangeTotals,
    undo_file: Option<&str>,
    dry_run: bool,
    elapsed_ms: u64,
) {
    pair(
        out,
        b"{\"type\":\"summary\",\"selected\":",
        totals.selected(),
    );
    pair(out, b",\"changed\":", totals.changed);
    pair(out, b",\"unchanged\":", totals.unchanged);
    pair(out, b",\"skipped\":", totals.skipped);
    pair(out, b",\"failed\":", totals.failed);
    raw(out, b",\"dry_run\":");
    boolean(out, dry_run);
    opt_text(out, b",\"undo_file\":", undo_file);
    pair(out, b",\"elapsed_ms\":", elapsed_ms);
    raw(out, b"}\n");
}
