//! The table and the page.

use crate::bench::{Bench, Series};
use std::fmt::Write;

/// A figure beside what it has to beat.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) ours: String,
    /// The peer's figure, or a dash where there is no peer.
    pub(crate) peer: String,
    pub(crate) result: String,
    pub(crate) is_met: bool,
    pub(crate) floor: String,
    pub(crate) series: Vec<Series>,
    /// Where the time goes.
    pub(crate) notes: Vec<String>,
}

const COLUMNS: [&str; 7] = ["What", "Beat", "tcpalive", "Peer", "Result", "Met", "Floor"];

fn cells(figure: &Figure) -> [&str; 7] {
    [
        &figure.what,
        &figure.target,
        &figure.ours,
        &figure.peer,
        &figure.result,
        if figure.is_met { "yes" } else { "no" },
        &figure.floor,
    ]
}

/// The table as Markdown with columns of equal width.
pub(crate) fn table(figures: &[Figure]) -> String {
    let rows: Vec<[&str; 7]> = std::iter::once(COLUMNS)
        .chain(figures.iter().map(cells))
        .collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let padding = " ".repeat(width - cell.chars().count());
            let _ = write!(text, "| {cell}{padding} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// What each figure consists of.
pub(crate) fn details(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let _ = writeln!(text, "\n## {}\n\n{}\n", figure.name, figure.what);
        if !figure.series.is_empty() {
            push_series(&mut text, &figure.series);
        }
        for note in &figure.notes {
            let _ = writeln!(text, "- {note}");
        }
    }
    text
}

fn push_series(text: &mut String, all: &[Series]) {
    text.push_str("| | Command | Runs | Time | Processor | Memory |\n|---|---|---|---|---|---|\n");
    for series in all {
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} | {:.2} s | {:.1} MiB |",
            series.label,
            series.shown,
            series.runs.len(),
            series.elapsed(),
            series.spread(|run| run.cpu_s).median,
            series.spread(|run| run.peak_mib).median,
        );
    }
    text.push('\n');
}

/// `docs/benchmarks.md`.
pub(crate) fn page(machine: &[(&str, String)], bench: &Bench, figures: &[Figure]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\n\
         Written by `make bench`; do not edit. Every figure is measured beside its peer on the same sockets in the \
         same run.\n\n",
    );
    let _ = writeln!(
        text,
        "Commands take turns (A B A B …), {} runs each unless the table says otherwise. Times are medians of whole \
         processes, from start to exit, with the fastest and the slowest run behind them; memory is the peak of \
         what was resident. NAME is the network namespace that holds the connections.\n",
        bench.runs
    );
    text.push_str("| | |\n|---|---|\n");
    for (what, fact) in machine {
        let _ = writeln!(text, "| {what} | {fact} |");
    }
    text.push('\n');
    text.push_str(&table(figures));
    text.push_str(&details(figures));
    text
}

/// 20,480 instead of 20480.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
