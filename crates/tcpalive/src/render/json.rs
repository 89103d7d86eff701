//! Newline-delimited JSON.
//!
//! Every function appends one object and a newline to a buffer that the
//! caller empties when it likes. Nothing is allocated per object: a million
//! sockets are printed in well under a second.
//!
//! Values that are not known are `null`. After the keys that are promised
//! come `container` and `unit`, strings or `null`.

mod address;
mod changes;
mod doctor;
mod field;
mod summaries;
mod sysctl;

pub use address::push_address;
pub use changes::{changed, changes_summary, skipped, skipped_unseen};
pub use doctor::{capability, doctor_summary, leftover};
pub use summaries::{check_summary, reap_summary, summary, totals};
pub use sysctl::{sysctl, sysctl_changed, sysctl_persisted};
pub use sysctl::{sysctl_set_summary, sysctl_summary};

use field::{boolean, integer, opt, opt_text, pair, raw, text};
use tcpalive_connections::cgroup::systemd_unit;
use tcpalive_connections::{KeepAlive, Owner, Verdict, View};

/// Room that an object takes without its owners and its cgroup path; only a
/// hint, so that the buffer grows once at most.
const OBJECT: usize = 768;

/// Appends `{"type":"connection",…}`.
pub fn connection(out: &mut Vec<u8>, view: &View<'_>) {
    let socket = view.connection;
    identity(out, b"{\"type\":\"connection\",\"netns\":", view);
    raw(out, b",\"keepalive\":");
    keepalive(out, socket.keepalive.as_ref());
    opt(out, b",\"probes_out\":", socket.probes_out);
    opt(out, b",\"last_heard_ms\":", socket.last_heard_ms);
    opt(out, b",\"last_ack_ms\":", socket.last_ack_ms);
    opt(out, b",\"last_data_in_ms\":", socket.last_data_in_ms);
    opt(out, b",\"last_data_out_ms\":", socket.last_data_out_ms);
    opt(out, b",\"unacked_bytes\":", socket.unacked_bytes);
    opt(out, b",\"unsent_bytes\":", socket.unsent_bytes);
    opt(out, b",\"retransmits\":", socket.retransmits);
    pair(out, b",\"memory_bytes\":", socket.memory_bytes);
    opt_text(out, b",\"container\":", view.container());
    opt_text(out, b",\"unit\":", view.cgroup.and_then(systemd_unit));
    raw(out, b"}\n");
}

/// Appends `{"type":"verdict",…}`: the connection's identity and the verdict.
pub fn verdict(out: &mut Vec<u8>, view: &View<'_>, verdict: &Verdict) {
    identity(out, b"{\"type\":\"verdict\",\"netns\":", view);
    raw(out, b",\"verdict\":\"");
    raw(out, verdict.outcome.name().as_bytes());
    pair(out, b"\",\"probes\":", verdict.probes);
    raw(out, b",\"answered\":");
    boolean(out, verdict.answered);
    opt(out, b",\"rtt_us\":", verdict.rtt_us);
    pair(out, b",\"waited_ms\":", verdict.waited_ms);
    opt(out, b",\"last_heard_ms\":", verdict.last_heard_ms);
    opt_text(out, b",\"reason\":", Some(&verdict.reason));
    raw(out, b"}\n");
}

/// Appends `{"type":"reaped",…}`: the connection's identity, what became of
/// it ([`Fate::name`](super::verdicts::Fate::name)) and why.
pub fn reaped(out: &mut Vec<u8>, view: &View<'_>, result: &str, reason: Option<&str>) {
    identity(out, b"{\"type\":\"reaped\",\"netns\":", view);
    opt_text(out, b",\"result\":", Some(result));
    opt_text(out, b",\"reason\":", reason);
    raw(out, b"}\n");
}

/// Appends the `keepalive` object as it stands in a connection, or `null`.
pub fn keepalive(out: &mut Vec<u8>, keepalive: Option<&KeepAlive>) {
    let Some(keepalive) = keepalive else {
        return raw(out, b"null");
    };
    raw(out, b"{\"enabled\":");
    boolean(out, keepalive.enabled);
    pair(out, b",\"idle_s\":", keepalive.idle_s);
    pair(out, b",\"interval_s\":", keepalive.interval_s);
    pair(out, b",\"count\":", keepalive.count);
    raw(out, b",\"from\":\"");
    raw(out, keepalive.from.name().as_bytes());
    pair(out, b"\",\"user_timeout_ms\":", keepalive.user_timeout_ms);
    raw(out, b"}");
}

/// Appends `head` (the type, and `"netns":`) and what says which connection
/// is meant, to programs and to people: `netns` to `cgroup`.
pub fn identity(out: &mut Vec<u8>, head: &[u8], view: &View<'_>) {
    let socket = view.connection;
    out.reserve(OBJECT);
    pair(out, head, socket.netns);
    raw(out, b",\"family\":\"");
    raw(out, socket.family().name().as_bytes());
    raw(out, b"\",\"local\":\"");
    push_address(out, &socket.local);
    raw(out, b"\",\"remote\":\"");
    push_address(out, &socket.remote);
    raw(out, b"\",\"state\":\"");
    raw(out, socket.state.name().as_bytes());
    pair(out, b"\",\"cookie\":", socket.cookie);
    pair(out, b",\"uid\":", socket.uid);
    pair(out, b",\"inode\":", socket.inode);
    raw(out, b",\"owners\":[");
    for (index, owner) in view.owners.iter().enumerate() {
        if index > 0 {
            raw(out, b",");
        }
        owner_object(out, owner);
    }
    raw(out, b"]");
    opt_text(out, b",\"cgroup\":", view.cgroup);
}

fn owner_object(out: &mut Vec<u8>, owner: &Owner) {
    pair(out, b"{\"pid\":", owner.pid);
    raw(out, b",\"comm\":");
    text(out, &owner.comm.as_text());
    raw(out, b",\"fd\":");
    integer(out, owner.fd);
    raw(out, b"}");
}
