//! What happens while a check runs. The peers are silent at first, so that
//! there is a while.

use crate::conversation::exchange;
use crate::world::{B, CLEAN, QUICK, cable, check, check_while, open, open_one};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;
use tcpalive_connections::{Connection, Outcome, Selection, Verdict};
use tcpalive_kernel::netns::Namespace;
use tcpalive_kernel::sweep::BpfSweeper;
use tcpalive_lab::connections::{self, Options, Pair};
use tcpalive_lab::faults;
use tcpalive_liveness::{Check, CheckOptions, Observer};

/// Six probes, three seconds.
const A_WHILE: CheckOptions = CheckOptions {
    window: Some(Duration::from_secs(3)),
    ..QUICK
};
const MOMENT: Duration = Duration::from_millis(700);

#[test]
fn a_peer_that_sends_data_during_the_check_is_alive() {
    let world = cable("sends");
    let mut pair = open_one(&world.a, &world.b);
    let cut = faults::cut(&world.a, B).unwrap();
    let client = &mut pair.client;
    let done = check_while(&world.b, A_WHILE, || {
        sleep(MOMENT);
        cut.undo().unwrap();
        client.write_all(b"x").unwrap();
    });
    assert_eq!(
        done.verdicts.only().outcome,
        Outcome::Alive,
        "{:#?}",
        done.verdicts
    );
    pair.server.read_exact(&mut [0]).unwrap();
    exchange(&pair, 1);
}

#[test]
fn a_peer_whose_network_comes_back_during_the_check_is_alive() {
    let world = cable("comesback");
    let pair = open_one(&world.a, &world.b);
    let cut = faults::cut(&world.a, B).unwrap();
    let done = check_while(&world.b, A_WHILE, || {
        sleep(MOMENT);
        cut.undo().unwrap();
    });
    done.verdicts.all(Outcome::Alive, "it answered a probe");
    assert!(done.verdicts.only().probes >= 2, "{:#?}", done.verdicts);
    assert!(
        done.verdicts.only().rtt_us.unwrap() < 500_000,
        "from the probe that was answered"
    );
    exchange(&pair, 1);
}

#[test]
fn a_connection_that_its_program_closes_during_the_check_is_closed() {
    let world = cable("programcloses");
    let Pair {
        client: _client,
        server,
    } = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    let done = check_while(&world.b, A_WHILE, move || {
        sleep(MOMENT);
        drop(server);
    });
    done.verdicts
        .all(Outcome::Closed, "closed during the check");
}

#[test]
fn a_connection_that_its_program_shuts_down_during_the_check_is_closed() {
    let world = cable("programshuts");
    let pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    let server = &pair.server;
    let done = check_while(&world.b, A_WHILE, || {
        sleep(MOMENT);
        server.shutdown(Shutdown::Write).unwrap();
    });
    done.verdicts
        .all(Outcome::Closed, "its program closed it during the check");
}

#[test]
fn a_connection_that_the_peer_closes_during_the_check_is_closed() {
    let world = cable("peercloses");
    let Pair { client, server } =
        connections::open(&world.a, &world.b, "10.9.1.2:3333", 1, &Options::default())
            .unwrap()
            .remove(0);
    let cut = faults::cut(&world.a, B).unwrap();
    let done = check_while(&world.b, A_WHILE, || {
        sleep(MOMENT);
        cut.undo().unwrap();
        drop(client);
    });
    assert_eq!(
        done.verdicts.only().outcome,
        Outcome::Closed,
        "{:#?}",
        done.verdicts
    );
    drop(server);
}

#[test]
fn a_connection_that_the_peer_resets_during_the_check_is_gone() {
    let world = cable("peerresets");
    let Pair { client, mut server } = open_one(&world.a, &world.b);
    let cut = faults::cut(&world.a, B).unwrap();
    let done = check_while(&world.b, A_WHILE, || {
        sleep(MOMENT);
        cut.undo().unwrap();
        drop(client);
    });
    done.verdicts.all(Outcome::Gone, "reset");
    assert_eq!(
        server.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn data_that_the_program_sends_to_a_silent_peer_during_the_check_makes_it_stalled() {
    let world = cable("programsends");
    let mut pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    let server = &mut pair.server;
    let done = check_while(&world.b, A_WHILE, || {
        sleep(MOMENT);
        server.write_all(b"anybody there?").unwrap();
    });
    done.verdicts.all(Outcome::Stalled, "14 bytes in flight");
    assert!(
        done.verdicts.only().probes <= 2,
        "no more of them once data is in flight: {:#?}",
        done.verdicts
    );
}

#[test]
fn a_port_that_is_used_again_during_the_check_is_another_connection() {
    let world = cable("reuse");
    let Pair { client, server } = open_one(&world.a, &world.b);
    let source = client.local_addr().unwrap();
    let cut = faults::cut(&world.a, B).unwrap();
    let mut fresh = None;
    let done = check_while(&world.b, A_WHILE, || {
        sleep(MOMENT);
        // Both resets are lost.
        drop(server);
        drop(client);
        cut.undo().unwrap();
        let listener = world.b.run(|| TcpListener::bind((B, 3333)).unwrap());
        let client = world.a.run(|| from_the_same_port(source));
        fresh = Some(Pair {
            client,
            server: listener.accept().unwrap().0,
        });
    });
    assert_eq!(
        done.verdicts.only().outcome,
        Outcome::Closed,
        "{:#?}",
        done.verdicts
    );
    let fresh = fresh.unwrap();
    assert_eq!(fresh.server.peer_addr().unwrap(), source);
    for number in 0..3 {
        exchange(&fresh, number);
    }
    assert_eq!(check(&world.b, QUICK).only().outcome, Outcome::Alive);
}

/// Connects from an address and port that were in use a moment ago.
pub(crate) fn from_the_same_port(source: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    bind(&socket, &source).unwrap();
    connect(&socket, &SocketAddr::new(B.parse().unwrap(), 3333)).unwrap();
    TcpStream::from(socket)
}

/// Asks for the end at the first verdict.
struct Impatient<'a> {
    stop: &'a AtomicBool,
    verdicts: usize,
}

impl Observer for Impatient<'_> {
    fn verdict(&mut self, _: &Connection, _: &Verdict) {
        self.verdicts += 1;
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_check_that_is_stopped_tells_what_it_knows_and_counts_the_rest() {
    let world = cable("stopped");
    let other = world.lab.host("c").unwrap();
    world
        .lab
        .link(&other, "10.9.2.1/24", &world.b, "10.9.2.2/24")
        .unwrap();
    let _living = connections::open(&other, &world.b, "10.9.2.2:3333", 7, &CLEAN).unwrap();
    let _dead = open(&world.a, &world.b, 3333, 5);
    faults::cut(&world.a, B).unwrap();
    let mut sweeper = BpfSweeper::open().unwrap();
    let namespaces = [Namespace::at(&world.b.netns_path()).unwrap()];
    let stop = AtomicBool::new(false);
    let mut observer = Impatient {
        stop: &stop,
        verdicts: 0,
    };
    let check = Check {
        sweeper: &mut sweeper,
        namespaces: &namespaces,
        options: A_WHILE,
        stop: &stop,
        keep_dead: true,
    };
    let checked = check.run(&Selection::ALL, |_| true, &mut observer).unwrap();
    assert_eq!(
        (checked.selected, observer.verdicts, checked.undecided),
        (12, 7, 5)
    );
    assert!(checked.dead.is_empty());
}

#[test]
fn two_checks_of_the_same_connections_do_not_disturb_each_other() {
    let world = cable("twochecks");
    let living = open(&world.a, &world.b, 3333, 20);
    let other = world.lab.host("c").unwrap();
    world
        .lab
        .link(&other, "10.9.2.1/24", &world.b, "10.9.2.2/24")
        .unwrap();
    let dead = connections::open(&other, &world.b, "10.9.2.2:3333", 20, &CLEAN).unwrap();
    faults::cut(&other, "10.9.2.2").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let verdicts = check(&world.b, A_WHILE);
                for pair in &living {
                    assert_eq!(verdicts.of(pair).outcome, Outcome::Alive);
                }
                // A peer that answers one check's probe owes the other's
                // none for half a second: that looks like loss.
                for pair in &dead {
                    let outcome = verdicts.of(pair).outcome;
                    assert!(matches!(outcome, Outcome::Dead | Outcome::Unprovable));
                }
            });
        }
    });
}
