//! `check`: of the article's night, and of a crowd that lives.

use crate::bench::{Bench, Failure, Output, Series, Spread, must, tcpalive};
use crate::raw;
use crate::report::{Figure, thousands};
use tcpalive_lab::crowd::Crowd;
use tcpalive_lab::night::{ALIVE_CONNECTIONS, World, WorldOptions};
use tcpalive_lab::{Host, article};

/// The name of [`night`].
pub(crate) const NIGHT: &str = "check-night";
/// The name of [`living`].
pub(crate) const LIVING: &str = "check-living";

/// Three probes, a second apart, and a second for the last answer.
const SPACING_S: f64 = 3.0;

/// 20,000 dead connections among 20,480.
pub(crate) fn night(bench: &Bench) -> Result<Figure, Failure> {
    let (dead, alive) = (
        bench.scaled(article::DEAD_CONNECTIONS),
        bench.scaled(ALIVE_CONNECTIONS),
    );
    let world = night_falls(bench, dead, alive)?;
    let arguments = "check --json --window 3s";
    let mut ours = Series::new("tcpalive", &shown(arguments, ""));
    let mut one = Series::new(
        "one connection",
        &shown(arguments, " 'remote.port = …' --trust-silence"),
    );
    let port = world
        .truth()
        .dead
        .iter()
        .next()
        .map_or(0, std::net::SocketAddr::port);
    let filter = format!("remote.port = {port}");
    for _ in 0..bench.runs {
        let mut command = tcpalive(arguments);
        command.arg("--netns").arg(world.b().netns_name());
        let run = bench.run(&mut command, Output::Read)?;
        must("dead peers", run.heard.summary("dead").unwrap_or(0), dead)?;
        must(
            "living peers",
            run.heard.summary("alive").unwrap_or(0),
            alive,
        )?;
        bench.say(&format!("check: {:.3} s", run.elapsed_s));
        ours.runs.push(run);
        command.arg(&filter).arg("--trust-silence");
        one.runs.push(bench.run(&mut command, Output::Read)?);
    }
    let last = ours.spread(|run| run.heard.last_at_s);
    let over = last.median - SPACING_S;
    let notes = vec![
        format!(
            "The floor is the spacing of the probes: at 0, 1 and 2 s, and a second for the last answer. Checking a \
             single dead connection takes {}, so {:.3} s are start, loading of the BPF programs, the sweeps and \
             leaving.",
            one.elapsed(),
            one.elapsed().median - SPACING_S
        ),
        format!(
            "{} connections add {:.3} s. {:.1} s of it are the pace of 100,000 probes a second (`--rate`): the last \
             connection's first probe leaves so much later than the first one's, and so does its verdict. The \
             processors are busy for {:.2} s of the {:.2} s.",
            thousands(dead + alive),
            ours.elapsed().median - one.elapsed().median,
            (dead + alive) as f64 / 100_000.0,
            ours.spread(|run| run.cpu_s).median,
            ours.elapsed().median
        ),
        format!(
            "From start to exit it takes {}: after the last verdict the BPF programs and maps are taken down.",
            ours.elapsed()
        ),
    ];
    Ok(Figure {
        name: NIGHT,
        what: format!(
            "`check` of {} ({} dead, {} alive), to the last verdict",
            thousands(dead + alive),
            thousands(dead),
            thousands(alive)
        ),
        target: "1 s more than the probes' spacing".to_owned(),
        ours: last.seconds(),
        peer: "–".to_owned(),
        result: format!("{over:+.3} s"),
        is_met: over <= 1.0,
        floor: format!("{SPACING_S:.1} s"),
        series: vec![ours, one],
        notes,
    })
}

/// A night after A is gone.
pub(crate) fn night_falls(bench: &Bench, dead: usize, alive: usize) -> Result<World, Failure> {
    bench.say(&format!(
        "building a night of {dead} dead and {alive} living connections"
    ));
    let mut world = World::build(&WorldOptions {
        worker: bench.worker("night")?,
        dead,
        alive,
    })?;
    world.kill_a()?;
    Ok(world)
}

fn shown(arguments: &str, filter: &str) -> String {
    format!("tcpalive {arguments} --netns NAME{filter} > PIPE")
}

/// Idle connections that all live.
pub(crate) fn living(bench: &Bench, host: &Host, crowd: &Crowd) -> Result<Figure, Failure> {
    let sockets = 2 * crowd.connections();
    let mut series = [
        ("tcpalive", "check --json"),
        ("faster", "check --json --rate 1000000/s"),
    ]
    .map(|(label, arguments)| (arguments, Series::new(label, &shown(arguments, ""))));
    let mut raw_seconds = Vec::new();
    for _ in 0..bench.runs {
        for (arguments, series) in &mut series {
            let mut command = tcpalive(arguments);
            command.arg("--netns").arg(host.netns_name());
            let run = bench.run(&mut command, Output::Read)?;
            must(
                "living peers",
                run.heard.summary("alive").unwrap_or(0),
                sockets,
            )?;
            bench.say(&format!(
                "check: {:.3} s, {:.0} MiB",
                run.elapsed_s, run.peak_mib
            ));
            series.runs.push(run);
        }
        let seconds = raw::send_probes(host, sockets)?;
        bench.say(&format!("raw sends: {seconds:.3} s"));
        raw_seconds.push(seconds);
    }
    let [ours, faster] = series.map(|(_, series)| series);
    let raw = Spread::of(raw_seconds);
    let elapsed = ours.elapsed();
    // 150 MB, not MiB.
    let memory_mb = ours.spread(|run| run.peak_mib * 1.048_576);
    let notes = vec![
        format!(
            "The floor is the kernel's: as many ready probes handed to a raw socket by `sendmmsg`, with no work \
             around it, and answered by the connections' other ends, take {raw}, {:.0} a second.",
            sockets as f64 / raw.median
        ),
        format!(
            "{:.1} s of it are the pace of 100,000 probes a second (`--rate`); unpaced it takes {}.",
            sockets as f64 / 100_000.0,
            faster.elapsed()
        ),
        format!(
            "The processors are busy for {:.2} s of the {:.2} s. Resident at most: {:.0} MB, {:.0} bytes for each \
             connection.",
            ours.spread(|run| run.cpu_s).median,
            elapsed.median,
            memory_mb.max,
            memory_mb.max * 1e6 / sockets as f64
        ),
    ];
    Ok(Figure {
        name: LIVING,
        what: format!("`check` of {} idle living connections", thousands(sockets)),
        target: "6 s, 150 MB resident".to_owned(),
        ours: format!("{elapsed}, {:.0} MB", memory_mb.max),
        peer: "–".to_owned(),
        result: format!("{:.2} s, {:.0} MB", elapsed.median, memory_mb.max),
        is_met: elapsed.median <= 6.0 && memory_mb.max <= 150.0,
        floor: raw.seconds(),
        series: vec![ours, faster],
        notes,
    })
}
