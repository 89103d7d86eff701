//! What `sysctl` shows and changes.

use super::field::{integer, opt, opt_text, pair, raw, text};
use crate::render::sysctl::{Changed, Effect, Persisted, Report, Shown, Sockets};
use std::fmt::Write as _;
use tcpalive_kernel::sysctl::KeepaliveSysctls;

/// Appends `{"type":"sysctl",…}`. `detects_within_s` and what follows it are
/// `null` where they have no meaning (negative values) or are not known.
pub fn sysctl(out: &mut Vec<u8>, shown: &Shown) {
    pair(out, b"{\"type\":\"sysctl\",\"netns\":", shown.netns);
    opt_text(out, b",\"name\":", Some(&shown.name));
    raw(out, b",");
    values(out, &shown.values);
    let effect = shown.effect();
    raw(out, b",\"lateness_s\":");
    match effect.and_then(|effect| effect.lateness) {
        Some(lateness) => {
            let mut number = String::new();
            write!(number, "{}", lateness.as_secs_f64()).expect("a String takes everything");
            raw(out, number.as_bytes());
        }
        None => raw(out, b"null"),
    }
    raw(out, b",\"sockets\":{\"follow\":");
    let sockets = shown.sockets;
    let count = |of: fn(&Sockets) -> u64| sockets.as_ref().map(of);
    opt(out, b"", count(|it| it.follow));
    opt(out, b",\"own_values\":", count(|it| it.own_values));
    opt(out, b",\"off\":", count(|it| it.off));
    raw(out, b"}");
    warnings(out, &shown.warnings);
}

/// Appends the summary of `sysctl`.
pub fn sysctl_summary(out: &mut Vec<u8>, shown: &[Shown]) {
    pair(out, b"{\"type\":\"summary\",\"namespaces\":", shown.len());
    let warnings: usize = shown.iter().map(|it| it.warnings.len()).sum();
    pair(out, b",\"warnings\":", warnings);
    raw(out, b"}\n");
}

/// Appends `{"type":"changed",…}`. `own` counts, of the sockets with values
/// of their own, those that have another time, interval or number of probes
/// than the namespace has now.
pub fn sysctl_changed(out: &mut Vec<u8>, changed: &Changed) {
    pair(out, b"{\"type\":\"changed\",\"netns\":", changed.netns);
    opt_text(out, b",\"name\":", Some(&changed.name));
    raw(out, b",\"before\":{");
    values(out, &changed.before);
    raw(out, b"},\"after\":{");
    values(out, &changed.after);
    let reach = changed.reach.as_ref();
    let follow = reach.map(|it| it.sockets.follow);
    opt(out, b"},\"reached_at_next_fire\":", follow);
    let latest_ms = reach.and_then(|it| it.next_fire_latest_ms);
    opt(out, b",\"next_fire_latest_ms\":", latest_ms);
    let own_values = reach.map(|it| it.sockets.own_values);
    opt(out, b",\"own_values\":", own_values);
    raw(out, b",\"own\":{");
    for (at, name) in [&b"\"time\":"[..], b",\"interval\":", b",\"probes\":"]
        .into_iter()
        .enumerate()
    {
        opt(out, name, reach.map(|it| it.other_values[at]));
    }
    opt(out, b"},\"off\":", reach.map(|it| it.sockets.off));
    warnings(out, &changed.warnings);
}

/// Appends `{"type":"persisted",…}`, with the files that win over it.
pub fn sysctl_persisted(out: &mut Vec<u8>, persisted: &Persisted) {
    raw(out, b"{\"type\":\"persisted\",\"path\":");
    text(out, &persisted.path.to_string_lossy());
    raw(out, b",\"overridden_by\":[");
    for (index, it) in persisted.overridden.iter().enumerate() {
        raw(out, if index > 0 { b",{" } else { b"{" });
        raw(out, b"\"path\":");
        text(out, &it.path.to_string_lossy());
        opt_text(out, b",\"key\":", Some(&it.key));
        opt_text(out, b",\"value\":", Some(&it.value));
        raw(out, b"}");
    }
    raw(out, b"]}\n");
}

/// Appends the summary of `sysctl set`.
pub fn sysctl_set_summary(out: &mut Vec<u8>, report: &Report) {
    let changes = &report.changes;
    pair(out, b"{\"type\":\"summary\",\"namespaces\":", changes.len());
    let changed = changes.iter().filter(|it| it.before != it.after).count();
    pair(out, b",\"changed\":", changed);
    let path = report
        .persisted
        .as_ref()
        .map(|it| it.path.to_string_lossy());
    opt_text(out, b",\"persisted\":", path.as_deref());
    let warnings: usize = changes.iter().map(|it| it.warnings.len()).sum();
    pair(out, b",\"warnings\":", warnings);
    raw(out, b"}\n");
}

fn values(out: &mut Vec<u8>, values: &KeepaliveSysctls) {
    pair(out, b"\"time_s\":", values.time_s);
    pair(out, b",\"interval_s\":", values.interval_s);
    raw(out, b",\"probes\":");
    integer(out, values.probes);
    let effect = Effect::of(values, None);
    let soonest = effect.map(|it| it.soonest.as_secs());
    let within = effect.map(|it| it.within.as_secs());
    opt(out, b",\"detects_at_soonest_s\":", soonest);
    opt(out, b",\"detects_within_s\":", within);
}

fn warnings(out: &mut Vec<u8>, warnings: &[String]) {
    raw(out, b",\"warnings\":[");
    for (index, warning) in warnings.iter().enumerate() {
        if index > 0 {
            raw(out, b",");
        }
        text(out, warning);
    }
    raw(out, b"]}\n");
}
