//! The words to the right of an operator.

use super::ast::{Network, Number, Text, Unit};
use super::error::nearest;
use crate::{Family, State};
use regex::bytes::{Regex, RegexBuilder};
use std::net::IpAddr;

/// Why a word is not a value: what was expected instead, and perhaps a hint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) expected: String,
    pub(super) hint: Option<String>,
}

impl Mismatch {
    fn new(expected: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A word that is one of a few names.
fn unknown_name(word: &str, what: &str, names: &[&str]) -> Mismatch {
    let mismatch = Mismatch::new(format!("{what} ({})", names.join(", ")));
    match nearest(word, names.iter().copied()) {
        Some(name) => mismatch.hint(format!("did you mean `{name}`?")),
        None => mismatch,
    }
}

/// The names of all states.
pub(super) fn state_names() -> Vec<&'static str> {
    let mut names: Vec<_> = State::ALL.into_iter().map(State::name).collect();
    // Two of the kernel's states share a name; the later one is left out.
    names.pop();
    names
}

pub(super) fn state(word: &str) -> Result<State, Mismatch> {
    word.parse()
        .map_err(|()| unknown_name(word, "a state", &state_names()))
}

pub(super) fn family(word: &str) -> Result<Family, Mismatch> {
    match word.to_ascii_lowercase().as_str() {
        "ipv4" | "inet" | "4" => Ok(Family::Ipv4),
        "ipv6" | "inet6" | "6" => Ok(Family::Ipv6),
        _ => Err(unknown_name(word, "a family", &["ipv4", "ipv6"])),
    }
}

pub(super) fn switch(word: &str) -> Result<bool, Mismatch> {
    match word.to_ascii_lowercase().as_str() {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(unknown_name(
            word,
            "a switch",
            &["on", "off", "true", "false"],
        )),
    }
}

/// An address or a network, IPv6 with or without brackets.
pub(super) fn network(word: &str) -> Result<Network, Mismatch> {
    let expected =
        || Mismatch::new("an IP address (192.0.2.1, 2001:db8::1) or a network (10.0.0.0/8)");
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word, None),
    };
    let bare = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|bare| bare.contains(':')),
        None => Some(address),
    };
    let Some(address) = bare.and_then(|bare| bare.parse::<IpAddr>().ok()) else {
        let mismatch = expected();
        return Err(if word.parse::<std::net::SocketAddr>().is_ok() {
            mismatch.hint("a port is compared by `local.port` or `remote.port`")
        } else if word.contains('%') {
            mismatch.hint("interface names (`%eth0`) are no part of a connection's address")
        } else {
            mismatch
        });
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => longest,
        Some(length) => digits(length)
            .and_then(|length| u8::try_from(length).ok())
            .filter(|length| *length <= longest)
            .ok_or_else(|| {
                Mismatch::new(format!("a prefix length from 0 to {longest} after the `/`"))
            })?,
    };
    Network::new(address, length).ok_or_else(expected)
}

/// One number or, where low and high are joined by `-`, a range of them.
pub(super) fn range(field: Number, word: &str) -> Result<(u64, u64), Mismatch> {
    let Some((low, high)) = word.split_once('-') else {
        return number(field, word).map(|number| (number, number));
    };
    let (from, to) = (number(field, low)?, number(field, high)?);
    if from > to {
        return Err(
            Mismatch::new("a range from low to high").hint(format!("did you mean `{high}-{low}`?"))
        );
    }
    Ok((from, to))
}

pub(super) fn number(field: Number, word: &str) -> Result<u64, Mismatch> {
    match field.unit() {
        Unit::Plain { max } => plain(field, max, word),
        Unit::Duration => duration(word),
        Unit::Bytes => bytes(word),
    }
}

/// All digits, and small enough.
fn digits(word: &str) -> Option<u64> {
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    word.parse().ok()
}

fn plain(field: Number, max: u64, word: &str) -> Result<u64, Mismatch> {
    let word = match field {
        // As `readlink /proc/self/ns/net` shows it.
        Number::Netns => word
            .strip_prefix("net:[")
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(word),
        _ => word,
    };
    digits(word)
        .filter(|number| *number <= max)
        .ok_or_else(|| match field {
            Number::LocalPort | Number::RemotePort | Number::Port => {
                Mismatch::new(format!("a port from 0 to {max}"))
            }
            Number::Pid => {
                Mismatch::new("a process id").hint("a process's name is compared by `comm`")
            }
            Number::Uid => Mismatch::new("a user id, which is a number"),
            _ => Mismatch::new(
                "the inode number of a network namespace (4026531840 or net:[4026531840])",
            ),
        })
}

/// `250ms`, `90s`, `15m`, `2h`, `1d`; 0 needs no unit.
fn duration(word: &str) -> Result<u64, Mismatch> {
    let expected = || Mismatch::new("a duration such as 250ms, 90s, 15m, 2h or 1d");
    let (count, unit) = split_unit(word);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if count.bytes().all(|b| b == b'0') => 1,
        "" if !count.is_empty() => {
            return Err(expected().hint(format!("did you mean `{count}s`?")));
        }
        _ => return Err(expected()),
    };
    scaled(count, scale, expected)
}

/// `1500`, `64k`, `64kB` (1000 bytes), `64KiB` (1024 bytes).
fn bytes(word: &str) -> Result<u64, Mismatch> {
    let expected = || Mismatch::new("a size such as 1500, 64kB (64000) or 1MiB (1048576)");
    let (count, unit) = split_unit(word);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(expected()),
    };
    scaled(count, scale, expected)
}

fn split_unit(word: &str) -> (&str, &str) {
    word.split_at(
        word.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(word.len()),
    )
}

fn scaled(count: &str, scale: u64, expected: impl Fn() -> Mismatch) -> Result<u64, Mismatch> {
    if count.is_empty() {
        return Err(expected());
    }
    digits(count)
        .and_then(|count| count.checked_mul(scale))
        .ok_or_else(|| expected().hint("this one is too large to count"))
}

/// Text that is compared as a whole.
pub(super) fn text(field: Text, word: &str) -> Result<Box<str>, Mismatch> {
    // TASK_COMM_LEN is 16 with the final NUL. A longer name would be false
    // for every process, the one that was meant included.
    if field == Text::Comm && word.len() > 15 {
        let mut cut = 15;
        while !word.is_char_boundary(cut) {
            cut -= 1;
        }
        return Err(
            Mismatch::new("a process's name as the kernel keeps it, at most 15 bytes")
                .hint(format!("did you mean `{}`?", &word[..cut])),
        );
    }
    Ok(word.into())
}

pub(super) fn pattern(word: &str, bare: bool) -> Result<Regex, Mismatch> {
    // Enough for any pattern a person types; `(a{1000}){1000}` is stopped
    // before it takes the memory of a host that is already ill.
    const PROGRAM_BYTES: usize = 1 << 20;
    let built = RegexBuilder::new(word)
        .size_limit(PROGRAM_BYTES)
        .nest_limit(64)
        .build();
    built.map_err(|error| {
        let expected = match &error {
            regex::Error::CompiledTooBig(_) => {
                "a regular expression that needs less memory".to_owned()
            }
            error => {
                // The last line of the report is the reason; those before
                // draw the pattern, which the caller does for the filter.
                let report = error.to_string();
                let reason = report.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                format!("a regular expression ({reason})")
            }
        };
        let mismatch = Mismatch::new(expected);
        if bare {
            mismatch.hint("a pattern with blanks, commas or quotes is written in quotes")
        } else {
            mismatch
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_milliseconds() {
        for (word, ms) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("18446744073709551615ms", u64::MAX),
        ] {
            assert_eq!(duration(word), Ok(ms), "{word}");
        }
        for word in [
            "",
            "s",
            "10",
            "10w",
            "1.5h",
            "-1s",
            "+1s",
            "1 s",
            "1h30m",
            "18446744073709551616ms",
        ] {
            assert!(duration(word).is_err(), "{word}");
        }
        assert!(duration("999999999999999999999h").is_err());
        assert!(duration("18446744073709551615h").is_err());
    }

    #[test]
    fn sizes_are_bytes() {
        for (word, size) in [
            ("0", 0),
            ("1500", 1500),
            ("1500B", 1500),
            ("2k", 2000),
            ("2kB", 2000),
            ("2KiB", 2048),
            ("3M", 3_000_000),
            ("3MB", 3_000_000),
            ("3MiB", 3 << 20),
            ("4G", 4_000_000_000),
            ("4GiB", 4 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(bytes(word), Ok(size), "{word}");
        }
        for word in [
            "",
            "MiB",
            "1.5MiB",
            "-1",
            "1XiB",
            "18446744073709551616",
            "99999999TiB",
        ] {
            assert!(bytes(word).is_err(), "{word}");
        }
    }

    #[test]
    fn numbers_have_their_fields_limits() {
        assert_eq!(number(Number::Port, "65535"), Ok(65_535));
        assert!(number(Number::Port, "65536").is_err());
        assert_eq!(number(Number::Pid, "4294967295"), Ok(u64::from(u32::MAX)));
        assert!(number(Number::Pid, "4294967296").is_err());
        assert!(number(Number::Uid, "root").is_err());
        assert_eq!(number(Number::Netns, "net:[4026531840]"), Ok(4_026_531_840));
    }

    #[test]
    fn names_come_in_their_usual_spellings() {
        assert_eq!(state("ESTAB"), Ok(State::Established));
        assert_eq!(state("FIN_WAIT2"), Ok(State::FinWait2));
        assert_eq!(family("inet6"), Ok(Family::Ipv6));
        assert_eq!(switch("Off"), Ok(false));
        assert_eq!(state_names().len(), 11);
    }

    #[test]
    fn a_pattern_that_needs_too_much_memory_is_refused() {
        let mismatch = pattern("(a{1000}){1000}", false).unwrap_err();
        assert_eq!(
            mismatch.expected,
            "a regular expression that needs less memory"
        );
        assert!(pattern(&"(".repeat(5000), false).is_err());
    }
}
