//! Faults and their undo, on the real kernel. These tests need root and fail
//! without it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use tcpalive_lab::connections::{self, Options, Pair};
use tcpalive_lab::{Host, Lab, faults};

/// A and B at a router.
struct World {
    a: Host,
    b: Host,
    router: Host,
    _lab: Lab,
}

const A: &str = "172.31.24.219";
const B: &str = "172.31.24.218";

fn world(label: &str) -> World {
    let lab = Lab::new(label).expect("tests of the lab need root");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let router = lab.router("r").unwrap();
    lab.uplink(&a, &format!("{A} fd31::219"), &router).unwrap();
    lab.uplink(&b, &format!("{B} fd31::218"), &router).unwrap();
    World {
        a,
        b,
        router,
        _lab: lab,
    }
}

fn pair(world: &World) -> Pair {
    let address = format!("{B}:3333");
    let mut pairs =
        connections::open(&world.a, &world.b, &address, 1, &Options::default()).unwrap();
    pairs.remove(0)
}

fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").unwrap();
    to.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    to.read_exact(&mut [0]).is_ok()
}

#[test]
fn cut_drops_both_ways_until_it_is_undone() {
    let world = world("cut");
    let mut there = pair(&world);
    let mut back = pair(&world);
    assert!(passes(&mut there.client, &mut there.server));
    let cut = faults::cut(&world.a, B).unwrap();
    assert!(!passes(&mut there.client, &mut there.server));
    assert!(!passes(&mut back.server, &mut back.client));
    assert!(cut.packets().unwrap() >= 2);
    cut.undo().unwrap();
    let mut fresh = pair(&world);
    assert!(passes(&mut fresh.client, &mut fresh.server));
    assert!(passes(&mut fresh.server, &mut fresh.client));
}

#[test]
fn cable_cut_at_the_router_is_silence_even_without_a_route() {
    let world = world("silence");
    let mut pair = pair(&world);
    let cut = faults::cut_forward(&world.router, A).unwrap();
    let errors = faults::count(
        &world.b,
        faults::Hook::Input,
        "icmp type destination-unreachable",
    )
    .unwrap();
    world.a.remove().unwrap();
    pair.server.write_all(b"x").unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(cut.packets().unwrap() >= 1);
    assert_eq!(errors.packets().unwrap(), 0);
}

#[test]
fn faults_end_in_any_order() {
    let world = world("order");
    let mut pair = pair(&world);
    let first = faults::drop_port(&world.a, 3333).unwrap();
    let second = faults::cut_forward(&world.router, A).unwrap();
    let third = faults::cut(&world.a, B).unwrap();
    second.undo().unwrap();
    first.undo().unwrap();
    assert!(!passes(&mut pair.server, &mut pair.client));
    third.undo().unwrap();
    let rules = world.a.run(|| {
        let output = std::process::Command::new("nft")
            .args(["list", "ruleset"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    assert!(!rules.contains("drop"), "{rules}");
}

/// Of 4,000 datagrams at a rate of one half, 2,000 ± 32 are expected; six
/// standard deviations are 190.
fn lost_of_4000(world: &World) -> usize {
    let receiver = world.b.run(|| UdpSocket::bind((B, 4000)).unwrap());
    let sender = world.a.run(|| UdpSocket::bind((A, 4000)).unwrap());
    receiver
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut received = 0;
    for number in 0..4000 {
        sender.send_to(b"x", (B, 4000)).unwrap();
        // Small portions, so that no queue overflows and all loss is ours.
        if number % 50 == 49 {
            std::thread::sleep(Duration::from_millis(1));
            receiver.set_nonblocking(true).unwrap();
            received += drain(&receiver);
            receiver.set_nonblocking(false).unwrap();
        }
    }
    4000 - received - drain(&receiver)
}

fn drain(socket: &UdpSocket) -> usize {
    std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count()
}

#[test]
fn loss_at_a_router_is_near_the_asked_rate() {
    let world = world("loss");
    let loss = faults::loss(&world.router, 50).unwrap();
    let lost = lost_of_4000(&world);
    assert!((1810..=2190).contains(&lost), "{lost} of 4,000");
    loss.undo().unwrap();
    assert_eq!(lost_of_4000(&world), 0);
}

#[test]
fn loss_at_a_host_is_near_the_asked_rate_and_unseen_by_the_sender() {
    let world = world("hostloss");
    // `send_to` would fail with EPERM if the sender could see it.
    let loss = faults::loss(&world.a, 50).unwrap();
    let lost = lost_of_4000(&world);
    assert!((1810..=2190).contains(&lost), "{lost} of 4,000");
    loss.undo().unwrap();
    assert_eq!(lost_of_4000(&world), 0);
    assert!(faults::loss(&world.a, 101).is_err());
}

#[test]
fn reject_answers_with_a_reset() {
    let world = world("reject");
    let mut at_host = pair(&world);
    let mut at_router = pair(&world);
    let fault = faults::reject_with_reset(&world.a, B).unwrap();
    assert_reset(&mut at_host.server);
    fault.undo().unwrap();
    let _fault = faults::reject_with_reset(&world.router, A).unwrap();
    assert_reset(&mut at_router.server);
}

fn assert_reset(stream: &mut TcpStream) {
    stream.write_all(b"x").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn link_comes_back_with_its_routes() {
    let world = world("link");
    let mut pair = pair(&world);
    let fault = faults::link_down(&world.b, "eth0").unwrap();
    assert!(!passes(&mut pair.client, &mut pair.server));
    fault.undo().unwrap();
    let mut fresh = self::pair(&world);
    assert!(passes(&mut fresh.server, &mut fresh.client));
    let over_ipv6 = "[fd31::218]:3333";
    connections::open(&world.a, &world.b, over_ipv6, 1, &Options::default()).unwrap();
}

#[test]
fn outage_is_total_and_ends_by_itself() {
    let world = world("outage");
    let mut pair = pair(&world);
    let begin = Instant::now();
    let outage = faults::outage(&world.b, Duration::from_millis(800)).unwrap();
    assert!(!passes(&mut pair.client, &mut pair.server));
    assert!(!outage.is_over());
    outage.wait().unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(800));
    // Retransmission brings what was sent meanwhile.
    pair.server
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    pair.server.read_exact(&mut [0]).unwrap();
}

#[test]
fn dropped_port_leaves_the_others_alone() {
    let world = world("port");
    let mut pair = pair(&world);
    let _fault = faults::drop_port(&world.router, 3333).unwrap();
    assert!(!passes(&mut pair.client, &mut pair.server));
    let other = format!("{B}:3334");
    connections::open(&world.a, &world.b, &other, 1, &Options::default()).unwrap();
}

#[test]
fn host_that_does_not_resolve_cannot_be_reached() {
    let world = world("arp");
    let _listener = world.a.run(|| TcpListener::bind((A, 3333)).unwrap());
    let reach = || {
        let address = format!("{A}:3333").parse().unwrap();
        world
            .b
            .run(|| TcpStream::connect_timeout(&address, Duration::from_millis(1500)))
    };
    reach().unwrap();
    let fault = faults::arp_failure(&world.a).unwrap();
    assert!(reach().is_err());
    assert!(fault.packets().unwrap() >= 1);
    fault.undo().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    reach().unwrap();
}

#[test]
fn lost_route_is_an_error_at_once() {
    let world = world("route");
    let _listener = world.a.run(|| TcpListener::bind((A, 3333)).unwrap());
    let fault = faults::no_route(&world.b, A).unwrap();
    let error = world.b.run(|| TcpStream::connect((A, 3333))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnreachable);
    fault.undo().unwrap();
    world.b.run(|| TcpStream::connect((A, 3333))).unwrap();
}

#[test]
fn undo_after_a_reboot_is_no_error() {
    let world = world("late");
    let cut = faults::cut(&world.a, B).unwrap();
    world.a.reboot().unwrap();
    assert_eq!(cut.packets().unwrap(), 0);
    cut.undo().unwrap();
}
