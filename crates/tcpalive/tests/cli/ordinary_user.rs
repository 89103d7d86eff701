//! The program run by a user without any rights.

use crate::{Ended, PROGRAM, connect, two_hosts};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use tcpalive_lab::Host;

/// A copy of the program where everybody can read it.
struct ForEverybody {
    directory: tempfile::TempDir,
}

impl ForEverybody {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), all).unwrap();
        let new = Self { directory };
        std::fs::copy(PROGRAM, new.program()).unwrap();
        new
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("tcpalive")
    }

    /// Runs it as nobody in the host's namespace.
    fn run(&self, host: &Host, arguments: &[&str]) -> Ended {
        let output = host.run(|| {
            Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(self.program())
                .args(arguments)
                .current_dir("/")
                .output()
        });
        output.unwrap().into()
    }
}

#[test]
fn ls_works_by_netlink_in_the_current_namespace_and_says_what_is_missing() {
    let (_lab, a, b) = two_hosts("nobody");
    let _pairs = connect(&a, &b, 3);
    let nobody = ForEverybody::new();
    let ended = nobody.run(&b, &["ls", "--json", "--netns", "current"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let found = ended.objects();
    assert_eq!(found.len(), 3);
    for object in &found {
        assert_eq!(object["netns"], b.netns_inode());
        assert_eq!(object["keepalive"], Value::Null);
        assert!(object["last_heard_ms"].is_u64());
    }
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(
        ended.stderr.starts_with("tcpalive: keep-alive values"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("doctor"), "{ended:?}");
}

#[test]
fn what_is_not_allowed_is_exit_code_3_and_says_how_to_get_it() {
    let (_lab, a, b) = two_hosts("refused");
    let nobody = ForEverybody::new();
    for arguments in [
        &["ls", "--netns", "current", "--backend", "bpf"][..],
        &["ls", "--netns", a.netns_name(), "--backend", "netlink"],
        &["ls", "--netns", "pid:1", "--backend", "netlink"],
        &["lab", "run", "night"],
    ] {
        let ended = nobody.run(&b, arguments);
        assert_eq!(ended.code, 3, "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains("root"), "{ended:?}");
    }
}

#[test]
fn doctor_says_of_everything_that_fails_why_and_what_is_lost() {
    let (_lab, _a, b) = two_hosts("patient");
    let nobody = ForEverybody::new();
    let ended = nobody.run(&b, &["doctor", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let found = ended.objects();
    let capability = |name: &str| {
        let wanted = |it: &&Value| it["type"] == "capability" && it["name"] == name;
        found
            .iter()
            .find(wanted)
            .unwrap_or_else(|| panic!("{name} in {found:?}"))
    };
    for name in [
        "BPF load",
        "iter/tcp",
        "iter/task_file",
        "bpf_sock_destroy",
        "sock_destroy",
        "raw sockets",
        "packet sockets",
        "setns",
        "sock_ops",
        "capabilities",
    ] {
        let it = capability(name);
        assert_eq!(it["allowed"], false, "{it}");
        for key in ["why", "lost", "remedy"] {
            assert!(
                !it[key].as_str().unwrap_or_default().is_empty(),
                "{key} of {it}"
            );
        }
    }
    for name in ["kernel version", "sock_diag"] {
        assert_eq!(capability(name)["allowed"], true);
    }
    let text = nobody.run(&b, &["doctor"]);
    assert_eq!(text.code, 0);
    assert!(text.stdout.contains("CAP_NET_RAW"), "{}", text.stdout);
}

#[test]
fn sysctls_are_shown_to_everybody_and_set_by_nobody() {
    let (_lab, a, b) = two_hosts("sysctlnobody");
    let _pairs = connect(&a, &b, 1);
    let nobody = ForEverybody::new();
    let ended = nobody.run(&b, &["sysctl", "--json", "--netns", "current"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let shown = &ended.objects()[0];
    assert_eq!(shown["time_s"], 7200);
    assert_eq!(shown["detects_within_s"], 7875);
    assert_eq!(shown["lateness_s"], Value::Null);
    for key in ["follow", "own_values", "off"] {
        assert_eq!(shown["sockets"][key], Value::Null, "{key}");
    }
    // Why they are not known.
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("keep-alive values"), "{ended:?}");

    let ended = nobody.run(&b, &["sysctl", "set", "--time", "60"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("Run it as root"), "{ended:?}");
    let time = b.sysctl_value("net.ipv4.tcp_keepalive_time").unwrap();
    assert_eq!(time, "7200");
}

#[test]
fn options_of_other_users_sockets_are_not_theirs_to_set() {
    let (_lab, a, b) = two_hosts("enablenobody");
    let pairs = connect(&a, &b, 1);
    let nobody = ForEverybody::new();
    for command in ["enable", "disable"] {
        let ended = nobody.run(&b, &[command, "--json", "--netns", "current"]);
        assert_eq!(ended.code, 3, "{ended:?}");
        assert_eq!(ended.objects()[0]["result"], "unreachable", "{ended:?}");
        assert!(ended.stderr.contains("Run it as root"), "{ended:?}");
    }
    assert_eq!(
        crate::enable::options(&pairs[0].server),
        crate::enable::UNTOUCHED
    );
}

#[test]
fn dump_says_which_right_capturing_needs() {
    let (_lab, _a, b) = two_hosts("nobodydump");
    let nobody = ForEverybody::new();
    let ended = nobody.run(&b, &["dump", "-i", "eth0"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{ended:?}");
    assert!(ended.stderr.contains("CAP_NET_RAW"), "{ended:?}");
}
