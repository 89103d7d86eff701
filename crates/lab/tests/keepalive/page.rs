//! `docs/linux-keepalive.md` names the tests of this folder and the scenarios
//! of the keep-alive crate. They must exist.

use std::fs;
use std::path::{Path, PathBuf};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn text_of_all(folder: &str) -> String {
    let files = fs::read_dir(root(folder)).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    texts.collect()
}

#[test]
fn the_page_names_tests_and_scenarios_that_exist() {
    let page = fs::read_to_string(root("docs/linux-keepalive.md")).unwrap();
    let tests = text_of_all("crates/lab/tests/keepalive");
    let (mut found, mut missing) = (0, Vec::new());
    for quoted in page.split('`').skip(1).step_by(2) {
        let test = quoted.strip_prefix('…').or_else(|| {
            let (_, test) = quoted.strip_prefix("kernel::")?.split_once("::")?;
            Some(test)
        });
        let exists = if let Some(test) = test.filter(|test| !test.is_empty()) {
            tests.contains(&format!("fn {test}()"))
        } else if quoted.contains('-')
            && quoted
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            root(&format!("crates/keepalive/scenarios/{quoted}.toml")).exists()
        } else {
            continue;
        };
        found += 1;
        if !exists {
            missing.push(quoted);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(found > 50, "the page names but {found}");
}
