//! The lines that `plan` gives to paste, taken by the programs that they are
//! for. Where a program makes a socket, the kernel is asked what the socket
//! has. `make packages-test` installs the programs; a test whose program is
//! missing fails.

use crate::{list, tcpalive};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tcpalive_lab::{Host, Lab};
use tempfile::TempDir;

/// What the plan of these tests chooses.
const WISH: [&str; 2] = ["--detect-within", "2m"];
const GO: &str = "/usr/lib/go-1.23/bin/go";
const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";
const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";

fn lines_for(program: &str) -> String {
    let ended = tcpalive(&[&["plan", "--for", program][..], &WISH].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stdout
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Running {
    let child = command.stdin(Stdio::piped()).spawn();
    Running(child.unwrap_or_else(|error| panic!("{command:?}: {error}; try make packages-test")))
}

/// Runs to the end, which must be a good one.
fn finish(command: &mut Command) -> Output {
    let output = command.output();
    let output =
        output.unwrap_or_else(|error| panic!("{command:?}: {error}; try make packages-test"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// A host, and a directory with files.
fn host(label: &str, files: &[(&str, &str)]) -> (Lab, Host, TempDir) {
    let lab = Lab::new(label).expect("tests of the command line need root");
    let host = lab.host("a").unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    (lab, host, directory)
}

fn listen(host: &Host, port: u16) -> TcpListener {
    host.run(move || TcpListener::bind(("127.0.0.1", port)))
        .unwrap()
}

/// Connects as soon as somebody listens.
fn connect(host: &Host, port: u16, server: &mut Running) -> TcpStream {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match host.run(move || TcpStream::connect(("127.0.0.1", port))) {
            Ok(stream) => return stream,
            Err(error) => {
                let ended = server.0.try_wait().unwrap();
                assert!(ended.is_none(), "it ended: {ended:?}");
                assert!(Instant::now() < deadline, "{error}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// What the kernel says of the one connection that the filter selects.
fn keepalive_of(host: &Host, filter: &str) -> Value {
    let found = list(host, &[filter]);
    assert_eq!(found.len(), 1, "{filter}: {found:?}");
    found[0]["keepalive"].clone()
}

fn values(idle: u32, interval: u32, count: u32, user_timeout_ms: u32) -> Value {
    json!({
        "enabled": true, "idle_s": idle, "interval_s": interval, "count": count,
        "from": "socket", "user_timeout_ms": user_timeout_ms,
    })
}

/// Runs a program that connects to port 7000, applies the lines and then
/// prints a line; says what its socket has.
fn applied(host: &Host, command: &mut Command) -> Value {
    let listener = listen(host, 7000);
    let mut running = start(command.stdout(Stdio::piped()));
    let mut line = String::new();
    let stdout = running.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "applied\n");
    let (_peer, _) = listener.accept().unwrap();
    keepalive_of(host, "remote.port = 7000")
}

#[test]
fn sysctl_takes_them_and_sockets_follow() {
    let (_lab, host, files) = host("sysctl", &[("k.conf", &lines_for("sysctl"))]);
    let file = files.path().join("k.conf");
    let output = finish(host.command("sysctl").arg("-p").arg(file));
    assert_eq!(output.stderr, b"");
    let listener = listen(&host, 7000);
    let client = host.run(|| TcpStream::connect("127.0.0.1:7000")).unwrap();
    let (_peer, _) = listener.accept().unwrap();
    socket2::SockRef::from(&client).set_keepalive(true).unwrap();
    let mut expected = values(60, 10, 5, 0);
    expected["from"] = json!("sysctl");
    assert_eq!(keepalive_of(&host, "remote.port = 7000"), expected);
}

#[test]
fn systemd_knows_every_word_of_the_unit() {
    // Mistakes are told, and do not fail the command.
    let verify = |lines: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        file("example.socket", "[Socket]\nListenStream=8080\n");
        file("example.service", "[Service]\nExecStart=/bin/true\n");
        fs::create_dir(directory.path().join("example.socket.d")).unwrap();
        file("example.socket.d/keepalive.conf", lines);
        let unit = directory.path().join("example.socket");
        let output = finish(Command::new("systemd-analyze").arg("verify").arg(unit));
        String::from_utf8(output.stderr).unwrap()
    };
    let lines = lines_for("systemd");
    assert_eq!(verify(&lines), "");
    let wrong = lines.replace("KeepAliveProbes", "KeepAliveProbs");
    assert!(verify(&wrong).contains("KeepAliveProbs"));
    let wrong = lines.replace("KeepAliveTimeSec=60", "KeepAliveTimeSec=never");
    assert!(verify(&wrong).contains("Failed to parse"));
}

#[test]
fn nginx_hands_them_on_to_its_clients() {
    let main = "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr crit;\nevents {}\n\
                http { access_log off; include lines.conf; }\n";
    let files = [("lines.conf", &*lines_for("nginx")), ("nginx.conf", main)];
    let (_lab, host, files) = host("nginx", &files);
    let nginx = |more: &[&str]| {
        let mut command = host.command("nginx");
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
        command.arg(files.path()).args(more);
        command
    };
    finish(&mut nginx(&["-t"]));
    let upstream = listen(&host, 8000);
    let mut server = start(&mut nginx(&[]));
    let mut client = connect(&host, 8080, &mut server);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let (_peer, _) = upstream.accept().unwrap();
    assert_eq!(
        keepalive_of(&host, "local.port = 8080"),
        values(60, 10, 5, 0)
    );
    // Towards upstreams it only switches keep-alive on, as is said.
    let mut expected = values(7200, 75, 9, 0);
    expected["from"] = json!("sysctl");
    assert_eq!(keepalive_of(&host, "remote.port = 8000"), expected);
}

#[test]
fn haproxy_sets_them_on_both_sides() {
    let (_lab, host, files) = host("haproxy", &[("haproxy.cfg", &lines_for("haproxy"))]);
    let file = files.path().join("haproxy.cfg");
    let haproxy = |more: &str| {
        let mut command = host.command("haproxy");
        command.arg(more).arg("-f").arg(&file);
        command
    };
    finish(&mut haproxy("-c"));
    let upstream = listen(&host, 8000);
    let mut server = start(&mut haproxy("-db"));
    let _client = connect(&host, 8080, &mut server);
    let (_peer, _) = upstream.accept().unwrap();
    let expected = values(60, 10, 5, 109_000);
    assert_eq!(keepalive_of(&host, "local.port = 8080"), expected);
    assert_eq!(keepalive_of(&host, "remote.port = 8000"), expected);
}

#[test]
fn postgres_reads_every_value() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("postgresql.conf"),
        lines_for("postgresql"),
    )
    .unwrap();
    for (name, value) in [
        ("tcp_keepalives_idle", "60\n"),
        ("tcp_keepalives_interval", "10\n"),
        ("tcp_keepalives_count", "5\n"),
        ("tcp_user_timeout", "109000\n"),
    ] {
        let mut command = Command::new(POSTGRES);
        let output = finish(command.args(["-C", name, "-D"]).arg(directory.path()));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value, "{name}");
    }
}

#[test]
fn psql_connects_with_them() {
    let (_lab, host, files) = host("psql", &[("services", &lines_for("libpq"))]);
    let listener = listen(&host, 5432);
    let mut psql = host.command(PSQL);
    psql.env("PGSERVICEFILE", files.path().join("services"));
    psql.arg("service=example host=127.0.0.1 user=a dbname=a");
    let _client = start(&mut psql);
    let (_peer, _) = listener.accept().unwrap();
    assert_eq!(
        keepalive_of(&host, "remote.port = 5432"),
        values(60, 10, 5, 109_000)
    );
}

#[test]
fn redis_makes_three_values_of_one() {
    let (_lab, host, files) = host("redis", &[("redis.conf", &lines_for("redis"))]);
    let mut command = host.command("redis-server");
    command.arg(files.path().join("redis.conf"));
    command.args(["--port", "6379", "--save", "", "--dir"]);
    command.arg(files.path()).stdout(Stdio::null());
    let mut server = start(&mut command);
    let mut client = connect(&host, 6379, &mut server);
    client.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    assert_eq!(
        keepalive_of(&host, "local.port = 6379"),
        values(53, 17, 3, 0)
    );
}

#[test]
fn python_applies_them() {
    let main = "import socket, sys\nfrom lines import keep_alive\n\
                sock = socket.create_connection(('127.0.0.1', 7000))\nkeep_alive(sock)\n\
                print('applied', flush=True)\nsys.stdin.read()\n";
    let lines = lines_for("python");
    let (_lab, host, files) = host("python", &[("lines.py", &lines), ("main.py", main)]);
    let mut command = host.command("python3");
    command.arg("-B").arg(files.path().join("main.py"));
    assert_eq!(applied(&host, &mut command), values(60, 10, 5, 109_000));
}

#[test]
fn node_applies_the_one_that_it_knows() {
    let main = "const { keepAlive } = require('./lines.js');\n\
                const socket = require('net').connect(7000, '127.0.0.1', () => {\n\
                keepAlive(socket);\nconsole.log('applied');\n});\n";
    let lines = lines_for("node");
    let (_lab, host, files) = host("node", &[("lines.js", &lines), ("main.js", main)]);
    let mut command = host.command("node");
    command.arg(files.path().join("main.js"));
    assert_eq!(applied(&host, &mut command), values(60, 1, 10, 0));
}

#[test]
fn java_compiles_and_applies_them() {
    let main = "public class Main {\n\
                public static void main(String[] arguments) throws Exception {\n\
                java.net.Socket socket = new java.net.Socket(\"127.0.0.1\", 7000);\n\
                KeepAlive.enable(socket);\n\
                System.out.println(\"applied\");\nSystem.in.read();\n}\n}\n";
    let lines = lines_for("java");
    let files = [("KeepAlive.java", &*lines), ("Main.java", main)];
    let (_lab, host, files) = host("java", &files);
    let file = |name: &str| files.path().join(name);
    let mut javac = Command::new("javac");
    javac.args(["-Xlint:all", "-Werror"]);
    finish(javac.args([file("KeepAlive.java"), file("Main.java")]));
    let mut command = host.command("java");
    command.arg("-cp").arg(files.path()).arg("Main");
    assert_eq!(applied(&host, &mut command), values(60, 10, 5, 0));
}

mod rust {
    include!("snippets/rust.rs");

    pub(super) fn apply(stream: &std::net::TcpStream) {
        keep_alive(stream).unwrap();
    }
}

#[test]
fn rust_compiles_and_applies_them() {
    // What this file includes is what is printed.
    assert_eq!(lines_for("rust"), include_str!("snippets/rust.rs"));
    let lab = Lab::new("rust").unwrap();
    let host = lab.host("a").unwrap();
    let listener = listen(&host, 7000);
    let client = host.run(|| TcpStream::connect("127.0.0.1:7000")).unwrap();
    let (_peer, _) = listener.accept().unwrap();
    rust::apply(&client);
    assert_eq!(
        keepalive_of(&host, "remote.port = 7000"),
        values(60, 10, 5, 109_000)
    );
}

#[test]
fn go_vets_and_applies_them() {
    let main = "package main\n\nimport (\n\"context\"\n\"fmt\"\n\"os\"\n\n\"example.test/keepalive\"\n)\n\n\
                func main() {\n\
                _, err := keepalive.Dial.DialContext(context.Background(), \"tcp\", \"127.0.0.1:7000\")\n\
                if err != nil {\npanic(err)\n}\n\
                fmt.Println(\"applied\")\nos.Stdin.Read(make([]byte, 1))\n}\n";
    let files = [
        ("go.mod", "module example.test/keepalive\n\ngo 1.23\n"),
        ("keepalive.go", &*lines_for("go")),
    ];
    let (_lab, host, files) = host("go", &files);
    let program = files.path().join("program");
    fs::create_dir(&program).unwrap();
    fs::write(program.join("main.go"), main).unwrap();
    let go = |arguments: &[&str]| {
        let mut command = Command::new(GO);
        command.args(arguments).current_dir(files.path());
        // Nothing is fetched; the standard library is compiled once.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        command.env("GOCACHE", cache.join("go-cache"));
        command.env("GOPATH", cache.join("go-path"));
        command.env("GOPROXY", "off").env("GOTOOLCHAIN", "local");
        command.env("CGO_ENABLED", "0");
        command
    };
    finish(&mut go(&["vet", "./..."]));
    finish(&mut go(&["build", "-o", "main", "./program"]));
    let mut command = host.command(files.path().join("main"));
    assert_eq!(applied(&host, &mut command), values(60, 10, 5, 109_000));
}
