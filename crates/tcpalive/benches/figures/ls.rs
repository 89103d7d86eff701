//! `ls` beside `ss`.

use crate::bench::{Bench, Contender, Failure, Output, contender, must, ss};
use crate::report::{Figure, thousands};
use tcpalive_lab::Host;
use tcpalive_lab::crowd::Crowd;

/// The name of [`with_owners`].
pub(crate) const OWNERS: &str = "ls-owners";
/// The name of [`without_owners`].
pub(crate) const MILLION: &str = "ls-million";

/// `ss -p` takes half a minute: so often is enough.
const RUNS_OF_SS_WITH_OWNERS: usize = 3;

/// Nothing has this port: the kernel walks everything and hands out nothing.
const NOTHING: &str = "local.port = 1";

/// Every connection with its owners.
pub(crate) fn with_owners(bench: &Bench, host: &Host, crowd: &Crowd) -> Result<Figure, Failure> {
    let sockets = 2 * crowd.connections();
    let runs = bench.runs;
    let contenders = [
        contender("tcpalive", runs, host, "ls --json", None),
        ss("ss", runs.min(RUNS_OF_SS_WITH_OWNERS), host, "-tnop"),
        contender("floor", runs, host, "ls --json", Some(NOTHING)),
        contender("no owners", runs, host, "ls --json --no-owner", None),
        contender(
            "no owners, floor",
            runs,
            host,
            "ls --json --no-owner",
            Some(NOTHING),
        ),
        ss("ss, no owners", runs, host, "-tno"),
    ];
    count_lines(bench, &contenders[0], sockets)?;
    count_lines(bench, &contenders[5], sockets)?;
    let series = bench.compare(&contenders)?;
    let [ours, peer, floor, bare, bare_floor, _] = &series[..] else {
        unreachable!("a series for each contender");
    };
    let ratio = peer.elapsed().median / ours.elapsed().median;
    let (ours_s, floor_s) = (ours.elapsed().median, floor.elapsed().median);
    let (bare_s, bare_floor_s) = (bare.elapsed().median, bare_floor.elapsed().median);
    let notes = vec![
        format!(
            "The floor walks all descriptors of all processes and all sockets, and emits nothing: {floor_s:.3} s. \
             Without owners the same walk takes {bare_floor_s:.3} s, start and loading of the BPF programs included, \
             so finding the owners of {} descriptors takes {:.3} s.",
            thousands(sockets),
            floor_s - bare_floor_s
        ),
        format!(
            "Copying, decoding, joining and printing {} connections adds {:.3} s with owners and {:.3} s without: \
             {:.2} and {:.2} µs each.",
            thousands(sockets),
            ours_s - floor_s,
            bare_s - bare_floor_s,
            (ours_s - floor_s) * 1e6 / sockets as f64,
            (bare_s - bare_floor_s) * 1e6 / sockets as f64,
        ),
        "`ss` reads the link of every descriptor of every process in /proc, and looks each socket up in what it \
         found; the task_file iterator reads the descriptors where the kernel has them."
            .to_owned(),
    ];
    Ok(Figure {
        name: OWNERS,
        what: format!(
            "`ls --json`, owners included, {} sockets",
            thousands(sockets)
        ),
        target: "`ss -tnop` by 50×".to_owned(),
        ours: ours.elapsed().seconds(),
        peer: format!("{} (`ss`, {} runs)", peer.elapsed(), peer.runs.len()),
        result: format!("{ratio:.0}×"),
        is_met: ratio >= 50.0,
        floor: floor.elapsed().seconds(),
        series,
        notes,
    })
}

/// As many connections as memory allows, without owners.
pub(crate) fn without_owners(bench: &Bench, host: &Host, crowd: &Crowd) -> Result<Figure, Failure> {
    let sockets = 2 * crowd.connections();
    let runs = bench.runs;
    let contenders = [
        contender("tcpalive", runs, host, "ls --json --no-owner", None),
        ss("ss", runs, host, "-tnoim"),
        contender("floor", runs, host, "ls --json --no-owner", Some(NOTHING)),
        contender("summary", runs, host, "ls --summary --no-owner", None),
    ];
    count_lines(bench, &contenders[0], sockets)?;
    let series = bench.compare(&contenders)?;
    let [ours, peer, floor, summary] = &series[..] else {
        unreachable!("a series for each contender");
    };
    let ratio = peer.elapsed().median / ours.elapsed().median;
    let [ours_s, floor_s, summary_s] = [ours, floor, summary].map(|it| it.elapsed().median);
    let [cpu_s, peer_cpu_s] = [ours, peer].map(|it| it.spread(|run| run.cpu_s).median);
    let each = |seconds: f64| seconds * 1e9 / sockets as f64;
    let notes = vec![
        format!(
            "The floor is the bare iterator: it walks all {} sockets and emits nothing, in {floor_s:.3} s \
             ({:.0} ns each).",
            thousands(sockets),
            each(floor_s)
        ),
        format!(
            "`ls --summary` also has every record copied out of the kernel and decoded, and prints a page: \
             {summary_s:.3} s ({:.0} ns each). With every connection printed it is {ours_s:.3} s ({:.0} ns each).",
            each(summary_s),
            each(ours_s)
        ),
        format!(
            "The kernel's part and the program's run on two threads: {cpu_s:.2} s of processor time in {ours_s:.2} s. \
             `ss` takes {:.2} s of processor time, {:.1}× as much.",
            peer_cpu_s,
            peer_cpu_s / cpu_s
        ),
    ];
    Ok(Figure {
        name: MILLION,
        what: format!("`ls --json --no-owner`, {} sockets", thousands(sockets)),
        target: "`ss -tnoim` by 6×".to_owned(),
        ours: ours.elapsed().seconds(),
        peer: format!("{} (`ss`)", peer.elapsed()),
        result: format!("{ratio:.1}×"),
        is_met: ratio >= 6.0,
        floor: floor.elapsed().seconds(),
        series,
        notes,
    })
}

/// Runs it once, unmeasured, and counts what it prints beside one line more,
/// the summary or the heading.
fn count_lines(bench: &Bench, contender: &Contender<'_>, sockets: usize) -> Result<(), Failure> {
    let run = bench.run(&mut (contender.command)(), Output::Read)?;
    let lines = run.heard.lines.saturating_sub(1);
    must(&contender.shown, lines as u64, sockets)
}
