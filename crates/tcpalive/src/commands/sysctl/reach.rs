//! Which sockets the sysctls of a namespace decide about.

use crate::cli::Failure;
use crate::render::sysctl::{Reach, Sockets};
use std::collections::BTreeMap;
use tcpalive_connections::{Comm, Connection, KeepAlive, Origin, Selection, State, StateSet};
use tcpalive_keepalive::Hz;
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::{Sweeper, armed_keepalive_timers};
use tcpalive_kernel::sysctl::KeepaliveSysctls;

/// The kernel's tick rate, where BPF is to be had.
pub(super) fn tick_rate(sweeper: &Sweeper) -> Option<Hz> {
    match sweeper {
        Sweeper::Bpf(sweeper) => Hz::new(sweeper.clock().hz()),
        Sweeper::SockDiag(_) => None,
    }
}

/// Counts the connections of a namespace; `None` without BPF, since netlink
/// does not tell whether keep-alive is on.
///
/// # Errors
/// When the kernel stops answering.
pub(super) fn sockets(
    sweeper: &mut Sweeper,
    namespace: &Namespace,
) -> Result<Option<Sockets>, Failure> {
    let mut sockets = Sockets::default();
    let known = visit(sweeper, namespace, |_, keepalive| {
        count(&mut sockets, keepalive);
    })?;
    Ok(known.then_some(sockets))
}

/// Finds out what a change to `after` does not reach, or not yet; `None`
/// without BPF.
///
/// # Errors
/// When the kernel stops answering.
pub(super) fn reach(
    sweeper: &mut Sweeper,
    namespace: &Namespace,
    after: &KeepaliveSysctls,
) -> Result<Option<Reach>, Failure> {
    let mut reach = Reach::default();
    let mut following = Vec::new();
    let mut own = Vec::new();
    let known = visit(sweeper, namespace, |connection, keepalive| {
        count(&mut reach.sockets, keepalive);
        match (keepalive.enabled, keepalive.from) {
            (false, _) => {}
            (true, Origin::Sysctl) => following.push(connection.cookie),
            (true, Origin::Socket) => {
                own.push(connection.inode);
                let has = [
                    keepalive.idle_s,
                    keepalive.interval_s,
                    i64::from(keepalive.count),
                ];
                for (at, value) in after.values().into_iter().enumerate() {
                    reach.other_values[at] += u64::from(has[at] != value);
                }
            }
        }
    })?;
    if !known {
        return Ok(None);
    }
    following.sort_unstable();
    armed_keepalive_timers(namespace, |cookie, due_ms| {
        if following.binary_search(&cookie).is_ok() {
            reach.next_fire_latest_ms = reach.next_fire_latest_ms.max(Some(due_ms));
        }
    })?;
    if !own.is_empty() {
        reach.programs = programs(sweeper, &own)?;
    }
    Ok(Some(reach))
}

fn count(sockets: &mut Sockets, keepalive: &KeepAlive) {
    *match (keepalive.enabled, keepalive.from) {
        (false, _) => &mut sockets.off,
        (true, Origin::Socket) => &mut sockets.own_values,
        (true, Origin::Sysctl) => &mut sockets.follow,
    } += 1;
}

/// The programs that hold the sockets with these inodes, the one with the most first.
fn programs(sweeper: &mut Sweeper, inodes: &[u64]) -> Result<Vec<(Comm, u64)>, Failure> {
    let owners = sweeper.owners()?;
    let mut counts = BTreeMap::new();
    for owner in inodes.iter().filter_map(|inode| owners.of(*inode).first()) {
        *counts.entry(owner.comm).or_insert(0_u64) += 1;
    }
    let mut programs: Vec<(Comm, u64)> = counts.into_iter().collect();
    programs.sort_by_key(|(_, sockets)| std::cmp::Reverse(*sockets));
    Ok(programs)
}

/// Hands over the sockets that keep-alive watches or would watch, and tells
/// whether that is known here.
fn visit(
    sweeper: &mut Sweeper,
    namespace: &Namespace,
    mut visit: impl FnMut(&Connection, &KeepAlive),
) -> Result<bool, Failure> {
    if matches!(sweeper, Sweeper::SockDiag(_)) {
        return Ok(false);
    }
    let watched = State::ALL
        .into_iter()
        .filter(|state| state.answers_keepalive())
        .map(StateSet::of)
        .fold(StateSet::NONE, StateSet::union);
    let selection = Selection {
        states: watched,
        ..Selection::ALL
    };
    sweeper.sweep(namespace, &selection, |swept| {
        let connection = &swept.connection;
        // Of what no program holds any more, the timer serves tcp_fin_timeout.
        let orphaned = connection.state == State::FinWait2 && connection.inode == 0;
        if let Some(keepalive) = connection.keepalive.as_ref().filter(|_| !orphaned) {
            visit(connection, keepalive);
        }
    })?;
    Ok(true)
}
