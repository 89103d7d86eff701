//! What is wrong with a filter, and where.

use std::ops::Range;

/// A filter that was not understood. `Display` is a sentence with the place,
/// what was found there and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter, column {column}: {message}", column = self.column())]
pub struct FilterError {
    text: Box<str>,
    /// The place in bytes.
    span: Range<usize>,
    message: String,
}

impl FilterError {
    pub(super) fn new(text: &str, span: Range<usize>, message: String) -> Self {
        Self {
            text: text.into(),
            span,
            message,
        }
    }

    /// The place in the text, in characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.text[..self.span.start].chars().count() + 1
    }

    /// What was found and what was expected, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The filter on one line and carets under the place on the next. Of a
    /// long filter only the surroundings are shown.
    ///
    /// ```
    /// # use tcpalive_connections::Filter;
    /// let error = Filter::parse("pid = 7 and stat = listen").unwrap_err();
    /// assert_eq!(
    ///     error.with_caret(),
    ///     "pid = 7 and stat = listen\n            ^^^^"
    /// );
    /// ```
    #[must_use]
    pub fn with_caret(&self) -> String {
        const AROUND: usize = 60;
        let start = self.column() - 1;
        let length = self.text[self.span.clone()].chars().count();
        let from = start.saturating_sub(AROUND);
        let to = start + length.min(AROUND) + AROUND;
        let cut_before = if from > 0 { "…" } else { "" };
        let cut_after = if self.text.chars().nth(to).is_some() {
            "…"
        } else {
            ""
        };
        let shown = visible(self.text.chars().skip(from).take(to - from));
        let indent = " ".repeat(start - from + cut_before.chars().count());
        let carets = "^".repeat(length.clamp(1, AROUND));
        format!("{cut_before}{shown}{cut_after}\n{indent}{carets}")
    }
}

/// One column per character, whatever the character does to a terminal.
fn visible(text: impl Iterator<Item = char>) -> String {
    text.map(|c| match c {
        c if c.is_whitespace() => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    })
    .collect()
}

/// What stands at the place, for a message.
pub(super) fn quote(found: &str) -> String {
    const LONGEST: usize = 40;
    let shown = visible(found.chars().take(LONGEST));
    let cut = if found.chars().nth(LONGEST).is_some() {
        "…"
    } else {
        ""
    };
    format!("`{shown}{cut}`")
}

/// The candidate that a person may have meant: at most one slip away, or two
/// for words of five letters and more.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    const LONGEST: usize = 32;
    let word: Vec<char> = word
        .chars()
        .take(LONGEST + 1)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if word.len() > LONGEST {
        return None;
    }
    let limit = if word.len() < 5 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| {
            (
                edits(&word, &candidate.chars().collect::<Vec<_>>()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead
/// from one word to the other (optimal string alignment).
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (last[j - 1] + same).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let fields = ["pid", "port", "local.port", "keepalive"];
        assert_eq!(nearest("pidd", fields), Some("pid"));
        assert_eq!(nearest("prot", fields), Some("port"));
        assert_eq!(nearest("LOCAL.PROT", fields), Some("local.port"));
        assert_eq!(nearest("keep-alive", fields), Some("keepalive"));
        assert_eq!(nearest("hostname", fields), None);
        assert_eq!(nearest("", fields), None);
        assert_eq!(nearest(&"p".repeat(10_000), fields), None);
    }

    #[test]
    fn a_long_text_is_shown_around_the_place() {
        let text = format!("{}wrong{}", "é ".repeat(500), " x".repeat(500));
        let error = FilterError::new(&text, 1500..1505, String::new());
        assert_eq!(error.column(), 1001);
        let shown = error.with_caret();
        let (line, carets) = shown.split_once('\n').unwrap();
        assert!(line.starts_with('…') && line.ends_with('…') && line.chars().count() < 130);
        assert_eq!(carets.trim_start(), "^^^^^");
        let column = carets.chars().count() - 5;
        assert_eq!(
            line.chars().skip(column).take(5).collect::<String>(),
            "wrong"
        );
    }

    #[test]
    fn a_terminal_is_not_fed_control_characters() {
        let error = FilterError::new("\u{1b}[2J\tx", 0..1, String::new());
        assert_eq!(error.with_caret(), "\u{fffd}[2J x\n^");
        assert_eq!(quote("\u{1b}[2J"), "`\u{fffd}[2J`");
    }
}
