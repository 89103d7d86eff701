//! The overview of many flows: a row for each group of hosts, time to the
//! right, how many are probed above the line and who died below it.

use super::Report;
use super::activity::{Activity, Group, Parties, Scale};
use super::chart::{Axis, LEFT, RIGHT, cut, short};
use crate::render::svg::{escape, line, text};
use crate::render::units::{Compact, Count};
use std::fmt::Write;

/// Rows, the rest is in one.
const ROWS: usize = 40;
const ROW: f64 = 34.0;
const TOTAL: f64 = 96.0;

/// The groups to be shown, the worst first, and all the others.
pub(super) fn groups(activity: &Activity) -> (Vec<(Parties, &Group)>, Group) {
    let all = [&activity.pairs, &activity.probers, &activity.peers];
    let fits = |groups: &&&super::activity::Groups<Parties>| {
        groups.by.len() <= ROWS && groups.others.flows == 0
    };
    // The finest that can be seen at once; else the coarsest.
    let fewest = || all.iter().min_by_key(|groups| groups.by.len());
    let Some(chosen) = all.iter().find(fits).or_else(fewest) else {
        return (Vec::new(), Group::default());
    };
    let mut shown = sorted(&chosen.by);
    let mut others = chosen.others.clone();
    for (_, group) in shown.drain(ROWS.min(shown.len())..) {
        others.merge(group);
    }
    (shown, others)
}

/// The worst first.
pub(super) fn sorted(groups: &std::collections::HashMap<Parties, Group>) -> Vec<(Parties, &Group)> {
    let mut sorted: Vec<(Parties, &Group)> =
        groups.iter().map(|(key, group)| (*key, group)).collect();
    sorted.sort_by_key(|(key, group)| {
        (
            std::cmp::Reverse((group.dead, group.unknown, group.flows)),
            *key,
        )
    });
    sorted
}

/// Draws from `top` down, and says where it ends.
pub(super) fn draw(out: &mut String, report: &Report, top: f64) -> f64 {
    let activity = &report.activity;
    let Some(scale) = &activity.scale else {
        return top;
    };
    let axis = Axis::new(
        scale.begins(scale.first_bin()),
        scale.begins(scale.first_bin() + scale.bins()),
    );
    let (shown, others) = groups(activity);
    let rows = shown.len() + usize::from(others.flows > 0);
    let first = top + 44.0;
    let bottom = first + TOTAL + 40.0 + rows as f64 * ROW;
    axis.draw(out, top + 14.0, bottom);
    total(out, activity, scale, &axis, first);
    let mut y = first + TOTAL + 16.0;
    text(out, LEFT - 10.0, y, "v r", "who probes whom");
    text(
        out,
        LEFT,
        y,
        "v",
        "above each line: connections that are probed; below: found dead then",
    );
    y += 14.0;
    for (parties, group) in &shown {
        row(out, &name(*parties), group, scale, &axis, y);
        y += ROW;
    }
    if others.flows > 0 {
        row(out, "all others", &others, scale, &axis, y);
    }
    bottom + 16.0
}

fn name((prober, peer): Parties) -> String {
    let text = |ip: Option<std::net::IpAddr>| ip.map(|ip| ip.to_string());
    match (text(prober), text(peer)) {
        (Some(prober), Some(peer)) => short(&prober, &peer),
        (Some(prober), None) => format!("{} → several", cut(&prober, 34)),
        (None, Some(peer)) => format!("several → {}", cut(&peer, 34)),
        (None, None) => "several".to_owned(),
    }
}

/// Probes of all flows, and deaths.
fn total(out: &mut String, activity: &Activity, scale: &Scale, axis: &Axis, top: f64) {
    let middle = top + TOTAL * 0.62;
    let beats = &activity.beats;
    let most = |of: fn(&super::activity::Beat) -> u32| beats.values().map(of).max().unwrap_or(0);
    let (probes, deaths) = (most(|beat| beat.probes), most(|beat| beat.deaths));
    let up = (middle - top - 8.0) / f64::from(probes.max(1));
    let down = (top + TOTAL - middle - 6.0) / f64::from(deaths.max(1));
    let (mut sent, mut answered, mut died) = (String::new(), String::new(), String::new());
    for (bin, beat) in beats {
        let (x, width) = place(axis, scale, *bin);
        bar(&mut sent, x, width, middle, -up * f64::from(beat.probes));
        bar(
            &mut answered,
            x,
            width,
            middle,
            -up * f64::from(beat.answers.min(beat.probes)),
        );
        bar(
            &mut died,
            x,
            width,
            middle + 1.0,
            down * f64::from(beat.deaths),
        );
    }
    let _ = writeln!(
        out,
        "<path class=\"e\" opacity=\"0.55\" d=\"{sent}\"/>\n<path class=\"e\" d=\"{answered}\"/>\n<path class=\"y\" d=\"{died}\"/>"
    );
    line(out, "l", LEFT, middle, RIGHT, middle);
    let seconds = scale.bin_ns() as f64 / 1e9;
    text(
        out,
        LEFT - 10.0,
        top + 18.0,
        "r",
        "probes of all connections",
    );
    text(out, LEFT - 10.0, top + 34.0, "v r", "darker: answered");
    text(out, LEFT - 10.0, middle + 18.0, "r w", "found dead");
    text(
        out,
        RIGHT + 14.0,
        top + 18.0,
        "c",
        &format!("peak {} probes", Count(probes.into())),
    );
    text(
        out,
        RIGHT + 14.0,
        top + 34.0,
        "v",
        &format!("in {seconds:.1} s"),
    );
    text(
        out,
        RIGHT + 14.0,
        middle + 18.0,
        "c w",
        &format!("peak {} in it", Count(deaths.into())),
    );
}

fn place(axis: &Axis, scale: &Scale, bin: u64) -> (f64, f64) {
    let x = axis.x(scale.begins(bin));
    (x, axis.x(scale.begins(bin + 1)) - x)
}

/// A rectangle from the line up or down; what is there at all is seen.
fn bar(path: &mut String, x: f64, width: f64, line: f64, height: f64) {
    if height == 0.0 {
        return;
    }
    let height = height.signum() * height.abs().max(1.0);
    let width = width.max(0.6);
    let _ = write!(
        path,
        "M{x:.1} {line:.1}h{width:.2}v{height:.1}h-{width:.2}z"
    );
}

fn row(out: &mut String, name: &str, group: &Group, scale: &Scale, axis: &Axis, top: f64) {
    let middle = top + ROW * 0.62;
    let first = scale.first_bin();
    let mut present: i64 = 0;
    let mut levels = Vec::new();
    let mut most_deaths = 1;
    for bin in first..first + scale.bins() {
        let change = group.bins.get(&bin).copied().unwrap_or_default();
        present += i64::from(change.begun);
        levels.push((bin, present, change.deaths));
        present -= i64::from(change.ended);
        most_deaths = most_deaths.max(change.deaths);
    }
    let most = levels
        .iter()
        .map(|(_, present, _)| *present)
        .max()
        .unwrap_or(1)
        .max(1);
    let (mut probed, mut died) = (String::new(), String::new());
    for (bin, present, deaths) in levels {
        let (x, width) = place(axis, scale, bin);
        let up = -(middle - top - 3.0) * present as f64 / most as f64;
        bar(&mut probed, x, width, middle, up);
        let share = f64::from(deaths) / f64::from(most_deaths);
        bar(
            &mut died,
            x,
            width,
            middle + 1.0,
            (top + ROW - middle - 3.0) * share,
        );
    }
    let _ = writeln!(
        out,
        "<g><title>{}: {} probed, {} dead, {} unknown</title>\n<path class=\"e\" d=\"{probed}\"/>\n<path class=\"y\" d=\"{died}\"/>",
        escape(name),
        Count(group.flows),
        Count(group.dead),
        Count(group.unknown)
    );
    line(out, "l", LEFT, middle, RIGHT, middle);
    text(out, LEFT - 10.0, middle + 1.0, "r", name);
    let words = if group.dead > 0 { "c w" } else { "c" };
    let dead = match group.dead {
        0 => "none dead".to_owned(),
        dead => format!("✖ {} dead", Compact(dead)),
    };
    text(out, RIGHT + 14.0, middle - 7.0, words, &dead);
    let of = format!(
        "of {}, {} unknown",
        Compact(group.flows),
        Compact(group.unknown)
    );
    text(out, RIGHT + 14.0, middle + 7.0, "v", &of);
    out.push_str("</g>\n");
}
