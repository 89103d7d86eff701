//! `undo`: what `enable` and `disable` found is there again, and nobody's
//! later choice is touched.

use crate::enable::{UNTOUCHED, done, on, options};
use crate::{Ended, connect, tcpalive, two_hosts};
use socket2::SockRef;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tcpalive_lab::Host;

/// A place for an undo file.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("undo.jsonl")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn enable(&self, host: &Host, arguments: &[&str]) {
        let file = self.text();
        let objects = done(
            host,
            "enable",
            &[arguments, &["--undo-file", &file]].concat(),
        );
        assert!(objects.iter().all(|it| it["type"] == "changed"));
    }

    fn undo(&self, arguments: &[&str]) -> Ended {
        let file = self.text();
        tcpalive(&[&["undo", "--json", file.as_str()][..], arguments].concat())
    }
}

#[test]
fn what_connections_had_of_their_own_is_there_again() {
    let (_lab, a, b) = two_hosts("undo");
    let pairs = connect(&a, &b, 3);
    let own = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(100))
        .with_interval(Duration::from_secs(20))
        .with_retries(3);
    let on_before = SockRef::from(&pairs[0].server);
    on_before.set_tcp_keepalive(&own).unwrap();
    on_before
        .set_tcp_user_timeout(Some(Duration::from_millis(200_001)))
        .unwrap();
    let off_before = SockRef::from(&pairs[1].server);
    off_before.set_tcp_keepalive(&own).unwrap();
    off_before.set_keepalive(false).unwrap();

    let place = Place::new();
    let values = ["--idle", "60s", "--interval", "10s", "--count", "5"];
    place.enable(&b, &[&values[..], &["--user-timeout", "5m"]].concat());
    let mode = std::fs::metadata(place.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for pair in &pairs {
        assert_eq!(options(&pair.server), (true, 60, 10, 5, 300_000));
    }

    let dry = place.undo(&["--dry-run"]);
    assert_eq!(dry.summary()["changed"], 3, "{dry:?}");
    assert_eq!(options(&pairs[0].server), (true, 60, 10, 5, 300_000));

    let ended = place.undo(&[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(options(&pairs[0].server), (true, 100, 20, 3, 200_001));
    assert_eq!(options(&pairs[1].server), (false, 100, 20, 3, 0));
    assert_eq!(options(&pairs[2].server), UNTOUCHED);
    for object in ended.objects() {
        let followed = object["remote"] == pairs[2].client.local_addr().unwrap().to_string();
        let lost = object["no_longer_follows_sysctl"].as_array().unwrap();
        assert_eq!(lost.len(), if followed { 3 } else { 0 }, "{object}");
    }

    let again = place.undo(&[]);
    assert_eq!((again.code, again.objects().len()), (0, 0), "{again:?}");
    assert_eq!(again.summary()["unchanged"], 3);
}

#[test]
fn a_socket_cannot_be_made_to_follow_the_sysctls_again() {
    // The reason for `no_longer_follows_sysctl`: should this ever fail, undo
    // can do better on that kernel.
    let (_lab, a, b) = two_hosts("zero");
    let pairs = connect(&a, &b, 1);
    let socket = SockRef::from(&pairs[0].server);
    let zero = socket2::TcpKeepalive::new().with_time(Duration::ZERO);
    let error = socket.set_tcp_keepalive(&zero).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn where_only_the_switch_was_set_the_sysctls_are_followed_as_before() {
    let (_lab, a, b) = two_hosts("switch");
    let pairs = connect(&a, &b, 1);
    let place = Place::new();
    place.enable(&b, &[]);
    let ended = place.undo(&[]);
    assert_eq!(ended.objects()[0]["after"]["from"], "sysctl", "{ended:?}");
    b.sysctl("net.ipv4.tcp_keepalive_time", "1234").unwrap();
    assert_eq!(options(&pairs[0].server), (false, 1234, 75, 9, 0));
}

#[test]
fn connections_that_have_closed_or_got_other_values_are_reported_and_left_alone() {
    let (_lab, a, b) = two_hosts("since");
    let mut pairs = connect(&a, &b, 3);
    let place = Place::new();
    place.enable(&b, &["--idle", "60s"]);
    let hers = socket2::TcpKeepalive::new().with_time(Duration::from_secs(61));
    SockRef::from(&pairs[0].server)
        .set_tcp_keepalive(&hers)
        .unwrap();
    let closed = pairs.pop().unwrap();
    let closed_peer = closed.client.local_addr().unwrap().to_string();
    // With a reset nothing stays behind.
    SockRef::from(&closed.server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(closed.server);

    let ended = place.undo(&[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let objects = ended.objects();
    assert_eq!(objects.len(), 3, "{ended:?}");
    let with = |result: &str| objects.iter().find(|it| it["result"] == result).unwrap();
    assert_eq!(with("gone")["remote"], closed_peer);
    assert_eq!(with("changed-meanwhile")["keepalive"]["idle_s"], 61);
    assert_eq!(options(&pairs[0].server), (true, 61, 75, 9, 0));
    assert_eq!(options(&pairs[1].server), (false, 7200, 75, 9, 0));
}

#[test]
fn disable_is_undone_too_and_skipped_sockets_are_no_part_of_it() {
    let (_lab, a, b) = two_hosts("back");
    let pairs = connect(&a, &b, 2);
    SockRef::from(&pairs[0].server).set_keepalive(true).unwrap();
    let place = Place::new();
    let file = place.text();
    let ended = on(&b, "disable", &["--undo-file", &file]);
    assert_eq!(ended.summary()["changed"], 1, "{ended:?}");
    assert_eq!(ended.summary()["unchanged"], 1, "{ended:?}");
    assert_eq!(place.undo(&[]).summary()["selected"], 1);
    assert!(options(&pairs[0].server).0);
}

#[test]
fn an_undo_file_is_never_overwritten() {
    let (_lab, a, b) = two_hosts("there");
    let pairs = connect(&a, &b, 1);
    let place = Place::new();
    std::fs::write(place.path(), "precious").unwrap();
    let file = place.text();
    let ended = on(&b, "enable", &["--idle", "1m", "--undo-file", &file]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), "precious");
    assert_eq!(options(&pairs[0].server), UNTOUCHED);
    let nowhere = format!("{file}/x");
    let ended = on(&b, "enable", &["--idle", "1m", "--undo-file", &nowhere]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(options(&pairs[0].server), UNTOUCHED);
}

#[test]
fn what_is_no_undo_file_of_this_boot_is_refused_with_its_place() {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let head = format!(
        r#"{{"type":"undo","version":1,"boot":"{}","at":1.0}}"#,
        boot.trim()
    );
    let values =
        r#"{"enabled":true,"idle_s":0,"interval_s":null,"count":null,"user_timeout_ms":0}"#;
    let socket = format!(
        r#"{{"type":"socket","netns":1,"cookie":1,"local":"1.1.1.1:1","remote":"1.1.1.1:2","before":{values},"after":{values}}}"#
    );
    let other_boot = head.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    let newer = head.replace("\"version\":1", "\"version\":2");
    let place = Place::new();
    for (text, expected) in [
        (String::new(), "line 1"),
        ("x\n".to_owned(), "line 1"),
        (format!("{head}\n{socket}\n"), "line 2: idle_s is 0"),
        (format!("{head}\n{{\"type\":\n{socket}\n"), "line 2: column"),
        (format!("{head}\n{{\"type\":\"other\"}}\n"), "line 2"),
        (format!("{socket}\n"), "line 1"),
        (format!("{other_boot}\n"), "another boot"),
        (format!("{newer}\n"), "version 2"),
    ] {
        std::fs::write(place.path(), &text).unwrap();
        let ended = place.undo(&[]);
        assert_eq!(ended.code, 2, "{text}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{text}: {ended:?}");
    }
    // A writer that was killed leaves half a line; all that was changed stands before it.
    std::fs::write(place.path(), format!("{head}\n{{\"type\":\"le")).unwrap();
    let ended = place.undo(&[]);
    assert_eq!((ended.code, ended.objects().len()), (0, 0), "{ended:?}");
    let missing = tcpalive(&["undo", "/nonexistent/undo"]);
    assert_eq!(missing.code, 2, "{missing:?}");
}
