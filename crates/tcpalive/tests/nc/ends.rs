//! Who ends when: netcat-openbsd's ends, seen by a peer that is neither.

use crate::{BOTH, Ended, Input, Running, Whose, two_hosts};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use tcpalive_lab::Host;

/// Which side the netcat is.
#[derive(Debug, Clone, Copy)]
enum Role {
    Listens,
    Connects,
}

/// A netcat on b, and the other end of its connection on a.
fn pair(a: &Host, b: &Host, whose: Whose, role: Role, options: &str) -> (Running, TcpStream) {
    match role {
        Role::Listens => {
            let netcat = whose.listen(b, 3333, &format!("-l {options} 3333"), Input::Open);
            let address = SocketAddr::from(([10, 9, 1, 2], 3333));
            (netcat, a.run(|| TcpStream::connect(address)).unwrap())
        }
        Role::Connects => {
            let address = SocketAddr::from(([10, 9, 1, 1], 0));
            let listener = a.run(|| TcpListener::bind(address)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let netcat = whose.start(b, &format!("{options} 10.9.1.1 {port}"), Input::Open);
            (netcat, listener.accept().unwrap().0)
        }
    }
}

/// Plays it with either netcat in either role: Debian's shows what is right.
fn alike(label: &str, options: &str, play: impl Fn(Running, TcpStream, Role) -> (Ended, Vec<u8>)) {
    let (_lab, a, b) = two_hosts(label);
    for role in [Role::Listens, Role::Connects] {
        let [debians, ours] = BOTH.map(|whose| {
            let (netcat, peer) = pair(&a, &b, whose, role, options);
            play(netcat, peer, role)
        });
        assert_eq!(ours, debians, "{role:?} {options}");
    }
}

#[test]
fn the_end_of_the_input_is_kept_to_itself_without_n() {
    alike("ncquiet", "", |mut netcat, mut peer, _| {
        netcat.stdin.as_mut().unwrap().write_all(b"all").unwrap();
        drop(netcat.stdin.take());
        let mut heard = [0; 3];
        peer.read_exact(&mut heard).unwrap();
        // It still receives.
        peer.write_all(b"answer").unwrap();
        peer.set_nonblocking(true).unwrap();
        let more = peer.read(&mut heard).unwrap_err();
        assert_eq!(more.kind(), std::io::ErrorKind::WouldBlock);
        drop(peer);
        let ended = netcat.end();
        assert_eq!(ended.stdout, b"answer");
        (ended, heard.to_vec())
    });
}

#[test]
fn the_end_of_the_input_is_passed_on_with_n_and_answers_are_heard() {
    alike("ncshut", "-N", |mut netcat, mut peer, _| {
        netcat
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"question")
            .unwrap();
        drop(netcat.stdin.take());
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        peer.write_all(b"answer").unwrap();
        drop(peer);
        let ended = netcat.end();
        assert_eq!(ended.stdout, b"answer");
        (ended, heard)
    });
}

#[test]
fn a_peer_that_says_no_more_ends_who_listens_and_hears_out_who_connects() {
    alike("nchalf", "", |mut netcat, mut peer, role| {
        peer.write_all(b"last words").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        if let Role::Connects = role {
            netcat.stdin.as_mut().unwrap().write_all(b"late").unwrap();
            drop(netcat.stdin.take());
        }
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        let ended = netcat.end();
        assert_eq!(ended.stdout, b"last words");
        (ended, heard)
    });
}

#[test]
fn without_an_input_the_peers_end_is_the_end() {
    alike("ncnoin", "-d", |netcat, mut peer, _| {
        peer.write_all(b"x").unwrap();
        drop(peer);
        (netcat.end(), Vec::new())
    });
}

#[test]
fn an_idle_connection_is_ended_after_the_wait() {
    alike("ncidle", "-w 1", |netcat, mut peer, _| {
        peer.write_all(b"x").unwrap();
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        (netcat.end(), heard)
    });
}

#[test]
fn it_quits_so_long_after_the_end_of_the_input_as_told() {
    let (_lab, a, b) = two_hosts("ncquit");
    // Debian's, when it connects, goes on until the peer closes, which its
    // manual does not say.
    for (whose, role) in [
        (Whose::Debians, Role::Listens),
        (Whose::Ours, Role::Listens),
        (Whose::Ours, Role::Connects),
    ] {
        let (mut netcat, mut peer) = pair(&a, &b, whose, role, "-q 1");
        drop(netcat.stdin.take());
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        // The peer never closes.
        let ended = netcat.end();
        drop(peer);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{whose:?}");
    }
}

#[test]
fn a_reset_is_said_and_what_came_before_is_not_lost() {
    let (_lab, a, b) = two_hosts("ncreset");
    for role in [Role::Listens, Role::Connects] {
        let codes = BOTH.map(|whose| {
            let (netcat, mut peer) = pair(&a, &b, whose, role, "-v");
            let mut netcat = netcat;
            // It is connected when it has passed something on.
            netcat.stdin.as_mut().unwrap().write_all(b"x").unwrap();
            peer.read_exact(&mut [0]).unwrap();
            let linger = Some(std::time::Duration::ZERO);
            socket2::SockRef::from(&peer).set_linger(linger).unwrap();
            drop(peer);
            let ended = netcat.end();
            if whose == Whose::Ours {
                let said = "tcpalive: connection reset by the peer\n";
                assert!(ended.stderr.ends_with(said), "{}", ended.stderr);
            }
            ended.code
        });
        assert_eq!(codes, [0, 0], "{role:?}");
    }
}
