//! What the night expected, what it observed, and the table that says so.

use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What can be known in advance of a night, and be observed in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Facts {
    /// Connections that B's kernel shows as established when A is no more.
    pub established_before: usize,
    /// Packets that reached B from A after that.
    pub packets_from_dead_host: u64,
    /// Connections that `ls` listed.
    pub listed: usize,
    /// Of these, with one of the server's processes as owner.
    pub listed_with_server_as_owner: usize,
    /// Of these, not known to have keep-alive off.
    pub listed_with_keepalive_on: usize,
    /// Connections that were listed twice or not at all, or do not exist.
    pub listed_wrongly: usize,
    /// Verdicts `dead` of `check`.
    pub found_dead: usize,
    /// Verdicts `alive`.
    pub found_alive: usize,
    /// Other verdicts.
    pub found_otherwise: usize,
    /// Connections whose verdict is not the truth, is given twice or is missing.
    pub found_wrongly: usize,
    /// Connections that `reap` destroyed.
    pub destroyed: usize,
    /// Of these, not A's.
    pub destroyed_wrongly: usize,
    /// Connections that `reap`'s journal names.
    pub journaled: usize,
    /// Of `ls --summary`, `ls`, `check`, `reap`.
    pub exit_codes: [i32; 4],
    /// Connections that B's kernel shows as established in the end.
    pub established_after: usize,
    /// Of these, C's.
    pub established_after_of_living: usize,
    /// Descriptors that the server's processes have less than before.
    pub descriptors_given_back: usize,
    /// Connections of A of which the server saw the end.
    pub server_errors_on_dead: usize,
    /// Connections of C of which the server saw an end.
    pub server_errors_on_living: usize,
    /// Messages of the living, or answers to them, that never came.
    pub messages_lost: u64,
    /// Those that came twice.
    pub messages_repeated: u64,
    /// Errors that the living clients saw.
    pub client_errors: usize,
}

impl Facts {
    /// What is expected when `dead` connections are dead and `alive` are not.
    pub(super) fn truth(dead: usize, alive: usize) -> Self {
        Self {
            established_before: dead + alive,
            packets_from_dead_host: 0,
            listed: dead + alive,
            listed_with_server_as_owner: dead + alive,
            listed_with_keepalive_on: 0,
            listed_wrongly: 0,
            found_dead: dead,
            found_alive: alive,
            found_otherwise: 0,
            found_wrongly: 0,
            destroyed: dead,
            destroyed_wrongly: 0,
            journaled: dead,
            // 1: found what it looks for.
            exit_codes: [0, 0, 1, 1],
            established_after: alive,
            established_after_of_living: alive,
            descriptors_given_back: dead,
            server_errors_on_dead: dead,
            server_errors_on_living: 0,
            messages_lost: 0,
            messages_repeated: 0,
            client_errors: 0,
        }
    }
}

/// What was measured besides, with no expectation.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Measured {
    /// Connections, dead and living.
    pub connections: usize,
    /// From nothing to all connections established.
    pub setup_s: f64,
    /// `ls --json`.
    pub ls_s: f64,
    /// `check`.
    pub check_s: f64,
    /// `reap`, its own check included.
    pub reap_s: f64,
    /// From A's death to the end of `reap`.
    pub death_to_let_go_s: f64,
    /// Everything, the taking down included.
    pub total_s: f64,
    /// What the kernel's keep-alive needs with its defaults, where it is on.
    pub kernel_default_s: u64,
    /// What `check` said that the dead hold in kernel memory.
    pub memory_held_by_dead_bytes: Option<u64>,
    /// What the kernel's slabs for sockets have less after `reap`, on the
    /// whole machine; `None` where /proc/slabinfo cannot be read.
    pub memory_given_back_bytes: Option<u64>,
    /// Messages of the living that were answered.
    pub messages_exchanged: u64,
    /// What the server saw at the end of each dead connection.
    pub server_errors: BTreeMap<String, usize>,
}

/// The outcome of a night. As JSON it is the contract's result object:
/// `{"type":"result","scenario":"night","held":…,"expected":…,"observed":…,"measured":…}`.
#[derive(Debug, Clone, PartialEq)]
pub struct NightReport {
    /// The truth.
    pub expected: Facts,
    /// What was found.
    pub observed: Facts,
    /// Times and sizes.
    pub measured: Measured,
}

impl NightReport {
    /// Whether everything is as it should be, and the living did talk.
    #[must_use]
    pub fn held(&self) -> bool {
        self.expected == self.observed && self.measured.messages_exchanged > 0
    }

    /// The table for people, at most 100 columns wide. With `color`, what is
    /// as it should be is green and what is not is red.
    #[must_use]
    pub fn table(&self, color: bool) -> String {
        let mut table = Table {
            text: String::new(),
            color,
        };
        let (truth, found, times) = (&self.expected, &self.observed, &self.measured);
        table.head();
        table.rule();
        let count = |table: &mut Table, who: &str, what: &str, of: fn(&Facts) -> usize, took| {
            table.row(who, what, of(truth) as u64, of(found) as u64, took);
        };
        count(
            &mut table,
            "B's kernel",
            "connections established",
            |f| f.established_before,
            None,
        );
        let from_a = found.packets_from_dead_host;
        table.row("", "packets from A since its death", 0, from_a, None);
        table.rule();
        let took = Some(times.ls_s);
        count(&mut table, "tcpalive ls", "connections", |f| f.listed, took);
        count(
            &mut table,
            "",
            "owned by the server",
            |f| f.listed_with_server_as_owner,
            None,
        );
        count(
            &mut table,
            "",
            "with keep-alive on",
            |f| f.listed_with_keepalive_on,
            None,
        );
        count(&mut table, "", "wrong", |f| f.listed_wrongly, None);
        table.rule();
        let took = Some(times.check_s);
        count(&mut table, "tcpalive check", "dead", |f| f.found_dead, took);
        count(&mut table, "", "alive", |f| f.found_alive, None);
        count(
            &mut table,
            "",
            "gone, stalled, unprovable, closed",
            |f| f.found_otherwise,
            None,
        );
        count(&mut table, "", "wrong", |f| f.found_wrongly, None);
        table.rule();
        let took = Some(times.reap_s);
        count(
            &mut table,
            "tcpalive reap",
            "destroyed",
            |f| f.destroyed,
            took,
        );
        count(&mut table, "", "in the journal", |f| f.journaled, None);
        count(&mut table, "", "wrong", |f| f.destroyed_wrongly, None);
        table.rule();
        count(
            &mut table,
            "B's kernel",
            "connections established",
            |f| f.established_after,
            None,
        );
        count(
            &mut table,
            "",
            "of these, C's",
            |f| f.established_after_of_living,
            None,
        );
        count(
            &mut table,
            "the server",
            "descriptors given back",
            |f| f.descriptors_given_back,
            None,
        );
        count(
            &mut table,
            "",
            "ends seen on dead connections",
            |f| f.server_errors_on_dead,
            None,
        );
        count(
            &mut table,
            "",
            "ends seen on living connections",
            |f| f.server_errors_on_living,
            None,
        );
        count(
            &mut table,
            "the living",
            "errors seen",
            |f| f.client_errors,
            None,
        );
        table.row(
            "",
            "messages lost",
            truth.messages_lost,
            found.messages_lost,
            None,
        );
        table.row(
            "",
            "messages repeated",
            truth.messages_repeated,
            found.messages_repeated,
            None,
        );
        if truth.exit_codes != found.exit_codes {
            let codes = |facts: &Facts| facts.exit_codes.map(|code| code.to_string()).join(" ");
            table.line(
                "exit codes",
                "of ls --summary, ls, check, reap",
                &codes(truth),
                &codes(found),
                "",
            );
        }
        table.rule();
        table.text.push_str(&self.conclusion());
        let (mark, words) = if self.held() {
            ("32", "Held: everything is as it should be.\n")
        } else {
            ("31", "DID NOT HOLD: see where truth and found differ.\n")
        };
        table.paint(mark, words);
        table.text
    }

    fn conclusion(&self) -> String {
        let times = &self.measured;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "From A's death until its last connection was let go: {:.1} s. The kernel, with keep-alive\n\
             and its defaults: {} s (7,200 + 9 × 75); without SO_KEEPALIVE, as here: for ever.",
            times.death_to_let_go_s,
            thousands_u64(times.kernel_default_s),
        );
        let errors: Vec<String> = times
            .server_errors
            .iter()
            .map(|(kind, count)| format!("{kind} on {}", thousands(*count)))
            .collect();
        let _ = writeln!(
            text,
            "The server saw {}. The living exchanged {} messages meanwhile.",
            if errors.is_empty() {
                "nothing".to_owned()
            } else {
                errors.join(", ")
            },
            thousands_u64(times.messages_exchanged)
        );
        let memory = [
            (
                times.memory_held_by_dead_bytes,
                "by check's count of what the dead held",
            ),
            (
                times.memory_given_back_bytes,
                "by the kernel's slabs, before and after",
            ),
        ];
        for (bytes, how) in memory {
            if let Some(bytes) = bytes {
                let _ = writeln!(text, "Memory given back: {} {how}.", megabytes(bytes));
            }
        }
        let _ = writeln!(
            text,
            "Built in {:.1} s, all of it {:.1} s; nothing is left behind.",
            times.setup_s, times.total_s
        );
        text
    }
}

impl fmt::Display for NightReport {
    /// The table without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table(false))
    }
}

impl Serialize for NightReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("NightReport", 6)?;
        object.serialize_field("type", "result")?;
        object.serialize_field("scenario", "night")?;
        object.serialize_field("held", &self.held())?;
        object.serialize_field("expected", &self.expected)?;
        object.serialize_field("observed", &self.observed)?;
        object.serialize_field("measured", &self.measured)?;
        object.end()
    }
}

struct Table {
    text: String,
    color: bool,
}

impl Table {
    fn row(&mut self, who: &str, what: &str, truth: u64, found: u64, took: Option<f64>) {
        let took = took
            .map(|seconds| format!("{seconds:.2} s"))
            .unwrap_or_default();
        self.line(
            who,
            what,
            &thousands_u64(truth),
            &thousands_u64(found),
            &took,
        );
    }

    fn line(&mut self, who: &str, what: &str, truth: &str, found: &str, took: &str) {
        let _ = write!(self.text, "{who:<16}{what:<38}{truth:>12}");
        let cell = format!("{found:>12}");
        let differs = truth != found;
        self.paint(if differs { "31" } else { "32" }, &cell);
        let _ = match (took, differs) {
            ("", false) => writeln!(self.text),
            (took, false) => writeln!(self.text, "{took:>12}"),
            (took, true) => writeln!(self.text, "{took:>12} ✗"),
        };
    }

    fn head(&mut self) {
        let _ = writeln!(
            self.text,
            "{:<54}{:>12}{:>12}{:>12}",
            "", "truth", "found", "took"
        );
    }

    fn rule(&mut self) {
        let _ = writeln!(self.text, "{}", "─".repeat(90));
    }

    fn paint(&mut self, sgr: &str, words: &str) {
        if self.color {
            let _ = write!(self.text, "\x1b[{sgr}m{words}\x1b[0m");
        } else {
            self.text.push_str(words);
        }
    }
}

/// `20480` as `20,480`.
pub(super) fn thousands(number: usize) -> String {
    thousands_u64(number as u64)
}

/// Verdicts and their counts in words.
pub(super) fn counts(verdicts: &BTreeMap<String, usize>) -> String {
    let words: Vec<String> = verdicts
        .iter()
        .map(|(verdict, count)| format!("{} {verdict}", thousands(*count)))
        .collect();
    words.join(", ")
}

fn thousands_u64(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shown with one digit after the point"
)]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> NightReport {
        NightReport {
            expected: Facts::truth(20_000, 480),
            observed: Facts::truth(20_000, 480),
            measured: Measured {
                connections: 20_480,
                setup_s: 2.0,
                ls_s: 0.1,
                check_s: 5.3,
                reap_s: 5.9,
                death_to_let_go_s: 11.9,
                total_s: 15.0,
                kernel_default_s: 7875,
                memory_held_by_dead_bytes: Some(64_000_000),
                memory_given_back_bytes: None,
                messages_exchanged: 300,
                server_errors: BTreeMap::from([("ECONNABORTED".to_owned(), 20_000)]),
            },
        }
    }

    #[test]
    fn night_holds_when_all_is_as_expected_and_the_living_talked() {
        assert!(report().held());
        let mut silent = report();
        silent.measured.messages_exchanged = 0;
        assert!(!silent.held());
        let mut wrong = report();
        wrong.observed.found_wrongly = 1;
        assert!(!wrong.held());
    }

    #[test]
    fn table_fits_100_columns_and_has_no_colour_unless_asked() {
        let mut report = report();
        report.observed.found_wrongly = 1;
        let table = report.to_string();
        assert!(
            table.lines().all(|line| line.chars().count() <= 100),
            "{table}"
        );
        assert!(!table.contains('\x1b'));
        assert_eq!(table.matches('✗').count(), 1);
        assert!(report.table(true).contains('\x1b'));
    }

    #[test]
    fn json_is_the_contracts_result_object() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["type"], "result");
        assert_eq!(json["scenario"], "night");
        assert_eq!(json["held"], true);
        assert_eq!(json["expected"]["found_dead"], 20_000);
        assert_eq!(json["observed"]["established_after"], 480);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(480), "480");
        assert_eq!(thousands(1_020_480), "1,020,480");
    }
}
