//! What `check` found and what `reap` did, for people.
//!
//! Few results are listed one by one; of many the counts by peer, process
//! and evidence are given: whoever has 20,000 dead connections wants to know
//! whose they are.

use super::findings::Findings;
use super::line::{Align, Slot, push_line, squeeze_addresses, total_width};
use super::style::{Paint, Style};
use super::text::{Cut, push_wrapped, width};
use super::units::{Bytes, Count, Of, Span};
use std::fmt::Write as _;
use std::io::{self, Write};
use tcpalive_connections::{Outcome, Verdict, View};

/// Verdicts in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckTotals {
    counts: [u64; Outcome::ALL.len()],
    /// Kernel memory that dead connections hold.
    pub memory_bytes_held_by_dead: u64,
    /// Descriptors that refer to dead connections.
    pub fds_held_by_dead: u64,
}

impl CheckTotals {
    /// Counts a verdict.
    pub fn add(&mut self, view: &View<'_>, outcome: Outcome) {
        self.counts[outcome as usize] += 1;
        if outcome == Outcome::Dead {
            self.memory_bytes_held_by_dead += view.connection.memory_bytes;
            self.fds_held_by_dead += view.owners.len() as u64;
        }
    }

    /// How many connections came out so.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize]
    }

    /// How many connections were checked.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What became of a connection that was proven dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nothing: `--yes` was not given.
    WouldDestroy,
    /// The kernel destroyed it.
    Destroyed,
    /// It had ended by itself.
    AlreadyClosed,
    /// It was heard from, or is not the same any more; it was left alone.
    Changed,
    /// The kernel refused.
    Failed,
}

impl Fate {
    /// All fates, in the order in which they are listed.
    pub const ALL: [Self; 5] = [
        Self::WouldDestroy,
        Self::Destroyed,
        Self::AlreadyClosed,
        Self::Changed,
        Self::Failed,
    ];

    /// The name in output: `result` of a `reaped` object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WouldDestroy => "would-destroy",
            Self::Destroyed => "destroyed",
            Self::AlreadyClosed => "already-closed",
            Self::Changed => "changed",
            Self::Failed => "failed",
        }
    }

    /// The name in a sentence.
    const fn words(self) -> &'static str {
        match self {
            Self::WouldDestroy => "would be destroyed",
            Self::Destroyed => "destroyed",
            Self::AlreadyClosed => "already closed",
            Self::Changed => "changed meanwhile and left alone",
            Self::Failed => "failed",
        }
    }
}

/// What a reap did, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReapTotals {
    /// Connections that the filter selected and that were checked.
    pub selected: u64,
    /// Those that were proven dead.
    pub dead: u64,
    fates: [u64; Fate::ALL.len()],
    /// Kernel memory that destroyed connections held.
    pub memory_bytes_freed: u64,
    /// Descriptors that refer to destroyed connections; their programs will
    /// close them when they see the error.
    pub fds_held_by_destroyed: u64,
}

impl ReapTotals {
    /// Nothing done yet, after a check.
    #[must_use]
    pub fn after(check: &CheckTotals) -> Self {
        Self {
            selected: check.checked(),
            dead: check.of(Outcome::Dead),
            ..Self::default()
        }
    }

    /// Counts what became of a connection.
    pub fn add(&mut self, view: &View<'_>, fate: Fate) {
        self.fates[fate as usize] += 1;
        if fate == Fate::Destroyed {
            self.memory_bytes_freed += view.connection.memory_bytes;
            self.fds_held_by_destroyed += view.owners.len() as u64;
        }
    }

    /// How many connections came to this.
    #[must_use]
    pub fn of(&self, fate: Fate) -> u64 {
        self.fates[fate as usize]
    }
}

/// The result of a check as text for people.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// The verdicts in numbers.
    pub totals: CheckTotals,
    found: [Findings; Outcome::ALL.len()],
}

impl CheckReport {
    /// In order of urgency.
    const ORDER: [Outcome; 6] = [
        Outcome::Dead,
        Outcome::Gone,
        Outcome::Unprovable,
        Outcome::Stalled,
        Outcome::Closed,
        Outcome::Alive,
    ];

    /// Takes a verdict in.
    pub fn add(&mut self, view: &View<'_>, verdict: &Verdict) {
        self.totals.add(view, verdict.outcome);
        self.found[verdict.outcome as usize].add(view, verdict.last_heard_ms, &verdict.reason);
    }

    /// Writes the lists and the closing sentences. Living and closed
    /// connections are listed only if `all` is set. `next` is the command
    /// that lets go of the dead, as the user would type it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        &self,
        out: &mut impl Write,
        style: Style,
        all: bool,
        elapsed_ms: u64,
        next: &str,
    ) -> io::Result<()> {
        let shown = |outcome: &Outcome| all || !matches!(outcome, Outcome::Alive | Outcome::Closed);
        let found: Vec<(&str, &Findings)> = Self::ORDER
            .into_iter()
            .filter(shown)
            .map(|outcome| (outcome.name(), &self.found[outcome as usize]))
            .collect();
        let mut text = String::new();
        push_findings(&mut text, "VERDICT", &found, style);
        for line in self.conclusion(elapsed_ms) {
            push_wrapped(&mut text, &line, 0, style.prose_width());
        }
        if self.totals.of(Outcome::Dead) > 0 {
            // One line, so that it can be copied.
            writeln!(text, "To let go of the dead:\n  {next}").expect("a String takes everything");
        }
        out.write_all(text.as_bytes())
    }

    fn conclusion(&self, elapsed_ms: u64) -> Vec<String> {
        let totals = &self.totals;
        let checked = totals.checked();
        if checked == 0 {
            return vec!["No connection matches; nothing was checked.".to_owned()];
        }
        let kinds = Self::ORDER.map(|outcome| (totals.of(outcome), outcome.name()));
        let mut lines = vec![format!(
            "Checked {} in {}: {}.",
            Of(checked, "connection"),
            Span(elapsed_ms),
            listing(&kinds)
        )];
        if totals.of(Outcome::Dead) > 0 {
            lines.push(format!(
                "The dead hold {} of kernel memory and {}.",
                Bytes(totals.memory_bytes_held_by_dead),
                Of(totals.fds_held_by_dead, "descriptor")
            ));
        }
        let notes = [
            (
                Outcome::Gone,
                "Gone: the peer's host answered with a reset, and this kernel closed the \
                 connection, as it would after a probe of its own.",
            ),
            (
                Outcome::Unprovable,
                "Unprovable: nothing is concluded from silence, for the reasons given.",
            ),
            (
                Outcome::Stalled,
                "Stalled: data is in flight or the peer's window is closed; keep-alive does not \
                 run then, the retransmission timer decides.",
            ),
        ];
        lines.extend(
            notes
                .into_iter()
                .filter(|(outcome, _)| totals.of(*outcome) > 0)
                .map(|(_, note)| note.to_owned()),
        );
        lines
    }
}

/// The result of a reap as text for people.
#[derive(Debug, Clone, Default)]
pub struct ReapReport {
    /// What was done, in numbers.
    pub totals: ReapTotals,
    found: [Findings; Fate::ALL.len()],
}

impl ReapReport {
    /// Nothing done yet, after a check.
    #[must_use]
    pub fn after(check: &CheckTotals) -> Self {
        Self {
            totals: ReapTotals::after(check),
            ..Self::default()
        }
    }

    /// Takes in what became of a connection; `evidence` is the verdict's
    /// reason, or why it was not destroyed.
    pub fn add(&mut self, view: &View<'_>, fate: Fate, evidence: &str) {
        self.totals.add(view, fate);
        self.found[fate as usize].add(view, view.connection.last_heard_ms, evidence);
    }

    /// Writes the lists and the closing sentences.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write, style: Style, elapsed_ms: u64) -> io::Result<()> {
        let found = Fate::ALL.map(|fate| (fate.name(), &self.found[fate as usize]));
        let mut text = String::new();
        push_findings(&mut text, "RESULT", &found, style);
        for line in self.conclusion(elapsed_ms) {
            push_wrapped(&mut text, &line, 0, style.prose_width());
        }
        out.write_all(text.as_bytes())
    }

    fn conclusion(&self, elapsed_ms: u64) -> Vec<String> {
        let totals = &self.totals;
        let checked = Of(totals.selected, "connection");
        let elapsed = Span(elapsed_ms);
        if totals.selected == 0 {
            return vec!["No connection matches; nothing was done.".to_owned()];
        }
        if totals.dead == 0 {
            return vec![format!(
                "Checked {checked} in {elapsed}: none is proven dead; nothing was destroyed."
            )];
        }
        let mut lines = vec![format!(
            "Checked {checked} in {elapsed}: {} proven dead.",
            Count(totals.dead)
        )];
        let would = totals.of(Fate::WouldDestroy);
        if would > 0 {
            let memory = Bytes(self.found[Fate::WouldDestroy as usize].memory_bytes);
            lines.push(format!(
                "Nothing was changed. With --yes, {} would be destroyed, which would free {memory} \
                 of kernel memory.",
                Of(would, "connection")
            ));
            return lines;
        }
        let kinds = Fate::ALL.map(|fate| (totals.of(fate), fate.words()));
        lines.push(format!("Of these: {}.", listing(&kinds)));
        if totals.of(Fate::Destroyed) > 0 {
            lines.push(format!(
                "Freed {} of kernel memory. Programs get an error on {} and then close them.",
                Bytes(totals.memory_bytes_freed),
                Of(totals.fds_held_by_destroyed, "descriptor")
            ));
        }
        lines
    }
}

/// `20,000 dead, 480 alive`.
fn listing(kinds: &[(u64, &str)]) -> String {
    let mut text = String::new();
    for (count, name) in kinds.iter().filter(|(count, _)| *count > 0) {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{} {name}", Count(*count)).expect("a String takes everything");
    }
    text
}

/// First the kinds that are many, in groups, then a table of all the others.
pub(super) fn push_findings(
    text: &mut String,
    title: &str,
    found: &[(&str, &Findings)],
    style: Style,
) {
    for (kind, findings) in found {
        if findings.listed().is_none() {
            push_group(text, kind, findings, style);
        }
    }
    let rows: Vec<[String; 6]> = found
        .iter()
        .filter_map(|(kind, findings)| Some((kind, findings.listed()?)))
        .flat_map(|(kind, listed)| {
            listed.into_iter().map(move |one| {
                [
                    (*kind).to_owned(),
                    one.local.to_string(),
                    one.remote.to_string(),
                    one.owners.clone(),
                    one.heard_ms
                        .map_or_else(|| "?".to_owned(), |ms| Span(ms).to_string()),
                    one.evidence.clone(),
                ]
            })
        })
        .collect();
    if !rows.is_empty() {
        push_rows(text, title, &rows, style);
        text.push('\n');
    }
}

fn push_group(text: &mut String, kind: &str, findings: &Findings, style: Style) {
    Paint::Bold.push(text, kind, style.color);
    writeln!(text, ": {}", Of(findings.count, "connection")).expect("a String takes everything");
    for (label, value) in findings.grouped() {
        write!(text, "  {label:<11} ").expect("a String takes everything");
        push_wrapped(text, &value, 14, style.prose_width());
    }
    text.push('\n');
}

/// The table. Evidence stands at the end of the line if there is room for
/// all of it, else on a line of its own: it is never cut.
fn push_rows(text: &mut String, title: &str, rows: &[[String; 6]], style: Style) {
    const EVIDENCE: usize = 5;
    const OWNER: usize = 12; // the least
    let titles = [title, "LOCAL", "REMOTE", "OWNER", "LAST HEARD", "EVIDENCE"];
    let mut slots: Vec<Slot> = titles
        .iter()
        .enumerate()
        .map(|(index, title)| Slot {
            width: rows
                .iter()
                .map(|row| width(&row[index]))
                .chain([width(title)])
                .max()
                .unwrap_or_default(),
            align: if *title == "LAST HEARD" {
                Align::Right
            } else {
                Align::Left
            },
            cut: if *title == "OWNER" {
                Cut::End
            } else {
                Cut::Never
            },
        })
        .collect();
    let below = total_width(&slots) > style.width;
    if below {
        slots.truncate(EVIDENCE);
    }
    let too_wide = total_width(&slots).saturating_sub(style.width);
    let owner = slots[3].width;
    slots[3].width = owner.saturating_sub(too_wide).max(owner.min(OWNER));
    let too_wide = total_width(&slots).saturating_sub(style.width);
    squeeze_addresses(&mut slots, 1, 2, too_wide);
    let indent = slots[0].width + super::line::GAP;
    push_line(
        text,
        &slots,
        titles.into_iter().map(|title| (title, Paint::Bold)),
        style,
    );
    for row in rows {
        let cells = row.iter().map(|cell| (cell.as_str(), Paint::Plain));
        push_line(text, &slots, cells, style);
        if below && !row[EVIDENCE].is_empty() {
            text.extend(std::iter::repeat_n(' ', indent));
            push_wrapped(text, &row[EVIDENCE], indent, style.prose_width());
        }
    }
}
