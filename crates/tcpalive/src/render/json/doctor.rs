//! What `doctor` found out.

use super::field::{boolean, integer, opt_text, pair, raw, text};
use crate::render::doctor::{LeftBehind, Report};
use tcpalive_kernel::capabilities::{Allowed, Capability};

/// Appends `{"type":"capability",…}`. `lost` is what is lost without it,
/// whether it is allowed or not; `remedy` is `null` where nothing is to do.
pub fn capability(out: &mut Vec<u8>, capability: &Capability) {
    opt_text(
        out,
        b"{\"type\":\"capability\",\"name\":",
        Some(capability.name),
    );
    raw(out, b",\"allowed\":");
    match capability.allowed {
        Allowed::Yes => boolean(out, true),
        Allowed::No => boolean(out, false),
        Allowed::Unknown => raw(out, b"null"),
    }
    opt_text(out, b",\"why\":", Some(&capability.why));
    opt_text(out, b",\"lost\":", Some(&capability.consequence));
    opt_text(out, b",\"remedy\":", capability.remedy.as_deref());
    raw(out, b"}\n");
}

/// Appends `{"type":"leftover",…}`.
pub fn leftover(out: &mut Vec<u8>, left: &LeftBehind) {
    raw(out, b"{\"type\":\"leftover\",\"netns\":");
    text(out, &left.netns);
    pair(out, b",\"maker\":", left.maker);
    raw(out, b",\"processes\":[");
    for (index, pid) in left.processes.iter().enumerate() {
        if index > 0 {
            raw(out, b",");
        }
        integer(out, *pid);
    }
    raw(out, b"],\"removed\":");
    boolean(out, left.removed);
    raw(out, b"}\n");
}

/// Appends the summary of `doctor`.
pub fn doctor_summary(out: &mut Vec<u8>, report: &Report<'_>) {
    let [allowed, refused, unknown] = report.counts();
    pair(out, b"{\"type\":\"summary\",\"allowed\":", allowed);
    pair(out, b",\"not_allowed\":", refused);
    pair(out, b",\"unknown\":", unknown);
    pair(out, b",\"leftovers\":", report.left.len());
    let removed = report.left.iter().filter(|left| left.removed).count();
    pair(out, b",\"removed\":", removed);
    raw(out, b"}\n");
}
