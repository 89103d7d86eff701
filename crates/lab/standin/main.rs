//! What the tests run as other processes: a lab that will be killed, the
//! night's workers, the night as a program of its own, and a `tcpalive` that
//! knows beforehand that A is dead, so that the night itself can be tested.
//!
//! `STANDIN_LIE` makes it wrong: `calls-a-living-one-dead`, `misses-one`.

use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;
use tcpalive_lab::night::{self, NightOptions};
use tcpalive_lab::{Lab, LabError, article, crowd};

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["make-a-lab-and-hang"] => make_a_lab_and_hang(),
        ["lab", "worker", ..] => night::worker_main(&arguments[2..])
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        ["crowd", ..] => crowd::worker_main(&arguments[1..])
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        ["night", program, dead, alive] => one_night(program, dead, alive),
        ["ls", "--summary", ..] => {
            println!("a summary");
            Ok(ExitCode::SUCCESS)
        }
        ["ls", "--netns", netns, ..] => list(netns),
        ["check", "--netns", netns, ..] => check(netns),
        ["reap", "--netns", netns, .., journal] => reap(netns, journal),
        _ => Err(format!("what is {words:?}?").into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(4)
    })
}

/// A lab whose process will be killed: prints its namespace and waits for ever.
fn make_a_lab_and_hang() -> Outcome {
    let lab = Lab::new("killed")?;
    let host = lab.host("a")?;
    let other = lab.host("b")?;
    lab.link(&host, "10.9.1.1/24", &other, "10.9.1.2/24")?;
    println!("{}", host.netns_name());
    loop {
        std::thread::park();
    }
}

/// A night whose workers are this program and whose subject is `program`.
fn one_night(program: &str, dead: &str, alive: &str) -> Outcome {
    let own = std::env::current_exe()?;
    let options = NightOptions {
        worker: vec![own.into(), "lab".into(), "worker".into()],
        dead: dead.parse()?,
        alive: alive.parse()?,
        ..NightOptions::new(program.into())
    };
    let report = match night::run(&options, &mut io::stderr()) {
        Err(LabError::Interrupted) => return Ok(ExitCode::from(130)),
        report => report?,
    };
    eprint!("{report}");
    println!("{}", serde_json::to_string(&report)?);
    Ok(ExitCode::from(u8::from(!report.held())))
}

/// A connection of the server, its owner's pid, and whether it is called dead.
struct Seen {
    local: String,
    remote: String,
    pid: u64,
    dead: bool,
}

fn sweep(netns: &str) -> Result<Vec<Seen>, Box<dyn std::error::Error>> {
    let output = Command::new("ip")
        .args([
            "netns",
            "exec",
            netns,
            "ss",
            "-Htnp",
            "state",
            "established",
        ])
        .arg(format!("sport = :{}", article::PORT))
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut seen = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, local, remote, users] = words[..] else {
            return Err(format!("ss printed '{line}'").into());
        };
        let pid = users
            .split("pid=")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        seen.push(Seen {
            local: local.to_owned(),
            remote: remote.to_owned(),
            pid: pid.unwrap_or_default().parse()?,
            dead: remote.starts_with(&format!("{}:", article::A)),
        });
    }
    let lie = std::env::var("STANDIN_LIE").unwrap_or_default();
    let victim = match lie.as_str() {
        "calls-a-living-one-dead" => seen.iter_mut().find(|it| !it.dead),
        "misses-one" => seen.iter_mut().find(|it| it.dead),
        _ => None,
    };
    if let Some(victim) = victim {
        victim.dead = !victim.dead;
    }
    Ok(seen)
}

fn identity(kind: &str, seen: &Seen) -> Value {
    json!({"type": kind, "local": seen.local, "remote": seen.remote})
}

fn list(netns: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    for seen in sweep(netns)? {
        let mut object = identity("connection", &seen);
        object["owners"] = json!([{"pid": seen.pid}]);
        object["keepalive"] = json!({"enabled": false});
        writeln!(stdout, "{object}")?;
    }
    writeln!(stdout, "{}", json!({"type": "summary"}))?;
    Ok(ExitCode::SUCCESS)
}

fn check(netns: &str) -> Outcome {
    // Long enough for the living to say something.
    std::thread::sleep(Duration::from_secs(2));
    let mut stdout = io::stdout().lock();
    for seen in sweep(netns)? {
        let mut object = identity("verdict", &seen);
        object["verdict"] = json!(if seen.dead { "dead" } else { "alive" });
        writeln!(stdout, "{object}")?;
    }
    writeln!(
        stdout,
        "{}",
        json!({"type": "summary", "memory_bytes_held_by_dead": 1})
    )?;
    Ok(ExitCode::from(1))
}

/// By address, which the real one never does: cookies are not to be had from `ss`.
fn reap(netns: &str, journal: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    let mut records = String::new();
    let mut clauses = Vec::new();
    for seen in sweep(netns)?.iter().filter(|seen| seen.dead) {
        records.push_str(&format!("{}\n", identity("reaping", seen)));
        clauses.push(format!("dst {}", seen.remote));
        let mut object = identity("reaped", seen);
        object["result"] = json!("destroyed");
        writeln!(stdout, "{object}")?;
    }
    fs::write(journal, records)?;
    for portion in clauses.chunks(200) {
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                netns,
                "ss",
                "-KHtn",
                "state",
                "established",
            ])
            .arg(format!("( {} )", portion.join(" or ")))
            .output()?;
        io::stderr().write_all(&output.stderr)?;
    }
    writeln!(stdout, "{}", json!({"type": "summary"}))?;
    Ok(ExitCode::from(1))
}
