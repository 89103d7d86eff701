//! What is recorded: each way that a connection lives and ends which keep-alive
//! has to do with, and traffic without keep-alive that looks like it.

use crate::recording::{Form, Recording, Stage, Values, wait_until};
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::Duration;
use tcpalive_lab::faults;

/// A recording, and what the lab set its connection to.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Who has keep-alive: "a", "b", "both", or nobody.
    pub(crate) prober: Option<&'static str>,
    pub(crate) values: Option<Values>,
    /// How it ended.
    pub(crate) end: &'static str,
    /// Whether a peer is dead for good, and the prober knows it.
    pub(crate) verdict: &'static str,
    pub(crate) recording: Recording,
}

struct Script {
    name: &'static str,
    label: &'static str,
    prober: Option<&'static str>,
    values: Option<Values>,
    end: &'static str,
    verdict: &'static str,
    form: Form,
    play: fn(Stage) -> Recording,
}

/// Patient ones never give up while a test runs.
const PATIENT: Values = Values {
    idle: 1,
    interval: 1,
    count: 100,
};
const STRICT: Values = Values {
    idle: 2,
    interval: 1,
    count: 4,
};

/// Slow enough for a host to boot between two probes.
const SLOW: Values = Values { idle: 4, ..PATIENT };

/// All of them, recorded at the same time, once for all tests.
pub(crate) static SCENES: LazyLock<Vec<Scene>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let threads: Vec<_> = SCRIPTS
            .iter()
            .map(|script| scope.spawn(|| script.record()))
            .collect();
        threads
            .into_iter()
            .zip(SCRIPTS)
            .map(|(thread, script)| {
                thread
                    .join()
                    .unwrap_or_else(|_| panic!("recording {} failed", script.name))
            })
            .collect()
    })
});

impl Scene {
    /// Whether it was given up because its probes were used up.
    pub(crate) fn is_ended_by_count(&self) -> bool {
        self.end == "keepalive-timeout" && self.values == Some(STRICT)
    }
}

impl Script {
    fn record(&self) -> Scene {
        Scene {
            name: self.name,
            prober: self.prober,
            values: self.values,
            end: self.end,
            verdict: self.verdict,
            recording: (self.play)(Stage::new(self.label, self.form)),
        }
    }

    const fn probed(name: &'static str, label: &'static str, prober: &'static str) -> Self {
        Self {
            name,
            label,
            prober: Some(prober),
            values: Some(PATIENT),
            end: "open",
            verdict: "alive",
            form: Form::Plain,
            play: answered,
        }
    }

    const fn dying(name: &'static str, label: &'static str, form: Form) -> Self {
        Self {
            values: Some(STRICT),
            end: "keepalive-timeout",
            verdict: "dead",
            form,
            play: dead_peer,
            ..Self::probed(name, label, "a")
        }
    }

    const fn without(
        name: &'static str,
        label: &'static str,
        end: &'static str,
        play: fn(Stage) -> Recording,
    ) -> Self {
        Self {
            prober: None,
            values: None,
            end,
            verdict: if end.len() == "fin".len() {
                "alive"
            } else {
                "unknown"
            },
            play,
            ..Self::probed(name, label, "a")
        }
    }
}

const SCRIPTS: &[Script] = &[
    Script::probed("answered, A probes", "answeredbya", "a"),
    Script {
        play: answered_by_a,
        ..Script::probed("answered, B probes", "answeredbyb", "b")
    },
    Script {
        play: both,
        ..Script::probed("answered, both probe", "both", "both")
    },
    Script {
        play: between_data,
        ..Script::probed("data between probes", "data", "a")
    },
    Script {
        play: typing,
        ..Script::probed("typing, A probes", "typing", "a")
    },
    Script {
        play: lossy_path,
        ..Script::probed("probes over a lossy path", "lossypath", "a")
    },
    Script {
        play: closed_window_reader_probes,
        ..Script::probed("window closed, the reader probes", "reader", "b")
    },
    Script {
        play: closed_window_writer_probes,
        ..Script::probed("window closed, the writer probes", "writer", "a")
    },
    Script::dying("dead peer", "dead", Form::Plain),
    Script::dying("dead peer, IPv6", "deadv6", Form::Ipv6),
    Script::dying(
        "dead peer, no timestamps",
        "deadplain",
        Form::WithoutTimestamps,
    ),
    Script {
        values: Some(Values {
            count: 100,
            ..STRICT
        }),
        play: user_timeout,
        ..Script::dying("dead peer, user timeout", "usertimeout", Form::Plain)
    },
    Script {
        values: Some(SLOW),
        end: "reset",
        // One probe without an answer, and a reset: it lives, or another does.
        verdict: "unknown",
        play: rebooted_peer,
        ..Script::probed("peer rebooted", "rebooted", "a")
    },
    Script::without("typing with loss", "typingloss", "open", typing_with_loss),
    Script::without("typing in nc", "nc", "open", typing_in_nc),
    Script::without("bulk with loss", "bulk", "fin", bulk_with_loss),
    Script::without("requests with loss", "requests", "fin", requests_with_loss),
    Script::without("window closed", "window", "open", closed_window),
    Script::without("one byte into silence", "silence", "open", into_silence),
];

fn answered(stage: Stage) -> Recording {
    stage.a.keep_alive(PATIENT);
    stage.a.wait_for_probes(5);
    stage.finish()
}

fn answered_by_a(stage: Stage) -> Recording {
    stage.b.keep_alive(PATIENT);
    stage.b.wait_for_probes(5);
    stage.finish()
}

fn both(stage: Stage) -> Recording {
    stage.a.keep_alive(PATIENT);
    stage.b.keep_alive(PATIENT);
    stage.a.wait_for_probes(5);
    stage.b.wait_for_probes(1);
    stage.finish()
}

fn between_data(stage: Stage) -> Recording {
    stage.a.keep_alive(PATIENT);
    for length in [1, 2, 100, 1000, 1] {
        stage.a.wait_for_probes(1);
        stage.a.send(&vec![7; length]);
        stage.b.receive(length);
        stage.a.wait_for_probes(1);
        stage.b.send(&vec![8; length]);
        stage.a.receive(length);
    }
    stage.a.wait_for_probes(1);
    stage.finish()
}

/// Bytes come back one by one; between the words people think.
fn typing(stage: Stage) -> Recording {
    stage.a.keep_alive(PATIENT);
    for word in ["to", "be", "or", "not"] {
        type_and_echo(&stage, word.as_bytes());
        stage.a.wait_for_probes(2);
    }
    stage.finish()
}

fn type_and_echo(stage: &Stage, text: &[u8]) {
    for byte in text {
        stage.a.send(&[*byte]);
        let echo = stage.b.receive(1);
        stage.b.send(&echo);
        stage.a.receive(1);
    }
}

fn lossy_path(stage: Stage) -> Recording {
    stage.a.keep_alive(PATIENT);
    let loss = faults::loss(&stage.b.host, 30).unwrap();
    stage.a.wait_for_probes(8);
    // Whether the last one had an answer must not be left to chance.
    loss.undo().unwrap();
    stage.a.wait_for_probes(1);
    stage.finish()
}

/// Data that nobody reads, until the window is closed.
fn close_window(stage: &Stage) {
    stage.a.socket.set_nonblocking(true).unwrap();
    let before = stage.a.counters()[1];
    wait_until("probes of the window", || {
        while (&stage.a.socket).write(&[7; 65536]).is_ok() {}
        stage.a.counters()[1] >= before + 4
    });
}

fn closed_window(stage: Stage) -> Recording {
    close_window(&stage);
    open_window(&stage);
    stage.finish()
}

/// Reads until the writer's queue is empty.
fn open_window(stage: &Stage) {
    stage.b.socket.set_nonblocking(true).unwrap();
    wait_until("the rest of the data", || {
        let mut buffer = [0; 65536];
        while (&stage.b.socket).read(&mut buffer).is_ok() {}
        unsent(stage) == 0
    });
}

/// What `ss` shows in the column Send-Q of A.
fn unsent(stage: &Stage) -> u64 {
    let output = stage.a.host.command("ss").args(["-Htn"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let queues = text.lines().map(|line| {
        let queue = line.split_whitespace().nth(2).unwrap();
        queue.parse::<u64>().unwrap()
    });
    queues.sum()
}

fn closed_window_reader_probes(stage: Stage) -> Recording {
    stage.b.keep_alive(PATIENT);
    close_window(&stage);
    stage.b.wait_for_probes(3);
    open_window(&stage);
    stage.b.wait_for_probes(2);
    stage.finish()
}

/// Its keep-alive is silent while data wait.
fn closed_window_writer_probes(stage: Stage) -> Recording {
    stage.a.keep_alive(PATIENT);
    close_window(&stage);
    open_window(&stage);
    stage.a.wait_for_probes(2);
    stage.finish()
}

fn dead_peer(stage: Stage) -> Recording {
    stage.a.send(&[7; 300]);
    stage.b.receive(300);
    stage.a.keep_alive(STRICT);
    stage.a.wait_for_probes(1);
    let _cut = faults::cut(&stage.b.host, stage.a.address).unwrap();
    assert_eq!(stage.a.wait_for_error(), ErrorKind::TimedOut);
    stage.finish()
}

fn user_timeout(stage: Stage) -> Recording {
    stage.a.keep_alive(Values {
        count: 100,
        ..STRICT
    });
    stage.a.user_timeout(Duration::from_secs(5));
    stage.a.wait_for_probes(1);
    let _cut = faults::cut(&stage.b.host, stage.a.address).unwrap();
    assert_eq!(stage.a.wait_for_error(), ErrorKind::TimedOut);
    stage.finish()
}

fn rebooted_peer(stage: Stage) -> Recording {
    stage.a.keep_alive(SLOW);
    stage.a.wait_for_probes(1);
    let before = stage.b.counters();
    stage.b.host.power_off().unwrap();
    stage.b.host.power_on().unwrap();
    assert_eq!(stage.a.wait_for_error(), ErrorKind::ConnectionReset);
    stage.finish_with(before)
}

fn typing_with_loss(stage: Stage) -> Recording {
    {
        let _loss = faults::loss(&stage.b.host, 20).unwrap();
        type_and_echo(&stage, b"to be, or not to be");
    }
    let before = stage.a.counters()[2];
    let cut = faults::cut(&stage.b.host, stage.a.address).unwrap();
    stage.a.send(b",");
    wait_until("retransmissions", || stage.a.counters()[2] >= before + 2);
    cut.undo().unwrap();
    stage.b.receive(1);
    type_and_echo(&stage, b" that is the question");
    stage.finish()
}

/// OpenBSD's netcat, which knows no keep-alive, typed into byte by byte.
fn typing_in_nc(stage: Stage) -> Recording {
    let start = |end: &crate::recording::End, arguments: &[&str]| -> Child {
        let mut command = end.host.command("nc");
        command.args(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        piped.spawn().unwrap()
    };
    let mut listener = start(&stage.b, &["-l", "10.9.1.2", "3334"]);
    wait_until("nc to listen", || {
        let listening = stage.b.host.command("ss").args(["-Hltn"]).output().unwrap();
        String::from_utf8_lossy(&listening.stdout).contains(":3334")
    });
    let mut client = start(&stage.a, &["10.9.1.2", "3334"]);
    for byte in b"to be, or not to be" {
        for [from, to] in [[0, 1], [1, 0]] {
            let programs = [&mut client, &mut listener];
            let stdin = programs[from].stdin.as_mut().unwrap();
            stdin.write_all(&[*byte]).unwrap();
            stdin.flush().unwrap();
            let mut arrived = [0];
            let stdout = programs[to].stdout.as_mut().unwrap();
            stdout.read_exact(&mut arrived).unwrap();
            assert_eq!(arrived, [*byte]);
        }
    }
    let recording = stage.finish();
    // Their hosts are gone, and they are, too.
    for program in [&mut client, &mut listener] {
        program.wait().unwrap();
    }
    recording
}

fn bulk_with_loss(stage: Stage) -> Recording {
    const LENGTH: usize = 2 << 20;
    let _loss = faults::loss(&stage.b.host, 3).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            stage.a.send(&vec![7; LENGTH]);
            stage.a.send_no_more();
        });
        assert_eq!(stage.b.receive_all(), LENGTH as u64);
    });
    stage.b.send_no_more();
    stage.a.receive_all();
    stage.finish()
}

fn requests_with_loss(stage: Stage) -> Recording {
    let _loss = faults::loss(&stage.b.host, 3).unwrap();
    for round in 0..100 {
        let (request, reply) = (1 + 37 * round % 500, 1 + 91 * round % 1400);
        stage.a.send(&vec![7; request]);
        stage.b.receive(request);
        stage.b.send(&vec![8; reply]);
        stage.a.receive(reply);
    }
    stage.a.send_no_more();
    stage.b.receive_all();
    stage.b.send_no_more();
    stage.a.receive_all();
    stage.finish()
}

fn into_silence(stage: Stage) -> Recording {
    type_and_echo(&stage, b"to be");
    let _cut = faults::cut(&stage.b.host, stage.a.address).unwrap();
    stage.a.send(b",");
    wait_until("retransmissions", || stage.a.counters()[2] >= 5);
    stage.finish()
}
