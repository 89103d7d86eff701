//! A filter as text that parses back to an equivalent one.

use super::ast::{Expr, Field, Network, Numbers, Operator, Ranges, Test, Texts, Unit};
use super::lexer::{ends_word, keyword};
use super::value::state_names;
use crate::{Family, State, StateSet};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(terms) => join(f, terms, " and "),
            Self::Any(terms) => join(f, terms, " or "),
            Self::Not(inner) => match inner.as_ref() {
                Self::Test(test) => write_test(f, test, true),
                compound => write!(f, "not ({compound})"),
            },
            Self::Test(test) => write_test(f, test, false),
        }
    }
}

fn join(f: &mut Formatter<'_>, terms: &[Expr], conjunction: &str) -> fmt::Result {
    for (i, term) in terms.iter().enumerate() {
        if i > 0 {
            f.write_str(conjunction)?;
        }
        match term {
            // Within a conjunction; a disjunction has no disjunction in it.
            Expr::Any(_) => write!(f, "({term})")?,
            _ => write!(f, "{term}")?,
        }
    }
    Ok(())
}

fn write_test(f: &mut Formatter<'_>, test: &Test, negated: bool) -> fmt::Result {
    let name = test.field().name();
    let one_of = |f: &mut Formatter<'_>, values: &[String]| match values {
        [one] => {
            let operator = if negated {
                Operator::NotEqual
            } else {
                Operator::Equal
            };
            write!(f, "{name} {} {one}", operator.name())
        }
        many => {
            let not = if negated { "not " } else { "" };
            write!(f, "{not}{name} in ({})", many.join(", "))
        }
    };
    let not = if negated { "not " } else { "" };
    match test {
        Test::State(states) => one_of(f, &written_states(*states)),
        Test::Address(_, networks) => one_of(
            f,
            &networks.iter().map(Network::to_string).collect::<Vec<_>>(),
        ),
        Test::Family(families) => one_of(
            f,
            &families
                .iter()
                .map(|family| family.name().to_owned())
                .collect::<Vec<_>>(),
        ),
        Test::Number(_, Numbers::Compare(order, limit)) => {
            let limit = written_number(test.field(), *limit);
            write!(f, "{not}{name} {} {limit}", order.operator().name())
        }
        Test::Number(_, Numbers::In(ranges)) => one_of(f, &written_ranges(test.field(), ranges)),
        Test::Text(_, Texts::OneOf(texts)) => one_of(
            f,
            &texts
                .iter()
                .map(|text| written_text(text))
                .collect::<Vec<_>>(),
        ),
        Test::Text(_, Texts::Matching(pattern)) => {
            write!(f, "{not}{name} ~ {}", written_text(pattern.as_str()))
        }
        Test::KeepAlive => write!(f, "{not}{name}"),
    }
}

fn written_states(states: StateSet) -> Vec<String> {
    state_names()
        .into_iter()
        .filter(|name| {
            name.parse::<State>()
                .is_ok_and(|state| states.contains(state))
        })
        .map(str::to_owned)
        .collect()
}

fn written_ranges(field: Field, ranges: &Ranges) -> Vec<String> {
    ranges
        .as_slice()
        .iter()
        .map(|(low, high)| {
            let low_text = written_number(field, *low);
            if low == high {
                low_text
            } else {
                format!("{low_text}-{}", written_number(field, *high))
            }
        })
        .collect()
}

/// In the largest unit that makes it a whole number.
fn written_number(field: Field, number: u64) -> String {
    const DURATIONS: [(u64, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    const SIZES: [(u64, &str); 6] = [
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1000, "kB"),
    ];
    let unit = match field {
        Field::Number(number) => number.unit(),
        _ => Unit::Plain { max: u64::MAX },
    };
    let (scales, smallest): (&[(u64, &str)], _) = match unit {
        Unit::Plain { .. } => (&[], ""),
        Unit::Duration => (&DURATIONS, "ms"),
        Unit::Bytes => (&SIZES, ""),
    };
    match scales
        .iter()
        .find(|(scale, _)| number > 0 && number.is_multiple_of(*scale))
    {
        Some((scale, name)) => format!("{}{name}", number / scale),
        None => format!("{number}{smallest}"),
    }
}

/// Bare where that reads back as the same text, in quotes otherwise. Double
/// quotes first: people have single ones around the whole filter.
fn written_text(text: &str) -> String {
    if !text.is_empty() && !text.contains(ends_word) && keyword(text).is_none() {
        return text.to_owned();
    }
    if text.contains('"') && !text.contains('\'') {
        return format!("'{text}'");
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

impl Display for Network {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let v6 = self.prefix.address();
        let length = self.prefix.length();
        let (address, length, whole) = match (self.family, v6.to_ipv4_mapped()) {
            (Family::Ipv4, Some(v4)) => (IpAddr::V4(v4), length.saturating_sub(96), 32),
            _ => (IpAddr::V6(v6), length, 128),
        };
        if length == whole {
            write!(f, "{address}")
        } else {
            write!(f, "{address}/{length}")
        }
    }
}
