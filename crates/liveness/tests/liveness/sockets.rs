//! Sockets that are out of the ordinary.

use crate::program::Program;
use crate::world::{A, B, Cable, QUICK, cable, check};
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use tcpalive_connections::{Outcome, Verdict};
use tcpalive_lab::{Host, faults};

#[track_caller]
fn assert_answers(verdict: &Verdict) {
    assert_eq!(verdict.outcome, Outcome::Alive, "{verdict:#?}");
    assert_eq!(verdict.reason, "it answered a probe", "{verdict:#?}");
}

/// Alive as long as the cable is whole, and dead when A hears nothing.
fn alive_then_dead(world: &Cable) {
    assert_answers(check(&world.b, QUICK).only());
    faults::cut(&world.a, B).unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent to ");
}

#[test]
fn ipv4_over_a_dual_stack_socket_is_proven_alive_and_dead() {
    let world = cable("mapped");
    let listener = world.b.run(|| TcpListener::bind("[::]:3333").unwrap());
    let _client = world.a.run(|| TcpStream::connect((B, 3333)).unwrap());
    let _server = listener.accept().unwrap();
    alive_then_dead(&world);
}

fn index_of_eth0(host: &Host) -> u32 {
    let line = host.ip("-o link show dev eth0").unwrap();
    line.split(':').next().unwrap().parse().unwrap()
}

#[test]
fn link_local_addresses_are_probed_through_their_interface() {
    let world = cable("linklocal");
    let address = |last: u16, host: &Host| {
        SocketAddrV6::new(
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last),
            3333,
            0,
            index_of_eth0(host),
        )
    };
    let at_b = address(0xb, &world.b);
    let listener = world.b.run(|| TcpListener::bind(at_b).unwrap());
    let from_a = address(0xb, &world.a);
    let _client = world.a.run(|| TcpStream::connect(from_a).unwrap());
    let _server = listener.accept().unwrap();
    assert_answers(check(&world.b, QUICK).only());
    faults::cut(&world.a, "fe80::b").unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent to ");
}

/// B listens with an option set; its one connection stays open.
fn served_with(world: &Cable, option: &str) -> (Program, TcpStream) {
    let mut server = Program::start(
        &world.b,
        &format!(
            "l = socket.socket()\n{option}\nl.bind(('{B}', 3333))\nl.listen()\nsay('ready')\n\
             s, _ = l.accept()\nsay('accepted')\nhear()\nsay(error_of(s))\nhear()"
        ),
    );
    // The listener is not what is checked: it is not established.
    let client = world.a.run(|| TcpStream::connect((B, 3333)).unwrap());
    assert_eq!(server.hear(), "accepted");
    (server, client)
}

#[test]
fn the_mark_of_a_socket_decides_about_the_route_of_its_probes() {
    let world = cable("mark");
    world.b.ip("rule add fwmark 7 lookup 100").unwrap();
    world
        .b
        .ip("route add 10.9.1.0/24 dev eth0 table 100")
        .unwrap();
    let _ends = served_with(&world, "l.setsockopt(socket.SOL_SOCKET, 36, 7) # SO_MARK");
    // Whatever has no mark goes nowhere.
    faults::no_route(&world.b, A).unwrap();
    alive_then_dead(&world);
}

#[test]
fn the_bound_device_of_a_socket_decides_about_the_route_of_its_probes() {
    let world = cable("device");
    let _ends = served_with(
        &world,
        "l.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')",
    );
    // Another cable with a better route, on which nobody knows A.
    let elsewhere = world.lab.host("elsewhere").unwrap();
    world
        .lab
        .link(&world.b, "10.9.2.1/24", &elsewhere, "10.9.2.2/24")
        .unwrap();
    world
        .b
        .ip(&format!("route add {A}/32 via 10.9.2.2"))
        .unwrap();
    alive_then_dead(&world);
}

#[test]
fn rules_by_source_address_decide_about_the_route_of_probes() {
    let world = cable("source");
    let elsewhere = world.lab.host("elsewhere").unwrap();
    world
        .lab
        .link(&world.b, "10.9.2.1/24", &elsewhere, "10.9.2.2/24")
        .unwrap();
    world
        .b
        .ip("route add 10.9.1.0/24 dev eth0 table 100")
        .unwrap();
    world
        .b
        .ip(&format!("rule add from {B} lookup 100"))
        .unwrap();
    world
        .b
        .ip(&format!("route add {A}/32 via 10.9.2.2"))
        .unwrap();
    let _ends = served_with(&world, "");
    alive_then_dead(&world);
}

/// A rule that looks at ports sends probes another way than the socket's own
/// segments, since a raw socket has none: silence says nothing then.
#[test]
fn rules_that_single_out_tcp_leave_no_wrong_death() {
    let world = cable("portrule");
    let elsewhere = world.lab.host("elsewhere").unwrap();
    world
        .lab
        .link(&world.b, "10.9.2.1/24", &elsewhere, "10.9.2.2/24")
        .unwrap();
    world
        .b
        .ip("route add 10.9.1.0/24 dev eth0 table 100")
        .unwrap();
    world
        .b
        .ip("rule add ipproto tcp sport 3333 lookup 100")
        .unwrap();
    world
        .b
        .ip(&format!("route add {A}/32 via 10.9.2.2"))
        .unwrap();
    let _ends = served_with(&world, "");
    let verdicts = check(&world.b, QUICK);
    assert_ne!(verdicts.only().outcome, Outcome::Dead, "{verdicts:#?}");
}

/// RFC 2385: the peer drops what is not signed, and only the kernel has the
/// key. BGP routers do this.
#[test]
fn a_peer_that_wants_signed_segments_is_not_called_dead() {
    let world = cable("signed");
    let sign = |peer: &str, socket: &str| {
        format!(
            "address = struct.pack('=HH4s120x', socket.AF_INET, 0, socket.inet_aton('{peer}'))\n\
             {socket}.setsockopt(socket.IPPROTO_TCP, 14, address + struct.pack('=BBHII80s', 0, 0, 3, 0, 0, b'key'))\n"
        )
    };
    let mut server = Program::start(
        &world.b,
        &format!(
            "l = socket.socket()\n{}l.bind(('{B}', 3333))\nl.listen()\nsay('ready')\ns, _ = l.accept()\nsay('accepted')\nhear()",
            sign(A, "l")
        ),
    );
    let _client = Program::start(
        &world.a,
        &format!(
            "s = socket.socket()\n{}s.connect(('{B}', 3333))\nsay('ready')\nhear()",
            sign(B, "s")
        ),
    );
    assert_eq!(server.hear(), "accepted");
    let verdicts = check(&world.b, QUICK);
    verdicts.all(Outcome::Unprovable, "sign");
}

#[test]
fn a_subflow_of_multipath_tcp_is_alive() {
    let world = cable("mptcp");
    for host in [&world.a, &world.b] {
        host.sysctl("net.mptcp.enabled", "1").unwrap();
    }
    const MPTCP: &str = "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)";
    let mut server = Program::start(
        &world.b,
        &format!(
            "l = {MPTCP}\nl.bind(('{B}', 3333))\nl.listen()\nsay('ready')\ns, _ = l.accept()\nsay('accepted')\nhear()"
        ),
    );
    let _client = Program::start(
        &world.a,
        &format!("s = {MPTCP}\ns.connect(('{B}', 3333))\nsay('ready')\nhear()"),
    );
    assert_eq!(server.hear(), "accepted");
    assert_answers(check(&world.b, QUICK).only());
}

#[test]
fn a_socket_that_two_processes_share_is_one_connection() {
    let world = cable("shared");
    let (mut server, _client) = served_with(
        &world,
        "fork = socket.socket.accept\n\
         def accept(self):\n s, peer = fork(self)\n if os.fork() == 0:\n  time.sleep(60)\n  os._exit(0)\n return s, peer\n\
         socket.socket.accept = accept",
    );
    alive_then_dead(&world);
    server.say("");
}

#[test]
fn both_ends_on_one_host_are_alive() {
    let world = cable("loopback");
    let listener = world.b.run(|| TcpListener::bind("127.0.0.1:3333").unwrap());
    let _client = world
        .b
        .run(|| TcpStream::connect("127.0.0.1:3333").unwrap());
    let _server = listener.accept().unwrap();
    let verdicts = check(&world.b, QUICK);
    assert_eq!(verdicts.by_addresses.len(), 2);
    verdicts.by_addresses.values().for_each(assert_answers);
}

#[test]
fn a_connection_that_the_peers_program_never_accepted_is_alive() {
    let world = cable("backlog");
    let _listener = world.a.run(|| TcpListener::bind((A, 3333)).unwrap());
    let _client = world.b.run(|| TcpStream::connect((A, 3333)).unwrap());
    assert_answers(check(&world.b, QUICK).only());
}

/// TCP_DEFER_ACCEPT: the peer's kernel keeps a mere request until data comes.
#[test]
fn a_connection_that_the_peers_kernel_holds_back_is_alive() {
    let world = cable("defer");
    let _server = Program::start(
        &world.a,
        &format!(
            "l = socket.socket()\nl.setsockopt(6, 9, 30)\nl.bind(('{A}', 3333))\nl.listen()\nsay('ready')\nhear()"
        ),
    );
    let _client = world.b.run(|| TcpStream::connect((A, 3333)).unwrap());
    check(&world.b, QUICK).all(Outcome::Alive, "");
}

#[test]
fn a_connection_through_address_translation_is_alive_and_never_wrongly_dead() {
    let world = cable("nat");
    world
        .b
        .nft(&format!(
            "table ip nat {{\nchain output {{\ntype nat hook output priority -100;\nip daddr 10.77.0.1 dnat to {A}\n}}\n}}\n"
        ))
        .unwrap();
    world.b.ip("route add 10.77.0.0/24 dev eth0").unwrap();
    let listener = world.a.run(|| TcpListener::bind((A, 3333)).unwrap());
    let _client = world
        .b
        .run(|| TcpStream::connect("10.77.0.1:3333").unwrap());
    let _server = listener.accept().unwrap();
    assert_answers(check(&world.b, QUICK).only());
    faults::cut(&world.a, B).unwrap();
    // The wire shows other addresses than the socket has: what is not seen
    // there is not taken for granted.
    check(&world.b, QUICK).all(Outcome::Unprovable, "");
}
