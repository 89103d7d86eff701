//! The figures of `docs/benchmarks.md`: the program beside its peers, on the
//! same sockets, in the same run.
//!
//! ```sh
//! make bench                                                # all of them; writes docs/benchmarks.md
//! cargo bench -p tcpalive --bench figures -- ls check-night # those whose name begins so
//! cargo bench -p tcpalive --bench figures -- --scale 0.05 --runs 1
//! make bench-cost                                           # what keep-alive costs; writes docs/cost.md
//! ```
//!
//! Needs root, and `ip`, `nft` and `ss`. Connections are made in network
//! namespaces of their own, which are gone at the end, also after Ctrl-C.
//!
//! * [`bench`]: how much is measured, and how commands are run and timed.
//! * [`ls`], [`check`], [`reap`]: the figures.
//! * [`capture`]: `analyze` beside tshark.
//! * [`engine`]: the keep-alive crate's own benchmarks.
//! * [`cost`]: what keep-alive costs the kernel, a page of its own.
//! * [`raw`]: what the kernel takes to send as many packets with no work around it.
//! * [`machine`]: what it ran on.
//! * [`report`]: the table and the page.

mod bench;
mod capture;
mod check;
mod cost;
mod engine;
mod ls;
mod machine;
mod raw;
mod reap;
mod report;

use bench::{Bench, Failure, Stop};
use report::Figure;
use std::process::ExitCode;
use tcpalive_lab::crowd::{self, Crowd};
use tcpalive_lab::{Lab, night};

/// Connections of the crowd that `ls` with owners and `check` are measured on.
const CROWD: usize = 100_000;
/// Connections of the largest crowd: 1,010,000 sockets.
const LARGE_CROWD: usize = 505_000;

const HELP: &str = "\
Usage: cargo bench -p tcpalive --bench figures -- [OPTIONS] [NAME…]

NAME is the beginning of a figure's name: ls-owners, ls-million, check-night,
check-living, reap, engine, wheel, sim-week, analyze, analyze-memory. Without names all are measured and docs/benchmarks.md is
written. The name cost, alone, measures what keep-alive costs the kernel and
writes docs/cost.md and crates/keepalive/src/measured.rs; it takes 8 minutes,
4 GB of memory for 500,000 connections, and raises the machine's
net.core.netdev_max_backlog meanwhile.

  --runs N       measured runs of each command [default: 5]
  --scale SHARE  share of the connections, for a quick look [default: 1]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        // What the lab starts: this program again.
        Some((word, rest)) if word == "worker" => work(rest),
        _ => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("figures: {failure}");
            ExitCode::from(4)
        }
    }
}

fn work(arguments: &[String]) -> Result<(), Failure> {
    match arguments.split_first() {
        Some((kind, rest)) if kind == "crowd" => crowd::worker_main(rest)?,
        Some((kind, rest)) if kind == "night" => night::worker_main(rest)?,
        _ => return Err(Failure::Usage("there is no such worker".to_owned())),
    }
    Ok(())
}

/// Measures and prints. A target that is missed is no failure: the table says
/// so, and other machines are others.
fn measure(arguments: &[String]) -> Result<(), Failure> {
    let mut names = Vec::new();
    let mut runs = 5;
    let mut scale = 1.0;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--runs" => runs = number(word, words.next())?,
            "--scale" => scale = number(word, words.next())?,
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            option if option.starts_with('-') => {
                return Err(Failure::Usage(format!("no option {option}\n\n{HELP}")));
            }
            name => names.push(name.to_owned()),
        }
    }
    if runs < 1 || !(0.0..=1.0).contains(&scale) {
        return Err(Failure::Usage(format!(
            "at least one run, and a share from 0 to 1\n\n{HELP}"
        )));
    }
    let bench = Bench::new(runs, scale, Stop::on_signals()?);
    if names == [cost::COST] {
        return measure_cost(&bench);
    }
    let machine = machine::describe();
    let figures = figures(&bench, &names)?;
    print!("{}", report::table(&figures));
    if names.is_empty() && bench.is_whole() {
        let page = report::page(&machine, &bench, &figures);
        std::fs::write(at_root("docs/benchmarks.md"), page)?;
        println!("docs/benchmarks.md is written.");
    } else {
        println!("{}", report::details(&figures));
        println!("docs/benchmarks.md is left alone: these are not all figures in full.");
    }
    Ok(())
}

fn measure_cost(bench: &Bench) -> Result<(), Failure> {
    let written = cost::write(bench)?;
    print!("{}\n{}", written.page, written.constants);
    if bench.is_whole() {
        std::fs::write(at_root("docs/cost.md"), written.page)?;
        std::fs::write(
            at_root("crates/keepalive/src/measured.rs"),
            written.constants,
        )?;
        println!("docs/cost.md and crates/keepalive/src/measured.rs are written.");
    } else {
        println!("docs/cost.md is left alone: this is not the figure in full.");
    }
    Ok(())
}

fn at_root(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn number<T: std::str::FromStr>(option: &str, value: Option<&String>) -> Result<T, Failure> {
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Failure::Usage(format!("{option} needs a number")))
}

fn figures(bench: &Bench, names: &[String]) -> Result<Vec<Figure>, Failure> {
    let wanted =
        |name: &str| names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted));
    let known = [
        ls::OWNERS,
        ls::MILLION,
        check::NIGHT,
        check::LIVING,
        reap::REAP,
        engine::ENGINE,
        engine::WHEEL,
        engine::WEEK,
        capture::SPEED,
        capture::MEMORY,
    ];
    if let Some(name) = names
        .iter()
        .find(|name| !known.iter().any(|known| known.starts_with(*name)))
    {
        return Err(Failure::Usage(format!(
            "there is no figure {name}\n\n{HELP}"
        )));
    }
    let mut figures = Vec::new();
    if wanted(ls::OWNERS) || wanted(check::LIVING) {
        let lab = Lab::new("bench")?;
        let host = lab.host("crowd")?;
        let connections = bench.scaled(CROWD);
        let crowd = crowd(bench, &host, connections)?;
        if wanted(ls::OWNERS) {
            figures.push(ls::with_owners(bench, &host, &crowd)?);
        }
        if wanted(check::LIVING) {
            figures.push(check::living(bench, &host, &crowd)?);
        }
        bench.say("taking the crowd down");
    }
    if wanted(ls::MILLION) {
        let lab = Lab::new("bench")?;
        let host = lab.host("crowd")?;
        let connections = bench
            .scaled(LARGE_CROWD)
            .min(machine::connections_that_fit());
        let crowd = crowd(bench, &host, connections)?;
        figures.push(ls::without_owners(bench, &host, &crowd)?);
        bench.say("taking the crowd down");
    }
    if wanted(check::NIGHT) {
        figures.push(check::night(bench)?);
    }
    if wanted(reap::REAP) {
        figures.push(reap::reap(bench)?);
    }
    if wanted(engine::ENGINE) || wanted(engine::WEEK) {
        figures.extend(engine::engine(bench)?);
    }
    if wanted(engine::WHEEL) {
        figures.push(engine::wheel(bench)?);
    }
    if wanted(capture::SPEED) {
        figures.push(capture::speed(bench)?);
    }
    if wanted(capture::MEMORY) {
        figures.push(capture::memory(bench)?);
    }
    figures.sort_by_key(|figure| known.iter().position(|name| *name == figure.name));
    Ok(figures)
}

fn crowd(bench: &Bench, host: &tcpalive_lab::Host, connections: usize) -> Result<Crowd, Failure> {
    bench.say(&format!("opening {connections} connections"));
    Ok(Crowd::build(host, &bench.worker("crowd")?, connections)?)
}
