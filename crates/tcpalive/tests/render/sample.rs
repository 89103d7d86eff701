//! Connections as a busy host has them.

use tcpalive_connections::{Comm, Connection, KeepAlive, Origin, Outcome, Owner, State, Verdict};

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// A connection that was heard `heard_ms` ago, keep-alive off.
pub(crate) fn connection(local: &str, remote: &str, heard_ms: u64) -> Connection {
    Connection {
        netns: 4_026_531_840,
        cookie: 4_242,
        local: local.parse().expect("an address"),
        remote: remote.parse().expect("an address"),
        state: State::Established,
        uid: 1_000,
        inode: 81_023,
        cgroup_id: Some(4_711),
        keepalive: Some(keepalive(false)),
        probes_out: Some(0),
        last_heard_ms: Some(heard_ms),
        last_ack_ms: Some(heard_ms),
        last_data_in_ms: Some(heard_ms + 40),
        last_data_out_ms: Some(heard_ms + 90),
        unacked_bytes: Some(0),
        unsent_bytes: Some(0),
        retransmits: Some(0),
        memory_bytes: 2_304,
    }
}

/// Linux's defaults.
pub(crate) fn keepalive(enabled: bool) -> KeepAlive {
    KeepAlive {
        enabled,
        idle_s: 7_200,
        interval_s: 75,
        count: 9,
        from: Origin::Sysctl,
        user_timeout_ms: 0,
    }
}

/// Values that a program chose.
pub(crate) fn own_keepalive() -> KeepAlive {
    KeepAlive {
        enabled: true,
        idle_s: 30,
        interval_s: 5,
        count: 3,
        from: Origin::Socket,
        user_timeout_ms: 45_000,
    }
}

pub(crate) fn owner(comm: &str, pid: u32, fd: u32) -> Owner {
    Owner {
        pid,
        fd,
        comm: Comm::from_text(comm),
    }
}

pub(crate) fn verdict(outcome: Outcome, heard_ms: u64, reason: &str) -> Verdict {
    Verdict {
        outcome,
        probes: 4,
        answered: outcome == Outcome::Alive,
        rtt_us: (outcome == Outcome::Alive).then_some(412),
        waited_ms: 3_004,
        last_heard_ms: Some(heard_ms),
        reason: reason.to_owned(),
    }
}

/// A connection with its owners and its cgroup's path.
pub(crate) type Held = (Connection, Vec<Owner>, Option<&'static str>);

pub(crate) const CONTAINER: &str = "/system.slice/docker-\
     3f4a9c2b1d0e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8.scope";

/// Nine connections of the kinds that one meets.
pub(crate) fn mixed() -> Vec<Held> {
    let web = Some("/system.slice/nginx.service");
    let nginx: Vec<Owner> = (812..816).map(|pid| owner("nginx", pid, 6)).collect();
    vec![
        (
            connection("10.9.0.2:3333", "10.9.1.1:40001", 754_000),
            vec![owner("server", 12, 9)],
            Some("/demo"),
        ),
        (
            connection("10.9.0.2:3333", "10.9.1.1:40002", 3 * DAY + 4 * HOUR),
            vec![owner("server", 13, 10)],
            Some("/demo"),
        ),
        (
            Connection {
                keepalive: Some(keepalive(true)),
                ..connection("192.0.2.17:443", "198.51.100.203:51812", 8_140)
            },
            nginx[..1].to_vec(),
            web,
        ),
        (
            Connection {
                keepalive: Some(own_keepalive()),
                probes_out: Some(2),
                ..connection("10.0.0.5:5432", "10.0.3.77:38220", 41_000)
            },
            vec![owner("postgres", 20_411, 8)],
            Some(CONTAINER),
        ),
        (
            Connection {
                unacked_bytes: Some(14_480),
                unsent_bytes: Some(2_621_440),
                retransmits: Some(7),
                memory_bytes: 3_211_264,
                ..connection("10.0.0.5:8080", "203.0.113.9:60123", 94_000)
            },
            vec![owner("java", 3_077, 211)],
            Some("/system.slice/app.service"),
        ),
        (
            Connection {
                state: State::CloseWait,
                keepalive: None,
                probes_out: None,
                last_heard_ms: None,
                ..connection("127.0.0.1:6379", "127.0.0.1:50050", 0)
            },
            vec![owner("redis-server", 977, 12)],
            Some("/system.slice/redis-server.service"),
        ),
        (
            connection("[2001:db8::17]:443", "[2001:db8:7::a]:40212", 2 * HOUR),
            nginx[..2].to_vec(),
            web,
        ),
        (
            Connection {
                remote: "0.0.0.0:0".parse().expect("an address"),
                state: State::Listen,
                last_heard_ms: None,
                last_ack_ms: None,
                last_data_in_ms: None,
                last_data_out_ms: None,
                ..connection("0.0.0.0:443", "0.0.0.0:0", 0)
            },
            nginx,
            web,
        ),
        (
            connection("10.0.0.5:2049", "10.0.0.9:871", 25 * MINUTE),
            Vec::new(),
            Some("/"),
        ),
    ]
}
