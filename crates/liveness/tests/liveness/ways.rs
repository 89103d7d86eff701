//! Connections that do not go the way that a raw socket's packets go by
//! themselves: a probe must go theirs, or prove nothing.

use crate::world::{A, B, CLEAN, QUICK, cable, check, open};
use rustix::net::sockopt;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tcpalive_connections::Outcome;
use tcpalive_lab::connections::{self, Options};
use tcpalive_lab::{Host, Lab, faults};
use tcpalive_liveness::CheckOptions;

/// A and B joined by two cables. The first is the main route of both, and
/// drops what B sends; a routing rule of B's leads over the second.
struct TwoWays {
    a: Host,
    b: Host,
    _lab: Lab,
}

fn two_ways(label: &str) -> TwoWays {
    let lab = Lab::new(label).expect("these tests need root");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "10.9.1.1/24", &b, "10.9.1.2/24").unwrap();
    lab.link(&a, "10.9.2.1/24", &b, "10.9.2.2/24").unwrap();
    for host in [&a, &b] {
        for key in [
            "net.ipv4.conf.all.rp_filter",
            "net.ipv4.conf.eth0.rp_filter",
            "net.ipv4.conf.eth1.rp_filter",
        ] {
            host.sysctl(key, "0").unwrap();
        }
    }
    b.route("10.9.1.1 dev eth1 via 10.9.2.1 table 100").unwrap();
    a.route("10.9.1.2/32 dev eth1 via 10.9.2.2").unwrap();
    a.nft(
        "add table netdev first
         add chain netdev first in { type filter hook ingress device eth0 priority 0; }
         add rule netdev first in ip saddr 10.9.1.2 drop",
    )
    .unwrap();
    TwoWays { a, b, _lab: lab }
}

/// A server of this user in B, which accepts one connection and keeps it.
struct Server(Child);

impl Server {
    fn start(b: &Host, uid: u32) -> Self {
        let script = format!(
            "import os, socket, sys
os.setgid({uid}); os.setuid({uid})
listener = socket.socket()
listener.bind(('{B}', 3333))
listener.listen(1)
print('listening', flush=True)
accepted = listener.accept()
sys.stdin.read()"
        );
        let mut child = b
            .command("python3")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 10];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(host: &Host) -> std::net::TcpStream {
    let stream = host.run(|| std::net::TcpStream::connect((B, 3333)).unwrap());
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    stream
}

#[test]
fn a_firewall_that_goes_by_user_sends_probes_where_the_connection_goes() {
    let world = two_ways("skuid");
    world
        .b
        .nft(
            "add table ip users
             add chain ip users out { type route hook output priority 0; }
             add rule ip users out meta skuid 1000 meta mark set 1",
        )
        .unwrap();
    world.b.ip("rule add fwmark 1 lookup 100").unwrap();
    let _server = Server::start(&world.b, 1000);
    let _client = connect(&world.a);
    check(&world.b, QUICK).all(Outcome::Alive, "it answered a probe");
}

#[test]
fn a_firewall_that_resets_other_users_does_not_harm_the_connection() {
    let world = cable("skuidreset");
    world
        .b
        .nft(
            "add table ip users
             add chain ip users out { type filter hook output priority 0; }
             add rule ip users out tcp sport 3333 meta skuid != 1000 reject with tcp reset",
        )
        .unwrap();
    let _server = Server::start(&world.b, 1000);
    let client = connect(&world.a);
    check(&world.b, QUICK).all(Outcome::Alive, "it answered a probe");
    assert!(client.take_error().unwrap().is_none());
}

#[test]
fn a_route_that_goes_by_type_of_service_is_the_probes_too() {
    let world = two_ways("tos");
    world.b.ip("rule add tos 0x10 lookup 100").unwrap();
    let with_tos = |socket: std::os::fd::BorrowedFd<'_>| Ok(sockopt::set_ip_tos(socket, 0x10)?);
    let options = Options {
        prepare_listener: Some(&with_tos),
        ..CLEAN
    };
    let _pairs = connections::open(&world.a, &world.b, &format!("{B}:3333"), 1, &options).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    check(&world.b, QUICK).all(Outcome::Alive, "it answered a probe");
}

#[test]
fn equal_routes_chosen_by_ports_prove_nothing_about_the_other() {
    let world = two_ways("ecmp");
    // Both ways are open until the connections stand; then the first drops.
    world.a.nft("delete table netdev first").unwrap();
    world
        .b
        .sysctl("net.ipv4.fib_multipath_hash_policy", "1")
        .unwrap();
    world.b.ip("addr add 10.9.9.2/32 dev lo").unwrap();
    world.a.ip("addr add 10.9.9.1/32 dev lo").unwrap();
    world
        .a
        .route("10.9.9.2/32 nexthop via 10.9.1.2 nexthop via 10.9.2.2")
        .unwrap();
    world
        .b
        .route("10.9.9.1/32 nexthop via 10.9.1.1 nexthop via 10.9.2.1")
        .unwrap();
    let options = Options {
        source: Some("10.9.9.1".parse().unwrap()),
        ..CLEAN
    };
    let pairs = connections::open(&world.a, &world.b, "10.9.9.2:3333", 30, &options).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut alive = 0;
    for device in ["eth0", "eth1"] {
        let drop = world
            .a
            .nft(&format!(
                "add table netdev {device}
                 add chain netdev {device} in {{ type filter hook ingress device {device} priority 0; }}
                 add rule netdev {device} in ip saddr 10.9.9.2 drop"
            ));
        drop.unwrap();
        let verdicts = check(&world.b, QUICK);
        for pair in &pairs {
            if verdicts.of(pair).outcome == Outcome::Dead {
                assert!(!passes_a_byte(pair), "{:?}", verdicts.of(pair));
            }
        }
        alive += verdicts.count(Outcome::Alive);
        world
            .a
            .nft(&format!("delete table netdev {device}"))
            .unwrap();
        std::thread::sleep(Duration::from_secs(2));
    }
    // All probes go one way: with the other one closed they are answered.
    assert!(alive > 0);
}

/// Whether what the server's program writes reaches the client's.
fn passes_a_byte(pair: &connections::Pair) -> bool {
    pair.client
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    (&pair.server).write_all(b"x").unwrap();
    (&pair.client).read_exact(&mut [0]).is_ok()
}

#[test]
fn this_host_answering_itself_is_no_sign_of_the_network() {
    let world = cable("loopback");
    let _far = open(&world.a, &world.b, 3333, 5);
    let near = connections::open(&world.b, &world.b, "127.0.0.1:4444", 1, &CLEAN).unwrap();
    // Nothing is known of the next hop, and nothing can be.
    let lladdr = "02:00:00:00:00:01";
    world
        .b
        .ip(&format!(
            "neigh replace {A} dev eth0 lladdr {lladdr} nud permanent"
        ))
        .unwrap();
    let verdicts = check(&world.b, QUICK);
    assert_eq!(verdicts.of(&near[0]).outcome, Outcome::Alive);
    assert_eq!(verdicts.count(Outcome::Dead), 0, "{verdicts:#?}");
    assert_eq!(verdicts.count(Outcome::Unprovable), 5, "{verdicts:#?}");
}

#[test]
fn the_rate_holds_from_the_first_probe_on() {
    let world = cable("rate");
    let _pairs = open(&world.a, &world.b, 3333, 60);
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    let verdicts = check(&world.b, CheckOptions { rate: 20, ..QUICK });
    assert_eq!(verdicts.count(Outcome::Alive), 60);
    assert!(
        begin.elapsed() >= Duration::from_millis(2_800),
        "{:?}",
        begin.elapsed()
    );
}

/// Once a round that took longer than a pause was taken for one, and silence
/// was never judged.
#[test]
fn a_rate_that_takes_seconds_for_a_round_comes_to_its_verdicts() {
    let world = cable("slowrate");
    let _pairs = open(&world.a, &world.b, 3333, 40);
    std::thread::sleep(Duration::from_millis(100));
    let _fault = faults::cut(&world.a, B).unwrap();
    let begin = Instant::now();
    let verdicts = check(&world.b, CheckOptions { rate: 10, ..QUICK });
    assert_eq!(verdicts.count(Outcome::Dead), 40, "{verdicts:#?}");
    assert!(
        begin.elapsed() < Duration::from_secs(40),
        "{:?}",
        begin.elapsed()
    );
}
