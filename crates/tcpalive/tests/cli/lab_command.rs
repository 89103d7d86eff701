//! `lab`: which scenarios there are, and a small one.

use crate::tcpalive;

#[test]
fn the_night_is_listed() {
    let ended = tcpalive(&["lab", "list", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let found = ended.objects();
    assert!(
        found
            .iter()
            .any(|it| it["type"] == "scenario" && it["name"] == "night")
    );
    assert_eq!(ended.summary()["scenarios"], found.len());
    assert!(tcpalive(&["lab", "list"]).stdout.contains("night"));
}

#[test]
fn a_small_night_holds() {
    let ended = tcpalive(&[
        "lab", "run", "night", "--dead", "60", "--alive", "12", "--json",
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let found = ended.objects();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["type"], "result");
    assert_eq!(found[0]["scenario"], "night");
    assert_eq!(found[0]["held"], true);
    assert_eq!(ended.summary()["held"], 1);
    // Progress is told to people, not to programs.
    assert!(ended.stderr.contains("tcpalive check"), "{ended:?}");
}
