//! What the program says of connections whose settings and fate the lab knows.

use crate::program::our_findings;
use crate::scenes::SCENES;
use serde_json::json;
use tempfile::TempDir;

#[test]
fn each_connection_is_read_as_it_was_set_and_as_it_ended() {
    let directory = TempDir::new().unwrap();
    println!(
        "\n| Capture | Prober | Idle | Interval | Count | Read: idle | Interval | Count | End | Verdict |\n\
         |---|---|--:|--:|--:|--:|--:|--:|---|---|"
    );
    for (number, scene) in SCENES.iter().enumerate() {
        let path = directory.path().join(number.to_string());
        std::fs::write(&path, &scene.recording.file).unwrap();
        let findings = our_findings(&path);
        let name = scene.name;
        let flow = &findings.flows[0];
        let set = scene
            .values
            .map_or(["-".to_owned(), "-".to_owned(), "-".to_owned()], |it| {
                [it.idle, it.interval, it.count].map(|value| value.to_string())
            });
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            scene.prober.unwrap_or("-"),
            set[0],
            set[1],
            set[2],
            flow["idle_s"],
            flow["interval_s"],
            flow["count"],
            scene.end,
            scene.verdict,
        );
        assert_eq!(flow["prober"], json!(scene.prober), "{name}: {flow}");
        assert_eq!(flow["end"], scene.end, "{name}: {flow}");
        assert_eq!(flow["verdict"], scene.verdict, "{name}: {flow}");
        assert_eq!(flow["handshake_seen"], true, "{name}: {flow}");
        let Some(values) = scene.values else {
            continue;
        };
        for (field, truth) in [("idle_s", values.idle), ("interval_s", values.interval)] {
            let is_told = !flow[field].is_null();
            assert!(!is_told || flow[field] == truth, "{name}: {field}: {flow}");
        }
        if scene.end == "keepalive-timeout" {
            assert_eq!(flow["idle_s"], values.idle, "{name}: {flow}");
            assert_eq!(flow["interval_s"], values.interval, "{name}: {flow}");
            // A user timeout ends a run sooner, and that looks the same.
            let gave_up_after = flow["count"].as_u64().unwrap();
            if scene.is_ended_by_count() {
                assert_eq!(gave_up_after, u64::from(values.count), "{name}: {flow}");
            } else {
                assert!(gave_up_after < u64::from(values.count), "{name}: {flow}");
            }
        }
    }
}

#[test]
fn traffic_without_keepalive_has_no_probes_and_no_dead() {
    let directory = TempDir::new().unwrap();
    println!(
        "\n| Capture | Frames | Sent again | Probes of a closed window | Probes found | Dead |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    let mut retransmissions = 0;
    for (number, scene) in SCENES.iter().enumerate() {
        if scene.prober.is_some() {
            continue;
        }
        let path = directory.path().join(number.to_string());
        std::fs::write(&path, &scene.recording.file).unwrap();
        let findings = our_findings(&path);
        let (name, summary) = (scene.name, &findings.summary);
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            summary["packets"],
            scene.recording.retransmissions,
            scene.recording.window_probes,
            summary["probes"],
            summary["dead"]
        );
        assert_eq!(scene.recording.probes, 0, "{name}");
        for count in ["probes", "answers", "probed", "dead", "keepalive_timeouts"] {
            assert_eq!(summary[count], 0, "{name}: {summary}");
        }
        retransmissions += scene.recording.retransmissions;
    }
    // Else nothing was shown.
    assert!(retransmissions > 20, "{retransmissions}");
}
