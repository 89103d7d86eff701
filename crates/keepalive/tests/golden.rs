//! Every scenario in `scenarios/` has a `.golden` beside it: what Linux does,
//! written down by hand from the reference or the article, a line for each
//! thing that is seen.

#![cfg(feature = "toml")]
#![expect(
    clippy::disallowed_methods,
    reason = "the crate opens nothing; this test reads its scenarios"
)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use tcpalive_keepalive::{Scenario, Sight, simulate};

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

fn played(scenario: &Scenario) -> String {
    let mut lines = String::new();
    for moment in simulate(scenario) {
        let nanos = moment.at.as_nanos();
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let seconds = format!("{seconds}.{rest:09}");
        let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
        match moment.what {
            Sight::Probe { probes_out } => writeln!(lines, "{seconds} probe {probes_out}"),
            Sight::Dropped => writeln!(lines, "{seconds} dropped"),
            Sight::Answer => writeln!(lines, "{seconds} answer"),
            Sight::Abort(abort) => writeln!(lines, "{seconds} abort {}", abort.error),
            Sight::Reset { error } => writeln!(lines, "{seconds} reset {error}"),
        }
        .unwrap();
    }
    lines
}

#[test]
fn every_scenario_is_played_as_linux_plays_it() {
    let files = scenarios();
    assert!(files.len() > 40, "{} scenarios are left", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let scenario = Scenario::from_toml(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let golden = std::fs::read_to_string(file.with_extension("golden")).unwrap();
        let played = played(&scenario);
        if played != golden {
            wrong.push(format!(
                "{}\nexpected:\n{golden}played:\n{played}",
                file.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
