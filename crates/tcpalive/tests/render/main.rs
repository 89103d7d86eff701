//! What the tool prints, for programs and for people.

mod json;
mod sample;
mod summary;
mod table;
mod verdicts;

/// The text of an output function.
fn printed(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("memory takes everything");
    String::from_utf8(out).expect("text is UTF-8")
}

/// Columns that the widest line takes on a terminal.
fn widest(text: &str) -> usize {
    use unicode_width::UnicodeWidthStr;
    text.lines()
        .map(UnicodeWidthStr::width)
        .max()
        .unwrap_or_default()
}
