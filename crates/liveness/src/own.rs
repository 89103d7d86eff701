//! The connection that this very session runs over.
//!
//! Somebody who is logged in over ssh and reaps must not cut the branch they
//! sit on. The session's connection is found in two ways: sockets of the ssh
//! servers among the processes above this one, and what `SSH_CONNECTION`
//! says (which survives screen and tmux, though not every sudo).

use std::net::{IpAddr, SocketAddr};
use tcpalive_connections::{Connection, Owner};
use tcpalive_kernel::process;

/// What is known of this session.
#[derive(Debug, Clone, Default)]
pub struct OwnSession {
    servers: Vec<u32>,
    connection: Option<(SocketAddr, SocketAddr)>,
}

impl OwnSession {
    /// Looks at the processes above this one and at the environment.
    #[must_use]
    pub fn find() -> Self {
        let is_ssh = |pid: &u32| {
            process::comm(*pid).is_some_and(|comm| {
                let name = comm.as_text();
                name.starts_with("sshd") || name.starts_with("dropbear")
            })
        };
        Self {
            servers: process::ancestors().into_iter().filter(is_ssh).collect(),
            connection: std::env::var("SSH_CONNECTION")
                .ok()
                .as_deref()
                .and_then(parse),
        }
    }

    /// Whether the connection carries this session.
    #[must_use]
    pub fn runs_over(&self, connection: &Connection, owners: &[Owner]) -> bool {
        self.connection == Some((connection.local, connection.remote))
            || owners.iter().any(|owner| self.servers.contains(&owner.pid))
    }
}

/// `SSH_CONNECTION`: client address and port, server address and port.
/// Returns the server's side first, as this host sees it.
fn parse(text: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut fields = text.split(' ');
    let mut address = || {
        // Link-local addresses carry their interface.
        let ip: IpAddr = fields.next()?.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(
            ip.to_canonical(),
            fields.next()?.parse().ok()?,
        ))
    };
    let client = address()?;
    let server = address()?;
    Some((server, client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_read_from_the_environment() {
        let expected = (
            "192.0.2.1:22".parse().unwrap(),
            "198.51.100.7:50123".parse().unwrap(),
        );
        assert_eq!(parse("198.51.100.7 50123 192.0.2.1 22"), Some(expected));
        assert!(parse("fe80::1%eth0 50123 fe80::2%eth0 22").is_some());
        assert_eq!(parse("198.51.100.7 50123"), None);
        assert_eq!(parse(""), None);
    }
}
