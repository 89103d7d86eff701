//! The lines to paste: `data/snippets.toml` and the files beside it.

use super::presets::nearest;
use crate::cli::Failure;
use serde::Deserialize;
use tcpalive_keepalive::params::Seconds;
use tcpalive_keepalive::{Params, Plan};

const SHIPPED: &str = include_str!("../../../data/snippets.toml");

/// The text of a snippet, by its name.
const TEXTS: [(&str, &str); 12] = [
    ("sysctl", include_str!("../../../data/snippets/sysctl.conf")),
    (
        "systemd",
        include_str!("../../../data/snippets/systemd.conf"),
    ),
    ("nginx", include_str!("../../../data/snippets/nginx.conf")),
    (
        "haproxy",
        include_str!("../../../data/snippets/haproxy.cfg"),
    ),
    (
        "postgresql",
        include_str!("../../../data/snippets/postgresql.conf"),
    ),
    ("libpq", include_str!("../../../data/snippets/libpq.conf")),
    ("redis", include_str!("../../../data/snippets/redis.conf")),
    ("go", include_str!("../../../data/snippets/go.go")),
    ("rust", include_str!("../../../data/snippets/rust.rs")),
    ("python", include_str!("../../../data/snippets/python.py")),
    ("java", include_str!("../../../data/snippets/java.java")),
    ("node", include_str!("../../../data/snippets/node.js")),
];

/// All snippets, in the order of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snippets {
    #[serde(rename = "snippet")]
    all: Vec<Snippet>,
}

/// The lines for a program, without values. The fields are those of the file,
/// whose head explains them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snippet {
    name: String,
    title: String,
    goes_to: String,
    cannot: Option<String>,
    checked_by: String,
}

/// The lines for a program.
#[derive(Debug, Clone)]
pub struct Filled<'a> {
    /// What `--for` takes.
    pub name: &'a str,
    /// What people call it.
    pub title: &'a str,
    /// Where the lines belong.
    pub goes_to: &'a str,
    /// What the program cannot express, if anything.
    pub cannot: Option<&'a str>,
    /// What the tests do with the lines.
    pub checked_by: &'a str,
    /// The lines; `None` when the program has no values that fit.
    pub text: Option<String>,
}

impl Snippets {
    /// Those of the files in this program.
    ///
    /// # Panics
    /// Never with a file that its test has seen.
    #[must_use]
    pub fn shipped() -> Self {
        toml::from_str(SHIPPED).expect("data/snippets.toml is tested")
    }

    /// Those with these names, or all.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn wanted(&self, names: &[String]) -> Result<Vec<&Snippet>, Failure> {
        if names.is_empty() {
            return Ok(self.all.iter().collect());
        }
        let find = |name: &String| {
            let found = self.all.iter().find(|it| it.name == *name);
            found.ok_or_else(|| {
                let all: Vec<&str> = self.all.iter().map(|it| it.name.as_str()).collect();
                let near = nearest(name, all.iter().copied())[0];
                let all = all.join(", ");
                Failure::Usage(format!(
                    "--for: there are no lines for '{name}'; did you mean {near}? There are: {all}"
                ))
            })
        };
        names.iter().map(find).collect()
    }
}

impl Snippet {
    /// With the values of a plan.
    ///
    /// # Panics
    /// Never with files that their test has seen.
    #[must_use]
    pub fn fill(&self, plan: &Plan) -> Filled<'_> {
        let (_, template) = TEXTS
            .iter()
            .find(|(name, _)| *name == self.name)
            .expect("every snippet has a text");
        Filled {
            name: &self.name,
            title: &self.title,
            goes_to: &self.goes_to,
            cannot: self.cannot.as_deref(),
            checked_by: &self.checked_by,
            text: filled(template, plan),
        }
    }
}

impl Filled<'_> {
    /// Why there are no lines, if there are none.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.text.is_none().then(|| {
            format!(
                "--for {}: {} cannot do it ({}): no number that it takes notices a dead peer as soon \
                 as the plan and keeps the path open",
                self.name,
                self.title,
                self.cannot.unwrap_or_default()
            )
        })
    }
}

/// The template with the values; `None` when it needs a number that is not there.
fn filled(template: &str, plan: &Plan) -> Option<String> {
    let params = &plan.params;
    let mut text = template
        .replace("@idle@", &params.idle.get().to_string())
        .replace("@interval@", &params.interval.get().to_string())
        .replace("@count@", &params.count.get().to_string())
        .replace(
            "@user_timeout_ms@",
            &params.user_timeout.as_millis().to_string(),
        );
    for (word, shape) in [
        ("@redis@", redis as fn(Seconds) -> Params),
        ("@node@", node),
    ] {
        if text.contains(word) {
            text = text.replace(word, &plan.fit(shape)?.get().to_string());
        }
    }
    Some(text)
}

/// What Redis makes of `tcp-keepalive N`: `anetKeepAlive` in its source.
fn redis(number: Seconds) -> Params {
    let idle = u32::from(number.get());
    Params::new(idle, (idle / 3).max(1), 3).expect("a third of what is valid, or 1, is valid")
}

/// What Node makes of `setKeepAlive(true, N * 1000)`: `uv__tcp_keepalive`.
fn node(number: Seconds) -> Params {
    Params::new(number.get().into(), 1, 10).expect("valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpalive_keepalive::Wish;

    #[test]
    fn every_snippet_has_its_text_and_every_text_its_entry() {
        let snippets = Snippets::shipped();
        let names: Vec<&str> = snippets.all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, TEXTS.map(|(name, _)| name));
    }

    #[test]
    fn no_placeholder_is_left() {
        let plan = Wish::default().plan().unwrap();
        for snippet in &Snippets::shipped().all {
            let text = snippet.fill(&plan).text.unwrap();
            assert!(!text.contains('@'), "{text}");
            assert!(text.ends_with('\n'));
        }
    }
}
