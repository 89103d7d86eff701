//! The summary as tables for people.

use super::{Group, Process, ProcessLimits, Summary};
use crate::render::line::{Align, GAP, Slot, push_line, total_width};
use crate::render::style::{Paint, Style};
use crate::render::text::{Cut, clean, push_wrapped, width};
use crate::render::units::{Bytes, Compact, Count};
use std::io::{self, Write};

/// Rows of a section; the rest is folded into one.
const ROWS: usize = 20;

const PROCESS: &str = "PROCESS";

/// The least that names get when lines are short.
const NAME: usize = 12;

impl Summary {
    /// Writes the summary. `limits` is asked once for every process.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        &self,
        out: &mut impl Write,
        style: Style,
        mut limits: impl FnMut(u32) -> Option<ProcessLimits>,
    ) -> io::Result<()> {
        let mut text = String::new();
        if self.totals.all.connections == 0 {
            return out.write_all(b"No connection matches.\n");
        }
        let processes: Vec<_> = self
            .processes()
            .into_iter()
            .map(|process| (process, limits(process.pid)))
            .collect();
        let sections = [
            self.state_section(),
            self.process_section(&processes),
            self.network_section(),
        ];
        push_sections(&mut text, &self.totals.all, &sections, style);
        self.push_memory(&mut text, style);
        push_near_limits(&mut text, &processes, style);
        out.write_all(text.as_bytes())
    }

    fn state_section(&self) -> Section {
        let rows = self
            .totals
            .by_state()
            .map(|(state, group)| Row::new(state.name(), group));
        Section {
            title: "STATE",
            rows: rows.collect(),
        }
    }

    fn process_section(&self, processes: &[(Process, Option<ProcessLimits>)]) -> Section {
        let mut rows: Vec<Row> = processes
            .iter()
            .take(ROWS)
            .map(|(process, limits)| Row {
                descriptors: *limits,
                ..Row::new(&name_of(process), &process.group)
            })
            .collect();
        let hidden = processes.iter().skip(ROWS).map(|(p, _)| &p.group);
        rows.extend(folded(hidden, &self.more_processes));
        if !rows.is_empty() && self.unowned.connections > 0 {
            rows.push(Row::new("no process", &self.unowned));
        }
        Section {
            title: PROCESS,
            rows,
        }
    }

    fn network_section(&self) -> Section {
        let networks = self.networks();
        let mut rows: Vec<Row> = networks
            .iter()
            .take(ROWS)
            .map(|(network, group)| Row::new(&network.to_string(), group))
            .collect();
        let hidden = networks.iter().skip(ROWS).map(|(_, group)| group);
        rows.extend(folded(hidden, &self.more_networks));
        Section {
            title: "PEER NETWORK",
            rows,
        }
    }

    fn push_memory(&self, text: &mut String, style: Style) {
        let all = &self.totals.all;
        let what = match all.connections {
            1 => "The selected connection holds".to_owned(),
            n => format!("The {} selected connections hold", Count(n)),
        };
        let line = format!("{what} {} of kernel memory.", Bytes(all.memory_bytes));
        text.push('\n');
        push_wrapped(text, &line, 0, style.prose_width());
    }
}

struct Section {
    title: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    group: Group,
    descriptors: Option<ProcessLimits>,
}

impl Row {
    fn new(name: &str, group: &Group) -> Self {
        Self {
            name: name.to_owned(),
            group: *group,
            descriptors: None,
        }
    }

    /// `19,204 of 20,000`, `19.2k of 20.0k`, or nothing.
    fn descriptors_text(&self, compact: bool) -> String {
        match self.descriptors {
            None => String::new(),
            Some(ProcessLimits {
                open,
                soft_limit: u64::MAX,
            }) => format!("{} of no limit", Count(open)),
            Some(ProcessLimits { open, soft_limit }) if compact => {
                format!("{} of {}", Compact(open), Compact(soft_limit))
            }
            Some(ProcessLimits { open, soft_limit }) => {
                format!("{} of {}", Count(open), Count(soft_limit))
            }
        }
    }
}

fn name_of(process: &Process) -> String {
    format!("{}[{}]", clean(&process.comm.as_text()), process.pid)
}

/// The row for all that is not shown, if there is any.
fn folded<'a>(hidden: impl Iterator<Item = &'a Group>, uncounted: &Group) -> Option<Row> {
    let mut sum = *uncounted;
    let mut number: u64 = 0;
    for group in hidden {
        number += 1;
        sum.merge(group);
    }
    let more = if uncounted.connections > 0 {
        format!("… and over {} more", Count(number))
    } else {
        format!("… and {} more", Count(number))
    };
    (sum.connections > 0).then(|| Row::new(&more, &sum))
}

/// A column of numbers that all sections share.
struct Column {
    /// Stands above the titles, over this and the columns that follow.
    heading: &'static str,
    title: &'static str,
    value: fn(&Group) -> u64,
    bytes: bool,
    least: usize,
}

impl Column {
    fn text(&self, group: &Group, compact: bool) -> String {
        let value = (self.value)(group);
        if self.bytes {
            Bytes(value).to_string()
        } else if compact {
            Compact(value).to_string()
        } else {
            Count(value).to_string()
        }
    }
}

const fn count(heading: &'static str, title: &'static str, value: fn(&Group) -> u64) -> Column {
    Column {
        heading,
        title,
        value,
        bytes: false,
        least: 0,
    }
}

const COLUMNS: [Column; 11] = [
    count("", "CONNS", |group| group.connections),
    // Together as wide as their heading.
    Column {
        least: 4,
        ..count("keep-alive", "ON", |group| group.keepalive_on)
    },
    Column {
        least: 4,
        ..count("", "OFF", |group| group.keepalive_off)
    },
    count("", "?", |group| group.keepalive_unknown),
    count("last heard", "<1m", |group| group.idle.buckets[0]),
    count("", "<10m", |group| group.idle.buckets[1]),
    count("", "<1h", |group| group.idle.buckets[2]),
    count("", "<1d", |group| group.idle.buckets[3]),
    count("", "≥1d", |group| group.idle.buckets[4]),
    count("", "?", |group| group.idle.unknown),
    Column {
        heading: "",
        title: "MEMORY",
        value: |group| group.memory_bytes,
        bytes: true,
        least: 0,
    },
];

/// Where the headings are: their columns are kept so that they have a place.
const ALWAYS: [usize; 5] = [0, 1, 2, 4, 10];

fn push_sections(text: &mut String, all: &Group, sections: &[Section], style: Style) {
    // What is zero throughout has no column.
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .enumerate()
        .filter(|(index, column)| ALWAYS.contains(index) || (column.value)(all) > 0)
        .map(|(_, column)| column)
        .collect();
    let sections: Vec<&Section> = sections.iter().filter(|s| !s.rows.is_empty()).collect();
    let common = [false, true]
        .map(|compact| Layout::new(&columns, &sections, compact))
        .into_iter()
        .find(|layout| total_width(&layout.slots) <= style.width);
    for (index, section) in sections.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        match &common {
            Some(layout) => {
                if index == 0 {
                    push_headings(text, layout);
                }
                push_section(text, section, layout, style);
            }
            None => {
                let layout = Layout::squeezed(&columns, section, style.width);
                push_headings(text, &layout);
                push_section(text, section, &layout, style);
            }
        }
    }
}

fn push_section(text: &mut String, section: &Section, layout: &Layout<'_>, style: Style) {
    let descriptors = section.rows.iter().any(|row| row.descriptors.is_some());
    let titles = std::iter::once(section.title)
        .chain(layout.columns.iter().map(|column| column.title))
        .chain(descriptors.then_some("DESCRIPTORS"));
    push_line(
        text,
        &layout.slots,
        titles.map(|title| (title, Paint::Bold)),
        style,
    );
    for row in &section.rows {
        let cells = cells(row, layout);
        let cells = cells.iter().map(|(cell, paint)| (cell.as_str(), *paint));
        push_line(text, &layout.slots, cells, style);
    }
}

fn cells(row: &Row, layout: &Layout<'_>) -> Vec<(String, Paint)> {
    let mut cells = vec![(row.name.clone(), Paint::Plain)];
    cells.extend(layout.columns.iter().map(|column| {
        let paint = match column.title {
            "ON" if row.group.keepalive_on > 0 => Paint::Green,
            "OFF" if row.group.keepalive_off > 0 => Paint::Yellow,
            _ => Paint::Plain,
        };
        (column.text(&row.group, layout.compact), paint)
    }));
    cells.push((row.descriptors_text(layout.compact), Paint::Plain));
    cells
}

struct Layout<'a> {
    columns: Vec<&'a Column>,
    slots: Vec<Slot>,
    compact: bool,
}

impl<'a> Layout<'a> {
    /// The same widths for all sections, so that their columns align.
    fn new(columns: &[&'a Column], sections: &[&Section], compact: bool) -> Self {
        let rows = || sections.iter().flat_map(|section| &section.rows);
        let names = rows().map(|row| row.name.as_str());
        let titles = sections.iter().map(|section| section.title);
        let mut slots = vec![Slot {
            width: names.chain(titles).map(width).max().unwrap_or_default(),
            align: Align::Left,
            // Half a network would name another one.
            cut: if sections.iter().any(|section| section.title == PROCESS) {
                Cut::Name
            } else {
                Cut::Never
            },
        }];
        slots.extend(columns.iter().map(|column| {
            Slot {
                width: rows()
                    .map(|row| width(&column.text(&row.group, compact)))
                    .chain([width(column.title), column.least])
                    .max()
                    .unwrap_or_default(),
                align: Align::Right,
                cut: Cut::Never,
            }
        }));
        let descriptors = rows()
            .map(|row| width(&row.descriptors_text(compact)))
            .max();
        if let Some(wide @ 1..) = descriptors {
            slots.push(Slot {
                width: wide.max(width("DESCRIPTORS")),
                align: Align::Right,
                cut: Cut::Never,
            });
        }
        Self {
            columns: columns.to_vec(),
            slots,
            compact,
        }
    }

    /// As much as fits for one section: first the columns of what is not
    /// known are given up (it is the rest of the others), then the names of
    /// processes are shortened.
    fn squeezed(columns: &[&'a Column], section: &Section, limit: usize) -> Self {
        let mut layout = Self::new(columns, &[section], true);
        if total_width(&layout.slots) > limit {
            let known: Vec<&Column> = columns.iter().copied().filter(|c| c.title != "?").collect();
            layout = Self::new(&known, &[section], true);
        }
        let too_wide = total_width(&layout.slots).saturating_sub(limit);
        let name = &mut layout.slots[0];
        if name.cut != Cut::Never {
            name.width = name
                .width
                .saturating_sub(too_wide)
                .max(NAME.min(name.width));
        }
        layout
    }
}

/// The line above the titles: headings where their columns begin.
fn push_headings(text: &mut String, layout: &Layout<'_>) {
    let mut start = layout.slots[0].width + GAP;
    let mut line = String::new();
    for (column, slot) in layout.columns.iter().zip(&layout.slots[1..]) {
        if !column.heading.is_empty() {
            let blanks = start.saturating_sub(width(&line));
            line.extend(std::iter::repeat_n(' ', blanks));
            line.push_str(column.heading);
        }
        start += slot.width + GAP;
    }
    text.push_str(&line);
    text.push('\n');
}

fn push_near_limits(
    text: &mut String,
    processes: &[(Process, Option<ProcessLimits>)],
    style: Style,
) {
    let mut near: Vec<_> = processes
        .iter()
        .filter_map(|(process, limits)| Some((process, limits.filter(|l| l.near())?)))
        .collect();
    near.sort_by_key(|(process, limits)| {
        (limits.soft_limit.saturating_sub(limits.open), process.pid)
    });
    for (process, limits) in near.iter().take(ROWS) {
        let line = format!(
            "{}: {} of {} descriptors; {}",
            name_of(process),
            Count(limits.open),
            Count(limits.soft_limit),
            if limits.open >= limits.soft_limit {
                "new connections are refused now"
            } else {
                "new connections will be refused at the limit"
            }
        );
        push_wrapped(text, &line, 0, style.prose_width());
    }
    if let Some(more @ 1..) = near.len().checked_sub(ROWS) {
        let line = format!("… and {more} more processes near their limit");
        push_wrapped(text, &line, 0, style.prose_width());
    }
}
