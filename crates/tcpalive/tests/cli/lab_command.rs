//! `lab`: which scenarios there are.

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
