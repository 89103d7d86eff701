//! Soft interrupts of the real kernel. Needs root and BPF.

use std::time::Duration;
use tcpalive_kernel::softirq::{Kind, Side, Watch};
use tcpalive_lab::connections::{Options, open};
use tcpalive_lab::{Host, Lab};

/// Opens connections within the host, which takes packets of both sides.
fn converse(host: &Host, port: u16) {
    let address = format!("127.0.0.1:{port}");
    open(host, host, &address, 20, &Options::default()).unwrap();
}

fn inode(host: &Host) -> u32 {
    u32::try_from(host.netns_inode()).unwrap()
}

#[test]
fn receiving_takes_time_that_is_seen() {
    let lab = Lab::new("softirq").expect("tests of the lab need root");
    let host = lab.host("a").unwrap();
    let watch = Watch::open().unwrap();
    let before = watch.spent(Kind::NetRx).unwrap();
    converse(&host, 3333);
    let spent = watch.spent(Kind::NetRx).unwrap() - before;
    assert!(spent.runs > 0);
    assert!(spent.total > Duration::ZERO);
    assert!(spent.longest > Duration::ZERO);
    // Nobody asked for packets.
    assert_eq!(watch.received(Side::ToPort).unwrap().runs, 0);
}

#[test]
fn packets_are_told_apart_by_port_and_namespace() {
    let lab = Lab::new("softirq").expect("tests of the lab need root");
    let host = lab.host("a").unwrap();
    let other = lab.host("b").unwrap();
    let watch = Watch::open_for_port(inode(&host), 3333).unwrap();
    let received = |side| watch.received(side).unwrap().runs;
    converse(&host, 4444);
    converse(&other, 3333);
    assert_eq!((received(Side::ToPort), received(Side::FromPort)), (0, 0));
    converse(&host, 3333);
    // SYN and ACK one way, SYN|ACK the other, of each connection at least.
    // The last ACK may still be worked on when its connection is accepted.
    assert!(received(Side::ToPort) >= 39);
    assert!(received(Side::FromPort) >= 20);
}
