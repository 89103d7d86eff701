//! The table of connections for people, streamed.
//!
//! The first [`SAMPLE`] rows decide which columns are shown and how wide
//! they are; from then on each row is printed as it comes, so that a million
//! rows need no more memory than a few hundred. A later cell that is longer
//! than its column is shortened with `…`, addresses never: they push the rest
//! of their line to the right.

mod columns;

use super::line::{Align, GAP, Slot, push_line, squeeze_addresses, total_width};
use super::style::{Paint, Style};
use super::summary::Totals;
use super::text::{push_wrapped, width};
use super::units::{Bytes, Count, Of};
use columns::{Column, Text};
use std::fmt::Write as _;
use std::io::{self, Write};
use tcpalive_connections::{Origin, View};

/// Rows that are held back to choose the layout.
pub const SAMPLE: usize = 200;

/// From this width on there are more columns than the most important.
const MORE_COLUMNS: usize = 120;

/// From this width on also those that say nothing in the first rows: a
/// later row may need them.
const EMPTY_COLUMNS: usize = 160;

/// Bytes that are gathered before they are written.
const CHUNK: usize = 32 * 1024;

/// Columns that are always wanted.
const CORE: [Column; 6] = [
    Column::State,
    Column::Local,
    Column::Remote,
    Column::KeepAlive,
    Column::Heard,
    Column::Owner,
];

/// The others, the most telling first.
const EXTRA: [Column; 11] = [
    Column::Probes,
    Column::Retransmits,
    Column::Unacked,
    Column::Unsent,
    Column::DataIn,
    Column::DataOut,
    Column::Memory,
    Column::UserTimeout,
    Column::Place,
    Column::Netns,
    Column::Uid,
];

/// The least room of the columns that may be shortened, and the most that
/// is sensible.
const OWNER: std::ops::RangeInclusive<usize> = 12..=40;
const PLACE: std::ops::RangeInclusive<usize> = 16..=100;
const KEEPALIVE_MOST: usize = 20;

/// The table; its rows go to `out` as they come.
#[derive(Debug)]
pub struct Table<W> {
    out: W,
    style: Style,
    sample: Vec<Row>,
    layout: Option<Layout>,
    spare: Row,
    text: String,
    totals: Totals,
    marked: bool,
}

impl<W: Write> Table<W> {
    /// An empty table.
    #[must_use]
    pub fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            sample: Vec::new(),
            layout: None,
            spare: Row::default(),
            text: String::new(),
            totals: Totals::default(),
            marked: false,
        }
    }

    /// Adds a connection.
    ///
    /// # Errors
    /// Those of the output.
    pub fn row(&mut self, view: &View<'_>) -> io::Result<()> {
        self.totals.add(view.connection);
        self.marked |= view
            .connection
            .keepalive
            .is_some_and(|keepalive| keepalive.enabled && keepalive.from == Origin::Socket);
        let Some(layout) = &self.layout else {
            let mut row = Row::default();
            row.fill(view, &Column::ALL);
            self.sample.push(row);
            if self.sample.len() == SAMPLE {
                self.begin();
            }
            return Ok(());
        };
        self.spare.fill(view, &layout.columns);
        push_line(
            &mut self.text,
            &layout.slots,
            self.spare.cells(),
            self.style,
        );
        if self.text.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left and the line below the table.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        if self.totals.all.connections == 0 {
            self.text.push_str("No connection matches.\n");
        } else {
            if self.layout.is_none() {
                self.begin();
            }
            self.push_footer();
        }
        self.flush()?;
        Ok(self.out)
    }

    /// Chooses the layout and prints the rows that were held back.
    fn begin(&mut self) {
        let layout = Layout::choose(&self.sample, self.style.width);
        let titles = layout
            .columns
            .iter()
            .map(|column| (column.title(), Paint::Bold));
        push_line(&mut self.text, &layout.slots, titles, self.style);
        for row in std::mem::take(&mut self.sample) {
            let cells = layout
                .columns
                .iter()
                .map(|column| row.cell(*column as usize));
            push_line(&mut self.text, &layout.slots, cells, self.style);
        }
        self.layout = Some(layout);
    }

    fn push_footer(&mut self) {
        let all = &self.totals.all;
        let mut line = format!("{}: keep-alive ", Of(all.connections, "connection"));
        let kinds = [
            (all.keepalive_on, "on"),
            (all.keepalive_off, "off"),
            (all.keepalive_unknown, "unknown"),
        ];
        let mut comma = "";
        for (count, kind) in kinds.into_iter().filter(|(count, _)| *count > 0) {
            write!(line, "{comma}{kind} {}", Count(count)).expect("a String takes everything");
            comma = ", ";
        }
        write!(line, "; {} of kernel memory.", Bytes(all.memory_bytes))
            .expect("a String takes everything");
        self.text.push('\n');
        push_wrapped(&mut self.text, &line, 0, self.style.prose_width());
        if all.keepalive_on > 0 {
            let mark = if self.marked {
                "; * where the socket has values of its own"
            } else {
                ""
            };
            let line = format!("KEEPALIVE is idle/interval/count{mark}.");
            push_wrapped(&mut self.text, &line, 0, self.style.prose_width());
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }
}

/// The cells of a row, one after the other in one text.
#[derive(Debug, Default)]
struct Row {
    text: String,
    ends: Vec<(usize, Paint)>,
}

impl Row {
    fn fill(&mut self, view: &View<'_>, columns: &[Column]) {
        self.text.clear();
        self.ends.clear();
        for column in columns {
            let paint = column.push(&mut Text(&mut self.text), view);
            self.ends.push((self.text.len(), paint));
        }
    }

    fn cell(&self, index: usize) -> (&str, Paint) {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (end, paint) = self.ends[index];
        (&self.text[start..end], paint)
    }

    fn cells(&self) -> impl Iterator<Item = (&str, Paint)> {
        (0..self.ends.len()).map(|index| self.cell(index))
    }
}

#[derive(Debug)]
struct Layout {
    columns: Vec<Column>,
    slots: Vec<Slot>,
}

impl Layout {
    fn choose(sample: &[Row], limit: usize) -> Self {
        let wanted = Wanted::of(sample);
        let columns = wanted.columns(limit);
        let mut slots: Vec<Slot> = columns
            .iter()
            .map(|column| Slot {
                width: wanted.least(*column),
                align: column.align(),
                cut: column.cut(),
            })
            .collect();
        let place = |wanted: Column| columns.iter().position(|column| *column == wanted);
        if let (Some(local), Some(remote)) = (place(Column::Local), place(Column::Remote)) {
            let too_wide = total_width(&slots).saturating_sub(limit);
            squeeze_addresses(&mut slots, local, remote, too_wide);
        }
        for flexible in [Column::Owner, Column::Place] {
            if let Some(at) = place(flexible) {
                let room = limit.saturating_sub(total_width(&slots));
                let more = wanted.most(flexible).saturating_sub(slots[at].width);
                slots[at].width += more.min(room);
            }
        }
        // At the end of a line room costs nothing, and a later row may need it.
        let room = limit.saturating_sub(total_width(&slots));
        if let Some(last) = slots.last_mut().filter(|slot| slot.align == Align::Left) {
            let most = last.width.max(*OWNER.end());
            last.width = last.width.saturating_add(room).min(most);
        }
        Self { columns, slots }
    }
}

/// What the first rows say about each column.
struct Wanted {
    widest: [usize; Column::ALL.len()],
    telling: [bool; Column::ALL.len()],
}

impl Wanted {
    fn of(sample: &[Row]) -> Self {
        let mut widest = Column::ALL.map(|column| column.title().len().max(column.least()));
        let mut telling = [false; Column::ALL.len()];
        for column in Column::ALL {
            let index = column as usize;
            for row in sample {
                let (text, _) = row.cell(index);
                widest[index] = widest[index].max(width(text));
                telling[index] |= match column {
                    // The same for all tells nothing apart.
                    Column::Netns => text != sample[0].cell(index).0,
                    _ => !Column::is_empty(text),
                };
            }
        }
        Self { widest, telling }
    }

    fn tells(&self, column: Column) -> bool {
        self.telling[column as usize]
    }

    /// The columns to show, in the order of printing.
    fn columns(&self, limit: usize) -> Vec<Column> {
        let mut columns: Vec<Column> = CORE.to_vec();
        if !self.tells(Column::Owner) {
            columns.retain(|column| *column != Column::Owner);
        }
        let mut used: usize = columns.iter().map(|column| self.least(*column) + GAP).sum();
        for column in EXTRA {
            let more = self.least(column) + GAP;
            let wide_enough = column == Column::Probes || limit >= MORE_COLUMNS;
            if self.tells(column) && wide_enough && used + more <= limit {
                columns.push(column);
                used += more;
            }
        }
        if limit >= EMPTY_COLUMNS {
            // Only where they take nothing from the others.
            used = columns.iter().map(|column| self.most(*column) + GAP).sum();
            for column in EXTRA {
                let more = self.most(column) + GAP;
                if !self.tells(column) && used + more <= limit {
                    columns.push(column);
                    used += more;
                }
            }
        }
        columns.sort_by_key(|column| *column as usize);
        columns
    }

    /// The width that a column needs to be shown at all.
    fn least(&self, column: Column) -> usize {
        let widest = self.widest[column as usize];
        match column {
            Column::Owner => widest.min(*OWNER.start()),
            Column::Place => widest.min(*PLACE.start()),
            Column::KeepAlive => widest.min(KEEPALIVE_MOST),
            _ => widest,
        }
    }

    /// The width beyond which a column gains nothing.
    fn most(&self, column: Column) -> usize {
        let widest = self.widest[column as usize];
        match column {
            Column::Owner => widest.min(*OWNER.end()),
            Column::Place => widest.min(*PLACE.end()),
            _ => self.least(column),
        }
    }
}
