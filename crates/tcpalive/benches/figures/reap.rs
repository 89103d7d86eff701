//! `reap`: how fast what was proven dead is let go.

use crate::bench::{Bench, Failure, Output, Run, Series, Spread, must, tcpalive};
use crate::check::night_falls;
use crate::report::{Figure, thousands};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use tcpalive_lab::article;
use tcpalive_lab::night::{ALIVE_CONNECTIONS, World};

/// The name of [`reap`].
pub(crate) const REAP: &str = "reap";

/// Each run of `ss -tK` needs a night of its own: so often is enough.
const RUNS_OF_SS: usize = 3;

/// Connections a second that must be met.
const TARGET: f64 = 20_000.0;

/// 20,000 connections, proven dead and destroyed, each run in a new night.
pub(crate) fn reap(bench: &Bench) -> Result<Figure, Failure> {
    let (dead, alive) = (
        bench.scaled(article::DEAD_CONNECTIONS),
        bench.scaled(ALIVE_CONNECTIONS),
    );
    // Where journals are kept there is a disk; /tmp may be memory.
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let arguments = "reap --yes --json --window 3s";
    let mut ours = Series::new(
        "tcpalive",
        &format!("tcpalive {arguments} --journal FILE --netns NAME > PIPE"),
    );
    let mut peer = Series::new(
        "ss",
        &format!("ip netns exec NAME ss -tK dst {}", article::A),
    );
    let mut journals = Vec::new();
    let mut syncing = Vec::new();
    for round in 0..bench.runs {
        let world = night_falls(bench, dead, alive)?;
        let path = folder.path().join(format!("journal-{round}"));
        let mut command = tcpalive(arguments);
        command
            .arg("--journal")
            .arg(&path)
            .arg("--netns")
            .arg(world.b().netns_name());
        let run = bench.run(&mut command, Output::Read)?;
        must(
            "destroyed",
            run.heard.summary("destroyed").unwrap_or(0),
            dead,
        )?;
        must("left", world.established()?.len() as u64, alive)?;
        let journal = Journal::read(&path)?;
        bench.say(&format!(
            "reap: {:.3} s, destroying {:.3} s",
            run.elapsed_s, journal.elapsed_s
        ));
        syncing.push(sync_again(&path, folder.path())?);
        journals.push(journal);
        ours.runs.push(run);
        drop(world);
        if round < RUNS_OF_SS {
            let world = night_falls(bench, dead, alive)?;
            let run = by_ss(bench, &world)?;
            must("left by ss", world.established()?.len() as u64, alive)?;
            bench.say(&format!("ss -K: {:.3} s", run.elapsed_s));
            peer.runs.push(run);
        }
    }
    let spread = |value: fn(&Journal) -> f64| Spread::of(journals.iter().map(value).collect());
    let elapsed = spread(|journal| journal.elapsed_s);
    let kernel = spread(|journal| journal.between_s);
    let rate = dead as f64 / elapsed.median.max(0.001);
    let syncing = Spread::of(syncing);
    let batches = journals.first().map_or(0, |journal| journal.batches);
    let notes = vec![
        format!(
            "Destroying is the time from the first `destroying` line of the journal to the last `result` line: {elapsed}. \
             There are {batches} batches. {:.3} s of it are what lies between the last `destroying` line of a batch and its first \
             result: the sync and the kernel's part. The rest is writing lines.",
            kernel.median
        ),
        format!(
            "Writing a journal of the same size again and syncing it to this disk where the program did takes {syncing}, \
             {} syncs.",
            2 * batches
        ),
        format!(
            "The whole run, {}, is the window of 3 s with its sweeps, and destroying.",
            ours.elapsed()
        ),
        "`ss -tK` destroys what matches its filter, dead or not, and keeps no journal; its time is that of the whole \
         process."
            .to_owned(),
    ];
    Ok(Figure {
        name: REAP,
        what: format!(
            "`reap --yes` of {} proven dead: destroying",
            thousands(dead)
        ),
        target: "20,000 a second".to_owned(),
        ours: elapsed.seconds(),
        peer: format!("{} (`ss -tK`, {} runs)", peer.elapsed(), peer.runs.len()),
        result: format!("{} a second", thousands(rate as usize)),
        is_met: rate >= TARGET,
        floor: kernel.seconds(),
        series: vec![ours, peer],
        notes,
    })
}

fn by_ss(bench: &Bench, world: &World) -> Result<Run, Failure> {
    let mut command = world.b().command("ss");
    command.args(["-tK", "dst", &article::A.to_string()]);
    bench.run(&mut command, Output::Discarded)
}

/// When a journal says that things happened.
struct Journal {
    /// From the first `destroying` to the last `result`.
    elapsed_s: f64,
    /// Of it, between a `destroying` and the `result` that is the next line.
    between_s: f64,
    batches: usize,
}

impl Journal {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)?;
        let mut first = None;
        let mut last = ("", 0.0);
        let mut between_s = 0.0;
        let mut batches = 0;
        for line in text.lines() {
            let value: Value = serde_json::from_str(line)
                .map_err(|error| Failure::Other(format!("the journal has '{line}': {error}")))?;
            let at = value["at"].as_f64().unwrap_or(0.0);
            let kind = if value["type"] == "destroying" {
                "destroying"
            } else {
                "result"
            };
            first = first.or(Some(at));
            if (last.0, kind) == ("destroying", "result") {
                between_s += at - last.1;
                batches += 1;
            }
            last = (kind, at);
        }
        Ok(Self {
            elapsed_s: last.1 - first.unwrap_or(0.0),
            between_s,
            batches,
        })
    }
}

/// Writes the journal again, synced after each run of lines of one type as
/// the program does, and returns how many seconds that took.
fn sync_again(path: &Path, folder: &Path) -> Result<f64, Failure> {
    let text = fs::read_to_string(path)?;
    let is_result = |line: &str| line.contains("\"type\":\"result\"");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let copy = folder.join("copy");
    let mut file = File::create(&copy)?;
    let begin = Instant::now();
    for part in lines.chunk_by(|a, b| is_result(a) == is_result(b)) {
        file.write_all(part.concat().as_bytes())?;
        file.sync_data()?;
    }
    let elapsed = begin.elapsed();
    fs::remove_file(copy)?;
    Ok(elapsed.as_secs_f64())
}
