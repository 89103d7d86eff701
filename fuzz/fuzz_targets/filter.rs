//! Any text is a filter or an error with a place in it, and a filter's own
//! text means the same filter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpalive_connections::Filter;

fuzz_target!(|text: &str| {
    match Filter::parse(text) {
        Ok(filter) => {
            let shown = filter.to_string();
            let again = Filter::parse(&shown).expect("what a filter shows is a filter");
            assert_eq!(again.to_string(), shown);
            assert_eq!(again.selection(), filter.selection());
        }
        Err(error) => {
            assert!(error.column() >= 1);
            assert!(!error.to_string().is_empty());
            assert!(!error.with_caret().is_empty());
        }
    }
});
