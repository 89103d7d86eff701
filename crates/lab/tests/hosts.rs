//! Hosts, cables and power, on the real kernel. These tests need root and
//! fail without it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use tcpalive_lab::connections::{self, Options};
use tcpalive_lab::{Host, Lab, faults};

fn lab(label: &str) -> Lab {
    Lab::new(label).expect("tests of the lab need root")
}

fn reaches(from: &Host, to: &Host, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    let listener = to.run(|| TcpListener::bind(address).unwrap());
    let reached =
        from.run(|| TcpStream::connect_timeout(&address, Duration::from_millis(1500)).is_ok());
    drop(listener);
    reached
}

#[test]
fn host_sees_nothing_but_its_own_loopback() {
    let lab = lab("isolated");
    let a = lab.host("a").unwrap();
    let names = a.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    let interfaces: Vec<&str> = names.lines().skip(2).collect();
    assert_eq!(interfaces.len(), 1, "{names}");
    assert!(interfaces[0].trim_start().starts_with("lo:"), "{names}");
    let refused = a.run(|| TcpStream::connect("192.0.2.1:9")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NetworkUnreachable);
}

#[test]
fn commands_and_closures_run_in_the_same_namespace() {
    let lab = lab("inside");
    let a = lab.host("a").unwrap();
    let inode = format!("net:[{}]", a.netns_inode());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(own.to_string_lossy(), inode);
    let closure = a.run(|| fs::read_link("/proc/thread-self/ns/net").unwrap());
    assert_eq!(closure.to_string_lossy(), inode);
    let command = a
        .command("readlink")
        .arg("/proc/self/ns/net")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&command.stdout).trim(), inode);
    assert!(a.netns_path().exists());
}

#[test]
fn cable_carries_ipv4_and_ipv6_at_once() {
    let lab = lab("cable");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab
        .link(
            &a,
            "10.9.1.1/24 fd09:1::1/64",
            &b,
            "10.9.1.2/24 fd09:1::2/64",
        )
        .unwrap();
    assert_eq!((link.a.as_str(), link.b.as_str()), ("eth0", "eth0"));
    assert!(reaches(&a, &b, "10.9.1.2:3333"));
    assert!(reaches(&b, &a, "[fd09:1::1]:3333"));
}

#[test]
fn router_joins_hosts_that_share_no_cable() {
    let lab = lab("routed");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let router = lab.router("r").unwrap();
    lab.link(&a, "10.9.1.1/24", &router, "10.9.1.254/24")
        .unwrap();
    lab.uplink(&b, "172.31.24.218 fd31::218", &router).unwrap();
    a.default_route("10.9.1.254").unwrap();
    assert!(reaches(&a, &b, "172.31.24.218:3333"));
    assert!(reaches(&b, &a, "10.9.1.1:3333"));
}

#[test]
fn uplinks_reach_each_other_over_ipv4_and_ipv6() {
    let lab = lab("uplinks");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let router = lab.router("r").unwrap();
    lab.uplink(&a, "172.31.24.219 fd31::219", &router).unwrap();
    lab.uplink(&b, "172.31.24.218 fd31::218", &router).unwrap();
    assert!(reaches(&a, &b, "172.31.24.218:3333"));
    assert!(reaches(&a, &b, "[fd31::218]:3333"));
}

#[test]
fn switch_makes_one_segment_of_many_hosts() {
    let lab = lab("segment");
    let switch = lab.bridge("switch").unwrap();
    let hosts: Vec<Host> = (1..=3)
        .map(|number| {
            let host = lab.host(&format!("h{number}")).unwrap();
            let addresses = format!("10.9.1.{number}/24 fd09:1::{number}/64");
            lab.plug(&host, &addresses, &switch).unwrap();
            host
        })
        .collect();
    assert!(reaches(&hosts[0], &hosts[1], "10.9.1.2:3333"));
    assert!(reaches(&hosts[2], &hosts[0], "[fd09:1::1]:3333"));
}

#[test]
fn two_labs_with_the_same_addresses_do_not_meet() {
    let first = lab("twin");
    let second = lab("twin");
    let [(a1, b1), (a2, b2)] = [&first, &second].map(|lab| {
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        lab.link(&a, "10.9.1.1/24", &b, "10.9.1.2/24").unwrap();
        (a, b)
    });
    assert_ne!(a1.netns_name(), a2.netns_name());
    let address = "10.9.1.2:3333";
    let _listener = b1.run(|| TcpListener::bind(address).unwrap());
    assert!(a1.run(|| TcpStream::connect(address)).is_ok());
    let refused = a2.run(|| TcpStream::connect(address)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(first);
    assert!(reaches(&a2, &b2, address));
}

#[test]
fn sysctl_is_the_hosts_own() {
    let lab = lab("sysctl");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let key = "net.ipv4.tcp_keepalive_time";
    a.sysctl(key, "10").unwrap();
    assert_eq!(a.sysctl_value(key).unwrap(), "10");
    assert_eq!(b.sysctl_value(key).unwrap(), "7200");
    let error = a.sysctl("net.ipv4.tcp_keepalife", "1").unwrap_err();
    assert!(error.to_string().contains("tcp_keepalife"), "{error}");
}

#[test]
fn connections_are_pairs_of_the_same_connection() {
    let lab = lab("pairs");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "10.9.1.1/24 10.9.1.3/24", &b, "10.9.1.2/24")
        .unwrap();
    let options = Options {
        source: Some("10.9.1.3".parse().unwrap()),
        reset_on_close: true,
        prepare_listener: Some(&|listener| {
            Ok(rustix::net::sockopt::set_socket_keepalive(listener, true)?)
        }),
        ..Options::default()
    };
    let mut pairs = connections::open(&a, &b, "10.9.1.2:3333", 200, &options).unwrap();
    assert_eq!(pairs.len(), 200);
    for (number, pair) in (0_u32..).zip(&mut pairs) {
        pair.client.write_all(&number.to_be_bytes()).unwrap();
        let mut bytes = [0; 4];
        pair.server.read_exact(&mut bytes).unwrap();
        assert_eq!(u32::from_be_bytes(bytes), number);
        assert_eq!(
            pair.client.local_addr().unwrap().ip().to_string(),
            "10.9.1.3"
        );
        assert!(rustix::net::sockopt::socket_keepalive(&pair.server).unwrap());
        assert!(!rustix::net::sockopt::socket_keepalive(&pair.client).unwrap());
    }
    // The port is free for more.
    connections::open(&a, &b, "10.9.1.2:3333", 1, &Options::default()).unwrap();
}

#[test]
fn reboot_keeps_addresses_and_forgets_connections() {
    let lab = lab("reboot");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let router = lab.router("r").unwrap();
    lab.uplink(&a, "172.31.24.219 fd31::219", &router).unwrap();
    lab.uplink(&b, "172.31.24.218 fd31::218", &router).unwrap();
    let mut pairs =
        connections::open(&a, &b, "172.31.24.218:3333", 3, &Options::default()).unwrap();
    let before = (a.netns_inode(), a.addresses(), hardware_address(&a));
    let heard = faults::count(&b, faults::Hook::Input, "tcp flags & (fin | rst) != 0").unwrap();
    a.sysctl("net.ipv4.tcp_keepalive_time", "10").unwrap();

    a.reboot().unwrap();

    assert_ne!(a.netns_inode(), before.0);
    assert_eq!(a.addresses(), before.1);
    assert_eq!(hardware_address(&a), before.2);
    assert_eq!(a.sysctl_value("net.ipv4.tcp_keepalive_time").unwrap(), "10");
    assert_eq!(
        heard.packets().unwrap(),
        0,
        "a host that loses its power says nothing"
    );
    assert!(reaches(&b, &a, "172.31.24.219:4444"));
    assert!(reaches(&b, &a, "[fd31::219]:4444"));
    // The rebooted host does not know the connection and says so.
    pairs[0].server.write_all(b"are you there?").unwrap();
    pairs[0]
        .server
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let reset = pairs[0].server.read(&mut [0; 8]).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn removed_host_takes_its_cables_along_and_says_nothing() {
    let lab = lab("removed");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "10.9.1.1/24", &b, "10.9.1.2/24").unwrap();
    let pairs = connections::open(&a, &b, "10.9.1.2:3333", 5, &Options::default()).unwrap();
    let heard = faults::count(&b, faults::Hook::Input, "tcp flags & (fin | rst) != 0").unwrap();
    let namespace = a.netns_path();
    a.remove().unwrap();
    drop(
        pairs
            .into_iter()
            .map(|pair| pair.client)
            .collect::<Vec<_>>(),
    );
    assert!(!namespace.exists());
    assert!(b.ip("link show eth0").is_err());
    assert_eq!(heard.packets().unwrap(), 0);
    assert_eq!(lab.hosts().len(), 1);
}

#[test]
fn nothing_is_left_after_drop() {
    let lab = lab("dropped");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "10.9.1.1/24", &b, "10.9.1.2/24").unwrap();
    b.power_off().unwrap();
    let mut sleeper = a.command("sleep").arg("1000").spawn().unwrap();
    // The connection is held by this process while the lab goes.
    let listener = a.run(|| TcpListener::bind("10.9.1.1:3333").unwrap());
    let label = a.netns_name().strip_suffix("-a").unwrap().to_owned();
    drop(lab);
    assert!(!sleeper.wait().unwrap().success(), "killed, not ended");
    let left: Vec<String> = fs::read_dir("/run/netns")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&label))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    drop(listener);
}

#[test]
fn nothing_is_left_after_a_panic() {
    let path = std::sync::Mutex::new(None);
    let result = std::panic::catch_unwind(|| {
        let lab = lab("panic");
        *path.lock().unwrap() = Some(lab.host("a").unwrap().netns_path());
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(result.is_err());
    let path = path.into_inner().unwrap().unwrap();
    assert!(!Path::new(&path).exists());
}

#[test]
fn names_and_addresses_that_make_no_sense_are_refused() {
    assert!(Lab::new("No Spaces").is_err());
    let lab = lab("refused");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    assert!(lab.host("a").is_err());
    for bad in ["10.9.1.1", "10.9.1.1/33", "10.9.1/24", "fd09::1/129"] {
        let error = lab.link(&a, bad, &b, "").unwrap_err().to_string();
        assert!(error.contains(bad.split('/').next().unwrap()), "{error}");
    }
}

fn hardware_address(host: &Host) -> String {
    let links = host.ip("-o link show eth0").unwrap();
    let mut words = links.split_whitespace();
    words.find(|word| *word == "link/ether");
    words.next().unwrap().to_owned()
}
