//! tshark as the judge of captures with whole handshakes: where it and the
//! program disagree, the reason is one of those of docs/analyze.md, and the
//! truth, which the lab and the generator know, is the program's.

use crate::program::{Marked, our_findings, tsharks_findings};
use crate::scenes::SCENES;
use crate::surroundings::{Surroundings, surroundings};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tcpalive_capture::synthetic::{self, Shape};
use tcpalive_capture::{Link, Resolution, Writer};
use tempfile::TempDir;

/// Why tshark says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// tshark calls a probe of a closed window a keep-alive.
    ClosedWindow,
    /// tshark calls a byte that is sent again a keep-alive.
    ByteAgain,
    /// tshark calls what follows on one of these its answer.
    AnswerToNone,
    /// tshark takes no answer for one if its window field has moved.
    WindowMoved,
    /// tshark takes no answer for one if the prober sent something after its
    /// probe: its own answer, where both ends probe at the same time.
    ProberWentOn,
    /// Behind its probe the peer sent data first. The program takes that for
    /// the sign of life that it is, and tshark the ACK that follows.
    DataFirst,
}

const REASONS: [Reason; 6] = [
    Reason::ClosedWindow,
    Reason::ByteAgain,
    Reason::AnswerToNone,
    Reason::WindowMoved,
    Reason::ProberWentOn,
    Reason::DataFirst,
];

#[derive(Debug, Default)]
struct Comparison {
    both_probes: usize,
    both_answers: usize,
    reasons: BTreeMap<Reason, usize>,
    unexplained: Vec<String>,
}

fn compare(
    ours: &Marked,
    theirs: &Marked,
    around: &HashMap<u64, Surroundings>,
    is_judged: impl Fn(&Surroundings) -> bool,
) -> Comparison {
    let judged = |frames: &BTreeSet<u64>| -> BTreeSet<u64> {
        let frames = frames.iter().copied();
        frames.filter(|frame| is_judged(&around[frame])).collect()
    };
    let (our_probes, our_answers) = (judged(&ours.probes), judged(&ours.answers));
    let (their_probes, their_answers) = (judged(&theirs.probes), judged(&theirs.answers));
    let mut comparison = Comparison {
        both_probes: our_probes.intersection(&their_probes).count(),
        both_answers: our_answers.intersection(&their_answers).count(),
        ..Comparison::default()
    };
    let mut found = |frame: u64, what: &str, reason: Option<Reason>| match reason {
        Some(reason) => *comparison.reasons.entry(reason).or_default() += 1,
        None => comparison
            .unexplained
            .push(format!("frame {frame}, {what}: {:?}", around[&frame])),
    };
    for &frame in their_probes.difference(&our_probes) {
        let it = &around[&frame];
        let reason = if it.peers_window_is_closed {
            Some(Reason::ClosedWindow)
        } else {
            it.is_byte_again.then_some(Reason::ByteAgain)
        };
        found(frame, "only tshark calls it a probe", reason);
    }
    for &frame in our_probes.difference(&their_probes) {
        found(frame, "tshark does not call it a probe", None);
    }
    for &frame in their_answers.difference(&our_answers) {
        let it = &around[&frame];
        let is_real = it.peers_last.is_some_and(|last| our_probes.contains(&last));
        let reason = match it.peers_last {
            Some(last) if is_real && it.own_last > Some(last) => Some(Reason::DataFirst),
            Some(last) if !is_real && their_probes.contains(&last) => Some(Reason::AnswerToNone),
            _ => None,
        };
        found(frame, "only tshark calls it an answer", reason);
    }
    for &frame in our_answers.difference(&their_answers) {
        let it = &around[&frame];
        let reason = if it
            .peers_last
            .is_some_and(|last| !our_probes.contains(&last))
        {
            Some(Reason::ProberWentOn)
        } else {
            it.window_moved.then_some(Reason::WindowMoved)
        };
        found(frame, "tshark does not call it an answer", reason);
    }
    comparison
}

fn print_head() {
    println!(
        "\n| Capture | Frames | Probes sent | Both: probes | Both: answers | Closed window | Byte again | Answer to \
         none | Window moved | Prober went on | Data first |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
}

fn print_row(name: &str, frames: usize, truth: u64, comparison: &Comparison) {
    print!(
        "| {name} | {frames} | {truth} | {} | {} |",
        comparison.both_probes, comparison.both_answers
    );
    for reason in REASONS {
        print!(" {} |", comparison.reasons.get(&reason).unwrap_or(&0));
    }
    println!();
}

#[test]
fn each_frame_is_what_tshark_says_or_the_reason_is_known() {
    let directory = TempDir::new().unwrap();
    print_head();
    for (number, scene) in SCENES.iter().enumerate() {
        let path = directory.path().join(number.to_string());
        let file = &scene.recording.file;
        std::fs::write(&path, file).unwrap();
        let (ours, theirs) = (our_findings(&path), tsharks_findings(&path));
        let around = surroundings(file);
        let comparison = compare(&ours.marked, &theirs, &around, |_| true);
        print_row(
            scene.name,
            around.len(),
            scene.recording.probes,
            &comparison,
        );
        let name = scene.name;
        assert!(comparison.unexplained.is_empty(), "{name}: {comparison:#?}");
        // The kernel's own count settles who is right.
        let probes = ours.marked.probes.len() as u64;
        assert_eq!(probes, scene.recording.probes, "{name}: {ours:#?}");
        let of_windows = ours.flows.iter().map(|flow| &flow["zero_window_probes"]);
        let of_windows: u64 = of_windows.map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(of_windows, scene.recording.window_probes, "{name}");
    }
}

#[test]
fn each_synthetic_frame_is_what_tshark_says_or_the_reason_is_known() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("synthetic");
    let shape = Shape::new(1000, 100, 5);
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, Link::ETHERNET, Resolution::Nanoseconds).unwrap();
    let truths = synthetic::write(shape, &mut writer).unwrap();
    std::fs::write(&path, &file).unwrap();
    let (ours, theirs) = (our_findings(&path), tsharks_findings(&path));
    let around = surroundings(&file);
    // Where handshakes are missing, tshark cannot know.
    let whole: HashMap<_, _> = truths
        .iter()
        .filter(|truth| truth.handshake)
        .map(|truth| ((truth.a.min(truth.b), truth.a.max(truth.b)), truth))
        .collect();
    let is_whole = |it: &Surroundings| whole.contains_key(&it.flow);
    let comparison = compare(&ours.marked, &theirs, &around, is_whole);
    let frames = around.values().filter(|it| is_whole(it)).count();
    let probes = whole.values().map(|truth| u64::from(truth.probes)).sum();
    print_head();
    print_row("generator, 1,000 connections", frames, probes, &comparison);
    assert!(comparison.unexplained.is_empty(), "{comparison:#?}");
    assert_eq!(found_probes(&ours.marked, &around, is_whole), probes);
    for reason in [Reason::ClosedWindow, Reason::ByteAgain] {
        assert!(comparison.reasons[&reason] > 0, "{reason:?}");
    }
}

fn found_probes(
    marked: &Marked,
    around: &HashMap<u64, Surroundings>,
    is_judged: impl Fn(&Surroundings) -> bool,
) -> u64 {
    let judged = |frame: &&u64| is_judged(&around[*frame]);
    marked.probes.iter().filter(judged).count() as u64
}
