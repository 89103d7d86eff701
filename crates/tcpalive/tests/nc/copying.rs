//! What goes in comes out, in both directions.

use crate::{BOTH, Input, Whose, random, two_hosts};
use std::fs::{self, File};
use std::process::Stdio;

const MIB: usize = 1 << 20;

#[test]
fn ten_mebibytes_each_way_at_once_arrive_whole_whichever_netcat_is_where() {
    let (_lab, a, b) = two_hosts("ncboth");
    let (from_a, from_b) = (random(10 * MIB, 1), random(10 * MIB, 2));
    for server in BOTH {
        for client in BOTH {
            // The server says when it is done; the client is done when both are.
            let listening = server.listen(&b, 3333, "-l -N 3333", Input::Bytes(&from_b));
            let connected = client.run(&a, "10.9.1.2 3333", &from_a);
            let listened = listening.end();
            let who = format!("{server:?} serves {client:?}");
            assert_eq!((connected.code, listened.code), (0, 0), "{who}");
            assert!(connected.stdout == from_b, "{who}: b to a");
            assert!(listened.stdout == from_a, "{who}: a to b");
            assert_eq!(connected.stderr + &listened.stderr, "", "{who}");
        }
    }
}

#[test]
fn nothing_and_little_arrive_too() {
    let (_lab, a, b) = two_hosts("nclittle");
    for input in [&b""[..], b"x", b"GET / HTTP/1.0\r\n\r\n"] {
        for server in BOTH {
            for client in BOTH {
                let listening = server.listen(&b, 3333, "-l 3333", Input::Bytes(b""));
                let connected = client.run(&a, "-N 10.9.1.2 3333", input);
                let listened = listening.end();
                let who = format!("{server:?} serves {client:?}");
                assert_eq!((connected.code, listened.code), (0, 0), "{who}");
                assert_eq!(listened.stdout, input, "{who}");
                assert_eq!(connected.stdout, b"", "{who}");
            }
        }
    }
}

#[test]
fn files_go_from_disk_to_disk_also_when_appended_to() {
    let (_lab, a, b) = two_hosts("ncfiles");
    let directory = tempfile::tempdir().unwrap();
    let (sent, received) = (directory.path().join("sent"), directory.path().join("got"));
    let bytes = random(5 * MIB + 7, 3);
    fs::write(&sent, &bytes).unwrap();
    fs::write(&received, b"before").unwrap();

    let mut server = Whose::Ours
        .command(&b)
        .args(["-l", "3333"])
        .stdin(Stdio::null())
        .stdout(File::options().append(true).open(&received).unwrap())
        .spawn()
        .unwrap();
    crate::wait_for(|| crate::is_listening(&b, 3333));
    let client = Whose::Ours
        .command(&a)
        .args(["-N", "10.9.1.2", "3333"])
        .stdin(File::open(&sent).unwrap())
        .status()
        .unwrap();
    assert!(client.success());
    assert!(server.wait().unwrap().success());
    let got = fs::read(&received).unwrap();
    assert!(got.starts_with(b"before") && got[6..] == bytes);
}

#[test]
fn a_reader_that_went_away_ends_it_quietly() {
    let (_lab, a, b) = two_hosts("ncreader");
    for whose in BOTH {
        let mut server = whose
            .command(&b)
            .args(["-l", "3333"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(server.stdout.take());
        crate::wait_for(|| crate::is_listening(&b, 3333));
        Whose::Debians.run(&a, "-N 10.9.1.2 3333", &random(MIB, 4));
        let ended = server.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{whose:?}");
        assert_eq!(ended.stderr, b"", "{whose:?}");
    }
}
