//! The article's night, for real.
//!
//! B is a server that never asks for keep-alive, in several processes. It
//! holds 20,000 connections from A and 480 from C. A's cable is cut, and then
//! A is no more: no FIN and no RST of it will ever arrive. B's kernel shows
//! 20,480 ESTABLISHED connections and would do so for ever. C's clients live
//! on and exchange numbered messages with the server all the time.
//!
//! Then `tcpalive ls`, `check` and `reap` run in B, and what they find is
//! held against what the night knows, connection by connection.
//!
//! * [`World`]: the hosts and the processes; of use to benchmarks too.
//! * [`NightReport`]: what was expected and what was observed.
//!
//! The processes are this program again: [`worker_main`] is what a hidden
//! subcommand of the program must call.

mod clients;
pub(crate) mod process;
mod program;
mod report;
pub(crate) mod server;
mod world;

pub use report::{Facts, Measured, NightReport};
pub use world::{Truth, World, WorldOptions};

use crate::article;
use crate::error::{Doing, LabError, Result};
use program::Program;
use report::thousands;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections from the host that lives on, so that the sum is "more than
/// 20k". Not from the article.
pub const ALIVE_CONNECTIONS: usize = 480;

/// How long the demo's `check` and `reap` watch: enough where the network is
/// a cable within one machine. A production host wants the default.
pub const WINDOW: Duration = Duration::from_secs(5);

/// What a night is made of.
#[derive(Debug, Clone)]
pub struct NightOptions {
    /// The program under test, run as `PROGRAM ls …`, `check …`, `reap …`.
    pub program: PathBuf,
    /// The command that ends up in [`worker_main`], with its first arguments.
    pub worker: Vec<OsString>,
    /// Connections from A, which will be gone.
    pub dead: usize,
    /// Connections from C, which lives on. At least one: silence from
    /// everybody proves nothing.
    pub alive: usize,
    /// The window that `check` and `reap` are given.
    pub window: Duration,
}

impl NightOptions {
    /// The article's numbers, with a program whose `lab worker …` calls [`worker_main`].
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            worker: vec![program.clone().into(), "lab".into(), "worker".into()],
            program,
            dead: article::DEAD_CONNECTIONS,
            alive: ALIVE_CONNECTIONS,
            window: WINDOW,
        }
    }
}

/// Runs the night and takes everything down again, also when it fails and on
/// SIGINT and SIGTERM. `progress` tells people what is going on.
///
/// # Errors
/// [`LabError::NotRoot`]; [`LabError::Interrupted`]; when the world cannot be
/// built; when the program under test cannot be run, fails or prints what is
/// no JSON. That it *finds* something else than the truth is no error: see
/// [`NightReport::held`].
pub fn run(options: &NightOptions, progress: &mut dyn Write) -> Result<NightReport> {
    if options.dead == 0 || options.alive == 0 {
        return Err(LabError::Other(
            "a night needs at least one dead and one living connection".to_owned(),
        ));
    }
    let interrupt = Interrupt::on_signals()?;
    let result = night(options, &interrupt, progress);
    // A child that died of the same Ctrl-C is not the news.
    if result.is_err() {
        interrupt.check()?;
    }
    result
}

/// What the hidden subcommand calls with its arguments: the night's server
/// and clients. It returns when its stdin ends.
///
/// # Errors
/// Arguments that [`World`] does not give, and failures of the network.
pub fn worker_main(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let bad = || {
        LabError::Other(format!(
            "no worker is started as '{}': this is for `lab run night` alone",
            words.join(" ")
        ))
    };
    match words.as_slice() {
        ["server", address] => server::serve(address.parse().map_err(|_| bad())?),
        ["clients", server, source, count, rate] => clients::hold(&clients::Holding {
            server: server.parse().map_err(|_| bad())?,
            first: source.parse().map_err(|_| bad())?,
            count: count.parse().map_err(|_| bad())?,
            messages_per_second: rate.parse().map_err(|_| bad())?,
        }),
        _ => Err(bad()),
    }
}

fn night(
    options: &NightOptions,
    interrupt: &Interrupt,
    progress: &mut dyn Write,
) -> Result<NightReport> {
    let begin = Instant::now();
    let mut progress = Progress {
        begin,
        interrupt,
        out: progress,
    };
    let world_options = WorldOptions {
        worker: options.worker.clone(),
        dead: options.dead,
        alive: options.alive,
    };
    let mut world = World::build_until(&world_options, interrupt)?;
    let setup = begin.elapsed();
    progress.say(&format!(
        "B, {}, serves {} connections of A and {} of C with {} processes.\n\
         Its namespace is {}.",
        article::B,
        thousands(options.dead),
        thousands(options.alive),
        world.server_pids().len(),
        world.b().netns_name(),
    ))?;

    let heard = world.kill_a()?;
    let died = Instant::now();
    let established_before = world.established()?.len();
    let descriptors_before = world.descriptors()?;
    progress.say(&format!(
        "A's cable is cut and A is no more. C lives and talks.\n\
         B still shows {} established connections; they take {} descriptors.",
        thousands(established_before),
        thousands(descriptors_before),
    ))?;

    let program = Program::new(options, world.b(), interrupt);
    progress.say(&program.shown("ls --summary"))?;
    let summary = program.summary()?;
    progress.quote(&summary.text)?;

    let list = program.list(world.truth(), &world.server_pids())?;
    progress.say(&program.shown("check"))?;
    let check = program.check(world.truth())?;
    progress.quote(&format!(
        "{}; {} wrong",
        report::counts(&check.verdicts),
        thousands(check.wrong)
    ))?;

    progress.say(&program.shown("reap --yes"))?;
    let memory_before = process::tcp_memory();
    let reap = program.reap(world.truth())?;
    let let_go = died.elapsed();
    progress.quote(&format!(
        "{} destroyed; {} wrong",
        thousands(reap.destroyed),
        thousands(reap.wrong)
    ))?;

    let descriptors_after =
        world.descriptors_at_most(descriptors_before.saturating_sub(options.dead))?;
    let established_after = world.established()?;
    let memory_after = process::tcp_memory();
    let packets_from_dead_host = heard.packets()?;
    // The clients first: the server sees their last words.
    let living = world.stop_talking()?;
    let server = world.server_report()?;
    let truth = world.truth();
    let (ends_of_dead, other_ends): (Vec<_>, Vec<_>) = server
        .ended
        .iter()
        .partition(|ended| truth.dead.contains(&ended.peer));
    let mut server_errors = BTreeMap::new();
    for ended in &ends_of_dead {
        *server_errors.entry(ended.error.clone()).or_insert(0) += 1;
    }
    let left_of_living = truth.alive.intersection(&established_after).count();
    let (server_errors_on_dead, server_errors_on_living) = (ends_of_dead.len(), other_ends.len());
    drop(world);
    progress.say("Everything is taken down.")?;

    Ok(NightReport {
        expected: Facts::truth(options.dead, options.alive),
        observed: Facts {
            established_before,
            packets_from_dead_host,
            listed: list.listed,
            listed_with_server_as_owner: list.owned,
            listed_with_keepalive_on: list.keepalive_on,
            listed_wrongly: list.wrong,
            found_dead: check.count("dead"),
            found_alive: check.count("alive"),
            found_otherwise: check.verdicts.values().sum::<usize>()
                - check.count("dead")
                - check.count("alive"),
            found_wrongly: check.wrong,
            destroyed: reap.destroyed,
            destroyed_wrongly: reap.wrong,
            journaled: reap.journaled,
            exit_codes: [
                summary.exit_code,
                list.exit_code,
                check.exit_code,
                reap.exit_code,
            ],
            established_after: established_after.len(),
            established_after_of_living: left_of_living,
            descriptors_given_back: descriptors_before.saturating_sub(descriptors_after),
            server_errors_on_dead,
            server_errors_on_living,
            messages_lost: server.lost + living.lost,
            messages_repeated: server.repeated + living.repeated,
            client_errors: living.errors.len(),
        },
        measured: Measured {
            connections: options.dead + options.alive,
            setup_s: setup.as_secs_f64(),
            ls_s: list.elapsed.as_secs_f64(),
            check_s: check.elapsed.as_secs_f64(),
            reap_s: reap.elapsed.as_secs_f64(),
            death_to_let_go_s: let_go.as_secs_f64(),
            total_s: begin.elapsed().as_secs_f64(),
            kernel_default_s: article::DEFAULT_DETECTION.as_secs(),
            memory_held_by_dead_bytes: check.memory_held_by_dead,
            memory_given_back_bytes: memory_before
                .zip(memory_after)
                .map(|(before, after)| before.saturating_sub(after)),
            messages_exchanged: living.answered,
            server_errors,
        },
    })
}

/// Tells people what is going on, and when.
struct Progress<'a> {
    begin: Instant,
    interrupt: &'a Interrupt,
    out: &'a mut dyn Write,
}

impl Progress<'_> {
    /// The first line with the time, the others below it.
    fn say(&mut self, text: &str) -> Result<()> {
        self.interrupt.check()?;
        let mut margin = format!("{:6.1} s  ", self.begin.elapsed().as_secs_f64());
        for line in text.lines() {
            self.line(&format!("{margin}{line}"))?;
            margin = " ".repeat(10);
        }
        Ok(())
    }

    /// What a program printed.
    fn quote(&mut self, text: &str) -> Result<()> {
        text.lines()
            .try_for_each(|line| self.line(&format!("          │ {line}")))
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{}", line.trim_end())
            .and_then(|()| self.out.flush())
            .doing(|| "write the progress".to_owned())
    }
}

/// Whether someone asked for an end.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    flag: Arc<AtomicBool>,
    handlers: Vec<signal_hook::SigId>,
}

impl Interrupt {
    pub(crate) fn on_signals() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let handlers = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM]
            .into_iter()
            .map(|signal| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .collect::<std::io::Result<Vec<_>>>()
            .doing(|| "prepare for Ctrl-C".to_owned())?;
        Ok(Self { flag, handlers })
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.flag.load(Ordering::Relaxed) {
            Err(LabError::Interrupted)
        } else {
            Ok(())
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}
