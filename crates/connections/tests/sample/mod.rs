//! A connection to start from: everything about it is known.

use std::net::{IpAddr, SocketAddr};
use tcpalive_connections::{Comm, Connection, KeepAlive, Origin, Owner, State, View};

#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) connection: Connection,
    pub(crate) owners: Vec<Owner>,
    pub(crate) cgroup: Option<String>,
}

impl Sample {
    /// nginx at 192.0.2.1:443, talking to 10.1.2.3:50000, silent for 20 min.
    pub(crate) fn nginx() -> Self {
        Self {
            connection: Connection {
                netns: 4_026_531_840,
                cookie: 17,
                local: SocketAddr::new(IpAddr::from([192, 0, 2, 1]), 443),
                remote: SocketAddr::new(IpAddr::from([10, 1, 2, 3]), 50_000),
                state: State::Established,
                uid: 33,
                inode: 4711,
                cgroup_id: Some(99),
                keepalive: Some(keepalive(false)),
                probes_out: Some(0),
                last_heard_ms: Some(1_200_000),
                last_ack_ms: Some(1_200_000),
                last_data_in_ms: Some(1_300_000),
                last_data_out_ms: Some(1_300_000),
                unacked_bytes: Some(0),
                unsent_bytes: Some(0),
                retransmits: Some(0),
                memory_bytes: 4096,
            },
            owners: vec![owner(812, "nginx"), owner(813, "nginx-worker")],
            cgroup: Some("/system.slice/nginx.service".to_owned()),
        }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            connection: &self.connection,
            owners: &self.owners,
            cgroup: self.cgroup.as_deref(),
        }
    }
}

pub(crate) fn keepalive(enabled: bool) -> KeepAlive {
    KeepAlive {
        enabled,
        idle_s: 7200,
        interval_s: 75,
        count: 9,
        from: Origin::Sysctl,
        user_timeout_ms: 0,
    }
}

pub(crate) fn owner(pid: u32, name: &str) -> Owner {
    Owner {
        pid,
        fd: 5,
        comm: Comm::from_text(name),
    }
}
