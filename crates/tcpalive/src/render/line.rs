//! One line of a table: cells laid into columns.

use super::style::{Paint, Style};
use super::text::{Cut, push_cut, width};

/// Blanks between two columns.
pub(crate) const GAP: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A column as it is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) width: usize,
    pub(crate) align: Align,
    pub(crate) cut: Cut,
}

/// What a cell keeps when a long address before it has taken its room.
const LEAST: usize = 12;

/// Appends a line. A cell that may not be cut and is longer than its column
/// pushes the next ones to the right; these win the room back from their
/// padding and, where they may be cut, from their text.
pub(crate) fn push_line<'a>(
    out: &mut String,
    slots: &[Slot],
    cells: impl Iterator<Item = (&'a str, Paint)>,
    style: Style,
) {
    let mut start = 0; // where the column should begin
    let mut at = 0; // where the line has come to
    let mut shortened = String::new();
    for (slot, (text, paint)) in slots.iter().zip(cells) {
        let end = start + slot.width;
        let begin = if start == 0 { 0 } else { start.max(at + GAP) };
        let mut text = text;
        let mut wide = width(text);
        let room = end.saturating_sub(begin);
        if wide > room && slot.cut != Cut::Never && style.width != Style::UNLIMITED {
            let least = match style.width.saturating_sub(begin) {
                0 => LEAST, // too long anyway
                left => LEAST.min(left),
            };
            shortened.clear();
            push_cut(
                &mut shortened,
                text,
                room.max(least.min(slot.width)),
                slot.cut,
            );
            text = &shortened;
            wide = width(text);
        }
        let begin = match slot.align {
            Align::Left => begin,
            Align::Right => begin.max(end.saturating_sub(wide)),
        };
        if wide > 0 {
            out.extend(std::iter::repeat_n(' ', begin - at));
            paint.push(out, text, style.color);
            at = begin + wide;
        }
        start = end + GAP;
    }
    out.push('\n');
}

/// Columns that a line of these slots takes.
pub(crate) fn total_width(slots: &[Slot]) -> usize {
    slots.iter().map(|slot| slot.width).sum::<usize>() + GAP * slots.len().saturating_sub(1)
}

/// Where two addresses make lines too wide, the rows with short ones still
/// stand in columns; the longest gives first. Returns what is still too wide.
pub(crate) fn squeeze_addresses(
    slots: &mut [Slot],
    local: usize,
    remote: usize,
    mut too_wide: usize,
) -> usize {
    const SHORTEST: usize = "REMOTE".len();
    while too_wide > 0 && slots[local].width.max(slots[remote].width) > SHORTEST {
        let longest = if slots[local].width > slots[remote].width {
            local
        } else {
            remote
        };
        slots[longest].width -= 1;
        too_wide -= 1;
    }
    too_wide
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(slots: &[Slot], cells: &[&str], width: usize) -> String {
        let mut out = String::new();
        let cells = cells.iter().map(|text| (*text, Paint::Plain));
        push_line(&mut out, slots, cells, Style::plain(width));
        out
    }

    const SLOTS: [Slot; 3] = [
        Slot {
            width: 6,
            align: Align::Left,
            cut: Cut::Never,
        },
        Slot {
            width: 8,
            align: Align::Right,
            cut: Cut::Never,
        },
        Slot {
            width: 14,
            align: Align::Left,
            cut: Cut::End,
        },
    ];

    #[test]
    fn cells_stand_under_each_other() {
        assert_eq!(line(&SLOTS, &["a", "1", "x"], 30), "a              1  x\n");
        assert_eq!(
            line(&SLOTS, &["abcdef", "12345678", "x"], 30),
            "abcdef  12345678  x\n"
        );
    }

    #[test]
    fn a_long_cell_takes_the_padding_of_the_next() {
        assert_eq!(
            line(&SLOTS, &["abcdefghij", "1", "x"], 30),
            "abcdefghij     1  x\n"
        );
    }

    #[test]
    fn a_longer_one_shortens_the_next_that_can_be_cut() {
        assert_eq!(
            line(&SLOTS, &["abcdefghijklmno", "12", "xxxxxxxxxxxxxx"], 32),
            "abcdefghijklmno  12  xxxxxxxxxx…\n"
        );
    }

    #[test]
    fn lines_do_not_end_in_blanks() {
        assert_eq!(line(&SLOTS, &["a", "", ""], 30), "a\n");
        assert_eq!(line(&SLOTS, &["", "", "x"], 30), "                  x\n");
    }
}
