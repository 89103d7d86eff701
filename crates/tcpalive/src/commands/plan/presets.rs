//! What lets go of quiet connections on their way: `data/idle-timeouts.toml`.

use serde::{Deserialize, Serialize};

const SHIPPED: &str = include_str!("../../../data/idle-timeouts.toml");

/// All presets, in the order of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presets {
    #[serde(rename = "preset")]
    all: Vec<Preset>,
}

/// Something that lets go of quiet connections. The fields are those of the
/// file, whose head explains them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What `--via` takes.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// After how many seconds, by default.
    pub idle_s: u64,
    /// From and to what it can be set, in seconds, where that is documented.
    pub range_s: Option<(u64, u64)>,
    /// Whether a keep-alive probe counts.
    pub refreshed_by_probes: bool,
    /// What happens then.
    pub at_expiry: AtExpiry,
    /// Where the number is from.
    pub source: String,
    /// Year and month of the look.
    pub date: String,
    /// Whether the source is the maker's own word.
    pub verified: bool,
    /// What else is to be known.
    pub note: Option<String>,
}

/// What happens to a connection that was quiet for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AtExpiry {
    /// Later packets are dropped; nobody is told.
    Silent,
    /// Somebody gets a reset.
    Reset,
    /// A proxy closes both sides.
    Close,
    /// Not documented.
    Unknown,
}

impl AtExpiry {
    /// The word in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Unknown => "unknown",
        }
    }
}

impl Presets {
    /// Those of the file in this program.
    ///
    /// # Panics
    /// Never with a file that its test has seen.
    #[must_use]
    pub fn shipped() -> Self {
        toml::from_str(SHIPPED).expect("data/idle-timeouts.toml is tested")
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Preset] {
        &self.all
    }

    /// The preset with this name.
    ///
    /// # Errors
    /// There is none; the text has the nearest names.
    pub fn find(&self, name: &str) -> Result<&Preset, String> {
        let found = self.all.iter().find(|preset| preset.name == name);
        found.ok_or_else(|| {
            let names = self.all.iter().map(|preset| preset.name.as_str());
            let near = nearest(name, names).join(", ");
            format!(
                "--via: there is no '{name}'; the nearest names are {near}, and `tcpalive plan --list` \
                 has all; --idle-timeout takes any duration"
            )
        })
    }
}

/// The three names that take the fewest changes, those first that contain
/// what was asked for.
pub(super) fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let asked = asked.to_lowercase();
    let mut names: Vec<&str> = names.collect();
    names.sort_by_key(|name| {
        let contains = !asked.is_empty() && (name.contains(&asked) || asked.contains(name));
        (!contains, edits(&asked, name))
    });
    names.truncate(3);
    names
}

/// How many characters must be put in, taken out or replaced (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_preset_is_complete_and_has_a_name_of_its_own() {
        let presets = Presets::shipped();
        let mut names = HashSet::new();
        for preset in presets.all() {
            let name = &preset.name;
            assert!(names.insert(name), "{name} is there twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(plain), "{name}");
            assert!(!preset.title.is_empty() && !preset.source.is_empty());
            let (year, month) = preset.date.split_once('-').unwrap();
            assert!(year.parse::<u16>().unwrap() >= 2025, "{name}");
            assert!((1..=12).contains(&month.parse::<u8>().unwrap()), "{name}");
            assert!(preset.idle_s > 0);
            if let Some((least, most)) = preset.range_s {
                assert!((least..=most).contains(&preset.idle_s), "{name}");
            }
        }
        assert!(names.len() >= 20);
    }

    #[test]
    fn a_name_that_is_not_there_gets_the_nearest_ones() {
        let presets = Presets::shipped();
        for (asked, expected) in [
            ("aws-nbl", "aws-nlb"),
            ("azure", "azure-lb"),
            ("AWS-NLB", "aws-nlb"),
            ("conntrack", "linux-conntrack"),
            ("", "ipvs"),
        ] {
            let error = presets.find(asked).unwrap_err();
            assert!(error.contains(expected), "{asked}: {error}");
        }
        assert_eq!(presets.find("ipvs").unwrap().idle_s, 900);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
