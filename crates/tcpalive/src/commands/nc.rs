//! `tcpalive nc`: bytes over one TCP connection, as Debian's netcat-openbsd
//! copies them, with keep-alive on and its end reported.
//!
//! * `target`: hosts, ports and services: what the arguments mean.
//! * `open`: connecting and listening.
//! * `copy`: both directions, until the end.
//! * `pump`: one direction.
//! * `silence`: the user timeout, and what is said of a broken connection.

mod copy;
mod open;
mod pump;
mod silence;
mod target;

use crate::cli::{Failure, Found, Presentation, say};
use crate::render::units::parse_duration;
use copy::Copying;
use open::Sockets;
use silence::KeepAlive;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use target::{Family, Ports, Services};
use tcpalive_keepalive::{Hz, Params, UserTimeout};
use tcpalive_kernel::ending;

/// 60 s of silence, then five probes in 50 s: what `plan --detect-within 120s`
/// chooses.
const DEFAULT: &str = "60,10,5";

/// Arguments of `nc`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive nc -l 3333                            wait for a connection, copy both ways
  tcpalive nc 10.0.0.1 3333                      the other end
  tcpalive nc -l 3333 > copy                     receive a file …
  tcpalive nc -N 10.0.0.1 3333 < file            … and send it
  tcpalive nc --keepalive=10,20,5 10.0.0.1 3333  a dead peer is noticed after 110 s
  tcpalive nc -zv 10.0.0.1 20-25 http            which ports are open

The options do what they do in Debian's netcat-openbsd. Other than there, keep-alive is on
(60,10,5: a dead peer is noticed after 110 s) and its end is reported; wrong usage exits with 2;
addresses in messages are always numeric; a port that another program listens on is refused;
-q quits in time when connecting, too, and -q 0 is as -N then. A reset is said, and exits with 0.
--json is refused: nc prints the data and nothing else.

When a peer is found dead, stderr says what was seen, such as
  tcpalive: timed out: 5 probes unanswered
  tcpalive: timed out: data unacknowledged for 109s
The second comes from the retransmission timer, which takes about 15 minutes, or from
--user-timeout. A user timeout would also end a living peer that leaves its window closed for so
long; nc therefore switches it off while the window is closed.

Exit codes: 0 done, at least one connection was made, and ended by either side or by -w; 1 no
connection, or the peer was found dead; 2 wrong usage or bad input; 4 failed midway.")]
pub struct Args {
    /// Wait for a connection instead of making one
    #[arg(short = 'l')]
    listen: bool,
    /// Wait for the next one when a connection has ended; with -l
    #[arg(short = 'k')]
    keep_listening: bool,
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    ipv6: bool,
    /// Local port; with -l the one to listen on
    #[arg(short = 'p', value_name = "PORT")]
    local_port: Option<String>,
    /// Local address
    #[arg(short = 's', value_name = "ADDR")]
    source: Option<String>,
    /// Give up connecting, and end a connection that is idle in both
    /// directions, after so long: seconds, or a duration such as 500ms
    #[arg(short = 'w', value_name = "D", value_parser = parse_seconds)]
    wait: Option<Duration>,
    /// Tell the peer that nothing more comes when the input is at its end
    #[arg(short = 'N')]
    shutdown: bool,
    /// So many seconds after the end of the input, quit; implies -N. Negative:
    /// never
    #[arg(short = 'q', value_name = "SECONDS", allow_negative_numbers = true)]
    quit: Option<i32>,
    /// Do not read the input
    #[arg(short = 'd')]
    no_stdin: bool,
    /// Take names for neither hosts nor services from the resolver
    #[arg(short = 'n')]
    numeric: bool,
    /// Say on stderr what is connected
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    verbose: u8,
    /// Only see whether the ports are open
    #[arg(short = 'z')]
    scan: bool,
    /// Keep-alive values: idle time, interval, number of probes
    #[arg(long, value_name = "IDLE,INTERVAL,COUNT", num_args = 0..=1, require_equals = true,
        default_value = DEFAULT, default_missing_value = DEFAULT, value_parser = str::parse::<Params>)]
    keepalive: Params,
    /// Leave keep-alive off
    #[arg(long, conflicts_with_all = ["keepalive", "user_timeout"])]
    no_keepalive: bool,
    /// Also give up when data stay unacknowledged for so long; without a
    /// value, as soon as the probes would have found out
    #[arg(long, value_name = "D", num_args = 0..=1, require_equals = true,
        default_missing_value = "derived", value_parser = parse_user_timeout)]
    user_timeout: Option<Timeout>,
    /// Host and ports; with -l a local address and a port
    #[arg(value_name = "[HOST] [PORT]")]
    target: Vec<String>,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

/// What netcat-openbsd has, and this does not.
#[derive(Debug, clap::Args)]
struct Elsewhere {
    #[arg(short = 'u', hide = true)]
    udp: bool,
    #[arg(short = 'U', hide = true)]
    unix: bool,
    #[arg(short = 'Z', hide = true)]
    dccp: bool,
    #[arg(short = 'X', hide = true)]
    proxy_protocol: Option<String>,
    #[arg(short = 'x', hide = true)]
    proxy: Option<String>,
    #[arg(short = 'P', hide = true)]
    proxy_user: Option<String>,
    #[arg(short = 'b', hide = true)]
    broadcast: bool,
    #[arg(short = 'C', hide = true)]
    crlf: bool,
    #[arg(short = 'D', hide = true)]
    debug: bool,
    #[arg(short = 'F', hide = true)]
    pass: bool,
    #[arg(short = 'r', hide = true)]
    random: bool,
    #[arg(short = 'S', hide = true)]
    md5: bool,
    #[arg(short = 't', hide = true)]
    telnet: bool,
    #[arg(short = 'i', hide = true)]
    interval: Option<String>,
    #[arg(short = 'I', hide = true)]
    receive_buffer: Option<String>,
    #[arg(short = 'O', hide = true)]
    send_buffer: Option<String>,
    #[arg(short = 'M', hide = true)]
    ttl: Option<String>,
    #[arg(short = 'm', hide = true)]
    least_ttl: Option<String>,
    #[arg(short = 'T', hide = true)]
    service: Option<String>,
    #[arg(short = 'V', hide = true)]
    table: Option<String>,
    #[arg(short = 'W', hide = true)]
    receive_limit: Option<String>,
}

impl Elsewhere {
    fn refuse(&self) -> Result<(), Failure> {
        let no_tcp = [
            (self.udp, 'u', "UDP"),
            (self.unix, 'U', "Unix sockets"),
            (self.dccp, 'Z', "DCCP"),
            (self.broadcast, 'b', "broadcast"),
        ];
        for (given, letter, what) in no_tcp {
            if given {
                return Err(Failure::Usage(format!(
                    "-{letter} is for {what}, and this netcat speaks TCP alone: use netcat-openbsd for it"
                )));
            }
        }
        let not_here = [
            (self.proxy_protocol.is_some(), 'X'),
            (self.proxy.is_some(), 'x'),
            (self.proxy_user.is_some(), 'P'),
            (self.crlf, 'C'),
            (self.debug, 'D'),
            (self.pass, 'F'),
            (self.random, 'r'),
            (self.md5, 'S'),
            (self.telnet, 't'),
            (self.interval.is_some(), 'i'),
            (self.receive_buffer.is_some(), 'I'),
            (self.send_buffer.is_some(), 'O'),
            (self.ttl.is_some(), 'M'),
            (self.least_ttl.is_some(), 'm'),
            (self.service.is_some(), 'T'),
            (self.table.is_some(), 'V'),
            (self.receive_limit.is_some(), 'W'),
        ];
        for (given, letter) in not_here {
            if given {
                return Err(Failure::Usage(format!(
                    "-{letter} is an option of netcat-openbsd that this netcat does not have: use that one for it"
                )));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Timeout {
    Derived,
    Given(UserTimeout),
}

fn parse_user_timeout(text: &str) -> Result<Timeout, String> {
    if text == "derived" {
        return Ok(Timeout::Derived);
    }
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    u64::try_from(duration.as_millis())
        .ok()
        .filter(|millis| *millis > 0)
        .and_then(UserTimeout::from_millis)
        .map(Timeout::Given)
        .ok_or_else(|| "expected 1ms to 2147483647ms, such as 2m".into())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => parse_duration(text)
            .map_err(|error| format!("{error}; a number alone is taken for seconds")),
    }
}

/// Connects or listens, and copies.
///
/// # Errors
/// Wrong usage, and a socket that does not do what sockets do. What can
/// happen to a connection is said on stderr, and exits with 1.
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let netcat = Netcat::resolve(args, presentation)?;
    if args.listen {
        netcat.serve(args)
    } else {
        netcat.visit(args)
    }
}

/// The arguments, resolved.
#[derive(Debug)]
struct Netcat {
    sockets: Sockets,
    copying: Copying,
    services: Services,
    verbose: bool,
}

impl Netcat {
    fn resolve(args: &Args, presentation: Presentation) -> Result<Self, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        args.elsewhere.refuse()?;
        if presentation.json {
            return usage("nc prints the data and nothing else: leave --json away");
        }
        if args.keep_listening && !args.listen {
            return usage("-k waits for the next connection: it needs -l");
        }
        if args.scan && args.listen {
            return usage("-z connects and -l listens: use one of them");
        }
        let family = match (args.ipv4, args.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        };
        let keepalive = if args.no_keepalive {
            KeepAlive::Untouched
        } else {
            KeepAlive::On(with_user_timeout(args.keepalive, args.user_timeout)?)
        };
        Ok(Self {
            sockets: Sockets {
                family,
                numeric: args.numeric,
                wait: args.wait,
                keepalive,
            },
            copying: Copying {
                stdin: !args.no_stdin,
                listening: args.listen,
                shutdown: args.shutdown || args.quit.is_some_and(|seconds| seconds >= 0),
                quit: args.quit.and_then(|seconds| u64::try_from(seconds).ok()),
                idle: args.wait,
                keepalive,
            },
            services: Services::read(args.numeric),
            verbose: args.verbose > 0,
        })
    }

    /// `nc -l`.
    fn serve(&self, args: &Args) -> Result<Found, Failure> {
        let separately = args.local_port.is_some() || args.source.is_some();
        let (host, port) = match (args.target.as_slice(), separately) {
            ([port], false) => (None, port),
            ([host, port], false) => (Some(host), port),
            ([], true) => match &args.local_port {
                Some(port) => (args.source.as_ref(), port),
                None => return Err(Failure::Usage("-l needs a port: add -p PORT".into())),
            },
            ([], false) => return Err(Failure::Usage("-l needs a port, such as -l 3333".into())),
            _ => {
                return Err(Failure::Usage(
                    "-l takes [HOST] PORT or [-s ADDR] -p PORT, not both".into(),
                ));
            }
        };
        let port = self.services.port(port)?;
        let listener = match self.sockets.listen(host.map(String::as_str), port) {
            Ok(listener) => listener,
            Err(text) => return Ok(failed(&text)),
        };
        if self.verbose {
            let local = open::local_address(&listener)?;
            tell(&format!("Listening on {} {}", local.ip(), local.port()));
        }
        let mut listener = Some(listener);
        let mut stdin = self.copying.stdin;
        while let Some(waiting) = listener.take() {
            let (socket, peer) = open::accept(&waiting)?;
            // As netcat does: who else waits is told at once.
            listener = args.keep_listening.then_some(waiting);
            if self.verbose {
                tell(&format!(
                    "Connection received on {} {}",
                    plain(peer).ip(),
                    peer.port()
                ));
            }
            let ended = self.copy(&socket, stdin)?;
            stdin = stdin && ended.stdin_is_open;
            if ended.dead && listener.is_none() {
                return Ok(Found::Something);
            }
        }
        Ok(Found::Nothing)
    }

    /// Connects to each port in turn.
    fn visit(&self, args: &Args) -> Result<Found, Failure> {
        let Some((host, ports)) = args.target.split_first() else {
            return Err(Failure::Usage("missing host and port".into()));
        };
        if ports.is_empty() {
            return Err(Failure::Usage("missing port number".into()));
        }
        let ports: Vec<Ports> = ports
            .iter()
            .map(|text| self.services.ports(text))
            .collect::<Result<_, _>>()?;
        let local_port = args
            .local_port
            .as_deref()
            .map(|text| self.services.port(text))
            .transpose()?;
        let mut found = Found::Something;
        let mut stdin = self.copying.stdin;
        for port in ports.into_iter().flat_map(Ports::into_iter) {
            let source = args.source.as_deref();
            let connected =
                self.sockets
                    .connect(host, port, source, local_port, |address, error| {
                        if self.verbose {
                            let shown = shown(host, address);
                            say(&format!(
                                "connect to {shown} port {port} (tcp) {}",
                                open::reason(error)
                            ));
                        }
                    });
            let (socket, address) = match connected {
                Ok(Some(connected)) => connected,
                Ok(None) => continue,
                Err(text) => return Ok(failed(&text)),
            };
            if self.verbose {
                let service = self.services.name(port);
                let shown = shown(host, address);
                tell(&format!(
                    "Connection to {shown} {port} port [tcp/{service}] succeeded!"
                ));
            }
            found = Found::Nothing;
            if args.scan {
                continue;
            }
            let ended = self.copy(&socket, stdin)?;
            stdin = stdin && ended.stdin_is_open;
            if ended.dead {
                return Ok(Found::Something);
            }
        }
        Ok(found)
    }

    /// Copies until the end, and says why if the connection broke.
    fn copy(&self, socket: &OwnedFd, stdin: bool) -> Result<Ended, Failure> {
        let done = self.copying.run(socket.as_fd(), stdin)?;
        let mut dead = false;
        if let Some(error) = done.broken {
            let silence = ending::silence(socket)?;
            dead = silence::is_death(error);
            if let Some(text) = silence::account(error, &silence, done.unacknowledged_for) {
                say(&text);
            }
        }
        Ok(Ended {
            dead,
            stdin_is_open: done.stdin_is_open,
        })
    }
}

/// How a connection ended.
struct Ended {
    dead: bool,
    stdin_is_open: bool,
}

fn with_user_timeout(params: Params, timeout: Option<Timeout>) -> Result<Params, Failure> {
    match timeout {
        None => Ok(params),
        Some(_) if params.user_timeout != UserTimeout::OFF => Err(Failure::Usage(
            "the user timeout is given twice, by --keepalive and by --user-timeout".into(),
        )),
        Some(Timeout::Given(timeout)) => Ok(params.with_user_timeout(timeout)),
        Some(Timeout::Derived) => match params.agreeing_user_timeout(Hz::DEBIAN) {
            Some(timeout) => Ok(params.with_user_timeout(timeout)),
            None => Err(Failure::Usage(format!(
                "no user timeout agrees with {params}: the kernel's timer for the idle time is later than an interval, \
                 so it would pass before the last probe. Give one, as in --user-timeout=2m, or take a longer interval"
            ))),
        },
    }
}

/// `10.0.0.1`, or `name (10.0.0.1)`.
fn shown(host: &str, address: SocketAddr) -> String {
    match host.parse::<IpAddr>() {
        Ok(_) => host.to_owned(),
        Err(_) => format!("{host} ({})", address.ip()),
    }
}

/// An IPv4 peer of an IPv6 socket, by its IPv4 address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// No connection: 1, as netcat says.
fn failed(text: &str) -> Found {
    say(text);
    Found::Something
}

/// A line in netcat's own form, for scripts that wait for it.
fn tell(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
}
