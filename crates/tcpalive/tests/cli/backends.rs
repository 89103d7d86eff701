//! Both backends, and `ss`, see the same sockets.

use crate::{connect, list, two_hosts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;
use tcpalive_lab::{Host, faults};

/// Sockets of every kind in b, b cut off in the end.
struct Mixture {
    _pairs: Vec<tcpalive_lab::connections::Pair>,
    _streams: Vec<TcpStream>,
    _listener: TcpListener,
    _cut: tcpalive_lab::Fault,
}

fn mixture(a: &Host, b: &Host) -> Mixture {
    let mut pairs = connect(a, b, 5);
    let listener = b.run(|| TcpListener::bind("[::]:4444").unwrap());
    let mut streams: Vec<TcpStream> = ["10.9.1.2:4444", "[fd09:1::2]:4444"]
        .map(|address| a.run(|| TcpStream::connect(address).unwrap()))
        .into();
    streams.extend([(); 2].map(|()| listener.accept().unwrap().0));
    // One end closed: close-wait on b's side.
    pairs[0].client.shutdown(std::net::Shutdown::Write).unwrap();
    // Something unread by b's program, then something that never arrives.
    pairs[1].client.write_all(&[0; 300]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let cut = faults::cut(a, "10.9.1.2").unwrap();
    pairs[2].server.write_all(&[0; 1000]).unwrap();
    Mixture {
        _pairs: pairs,
        _streams: streams,
        _listener: listener,
        _cut: cut,
    }
}

fn by_cookie(objects: Vec<Value>) -> BTreeMap<u64, Value> {
    let count = objects.len();
    let by_cookie: BTreeMap<u64, Value> = objects
        .into_iter()
        .map(|object| (object["cookie"].as_u64().unwrap(), object))
        .collect();
    assert_eq!(by_cookie.len(), count, "each socket once");
    by_cookie
}

#[test]
fn netlink_tells_the_same_as_bpf_and_does_not_guess_the_rest() {
    let (_lab, a, b) = two_hosts("backends");
    let _mixture = mixture(&a, &b);
    let start = Instant::now();
    let bpf = by_cookie(list(&b, &["--state", "all", "--backend", "bpf"]));
    let netlink = by_cookie(list(&b, &["--state", "all", "--backend", "netlink"]));
    // The machine may be slow; an age that was misread would be off by hours.
    let between = u64::try_from(start.elapsed().as_millis()).unwrap() + 20;
    assert_eq!(bpf.len(), 8);
    assert!(bpf.keys().eq(netlink.keys()), "{bpf:?}\n{netlink:?}");
    for (one, other) in bpf.values().zip(netlink.values()) {
        for key in [
            "netns",
            "family",
            "local",
            "remote",
            "state",
            "uid",
            "inode",
            "cgroup",
            "probes_out",
            "unacked_bytes",
            "unsent_bytes",
            "memory_bytes",
        ] {
            assert_eq!(one[key], other[key], "{key} of\n{one}\n{other}");
        }
        for key in [
            "last_heard_ms",
            "last_ack_ms",
            "last_data_in_ms",
            "last_data_out_ms",
        ] {
            // What is in flight is retransmitted between the two sweeps.
            if key == "last_data_out_ms" && one["unacked_bytes"] != 0 {
                assert_eq!(one[key].is_u64(), other[key].is_u64());
                continue;
            }
            match (one[key].as_u64(), other[key].as_u64()) {
                (Some(earlier), Some(later)) => {
                    assert!(later + 20 >= earlier, "{key} of\n{one}\n{other}");
                    assert!(later <= earlier + between, "{key} of\n{one}\n{other}");
                }
                (earlier, later) => assert_eq!(earlier, later, "{key} of\n{one}\n{other}"),
            }
        }
        assert!(one["keepalive"].is_object());
        assert_eq!(other["keepalive"], Value::Null);
    }
    let unacked: Vec<u64> = bpf
        .values()
        .filter_map(|it| it["unacked_bytes"].as_u64())
        .collect();
    assert!(unacked.contains(&1000), "{unacked:?}");
    // What is not known is not selected, and neither is its opposite.
    for filter in ["keepalive", "not keepalive"] {
        assert_eq!(list(&b, &["--backend", "netlink", filter]).len(), 0);
    }
}

#[test]
fn ss_sees_the_same_sockets() {
    let (_lab, a, b) = two_hosts("withss");
    let _mixture = mixture(&a, &b);
    for (states, flag) in [("established", "-tnH"), ("all", "-tnaH")] {
        let output = Command::new("ip")
            .args(["netns", "exec", b.netns_name(), "ss", flag])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut expected: Vec<_> = text
            .lines()
            .filter(|line| states == "all" || line.starts_with("ESTAB"))
            .map(tuple_of)
            .collect();
        expected.sort();
        for backend in ["bpf", "netlink"] {
            let mut found: Vec<_> = list(&b, &["--state", states, "--backend", backend])
                .iter()
                .map(|object| {
                    (
                        normal(&crate::local(object)),
                        normal(&crate::remote(object)),
                    )
                })
                .collect();
            found.sort();
            assert_eq!(found, expected, "{states} by {backend}");
        }
    }
}

/// `ESTAB 0 0 [::ffff:10.9.1.2]:4444 [::ffff:10.9.1.1]:53422`
fn tuple_of(line: &str) -> (String, String) {
    let mut words = line.split_whitespace().skip(3);
    let mut next = || {
        let word = words
            .next()
            .unwrap_or_else(|| panic!("an address in {line}"));
        // A listener for both families.
        let word = word.replace("*:*", "[::]:0").replace("*:", "[::]:");
        let address = word.replace(":*", ":0").parse();
        normal(&address.unwrap_or_else(|error| panic!("{error}: {word}")))
    };
    (next(), next())
}

fn normal(address: &SocketAddr) -> String {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port()).to_string()
}
