//! `tcpalive sim`. Needs no privilege and no kernel.

use super::{Ended, PROGRAM, tcpalive};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

const ARTICLE_TEST_3: &str = "\
until = 200.0
[keepalive]
enabled = true
idle = 10.0
interval = 20.0
count = 5
user_timeout = 0.0
[peer]
rtt = 0.001
silent_from = 15.0
";

fn sim_stdin(arguments: &[&str], scenario: &str) -> Ended {
    let mut child = Command::new(PROGRAM)
        .args(["sim", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(scenario.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

fn shipped(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../keepalive/scenarios");
    format!("{folder}/{name}.toml")
}

#[test]
fn objects_are_those_of_the_contract() {
    let ended = sim_stdin(&["--json"], ARTICLE_TEST_3);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.objects(),
        [
            json!({"type": "probe", "t": 10.0, "probes_out": 1}),
            json!({"type": "answer", "t": 10.001}),
            json!({"type": "probe", "t": 30.0, "probes_out": 1}),
            json!({"type": "probe", "t": 50.0, "probes_out": 2}),
            json!({"type": "probe", "t": 70.0, "probes_out": 3}),
            json!({"type": "probe", "t": 90.0, "probes_out": 4}),
            json!({"type": "probe", "t": 110.0, "probes_out": 5}),
            json!({"type": "abort", "t": 130.0, "error": "ETIMEDOUT", "segment": "RST|ACK"}),
        ]
    );
    let summary = json!({"type": "summary", "state": "closed", "probes": 6});
    assert_eq!(ended.summary(), summary);
}

#[test]
fn a_reset_from_the_peer_is_told() {
    let ended = tcpalive(&["sim", "--json", &shipped("peer-knows-nothing")]);
    let last = ended.objects().pop().unwrap();
    assert_eq!(
        last,
        json!({"type": "reset", "t": 3.5, "error": "ECONNRESET"})
    );
}

#[test]
fn several_scenarios_say_whose_each_object_is() {
    let files = [shipped("article-test-1"), shipped("article-test-3")];
    let ended = tcpalive(&["sim", "--json", &files[0], &files[1]]);
    let objects = ended.objects();
    assert_eq!(
        objects[0],
        json!({"type": "scenario", "scenario": "article-test-1", "state": "established", "probes": 0})
    );
    let of_the_second = &objects[1..];
    assert!(
        of_the_second
            .iter()
            .all(|object| object["scenario"] == "article-test-3")
    );
    let summary = json!({"type": "summary", "scenarios": 2, "closed": 1, "probes": 5});
    assert_eq!(ended.summary(), summary);
}

#[test]
fn people_get_a_timeline() {
    let ended = sim_stdin(&[], ARTICLE_TEST_3);
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in [
        "established, keep-alive 10/20/5",
        "the peer falls silent",
        "probe 5 of 5",
        "130  ├───✕  RST|ACK, the program gets ETIMEDOUT",
        "closed after 6 probes, 119.999 s after the peer was last heard",
    ] {
        assert!(ended.stdout.contains(line), "{line}\n{}", ended.stdout);
    }
}

#[test]
fn years_of_answers_are_told_in_a_line() {
    let scenario = "until = 1e8\n[keepalive]\nenabled = true\nidle = 60\n";
    let ended = sim_stdin(&[], scenario);
    assert!(ended.stdout.lines().count() < 15, "{}", ended.stdout);
    assert!(
        ended
            .stdout
            .contains("1,333,330 more probes, each answered"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_drawing_is_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("life.svg");
    let path = file.to_str().unwrap();
    let ended = tcpalive(&["sim", &shipped("peer-reboots"), "--svg", path]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let check = Command::new("python3")
        .args([
            "-c",
            "import sys, xml.dom.minidom as x; x.parse(sys.argv[1])",
            path,
        ])
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    let drawing = std::fs::read_to_string(&file).unwrap();
    for words in [
        "probe 1 of 9",
        "RST, the program gets ECONNRESET",
        "the peer falls silent",
    ] {
        assert!(drawing.contains(words), "{words}");
    }
}

#[test]
fn a_scenario_that_is_none_is_wrong_usage_with_its_place() {
    let ended = sim_stdin(&["--json"], "until = 10\n[keepalive]\nidle = 0\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    let expected = "the scenario standard input: line 3: keepalive.idle: must be 1 to 32767";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    // One wrong file is enough for nothing to be printed.
    let ended = tcpalive(&["sim", &shipped("accepted"), "/nonexistent.toml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(
        ended.stderr.contains("/nonexistent.toml"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_drawing_that_cannot_be_written_is_a_failure() {
    let ended = tcpalive(&[
        "sim",
        &shipped("accepted"),
        "--svg",
        "/nonexistent/life.svg",
    ]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(
        ended.stderr.contains("/nonexistent/life.svg"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_kernel_is_held_beside_the_prediction() {
    let files = [shipped("silent-peer"), shipped("peer-knows-nothing")];
    let ended = tcpalive(&["sim", "--compare-kernel", "--json", &files[0], &files[1]]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let objects = ended.objects();
    let steps: Vec<&str> = objects
        .iter()
        .filter(|object| object["type"] == "step" && object["scenario"] == "silent-peer")
        .map(|step| step["what"].as_str().unwrap())
        .collect();
    // A host under load may drop a packet of its own; then that is said.
    let congested = objects.iter().any(|object| object["congested"] == true);
    assert!(
        congested || steps == ["probe", "probe", "probe", "abort"],
        "{ended:?}"
    );
    for step in objects
        .iter()
        .filter(|object| object["type"] == "step" && !congested)
    {
        let (predicted, measured) = (step["t"].as_f64(), step["measured_t"].as_f64());
        assert!(measured.unwrap() + 0.005 > predicted.unwrap(), "{step}");
    }
    let summary = json!({"type": "summary", "scenarios": 2, "held": 2, "failed": 0});
    assert_eq!(ended.summary(), summary);
}

#[test]
fn a_scale_that_leaves_no_whole_seconds_is_wrong_usage() {
    let file = shipped("article-test-3");
    let ended = tcpalive(&["sim", "--compare-kernel", "--scale", "3", &file]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("--scale"), "{}", ended.stderr);
    let ended = tcpalive(&["sim", "--scale", "3", &file]);
    assert_eq!(ended.code, 2, "{ended:?}");
}
