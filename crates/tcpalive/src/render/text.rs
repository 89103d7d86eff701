//! Text in terminal cells: its width, cutting and wrapping it.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that the text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.width()
    }
}

/// Appends the text without what could steer a terminal or reorder its
/// line: process names and cgroup paths are chosen by whoever runs them.
pub(crate) fn push_clean(out: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        out.push_str(text);
        return;
    }
    out.extend(text.chars().map(|c| match c {
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }));
}

/// [`push_clean`] into a new string.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_clean(&mut out, text);
    out
}

/// How a cell that is longer than its column is shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Not at all: what follows moves to the right.
    Never,
    /// The end is replaced by `…`.
    End,
    /// The beginning is replaced by `…`: a path's end tells more.
    Start,
    /// `postgres[20411]` becomes `post…[20411]`: the pid is what one acts on.
    Name,
}

/// Appends the text, shortened to at most `limit` columns if `cut` permits.
pub(crate) fn push_cut(out: &mut String, text: &str, limit: usize, cut: Cut) {
    if cut == Cut::Never || width(text) <= limit {
        out.push_str(text);
        return;
    }
    let Some(room) = limit.checked_sub(1) else {
        return;
    };
    match cut {
        Cut::Name => {
            let (name, pid) = text.split_at(text.rfind('[').unwrap_or(text.len()));
            match limit.checked_sub(width(pid)) {
                Some(room @ 2..) => {
                    push_cut(out, name, room, Cut::End);
                    out.push_str(pid);
                }
                _ => push_cut(out, text, limit, Cut::End),
            }
        }
        Cut::Never | Cut::End => {
            out.push_str(&text[..prefix_of(text.chars(), room)]);
            out.push('…');
        }
        Cut::Start => {
            out.push('…');
            out.push_str(&text[text.len() - prefix_of(text.chars().rev(), room)..]);
        }
    }
}

/// Bytes of the leading characters that fit in `room` columns.
fn prefix_of(chars: impl Iterator<Item = char>, room: usize) -> usize {
    let mut columns = 0;
    let mut bytes = 0;
    for c in chars {
        columns += c.width().unwrap_or(0);
        if columns > room {
            break;
        }
        bytes += c.len_utf8();
    }
    bytes
}

/// Appends `words` broken into lines of at most `limit` columns. The first
/// line goes on where the caller stands (column `indent`); the others are
/// indented by as much. A word that is longer than a line is left whole.
pub(crate) fn push_wrapped(out: &mut String, words: &str, indent: usize, limit: usize) {
    let mut at = indent;
    for word in words.split(' ') {
        let wide = width(word);
        if at > indent {
            if at + 1 + wide > limit {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                at = indent;
            } else {
                out.push(' ');
                at += 1;
            }
        }
        out.push_str(word);
        at += wide;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, limit: usize, how: Cut) -> String {
        let mut out = String::new();
        push_cut(&mut out, text, limit, how);
        out
    }

    #[test]
    fn cuts_show_where_they_are() {
        assert_eq!(cut("nginx[812] +3", 8, Cut::End), "nginx[8…");
        assert_eq!(
            cut("/system.slice/ssh.service", 12, Cut::Start),
            "…ssh.service"
        );
        assert_eq!(cut("postgres[20411] +3", 14, Cut::Name), "pos…[20411] +3");
        assert_eq!(cut("postgres[20411] +3", 9, Cut::Name), "postgres…");
        assert_eq!(cut("short", 5, Cut::End), "short");
        assert_eq!(cut("whole", 2, Cut::Never), "whole");
        assert_eq!(cut("x", 0, Cut::End), "");
        assert_eq!(cut("xy", 1, Cut::Start), "…");
    }

    #[test]
    fn wide_characters_are_never_halved() {
        assert_eq!(cut("日本語サーバ", 6, Cut::End), "日本…");
        assert_eq!(cut("日本語サーバ", 6, Cut::Start), "…ーバ");
    }

    #[test]
    fn what_steers_a_terminal_is_taken_out() {
        assert_eq!(
            clean("a\x1b[31mb\n\u{202e}c"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}c"
        );
        assert_eq!(clean("ngïnx"), "ngïnx");
    }

    #[test]
    fn wrapped_lines_hang_under_the_first() {
        let mut out = String::from("  peers ");
        push_wrapped(&mut out, "one, two, three, four", 8, 18);
        assert_eq!(out, "  peers one, two,\n        three,\n        four\n");
    }
}
