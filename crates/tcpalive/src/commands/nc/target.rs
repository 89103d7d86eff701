//! Hosts, ports and services: what the arguments mean.

use crate::cli::Failure;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Where the names of ports are.
const SERVICES: &str = "/etc/services";

/// Which addresses are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    pub(super) const fn has(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// The addresses of a host, in the resolver's order.
///
/// # Errors
/// What to tell people when it has none.
pub(super) fn addresses(
    host: &str,
    port: u16,
    family: Family,
    numeric: bool,
) -> Result<Vec<SocketAddr>, String> {
    let found: io::Result<Vec<SocketAddr>> = match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        // An address with a zone is for the resolver, which asks nobody for it.
        Err(_) if numeric && !host.contains('%') => Err(io::Error::other(
            "not an address, and -n forbids to look up names",
        )),
        Err(_) => (host, port).to_socket_addrs().map(Iterator::collect),
    };
    let mut found = found.map_err(|error| {
        format!("resolving host '{host}': {error}. Give a name that resolves, or an address")
    })?;
    found.retain(|address| family.has(address));
    if found.is_empty() {
        let family = if family == Family::V4 { "IPv4" } else { "IPv6" };
        return Err(format!("host '{host}' has no {family} address"));
    }
    Ok(found)
}

/// A port, or a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    pub(super) fn into_iter(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

/// Names of TCP ports.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_name: HashMap<String, u16>,
    by_port: HashMap<u16, String>,
    numeric: bool,
}

impl Services {
    /// Those of this host; none where there is no such file. With `numeric`,
    /// ports are not shown by name.
    pub(super) fn read(numeric: bool) -> Self {
        Self::parse(&fs::read_to_string(SERVICES).unwrap_or_default(), numeric)
    }

    /// services(5): `name port/protocol alias … # comment`.
    fn parse(text: &str, numeric: bool) -> Self {
        let mut services = Self {
            numeric,
            ..Self::default()
        };
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else {
                continue;
            };
            let Some(Ok(port)) = port.strip_suffix("/tcp").map(str::parse) else {
                continue;
            };
            services
                .by_port
                .entry(port)
                .or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(words) {
                services.by_name.entry(name.to_owned()).or_insert(port);
            }
        }
        services
    }

    /// The port's name, `*` for none.
    pub(super) fn name(&self, port: u16) -> &str {
        match self.by_port.get(&port) {
            Some(name) if !self.numeric => name,
            _ => "*",
        }
    }

    /// A port, by number or name.
    ///
    /// # Errors
    /// A text that is neither.
    pub(super) fn port(&self, text: &str) -> Result<u16, Failure> {
        if let Some(port) = self.by_name.get(text) {
            return Ok(*port);
        }
        match text.parse::<u32>() {
            Ok(0) => Err(Failure::Usage(format!(
                "port number too small: {text}; expected 1 to 65535"
            ))),
            Ok(number) => u16::try_from(number).map_err(|_| {
                Failure::Usage(format!(
                    "port number too large: {text}; expected 1 to 65535"
                ))
            }),
            Err(_) => Err(Failure::Usage(format!(
                "port number invalid: {text}; expected 1 to 65535, a range such as 20-25, or a name of /etc/services"
            ))),
        }
    }

    /// A port or a range of numbers.
    ///
    /// # Errors
    /// A text that is neither.
    pub(super) fn ports(&self, text: &str) -> Result<Ports, Failure> {
        // Some names have a hyphen.
        let (low, high) = match text.split_once('-') {
            Some((low, high)) if !self.by_name.contains_key(text) => {
                let number = |end: &str| {
                    if end.bytes().all(|byte| byte.is_ascii_digit()) {
                        self.port(end)
                    } else {
                        Err(Failure::Usage(format!(
                            "port number invalid: {text}; a range is of numbers, such as 20-25"
                        )))
                    }
                };
                (number(low)?, number(high)?)
            }
            _ => {
                let port = self.port(text)?;
                (port, port)
            }
        };
        Ok(Ports {
            first: low.min(high),
            last: low.max(high),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# name port
ssh 22/tcp  # comment
http 80/tcp www
syslog 514/udp
shell 514/tcp cmd syslog # both
http-alt 8080/tcp webcache
";

    fn ports(text: &str) -> Result<(u16, u16), String> {
        Services::parse(TEXT, false)
            .ports(text)
            .map(|ports| (ports.first, ports.last))
            .map_err(|failure| failure.text().unwrap())
    }

    #[test]
    fn ports_are_numbers_names_and_ranges() {
        assert_eq!(ports("22"), Ok((22, 22)));
        assert_eq!(ports("www"), Ok((80, 80)));
        assert_eq!(ports("http-alt"), Ok((8080, 8080)));
        assert_eq!(ports("20-25"), Ok((20, 25)));
        assert_eq!(ports("25-20"), Ok((20, 25)));
        assert_eq!(ports("65535-1"), Ok((1, 65535)));
    }

    #[test]
    fn what_is_no_port_is_said() {
        for (text, expected) in [
            ("0", "too small"),
            ("65536", "too large"),
            ("99999999999", "invalid"),
            ("-1", "invalid"),
            ("1-", "invalid"),
            ("http-ssh", "a range is of numbers"),
            ("nosuch", "/etc/services"),
            ("", "invalid"),
        ] {
            let error = ports(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_those_of_tcp() {
        let services = Services::parse(TEXT, false);
        assert_eq!(services.name(80), "http");
        assert_eq!(services.name(514), "shell");
        assert_eq!(services.name(3333), "*");
        assert_eq!(Services::parse(TEXT, true).name(80), "*");
    }

    #[test]
    fn addresses_are_of_the_family_that_is_wished() {
        let found = addresses("127.0.0.1", 1, Family::V4, true).unwrap();
        assert_eq!(found, ["127.0.0.1:1".parse().unwrap()]);
        let error = addresses("::1", 1, Family::V4, true).unwrap_err();
        assert!(error.contains("no IPv4 address"), "{error}");
        let error = addresses("localhost", 1, Family::Any, true).unwrap_err();
        assert!(error.contains("-n forbids"), "{error}");
    }
}
