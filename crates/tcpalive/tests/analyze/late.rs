//! Captures that begin in the middle: how many probes the program finds, and
//! how many tshark does.

use crate::program::{our_findings, tsharks_findings};
use crate::scenes::{SCENES, Scene};
use crate::surroundings::{Surroundings, surroundings};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use tcpalive_capture::{Link, Reader, Resolution, Writer};
use tempfile::TempDir;

/// The capture from a frame on.
fn cut(file: &[u8], from: u64, path: &Path) {
    let mut reader = Reader::new(file).unwrap();
    let mut rest = Vec::new();
    let mut writer = Writer::new(&mut rest, Link::ETHERNET, Resolution::Nanoseconds).unwrap();
    while let Some(packet) = reader.next().unwrap() {
        if packet.frame >= from {
            writer
                .packet(packet.time, packet.data, packet.original_len)
                .unwrap();
        }
    }
    std::fs::write(path, rest).unwrap();
}

/// A capture that was cut, beside the truth about it.
struct Late {
    truth: BTreeSet<u64>,
    ours: BTreeSet<u64>,
    theirs: BTreeSet<u64>,
    from: u64,
    around: HashMap<u64, Surroundings>,
}

impl Late {
    /// `whole`: the probes of the whole capture.
    fn new(file: &[u8], whole: &BTreeSet<u64>, from: u64, path: &Path) -> Self {
        cut(file, from, path);
        let shifted = |frames: BTreeSet<u64>| frames.iter().map(|frame| frame + from - 1).collect();
        Self {
            truth: whole.range(from..).copied().collect(),
            ours: shifted(our_findings(path).marked.probes),
            theirs: shifted(tsharks_findings(path).probes),
            from,
            around: surroundings(&std::fs::read(path).unwrap()),
        }
    }

    fn check(&self, scene: &Scene) {
        let name = scene.name;
        for wrong in self.ours.difference(&self.truth) {
            // Whose window was closed before the capture began is not known
            // until it is heard.
            let it = &self.around[&(wrong - self.from + 1)];
            assert_eq!(it.peers_last, None, "{name}: {wrong} is no probe");
        }
        // Probes alone, without an answer or an end, may be anything.
        let is_peer_heard = self.around.values().any(|it| it.peers_last.is_some());
        if is_peer_heard || scene.end == "keepalive-timeout" {
            let missed: Vec<_> = self.truth.difference(&self.ours).collect();
            assert!(missed.is_empty(), "{name}: {missed:?} are missed");
        }
    }

    /// Whether all that the capture shows of the prober are probes and answers.
    fn is_bare(&self) -> bool {
        self.around.values().all(|it| it.length == 0)
    }

    fn cell(&self) -> String {
        format!(
            "{} / {} / {}",
            self.truth.len(),
            self.truth.intersection(&self.ours).count(),
            self.truth.intersection(&self.theirs).count()
        )
    }
}

#[test]
fn probes_are_found_where_a_capture_begins_in_the_middle() {
    let directory = TempDir::new().unwrap();
    println!("\nProbes: true / tcpalive / tshark");
    println!(
        "\n| Capture | From the first probe | From behind it | From the middle |\n|---|--:|--:|--:|"
    );
    for (number, scene) in SCENES.iter().enumerate() {
        if scene.prober.is_none() {
            continue;
        }
        let path = directory.path().join(number.to_string());
        let file = &scene.recording.file;
        std::fs::write(&path, file).unwrap();
        let whole = our_findings(&path).marked.probes;
        let first = *whole.first().unwrap();
        let middle = surroundings(file).len() as u64 / 2;
        let late = [first, first + 1, middle].map(|from| Late::new(file, &whole, from, &path));
        println!(
            "| {} | {} | {} | {} |",
            scene.name,
            late[0].cell(),
            late[1].cell(),
            late[2].cell()
        );
        for late in &late {
            late.check(scene);
        }
        // With nothing but probes and their answers, tshark takes the number
        // of the first probe for the next one.
        let [first, ..] = &late;
        if first.is_bare() && scene.prober != Some("both") {
            assert_eq!(first.theirs.len(), 0, "{}: {:?}", scene.name, first.theirs);
        }
    }
}
