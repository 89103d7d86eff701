//! The last line of every JSON output: `{"type":"summary",…}`.

use super::field::{boolean, opt, pair, raw, text};
use crate::render::summary::{Group, Process, ProcessLimits, Summary, Totals};
use crate::render::verdicts::{CheckTotals, Fate, ReapTotals};
use std::fmt::Write as _;
use tcpalive_connections::Outcome;

/// Appends the summary of `ls`: counts, keep-alive, idle times, memory, and
/// the number of connections in each state that was seen.
pub fn totals(out: &mut Vec<u8>, totals: &Totals) {
    open_totals(out, totals);
    raw(out, b"}\n");
}

/// Appends the summary of `ls --summary`: [`totals`], and arrays of all
/// states, processes and peer networks. `limits` is asked once for every
/// process.
pub fn summary(
    out: &mut Vec<u8>,
    summary: &Summary,
    mut limits: impl FnMut(u32) -> Option<ProcessLimits>,
) {
    open_totals(out, &summary.totals);
    raw(out, b",\"states\":[");
    for (index, (state, group)) in summary.totals.by_state().enumerate() {
        separate(out, index);
        raw(out, b"{\"state\":\"");
        raw(out, state.name().as_bytes());
        raw(out, b"\",");
        group_fields(out, group);
        raw(out, b"}");
    }
    raw(out, b"],\"processes\":[");
    for (index, process) in summary.processes().iter().enumerate() {
        separate(out, index);
        process_object(out, process, limits(process.pid));
    }
    raw(out, b"],\"networks\":[");
    let mut name = String::new();
    for (index, (network, group)) in summary.networks().iter().enumerate() {
        separate(out, index);
        name.clear();
        write!(name, "{network}").expect("a String takes everything");
        raw(out, b"{\"network\":");
        text(out, &name);
        raw(out, b",");
        group_fields(out, group);
        raw(out, b"}");
    }
    raw(out, b"],\"unowned\":{");
    group_fields(out, summary.unowned());
    raw(out, b"}}\n");
}

/// Appends the summary of `check`.
pub fn check_summary(out: &mut Vec<u8>, totals: &CheckTotals, elapsed_ms: u64) {
    pair(out, b"{\"type\":\"summary\",\"checked\":", totals.checked());
    for outcome in Outcome::ALL {
        raw(out, b",\"");
        raw(out, outcome.name().as_bytes());
        pair(out, b"\":", totals.of(outcome));
    }
    pair(out, b",\"elapsed_ms\":", elapsed_ms);
    let memory = totals.memory_bytes_held_by_dead;
    pair(out, b",\"memory_bytes_held_by_dead\":", memory);
    pair(out, b",\"fds_held_by_dead\":", totals.fds_held_by_dead);
    raw(out, b"}\n");
}

/// Appends the summary of `reap`. `would_destroy` counts what was left alone
/// for want of `--yes`. Descriptors stay open until their programs close
/// them, hence `fds_held_by_destroyed`.
pub fn reap_summary(out: &mut Vec<u8>, totals: &ReapTotals, elapsed_ms: u64) {
    pair(out, b"{\"type\":\"summary\",\"selected\":", totals.selected);
    pair(out, b",\"dead\":", totals.dead);
    pair(out, b",\"destroyed\":", totals.of(Fate::Destroyed));
    let already_closed = totals.of(Fate::AlreadyClosed);
    pair(out, b",\"already_closed\":", already_closed);
    pair(out, b",\"changed\":", totals.of(Fate::Changed));
    pair(out, b",\"failed\":", totals.of(Fate::Failed));
    let would_destroy = totals.of(Fate::WouldDestroy);
    pair(out, b",\"would_destroy\":", would_destroy);
    pair(out, b",\"elapsed_ms\":", elapsed_ms);
    pair(out, b",\"memory_bytes_freed\":", totals.memory_bytes_freed);
    let descriptors = totals.fds_held_by_destroyed;
    pair(out, b",\"fds_held_by_destroyed\":", descriptors);
    raw(out, b"}\n");
}

fn open_totals(out: &mut Vec<u8>, totals: &Totals) {
    raw(out, b"{\"type\":\"summary\",");
    group_fields(out, &totals.all);
    raw(out, b",\"by_state\":{");
    for (index, (state, group)) in totals.by_state().enumerate() {
        separate(out, index);
        raw(out, b"\"");
        raw(out, state.name().as_bytes());
        pair(out, b"\":", group.connections);
    }
    raw(out, b"}");
}

fn process_object(out: &mut Vec<u8>, process: &Process, limits: Option<ProcessLimits>) {
    pair(out, b"{\"pid\":", process.pid);
    raw(out, b",\"comm\":");
    text(out, &process.comm.as_text());
    raw(out, b",");
    group_fields(out, &process.group);
    pair(out, b",\"fds\":", process.descriptors);
    opt(out, b",\"fds_open\":", limits.map(|limits| limits.open));
    // Without a limit there is no number.
    let soft_limit = limits.map(|l| l.soft_limit).filter(|n| *n != u64::MAX);
    opt(out, b",\"fds_limit\":", soft_limit);
    raw(out, b",\"near_limit\":");
    boolean(out, limits.is_some_and(ProcessLimits::near));
    raw(out, b"}");
}

fn group_fields(out: &mut Vec<u8>, group: &Group) {
    pair(out, b"\"connections\":", group.connections);
    pair(out, b",\"keepalive_on\":", group.keepalive_on);
    pair(out, b",\"keepalive_off\":", group.keepalive_off);
    pair(out, b",\"keepalive_unknown\":", group.keepalive_unknown);
    let [minute, ten_minutes, hour, day, longer] = group.idle.buckets;
    pair(out, b",\"idle\":{\"under_1m\":", minute);
    pair(out, b",\"under_10m\":", ten_minutes);
    pair(out, b",\"under_1h\":", hour);
    pair(out, b",\"under_1d\":", day);
    pair(out, b",\"over_1d\":", longer);
    pair(out, b",\"unknown\":", group.idle.unknown);
    pair(out, b"},\"memory_bytes\":", group.memory_bytes);
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        raw(out, b",");
    }
}
