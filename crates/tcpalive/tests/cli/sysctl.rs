//! `sysctl` and `sysctl set`: what is shown is what the kernel has, what is
//! set is what was asked for, and nothing else is touched.

use crate::{Ended, PROGRAM, tcpalive, two_hosts};
use rustix::net::sockopt;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tcpalive_lab::connections::{self, Options, Pair};
use tcpalive_lab::{Host, Lab};

/// time, interval, probes of a host, as the kernel has them.
fn values(host: &Host) -> [String; 3] {
    ["time", "intvl", "probes"].map(|name| {
        host.sysctl_value(&format!("net.ipv4.tcp_keepalive_{name}"))
            .unwrap()
    })
}

fn set(host: &Host, arguments: &[&str]) -> Ended {
    let command = ["sysctl", "set", "--json", "--netns", host.netns_name()];
    tcpalive(&[&command[..], arguments].concat())
}

/// The one object about a change that went well without warnings.
fn changed(host: &Host, arguments: &[&str]) -> Value {
    let ended = set(host, arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let objects = ended.objects();
    assert_eq!(objects.len(), 1, "{ended:?}");
    assert_eq!(objects[0]["type"], "changed");
    objects[0].clone()
}

/// A connection from a to b; `prepare` does something to the client's socket.
fn connect(a: &Host, b: &Host, prepare: fn(&Pair)) -> Pair {
    // A port of its own each time: what another test just forked may hold the
    // last listener for a moment more, until it calls exec.
    static PORT: AtomicU16 = AtomicU16::new(3333);
    let address = format!("10.9.1.2:{}", PORT.fetch_add(1, Ordering::Relaxed));
    let pairs = connections::open(a, b, &address, 1, &Options::default()).unwrap();
    let pair = pairs.into_iter().next().unwrap();
    prepare(&pair);
    pair
}

fn keepalive(pair: &Pair) {
    sockopt::set_socket_keepalive(&pair.client, true).unwrap();
}

/// Milliseconds until the keep-alive timers of the host's connections fire,
/// by `ss`, which prints 119min, 59sec, 9.9sec, 900ms.
fn timers(host: &Host) -> Vec<u64> {
    let output = host.run(|| Command::new("ss").args(["-tno"]).output());
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut found: Vec<u64> = text
        .split("timer:(keepalive,")
        .skip(1)
        .map(|rest| {
            let timer = rest.split(',').next().unwrap();
            let milliseconds = |unit, scale: f64| {
                let number = timer.strip_suffix(unit)?.parse::<f64>().ok()?;
                Some((number * scale) as u64)
            };
            milliseconds("min", 60_000.0)
                .or_else(|| milliseconds("sec", 1000.0))
                .or_else(|| milliseconds("ms", 1.0))
                .unwrap_or_else(|| panic!("{timer} of {text}"))
        })
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn a_namespace_is_shown_with_what_follows_from_its_values() {
    let (_lab, a, b) = two_hosts("sysctlshow");
    a.sysctl("net.ipv4.tcp_keepalive_time", "60").unwrap();
    a.sysctl("net.ipv4.tcp_keepalive_intvl", "10").unwrap();
    a.sysctl("net.ipv4.tcp_keepalive_probes", "6").unwrap();
    let _follows = connect(&a, &b, keepalive);
    let _own = connect(&a, &b, |pair| {
        keepalive(pair);
        sockopt::set_tcp_keepcnt(&pair.client, 3).unwrap();
    });
    let _off = [connect(&a, &b, |_| {}), connect(&a, &b, |_| {})];

    let ended = tcpalive(&["sysctl", "--json", "--netns", a.netns_name()]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let objects = ended.objects();
    assert_eq!(objects.len(), 1);
    let shown = &objects[0];
    assert_eq!(shown["type"], "sysctl");
    assert_eq!(shown["netns"], a.netns_inode());
    assert_eq!(shown["name"], a.netns_name());
    assert_eq!(shown["time_s"], 60);
    assert_eq!(shown["interval_s"], 10);
    assert_eq!(shown["probes"], 6);
    assert_eq!(shown["detects_within_s"], 120);
    let lateness = shown["lateness_s"].as_f64().unwrap();
    assert!(lateness > 0.0 && lateness < 60.0, "{shown}");
    let sockets = json!({"follow": 1, "own_values": 1, "off": 2});
    assert_eq!(shown["sockets"], sockets);
    assert_eq!(shown["warnings"], json!([]));
    assert_eq!(ended.summary()["namespaces"], 1);

    let text = tcpalive(&["sysctl", "--netns", a.netns_name()]).stdout;
    let row = text.lines().nth(1).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    let inode = a.netns_inode().to_string();
    let start = [
        a.netns_name(),
        &inode,
        "60",
        "s",
        "10",
        "s",
        "6",
        "2",
        "min",
    ];
    assert_eq!(words[..9], start, "{text}");
    assert_eq!(words[words.len() - 3..], ["1", "1", "2"], "{text}");
}

#[test]
fn all_namespaces_are_shown_unless_one_is_named() {
    let (_lab, a, b) = two_hosts("sysctlall");
    b.sysctl("net.ipv4.tcp_keepalive_time", "61").unwrap();
    let ended = tcpalive(&["sysctl", "--json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let objects = ended.objects();
    let time = |host: &Host| {
        let wanted = |it: &&Value| it["netns"] == host.netns_inode();
        objects.iter().find(wanted).unwrap()["time_s"].clone()
    };
    assert_eq!((time(&a), time(&b)), (json!(7200), json!(61)));
    assert!(objects.len() >= 3, "the current one, too");
}

#[test]
fn dangerous_values_are_pointed_out() {
    let (_lab, a, _b) = two_hosts("sysctldanger");
    a.sysctl("net.ipv4.tcp_keepalive_time", "-1").unwrap();
    a.sysctl("net.ipv4.tcp_keepalive_probes", "0").unwrap();
    let ended = tcpalive(&["sysctl", "--json", "--netns", a.netns_name()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let shown = &ended.objects()[0];
    assert_eq!(shown["time_s"], -1);
    assert_eq!(shown["detects_within_s"], Value::Null);
    assert_eq!(shown["lateness_s"], Value::Null);
    let warnings = shown["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{shown}");
    assert!(warnings[0].as_str().unwrap().contains("ever probed"));
    assert_eq!(ended.stderr.lines().count(), 2, "{ended:?}");
    let text = tcpalive(&["sysctl", "--netns", a.netns_name()]).stdout;
    assert!(text.lines().nth(1).unwrap().contains("never"), "{text}");
}

#[test]
fn what_is_set_the_kernel_has_and_no_other_namespace() {
    let (_lab, a, b) = two_hosts("sysctlset");
    let own = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time").unwrap();
    let object = changed(&a, &["--time", "10m", "--probes", "4"]);
    assert_eq!(values(&a), ["600", "75", "4"]);
    assert_eq!(values(&b), ["7200", "75", "9"]);
    let now = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time").unwrap();
    assert_eq!(own, now);
    assert_eq!(object["netns"], a.netns_inode());
    assert_eq!(object["before"]["time_s"], 7200);
    assert_eq!(object["before"]["detects_within_s"], 7875);
    assert_eq!(object["after"]["time_s"], 600);
    assert_eq!(object["after"]["interval_s"], 75);
    assert_eq!(object["after"]["detects_within_s"], 900);

    // Without --netns it is the current one.
    let here = a.run(|| {
        Command::new(PROGRAM)
            .args(["sysctl", "set", "--interval", "90"])
            .output()
    });
    let ended: Ended = here.unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("75 s → 90 s"), "{ended:?}");
    assert_eq!(values(&a), ["600", "90", "4"]);
    assert_eq!(values(&b), ["7200", "75", "9"]);

    // Above what sockets take, the kernel still takes it here.
    let ended = set(&a, &["--time", "40000"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("more than programs can set"),
        "{ended:?}"
    );
    assert_eq!(values(&a), ["40000", "90", "4"]);
}

#[test]
fn what_is_refused_changes_nothing() {
    let (_lab, a, _b) = two_hosts("sysctlbad");
    for (arguments, expected) in [
        (&["--time", "-1"][..], "negative values are refused"),
        (&["--time=-1s"], "negative values are refused"),
        (&["--interval", "-5"], "negative values are refused"),
        (
            &["--time", "60", "--probes", "-1"],
            "negative values are refused",
        ),
        (&["--time", "60", "--probes", "256"], "from 0 to 255"),
        (&["--time", "60", "--interval", "1.5s"], "whole seconds"),
        (&["--time", "60", "--interval", "100000000"], "at most"),
        (&["--time", "soon"], "does not begin with a number"),
        (&[], "nothing to set"),
        (
            &["--time", "60", "--persist"],
            "--persist goes with --netns current",
        ),
    ] {
        let ended = set(&a, arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "");
        assert_eq!(values(&a), ["7200", "75", "9"], "{arguments:?}");
    }
}

#[test]
fn zero_is_taken_with_a_warning_that_says_what_it_does() {
    let (_lab, a, _b) = two_hosts("sysctlzero");
    for (arguments, expected) in [
        (&["--interval", "0"][..], "follow each other at every tick"),
        (
            &["--time", "0", "--interval", "75"],
            "probed at every interval",
        ),
        (&["--probes", "0", "--time", "600"], "without any probe"),
    ] {
        let ended = set(&a, arguments);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.starts_with("tcpalive: warning: "), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
        let warning = ended.objects()[0]["warnings"][0]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(warning.contains(expected), "{warning}");
    }
    assert_eq!(values(&a), ["600", "75", "0"]);
}

/// How reading ends on a connection whose peer lives and says nothing.
fn end_of_reading(pair: &Pair) -> Option<i32> {
    let mut client = &pair.client;
    let error = std::io::Read::read(&mut client, &mut [0]).unwrap_err();
    error.raw_os_error()
}

const ETIMEDOUT: Option<i32> = Some(110);

#[test]
fn no_probes_do_end_connections_to_peers_that_live() {
    let (_lab, a, b) = two_hosts("sysctlprobes");
    let ended = set(&a, &["--time", "1", "--probes", "0"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let pair = connect(&a, &b, keepalive);
    assert_eq!(end_of_reading(&pair), ETIMEDOUT);
}

#[test]
fn times_of_zero_do_end_connections_to_peers_that_live() {
    let (_lab, a, b) = two_hosts("sysctltick");
    let ended = set(&a, &["--time", "0", "--interval", "0"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("soon every connection"), "{ended:?}");
    let pair = connect(&a, &b, keepalive);
    assert_eq!(end_of_reading(&pair), ETIMEDOUT);
}

#[test]
fn an_armed_timer_is_not_moved_and_the_next_one_is_as_set() {
    let (_lab, a, b) = two_hosts("sysctlarmed");
    let _before = connect(&a, &b, keepalive);
    let object = changed(&a, &["--time", "60"]);
    assert_eq!(object["reached_at_next_fire"], 1);
    let latest = object["next_fire_latest_ms"].as_u64().unwrap();
    assert!((7_100_000..=7_200_000).contains(&latest), "{object}");
    // Armed for two hours before, and still.
    let [before] = timers(&a)[..] else {
        panic!("one timer")
    };
    assert!(before > 7_000_000, "{before}");

    let _after = connect(&a, &b, keepalive);
    let [new, old] = timers(&a)[..] else {
        panic!("two timers")
    };
    assert!(new <= 60_000 && old > 7_000_000, "{new} {old}");
    let arguments = ["sysctl", "set", "--time", "90", "--netns", a.netns_name()];
    let text = unwrapped(&tcpalive(&arguments).stdout);
    let reached = "2 connections with keep-alive by the sysctls: reached when their timers fire";
    assert!(text.contains(reached), "{text}");
    // The first of them has not been armed for a minute.
    let due = ["due in 2 h.", "due in 1 h 59 min"];
    assert!(due.iter().any(|due| text.contains(due)), "{text}");
}

/// Text without its line breaks.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn sockets_with_values_of_their_own_are_counted_by_what_differs() {
    let (_lab, a, b) = two_hosts("sysctlown");
    let _pairs = [
        connect(&a, &b, |pair| {
            keepalive(pair);
            sockopt::set_tcp_keepidle(&pair.client, Duration::from_secs(100)).unwrap();
        }),
        connect(&a, &b, |pair| {
            keepalive(pair);
            sockopt::set_tcp_keepidle(&pair.client, Duration::from_secs(60)).unwrap();
            sockopt::set_tcp_keepcnt(&pair.client, 2).unwrap();
        }),
        connect(&a, &b, |_| {}),
    ];
    let object = changed(&a, &["--time", "60", "--interval", "20"]);
    assert_eq!(object["reached_at_next_fire"], 0);
    assert_eq!(object["next_fire_latest_ms"], Value::Null);
    assert_eq!(object["own_values"], 2);
    // One has 60 s itself, and both follow the interval.
    assert_eq!(
        object["own"],
        json!({"time": 1, "interval": 0, "probes": 1})
    );
    assert_eq!(object["off"], 1);

    let arguments = ["sysctl", "set", "--time", "50", "--netns", a.netns_name()];
    let text = unwrapped(&tcpalive(&arguments).stdout);
    let here = std::fs::read_to_string("/proc/self/comm").unwrap();
    let owner = format!("({} 2)", here.trim());
    assert!(text.contains(&owner), "{text}");
    assert!(text.contains("'not keepalive'"), "{text}");
}

#[test]
fn what_the_kernel_refuses_midway_is_undone() {
    let (_lab, a, _b) = two_hosts("sysctlundo");
    // Without BPF the limit is not known before the kernel is asked: the time
    // is set, the interval refused.
    let output = a.run(|| {
        Command::new("setpriv")
            .args(["--bounding-set=-all,+net_admin", "--inh-caps=-all", PROGRAM])
            .args(["sysctl", "set", "--time", "60", "--interval", "2000000000"])
            .output()
    });
    let ended: Ended = output.unwrap().into();
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
    assert!(
        ended.stderr.contains("setting tcp_keepalive_intvl"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("Nothing is changed"), "{ended:?}");
    assert_eq!(values(&a), ["7200", "75", "9"]);
}

#[test]
fn where_proc_is_read_only_nothing_is_changed_and_it_says_so() {
    let (_lab, a, _b) = two_hosts("sysctlro");
    let ended = script(
        &a,
        "f=/proc/sys/net/ipv4/tcp_keepalive_probes
        mount --bind $f $f && mount -o remount,bind,ro $f
        exec \"$0\" sysctl set --time 60 --probes 4",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{ended:?}");
    assert!(ended.stderr.contains("read-only"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert_eq!(values(&a), ["7200", "75", "9"]);
}

#[test]
fn when_the_output_cannot_be_written_it_says_that_the_change_is_made() {
    let (_lab, a, _b) = two_hosts("sysctlfull");
    let output = Command::new(PROGRAM)
        .args(["sysctl", "set", "--time", "60", "--netns", a.netns_name()])
        .stdout(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .output();
    let ended: Ended = output.unwrap().into();
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("the sysctls are set"), "{ended:?}");
    assert_eq!(values(&a), ["60", "75", "9"]);
}

/// Runs a script with the program as `$0` in the host's network namespace, as
/// process 1 of a pid namespace, with mounts of its own and an empty
/// /etc/sysctl.d and /run: nothing of this host can be touched.
fn script(host: &Host, script: &str) -> Ended {
    let output = host.run(|| {
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-ec"])
            .arg(format!(
                "mount -t tmpfs none /run
                mount -t tmpfs none /etc/sysctl.d
                {script}"
            ))
            .arg(PROGRAM)
            .output()
    });
    output.unwrap().into()
}

const FILE: &str = "/etc/sysctl.d/60-tcpalive-keepalive.conf";

#[test]
fn a_persisted_file_says_what_it_is_and_sysctl_takes_it() {
    let lab = Lab::new("sysctlfile").unwrap();
    let a = lab.host("a").unwrap();
    let ended = script(
        &a,
        &format!(
            "umask 077
            \"$0\" sysctl set --time 10m --interval 15 --persist >/dev/null
            \"$0\" sysctl set --probes 4 --persist >/dev/null
            echo 1 > /proc/sys/net/ipv4/tcp_keepalive_time
            echo 1 > /proc/sys/net/ipv4/tcp_keepalive_probes
            sysctl -p {FILE}
            stat -c %a {FILE}
            ls -A /etc/sysctl.d
            cat {FILE}"
        ),
    );
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let (told, text) = ended.stdout.split_once("\n#").unwrap();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "net.ipv4.tcp_keepalive_time = 600",
            "net.ipv4.tcp_keepalive_intvl = 15",
            "net.ipv4.tcp_keepalive_probes = 4",
            "644",
            "60-tcpalive-keepalive.conf"
        ]
    );
    assert!(
        text.contains("by: tcpalive sysctl set --probes 4 --persist\n"),
        "{text}"
    );
    assert!(text.contains("noticed within 11 min.\n"), "{text}");
    assert_eq!(values(&a), ["600", "15", "4"]);
}

#[test]
fn a_later_file_that_wins_is_told() {
    let lab = Lab::new("sysctllater").unwrap();
    let a = lab.host("a").unwrap();
    let ended = script(
        &a,
        "echo net.ipv4.tcp_keepalive_time=7 > /etc/sysctl.d/90-mine.conf
        exec \"$0\" sysctl set --time 600 --persist --json",
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("/etc/sysctl.d/90-mine.conf sets"),
        "{ended:?}"
    );
    let objects = ended.objects();
    let persisted = objects.iter().find(|it| it["type"] == "persisted").unwrap();
    assert_eq!(persisted["path"], FILE);
    assert_eq!(persisted["overridden_by"][0]["value"], "7");
    assert_eq!(ended.summary()["persisted"], FILE);
}

#[test]
fn where_the_file_cannot_be_written_the_kernel_keeps_its_values() {
    let lab = Lab::new("sysctlnofile").unwrap();
    let a = lab.host("a").unwrap();
    for (prepare, code, expected) in [
        ("mount -o remount,ro /etc/sysctl.d", 3, "Read-only"),
        ("echo net.ipv4.ip_forward=1 > $file", 2, "line 1: "),
        // It is written, and cannot take its place: the rename is refused.
        (
            "mkdir $file.d; touch $file; mount --bind $file $file",
            4,
            "replacing",
        ),
    ] {
        let ended = script(
            &a,
            &format!("file={FILE}; {prepare}; \"$0\" sysctl set --time 60 --persist"),
        );
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
        assert_eq!(values(&a), ["7200", "75", "9"], "{prepare}");
    }
}

#[test]
fn persisting_is_for_the_initial_namespace() {
    let lab = Lab::new("sysctlinner").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    // Process 1 is in a, the program in b.
    let b_path = b.netns_path();
    let output = a.run(|| {
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-ec"])
            .arg(
                "mount -t tmpfs none /etc/sysctl.d
                nsenter --net=\"$1\" \"$0\" sysctl set --time 60 --persist || code=$?
                ls -A /etc/sysctl.d
                exit $code",
            )
            .arg(PROGRAM)
            .arg(&b_path)
            .output()
    });
    let ended: Ended = output.unwrap().into();
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
    assert!(ended.stderr.contains("process 1"), "{ended:?}");
    assert_eq!(values(&b), ["7200", "75", "9"]);
}

#[test]
fn all_that_can_be_reached_are_set_when_asked_for() {
    let lab = Lab::new("sysctlmany").unwrap();
    let hosts = ["a", "b", "c"].map(|name| lab.host(name).unwrap());
    let [a, b, c] = &hosts;
    // In a pid namespace without /run, two namespaces can be reached.
    let output = a.run(|| {
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-ec"])
            .arg(
                "nsenter --net=\"$1\" sleep 1000 &
                while [ \"$(readlink /proc/$!/ns/net)\" = \"$(readlink /proc/1/ns/net)\" ]; do :; done
                mount -t tmpfs none /run
                test \"$(\"$0\" sysctl --json | grep -c '\"type\":\"sysctl\"')\" = 2
                \"$0\" sysctl set --time 60 --netns all --json
                kill $!",
            )
            .arg(PROGRAM)
            .arg(b.netns_path())
            .output()
    });
    let ended: Ended = output.unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.objects().len(), 2, "{ended:?}");
    assert_eq!(ended.summary()["changed"], 2);
    assert_eq!((values(a)[0].as_str(), values(b)[0].as_str()), ("60", "60"));
    assert_eq!(values(c), ["7200", "75", "9"]);
}

#[test]
fn help_and_wrong_namespaces_are_as_everywhere() {
    for command in [&["sysctl", "--help"][..], &["sysctl", "set", "--help"]] {
        let ended = tcpalive(command);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command:?}");
        assert!(ended.stdout.contains("\n  tcpalive "), "{command:?}");
        assert!(ended.stdout.contains("Exit codes: 0 done"), "{command:?}");
    }
    let ended = tcpalive(&["sysctl", "--netns", "no-such-name"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
}
