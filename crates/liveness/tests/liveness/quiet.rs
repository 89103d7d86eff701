//! What programs notice of a check: nothing.

use crate::conversation::{Conversation, exchange};
use crate::world::{B, QUICK, cable, check, open, open_one};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::sockopt;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;
use tcpalive_connections::Outcome;
use tcpalive_lab::connections::Pair;
use tcpalive_lab::faults;

/// Edges since the last call, on whatever was added.
fn edges(epoll: &OwnedFd) -> usize {
    let mut events = Vec::<Event>::with_capacity(64);
    epoll::wait(
        epoll,
        rustix::buffer::spare_capacity(&mut events),
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    )
    .unwrap()
}

fn watch<'a>(ends: impl Iterator<Item = &'a TcpStream>) -> OwnedFd {
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let everything = EventFlags::IN
        | EventFlags::OUT
        | EventFlags::PRI
        | EventFlags::RDHUP
        | EventFlags::ERR
        | EventFlags::HUP
        | EventFlags::ET;
    for (number, end) in ends.enumerate() {
        epoll::add(
            &epoll,
            end.as_fd(),
            EventData::new_u64(number as u64),
            everything,
        )
        .unwrap();
    }
    // They are writable, which is the first edge of each.
    edges(&epoll);
    assert_eq!(edges(&epoll), 0);
    epoll
}

fn assert_nothing_to_read(end: &mut TcpStream) {
    end.set_nonblocking(true).unwrap();
    assert_eq!(
        end.read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    end.set_nonblocking(false).unwrap();
}

#[test]
fn no_program_is_woken_and_no_byte_enters_a_stream() {
    let world = cable("woken");
    let mut pairs = open(&world.a, &world.b, 3333, 10);
    let epoll = watch(pairs.iter().flat_map(|pair| [&pair.client, &pair.server]));
    for _ in 0..3 {
        assert_eq!(check(&world.b, QUICK).count(Outcome::Alive), 10);
        sleep(Duration::from_millis(550));
    }
    sleep(Duration::from_millis(100));
    assert_eq!(edges(&epoll), 0);
    for Pair { client, server } in &mut pairs {
        assert_nothing_to_read(client);
        assert_nothing_to_read(server);
    }
    for pair in &pairs {
        exchange(pair, 1);
    }
}

#[test]
fn a_program_with_a_dead_peer_is_not_woken_either() {
    let world = cable("wokendead");
    let mut pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    let epoll = watch([&pair.server].into_iter());
    assert_eq!(check(&world.b, QUICK).count(Outcome::Dead), 1);
    assert_eq!(edges(&epoll), 0);
    assert_nothing_to_read(&mut pair.server);
}

#[test]
fn the_garbage_byte_enters_no_stream() {
    let world = cable("garbage");
    let mut pair = open_one(&world.a, &world.b);
    exchange(&pair, 1);
    // A gets all probes, the last with its byte, and its answers are lost.
    let deaf = faults::count(&world.a, faults::Hook::Input, "ip length 53 tcp sport 3333").unwrap();
    world
        .a
        .nft("table ip mute {\nchain output {\ntype filter hook output priority 0;\ntcp dport 3333 drop\n}\n}\n")
        .unwrap();
    check(&world.b, QUICK).all(Outcome::Dead, "silent");
    assert!(deaf.packets().unwrap() >= 1);
    world.a.nft("delete table ip mute\n").unwrap();
    assert_nothing_to_read(&mut pair.client);
    exchange(&pair, 2);
}

/// What a program may have set: value by value.
fn options(socket: &TcpStream) -> [String; 9] {
    [
        format!("{:?}", sockopt::socket_keepalive(socket)),
        format!("{:?}", sockopt::tcp_keepidle(socket)),
        format!("{:?}", sockopt::tcp_keepintvl(socket)),
        format!("{:?}", sockopt::tcp_keepcnt(socket)),
        format!("{:?}", sockopt::tcp_user_timeout(socket)),
        format!("{:?}", sockopt::socket_linger(socket)),
        format!("{:?}", sockopt::tcp_nodelay(socket)),
        format!("{:?}", sockopt::ip_ttl(socket)),
        format!("{:?}", sockopt::socket_error(socket)),
    ]
}

#[test]
fn the_options_of_probed_sockets_stay_as_they_are() {
    let world = cable("options");
    let mut pairs = open(&world.a, &world.b, 3333, 3);
    sockopt::set_socket_keepalive(&pairs[0].server, true).unwrap();
    sockopt::set_tcp_keepidle(&pairs[0].server, Duration::from_secs(11)).unwrap();
    sockopt::set_tcp_keepintvl(&pairs[1].server, Duration::from_secs(12)).unwrap();
    sockopt::set_tcp_keepcnt(&pairs[1].server, 13).unwrap();
    sockopt::set_tcp_user_timeout(&pairs[1].server, 14).unwrap();
    let all = |pairs: &[Pair]| {
        pairs
            .iter()
            .flat_map(|pair| [options(&pair.server), options(&pair.client)])
            .collect()
    };
    let before: Vec<_> = all(&pairs);
    assert_eq!(check(&world.b, QUICK).count(Outcome::Alive), 3);
    assert_eq!(before, all(&pairs));
    faults::cut(&world.a, B).unwrap();
    assert_eq!(check(&world.b, QUICK).count(Outcome::Dead), 3);
    assert_eq!(before, all(&pairs));
    pairs.clear();
}

#[test]
fn connections_that_talk_all_the_time_lose_and_repeat_nothing() {
    let world = cable("talking");
    let talking = Conversation::start(open(&world.a, &world.b, 3333, 8));
    for _ in 0..4 {
        let verdicts = check(&world.b, QUICK);
        assert_eq!(verdicts.count(Outcome::Alive), 8, "{verdicts:#?}");
    }
    assert!(talking.stop().1 > 20);
}

/// Somebody, or some program, set the entry of A, and wants it so.
fn neighbour_stays(label: &str, how: &str, shown: &str) {
    let world = cable(label);
    let _pair = open_one(&world.a, &world.b);
    let line = world.b.ip("-4 neigh show 10.9.1.1").unwrap();
    let mut words = line.split_whitespace().skip_while(|word| *word != "lladdr");
    let hardware = words.nth(1).unwrap();
    world
        .b
        .ip(&format!(
            "neigh replace 10.9.1.1 lladdr {hardware} dev eth0 {how}"
        ))
        .unwrap();
    faults::cut(&world.a, B).unwrap();
    check(&world.b, QUICK);
    let after = world.b.ip("-4 neigh show 10.9.1.1").unwrap();
    assert!(after.contains(shown), "{after}");
}

#[test]
fn neighbours_that_were_set_by_hand_stay_as_they_were_set() {
    neighbour_stays("byhand", "nud permanent", "PERMANENT");
}

#[test]
fn neighbours_that_were_set_by_a_routing_daemon_stay_as_they_were_set() {
    neighbour_stays("bydaemon", "nud reachable extern_learn", "extern_learn");
}
