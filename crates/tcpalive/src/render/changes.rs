//! Which options were set on which connections, and which were left alone.

use super::findings::Findings;
use super::style::Style;
use super::text::push_wrapped;
use super::units::{Count, Of, Span};
use super::verdicts::push_findings;
use std::fmt::Write as _;
use tcpalive_connections::{KeepAlive, Origin, View};

/// A connection whose options were set, or would be.
#[derive(Debug, Clone, Copy)]
pub struct Changed<'a> {
    /// The values in force before.
    pub before: KeepAlive,
    /// The values in force now.
    pub after: KeepAlive,
    /// Values that were the sysctls' and are the socket's own now, after an
    /// undo: it could not give them back.
    pub no_longer_follows: &'a [&'static str],
    /// Nothing was really done.
    pub dry_run: bool,
}

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeTotals {
    /// Given other options.
    pub changed: u64,
    /// Those that had what was wanted.
    pub unchanged: u64,
    /// Left alone, with a reason.
    pub skipped: u64,
    /// Refused by the kernel.
    pub failed: u64,
}

impl ChangeTotals {
    /// All of them.
    #[must_use]
    pub const fn selected(&self) -> u64 {
        self.changed + self.unchanged + self.skipped + self.failed
    }
}

/// The result as text for people.
#[derive(Debug, Clone, Default)]
pub struct ChangeReport {
    /// In numbers.
    pub totals: ChangeTotals,
    changed: Findings,
    skipped: Findings,
    failed: Findings,
    gone: u64,
    no_longer_follows: u64,
}

impl ChangeReport {
    /// Takes in a connection that was changed.
    pub fn changed(&mut self, view: &View<'_>, changed: &Changed<'_>) {
        self.totals.changed += 1;
        let mut text = format!("{} → {}", values(&changed.before), values(&changed.after));
        if !changed.no_longer_follows.is_empty() {
            self.no_longer_follows += 1;
            write!(
                text,
                ", {} no longer by sysctl",
                changed.no_longer_follows.join(", ")
            )
            .expect("a String takes everything");
        }
        self.changed.add(view, view.connection.last_heard_ms, &text);
    }

    /// Takes in a connection that was left alone.
    pub fn skipped(&mut self, view: &View<'_>, failed: bool, reason: &str) {
        let (total, findings) = if failed {
            (&mut self.totals.failed, &mut self.failed)
        } else {
            (&mut self.totals.skipped, &mut self.skipped)
        };
        *total += 1;
        findings.add(view, view.connection.last_heard_ms, reason);
    }

    /// Takes in a connection that is not there any more.
    pub fn gone(&mut self) {
        self.totals.skipped += 1;
        self.gone += 1;
    }

    /// The lists and the closing sentences.
    #[must_use]
    pub fn text(&self, style: Style, dry_run: bool, elapsed_ms: u64) -> String {
        let changed = if dry_run { "would change" } else { "changed" };
        let found = [
            (changed, &self.changed),
            ("left alone", &self.skipped),
            ("failed", &self.failed),
        ];
        let mut text = String::new();
        push_findings(&mut text, "RESULT", &found, style);
        for line in self.conclusion(dry_run, elapsed_ms) {
            push_wrapped(&mut text, &line, 0, style.prose_width());
        }
        text
    }

    fn conclusion(&self, dry_run: bool, elapsed_ms: u64) -> Vec<String> {
        let totals = &self.totals;
        if totals.selected() == 0 {
            return vec!["No connection matches; nothing was changed.".to_owned()];
        }
        let parts = [
            (totals.unchanged, "already as wanted"),
            (totals.skipped - self.gone, "left alone"),
            (self.gone, "closed since"),
            (totals.failed, "failed"),
        ];
        let mut line = format!(
            "{} of {} {} in {}",
            Count(totals.changed),
            Of(totals.selected(), "connection"),
            if dry_run {
                "would be changed, looked at"
            } else {
                "changed"
            },
            Span(elapsed_ms)
        );
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(line, ", {} {what}", Count(count)).expect("a String takes everything");
        }
        line.push('.');
        let mut lines = vec![line];
        if dry_run {
            lines.push("This was a dry run: nothing was changed.".into());
        }
        if self.no_longer_follows > 0 {
            lines.push(
                "Linux cannot make a socket follow the sysctls again: where it did, it has their present values as \
                 its own now."
                    .into(),
            );
        }
        lines
    }
}

/// `on 60/10/5`, `off 7200/75/9 by sysctl`, `on 60/10/5 and a user timeout of 30s`.
fn values(keepalive: &KeepAlive) -> String {
    let mut text = format!(
        "{} {}/{}/{}",
        if keepalive.enabled { "on" } else { "off" },
        keepalive.idle_s,
        keepalive.interval_s,
        keepalive.count
    );
    if keepalive.from == Origin::Sysctl {
        text.push_str(" by sysctl");
    }
    if keepalive.user_timeout_ms > 0 {
        let timeout = Span(u64::from(keepalive.user_timeout_ms));
        write!(text, " and a user timeout of {timeout}").expect("a String takes everything");
    }
    text
}
