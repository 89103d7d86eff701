//! One connection between two hosts of the lab, recorded by tcpdump at the
//! host that opened it, with the kernel's own count of what was probed.

use rustix::process::{Pid, Signal, kill_process};
use socket2::{SockRef, TcpKeepalive};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tcpalive_capture::Reader;
use tcpalive_lab::{Host, Lab};
use tempfile::TempDir;

/// Longer than anything here takes, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(40);

/// The marker behind the last packet of a recording.
const DISCARD: u16 = 9;

/// Keep-alive as `setsockopt` takes it, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) idle: u32,
    pub(crate) interval: u32,
    pub(crate) count: u32,
}

/// What a host of the lab is to the connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) host: Host,
    pub(crate) address: &'static str,
    pub(crate) socket: TcpStream,
}

/// Two hosts, one connection, and a recorder. `a` opened the connection, and
/// the recorder sits at its end of the cable.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) a: End,
    pub(crate) b: End,
    recorder: Recorder,
    _lab: Lab,
}

/// How the connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Ipv6,
    WithoutTimestamps,
}

/// A capture, and what the lab knows about it.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) file: Vec<u8>,
    /// Keep-alive probes that the hosts' kernels sent: `TCPKeepAlive`.
    pub(crate) probes: u64,
    /// Probes of a closed window: `TCPWinProbe`.
    pub(crate) window_probes: u64,
    /// Segments that were sent again: `RetransSegs`.
    pub(crate) retransmissions: u64,
}

impl Stage {
    pub(crate) fn new(label: &str, form: Form) -> Self {
        let lab = Lab::new(label).expect("recordings need root");
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let addresses = ["10.9.1.1/24 fd09:1::1/64", "10.9.1.2/24 fd09:1::2/64"];
        lab.link(&a, addresses[0], &b, addresses[1]).unwrap();
        // As they leave a host whose card does not cut segments itself.
        for host in [&a, &b] {
            host.ip("link set eth0 gso_max_segs 1").unwrap();
        }
        if form == Form::WithoutTimestamps {
            a.sysctl("net.ipv4.tcp_timestamps", "0").unwrap();
        }
        let [address_a, address_b] = match form {
            Form::Ipv6 => ["fd09:1::1", "fd09:1::2"],
            Form::Plain | Form::WithoutTimestamps => ["10.9.1.1", "10.9.1.2"],
        };
        let recorder = Recorder::start(&a);
        let listener = b.run(|| TcpListener::bind((address_b, 3333)).unwrap());
        let socket_a = a.run(|| TcpStream::connect((address_b, 3333)).unwrap());
        let (socket_b, _) = listener.accept().unwrap();
        for socket in [&socket_a, &socket_b] {
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self {
            a: End {
                host: a,
                address: address_a,
                socket: socket_a,
            },
            b: End {
                host: b,
                address: address_b,
                socket: socket_b,
            },
            recorder,
            _lab: lab,
        }
    }

    /// Ends keep-alive, so that nothing is sent any more, and the recording.
    pub(crate) fn finish(self) -> Recording {
        let before = [0; 3];
        self.finish_with(before)
    }

    /// The same, with counters of a host that went away meanwhile.
    pub(crate) fn finish_with(self, before: [u64; 3]) -> Recording {
        for end in [&self.a, &self.b] {
            // A connection that timed out has no use for it, and takes it.
            SockRef::from(&end.socket).set_keepalive(false).unwrap();
        }
        let (of_a, of_b) = (self.a.counters(), self.b.counters());
        let sum = |index: usize| before[index] + of_a[index] + of_b[index];
        Recording {
            probes: sum(0),
            window_probes: sum(1),
            retransmissions: sum(2),
            file: self.recorder.stop(&self.a, self.b.address),
        }
    }
}

impl End {
    pub(crate) fn keep_alive(&self, values: Values) {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let keep_alive = TcpKeepalive::new()
            .with_time(seconds(values.idle))
            .with_interval(seconds(values.interval))
            .with_retries(values.count);
        SockRef::from(&self.socket)
            .set_tcp_keepalive(&keep_alive)
            .unwrap();
    }

    pub(crate) fn user_timeout(&self, timeout: Duration) {
        SockRef::from(&self.socket)
            .set_tcp_user_timeout(Some(timeout))
            .unwrap();
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        (&self.socket).write_all(bytes).unwrap();
    }

    pub(crate) fn receive(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        (&self.socket).read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads to the other's FIN.
    pub(crate) fn receive_all(&self) -> u64 {
        std::io::copy(&mut &self.socket, &mut std::io::sink()).unwrap()
    }

    pub(crate) fn send_no_more(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// `TCPKeepAlive`, `TCPWinProbe` and `RetransSegs` of the host.
    pub(crate) fn counters(&self) -> [u64; 3] {
        let (extended, basic) = self.host.run(|| {
            let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
            (read("netstat"), read("snmp"))
        });
        [
            counter(&extended, "TcpExt:", "TCPKeepAlive"),
            counter(&extended, "TcpExt:", "TCPWinProbe"),
            counter(&basic, "Tcp:", "RetransSegs"),
        ]
    }

    pub(crate) fn probes(&self) -> u64 {
        self.counters()[0]
    }

    /// Waits until the kernel has sent so many more probes.
    pub(crate) fn wait_for_probes(&self, more: u64) {
        let before = self.probes();
        wait_until("probes", || self.probes() >= before + more);
    }

    /// Waits for the connection's end, and gives the error's name.
    pub(crate) fn wait_for_error(&self) -> std::io::ErrorKind {
        let error = (&self.socket).read(&mut [0]).unwrap_err();
        error.kind()
    }
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A number of /proc/net/netstat or snmp: a line of names, a line of values.
fn counter(text: &str, group: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find_map(|(found, value)| (found == name).then(|| value.parse().unwrap()))
        .unwrap_or_else(|| panic!("the kernel has no counter {name}"))
}

#[derive(Debug)]
struct Recorder {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
    directory: TempDir,
}

impl Recorder {
    fn start(host: &Host) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("recording.pcap");
        let mut command: Command = host.command("tcpdump");
        let options = ["-i", "eth0", "-Z", "root", "-U", "--immediate-mode"];
        let mut child = command
            .args(options)
            .args(["-s", "128", "-B", "32768", "-w"])
            .arg(&path)
            .arg(format!("tcp or udp dst port {DISCARD}"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            let length = said.read_line(&mut line).unwrap();
            assert!(length > 0, "tcpdump ended before it listened");
        }
        Self {
            child,
            said,
            directory,
        }
    }

    /// Sends a marker, waits until it is in the file, and takes the file.
    fn stop(mut self, a: &End, to: &str) -> Vec<u8> {
        let path = self.directory.path().join("recording.pcap");
        a.host.run(|| {
            let to: SocketAddr = (to.parse::<std::net::IpAddr>().unwrap(), DISCARD).into();
            let from = UdpSocket::bind((a.address, 0)).unwrap();
            from.send_to(b"the end", to).unwrap();
        });
        wait_until("the last packet in the file", || has_marker(&path));
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        assert!(rest.contains("\n0 packets dropped by kernel"), "{rest}");
        fs::read(path).unwrap()
    }
}

/// The marker is the only frame without TCP in it.
fn has_marker(path: &std::path::Path) -> bool {
    // The header comes with the first packet.
    let Ok(mut reader) = Reader::new(fs::File::open(path).unwrap()) else {
        return false;
    };
    while let Ok(Some(packet)) = reader.next() {
        if packet.ip_packet().is_none() {
            return true;
        }
    }
    false
}
