//! Numbers and tables for people.

use crate::bench::Spread;
use crate::report::thousands;
use std::fmt::Write;

/// With as many digits as say something: 12,346, 123.5, 12.35, 0.01235.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let sign = if value < 0.0 { "−" } else { "" };
        return format!("{sign}{}", thousands(size.round() as usize));
    }
    if size < 1e-9 {
        return "0".to_owned();
    }
    // Three digits from the first that is not 0.
    let digits = (2 - size.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text
            .trim_end_matches('0')
            .trim_end_matches('.')
            .replace('-', "−"),
        false => text.replace('-', "−"),
    }
}

/// A share of one core.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// The median, with the least and the most behind it.
pub(crate) fn spread(spread: Spread) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(number);
    if min == max {
        median
    } else {
        format!("{median} ({min} to {max})")
    }
}

/// A Markdown table; the first row is its heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

/// Owned cells.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToOwned::to_owned).to_vec()
}
