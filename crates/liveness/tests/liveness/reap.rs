//! What is destroyed, and what is not. What both methods must do is told
//! once and tested with each.

use crate::conversation::{Conversation, exchange};
use crate::program::Program;
use crate::world::{A, B, CLEAN, QUICK, cable, open, open_one, prove, routed};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;
use tcpalive_connections::Outcome;
use tcpalive_kernel::destroy::Method;
use tcpalive_lab::connections::{self, Pair};
use tcpalive_lab::faults;
use tcpalive_liveness::Fate;
use tempfile::TempDir;

/// A folder for the journal, and the journal in it.
fn journal() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/reap.jsonl");
    (folder, path)
}

fn peer(pair: &Pair) -> SocketAddr {
    pair.server
        .peer_addr()
        .unwrap_or_else(|_| pair.client.local_addr().unwrap())
}

/// What the program of a destroyed connection sees.
fn assert_aborted(server: &mut TcpStream) {
    assert_eq!(
        server.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionAborted
    );
}

/// A test for each method.
macro_rules! by_both_methods {
    ($($(#[$attribute:meta])* fn $name:ident($method:ident: Method) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$attribute])*
            fn told($method: Method) $body

            #[test]
            fn by_bpf() {
                told(Method::Bpf);
            }

            #[test]
            fn by_sock_diag() {
                told(Method::SockDiag);
            }
        }
    )*};
}

by_both_methods! {

fn the_dead_are_destroyed_and_the_living_go_on_talking(method: Method) {
    let world = routed("reap");
    let mut dead = open(&world.a, &world.b, 3333, 200);
    let idle = open(&world.c, &world.b, 3334, 40);
    let talking = Conversation::start(open(&world.c, &world.b, 3335, 10));
    faults::cut_forward(&world.router, A).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!((done.verdicts.count(Outcome::Dead), done.verdicts.count(Outcome::Alive)), (200, 50));
    let fates = done.reap(method, &journal);
    assert_eq!(fates.len(), 200);
    assert!(fates.values().all(|fate| matches!(fate, Fate::Destroyed)), "{fates:#?}");
    for pair in &mut dead {
        assert_aborted(&mut pair.server);
    }
    for pair in &idle {
        assert!(pair.server.take_error().unwrap().is_none());
        exchange(pair, 1);
    }
    let (talkers, numbers) = talking.stop();
    assert!(numbers > 20, "{numbers}");
    exchange(&talkers[0], numbers);
}

fn one_that_comes_alive_between_proof_and_destruction_is_left_alone(method: Method) {
    let world = cable("comesalive");
    let mut pairs = open(&world.a, &world.b, 3333, 2);
    let (mut saved, mut lost) = (pairs.remove(0), pairs.remove(0));
    let cut = faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(done.verdicts.count(Outcome::Dead), 2);
    cut.undo().unwrap();
    saved.client.write_all(b"!").unwrap();
    sleep(Duration::from_millis(100));
    let fates = done.reap(method, &journal);
    assert!(matches!(fates[&peer(&saved)], Fate::Changed(_)), "{fates:#?}");
    assert!(matches!(fates[&peer(&lost)], Fate::Destroyed), "{fates:#?}");
    saved.server.read_exact(&mut [0]).unwrap();
    exchange(&saved, 1);
    assert_aborted(&mut lost.server);
}

fn one_whose_peer_was_only_heard_on_the_wire_is_left_alone(method: Method) {
    let world = cable("onlywire");
    let mut pair = open_one(&world.a, &world.b);
    let cut = faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(done.verdicts.count(Outcome::Dead), 1);
    // This host's firewall keeps it from the socket.
    world.b.nft("table ip deaf {\nchain input {\ntype filter hook input priority 0;\ntcp dport 3333 drop\n}\n}\n").unwrap();
    cut.undo().unwrap();
    pair.client.write_all(b"!").unwrap();
    sleep(Duration::from_millis(100));
    let fates = done.reap(method, &journal);
    assert!(matches!(fates[&peer(&pair)], Fate::Changed(_)), "{fates:#?}");
    world.b.nft("delete table ip deaf\n").unwrap();
    pair.server.read_exact(&mut [0]).unwrap();
    exchange(&pair, 1);
}

fn one_that_its_program_used_since_the_proof_is_left_alone(method: Method) {
    let world = cable("usedsince");
    let mut pair = open_one(&world.a, &world.b);
    faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(done.verdicts.count(Outcome::Dead), 1);
    pair.server.write_all(b"news").unwrap();
    let fates = done.reap(method, &journal);
    assert!(matches!(fates[&peer(&pair)], Fate::Changed(_)), "{fates:#?}");
    assert!(pair.server.take_error().unwrap().is_none());
}

fn one_that_closed_between_proof_and_destruction_is_already_closed(method: Method) {
    let world = cable("closedsince");
    let mut pairs = open(&world.a, &world.b, 3333, 3);
    faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(done.verdicts.count(Outcome::Dead), 3);
    let Pair { client, server } = pairs.remove(0);
    drop(server);
    let fates = done.reap(method, &journal);
    assert!(matches!(fates[&client.local_addr().unwrap()], Fate::AlreadyClosed), "{fates:#?}");
    for pair in &mut pairs {
        assert!(matches!(fates[&peer(pair)], Fate::Destroyed), "{fates:#?}");
        assert_aborted(&mut pair.server);
    }
}

fn another_connection_with_the_same_addresses_is_left_alone(method: Method) {
    let world = cable("stranger");
    let Pair { client, server } = open_one(&world.a, &world.b);
    let source = client.local_addr().unwrap();
    let cut = faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(done.verdicts.count(Outcome::Dead), 1);
    drop((client, server));
    cut.undo().unwrap();
    let listener = world.b.run(|| TcpListener::bind((B, 3333)).unwrap());
    let client = world.a.run(|| crate::races::from_the_same_port(source));
    let stranger = Pair { client, server: listener.accept().unwrap().0 };
    let fates = done.reap(method, &journal);
    assert_eq!(fates.len(), 1);
    assert!(!matches!(fates[&source], Fate::Destroyed | Fate::Failed(_)), "{fates:#?}");
    exchange(&stranger, 1);
}

fn every_family_is_destroyed(method: Method) {
    let world = cable("families");
    let (v6, any) = ("[fd09:1::2]:3333", "[::]:3334");
    let mut plain = connections::open(&world.a, &world.b, v6, 1, &CLEAN)
        .unwrap()
        .remove(0);
    let listener = world.b.run(|| TcpListener::bind(any).unwrap());
    let _mapped_client = world.a.run(|| TcpStream::connect((B, 3334)).unwrap());
    let mut mapped = listener.accept().unwrap().0;
    let scoped = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xb), 3334, 0, {
        let line = world.a.ip("-o link show dev eth0").unwrap();
        line.split(':').next().unwrap().parse().unwrap()
    });
    let _local_client = world.a.run(|| TcpStream::connect(scoped).unwrap());
    let mut local = listener.accept().unwrap().0;
    for address in [B, "fd09:1::2", "fe80::b"] {
        faults::cut(&world.a, address).unwrap();
    }
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(done.verdicts.count(Outcome::Dead), 3, "{:#?}", done.verdicts);
    let fates = done.reap(method, &journal);
    assert!(fates.values().all(|fate| matches!(fate, Fate::Destroyed)), "{fates:#?}");
    for server in [&mut plain.server, &mut mapped, &mut local] {
        assert_aborted(server);
    }
}

fn a_half_closed_connection_whose_peer_died_is_destroyed(method: Method) {
    let world = cable("halfdead");
    let mut pair = open_one(&world.a, &world.b);
    pair.client.shutdown(std::net::Shutdown::Write).unwrap();
    sleep(Duration::from_millis(100));
    faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = crate::world::prove_all_states(&world.b, QUICK);
    assert_eq!(done.verdicts.count(Outcome::Dead), 1, "{:#?}", done.verdicts);
    let fates = done.reap(method, &journal);
    assert!(fates.values().all(|fate| matches!(fate, Fate::Destroyed)), "{fates:#?}");
    assert!(pair.server.write_all(b"x").is_err());
}

}

/// Two processes share the one, a third has another: errors are seen where
/// the dead are, by whoever looks first.
#[test]
fn programs_see_errors_on_the_dead_alone() {
    let world = routed("view");
    // The server is a process of its own, which knows nothing of all this.
    let mut server = Program::start(
        &world.b,
        &format!(
            "import select\n\
             l = socket.socket()\nl.bind(('{B}', 3333))\nl.listen(500)\nsay('ready')\n\
             socks = {{}}\n\
             while len(socks) < 250:\n s, peer = l.accept()\n socks[s.fileno()] = (s, peer[0])\n\
             l.close()\nsay('all')\n\
             p = select.poll()\n\
             for fd in socks: p.register(fd, select.POLLIN | select.POLLRDHUP | select.POLLPRI)\n\
             p.register(0, select.POLLIN)\n\
             errors = {{}}\n\
             echoed = 0\n\
             while True:\n\
             \x20for fd, _ in p.poll():\n\
             \x20 if fd == 0:\n\
             \x20  for (peer, name), count in sorted(errors.items()): say(peer, name, count)\n\
             \x20  say('echoed', echoed)\n\
             \x20  sys.exit()\n\
             \x20 s, peer = socks[fd]\n\
             \x20 try:\n\
             \x20  data = s.recv(100)\n\
             \x20  s.sendall(data)\n\
             \x20  echoed += len(data)\n\
             \x20  if data: continue\n\
             \x20  name = 'end'\n\
             \x20 except OSError as e: name = errno.errorcode[e.errno]\n\
             \x20 errors[peer, name] = errors.get((peer, name), 0) + 1\n\
             \x20 p.unregister(fd)\n"
        ),
    );
    let connect = |host: &tcpalive_lab::Host, count| -> Vec<TcpStream> {
        host.run(|| {
            (0..count)
                .map(|_| TcpStream::connect((B, 3333)).unwrap())
                .collect()
        })
    };
    let _dead = connect(&world.a, 200);
    let mut living = connect(&world.c, 50);
    assert_eq!(server.hear(), "all");
    faults::cut_forward(&world.router, A).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(
        (
            done.verdicts.count(Outcome::Dead),
            done.verdicts.count(Outcome::Alive)
        ),
        (200, 50)
    );
    done.reap(Method::Bpf, &journal);
    for (number, stream) in living.iter_mut().enumerate() {
        let message = [number as u8; 3];
        stream.write_all(&message).unwrap();
        let mut echo = [0; 3];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo, message);
    }
    server.say("tell");
    assert_eq!(server.hear(), format!("{A} ECONNABORTED 200"));
    assert_eq!(server.hear(), "echoed 150");
}

#[test]
fn a_socket_that_two_processes_share_is_aborted_for_both() {
    let world = cable("sharedreap");
    let mut server = Program::start(
        &world.b,
        &format!(
            "l = socket.socket()\nl.bind(('{B}', 3333))\nl.listen()\nsay('ready')\ns, _ = l.accept()\n\
             child = os.fork()\n\
             if child == 0:\n hear()\n say('child', error_of(s))\n os._exit(0)\n\
             say('shared')\nos.waitpid(child, 0)\nsay('parent', error_of(s))\n"
        ),
    );
    let _client = world.a.run(|| TcpStream::connect((B, 3333)).unwrap());
    assert_eq!(server.hear(), "shared");
    faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    assert_eq!(done.reap(Method::Bpf, &journal).len(), 1);
    server.say("look");
    // As after any reset: the error is told once, then it is the end.
    assert_eq!(server.hear(), "child ECONNABORTED");
    assert_eq!(server.hear(), "parent end");
}

#[test]
fn the_peer_of_a_destroyed_connection_is_told_when_it_can_be() {
    let world = cable("told");
    let mut pair = open_one(&world.a, &world.b);
    let cut = faults::cut(&world.a, B).unwrap();
    let (_folder, journal) = journal();
    let mut done = prove(&world.b, QUICK);
    cut.undo().unwrap();
    // It says nothing by itself: nothing has changed since the proof.
    assert!(matches!(
        done.reap(Method::Bpf, &journal)[&peer(&pair)],
        Fate::Destroyed
    ));
    assert_eq!(
        pair.client.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}
