//! What `doctor` found out.

use super::Style;
use super::json;
use super::style::Paint;
use super::text::{clean, push_wrapped, width};
use super::units::Of;
use tcpalive_kernel::capabilities::{Allowed, Capability};

/// A namespace of a lab whose process was killed.
#[derive(Debug, Clone)]
pub struct LeftBehind {
    /// Its name, as `ip netns` knows it.
    pub netns: String,
    /// The process that made it.
    pub maker: u32,
    /// Processes that run in it.
    pub processes: Vec<u32>,
    /// Whether it has just been removed.
    pub removed: bool,
}

/// All that `doctor` found out.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// What is allowed and what is not.
    pub capabilities: &'a [Capability],
    /// What labs left behind.
    pub left: &'a [LeftBehind],
    /// Whether it was to be removed.
    pub cleaned: bool,
}

/// Columns of the words before the reasons.
const LABEL: usize = "without it: ".len();

impl Report<'_> {
    /// The objects, a summary last.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for capability in self.capabilities {
            json::capability(&mut out, capability);
        }
        for left in self.left {
            json::leftover(&mut out, left);
        }
        json::doctor_summary(&mut out, self);
        out
    }

    /// The table for people. Names and answers stand in columns; the reasons
    /// are wrapped beside them, and what is lost is told where something is.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        let names = self.capabilities.iter().map(|it| width(it.name));
        let column = names.max().unwrap_or(0) + 2;
        for capability in self.capabilities {
            push_capability(&mut out, capability, column, style);
        }
        out.push('\n');
        self.push_left(&mut out, style);
        let [allowed, refused, unknown] = self.counts();
        let line = format!(
            "{}: {allowed} allowed, {refused} not, {unknown} not known.",
            Of(self.capabilities.len() as u64, "question")
        );
        push_wrapped(&mut out, &line, 0, style.prose_width());
        out
    }

    fn push_left(&self, out: &mut String, style: Style) {
        if self.left.is_empty() {
            out.push_str("Nothing is left behind by earlier runs.\n");
            return;
        }
        for left in self.left {
            let done = if left.removed {
                "Removed"
            } else {
                "Left behind"
            };
            let line = format!(
                "{done}: network namespace {} of process {}, which is no more, with {} in it.",
                clean(&left.netns),
                left.maker,
                match left.processes.len() {
                    0 => "no process".to_owned(),
                    1 => "1 process".to_owned(),
                    n => format!("{n} processes"),
                }
            );
            push_wrapped(out, &line, 0, style.prose_width());
        }
        if !self.cleaned {
            out.push_str("`tcpalive doctor --clean` removes what is left behind.\n");
        }
    }

    /// Allowed, not allowed, not known.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [Allowed::Yes, Allowed::No, Allowed::Unknown].map(|wanted| {
            let of_kind = self.capabilities.iter().filter(|it| it.allowed == wanted);
            of_kind.count() as u64
        })
    }
}

fn push_capability(out: &mut String, capability: &Capability, column: usize, style: Style) {
    let (answer, paint) = match capability.allowed {
        Allowed::Yes => ("yes", Paint::Green),
        Allowed::No => ("no", Paint::Yellow),
        Allowed::Unknown => ("?", Paint::Bold),
    };
    let indent = column + "yes  ".len();
    out.push_str(capability.name);
    out.extend(std::iter::repeat_n(' ', column - width(capability.name)));
    paint.push(out, answer, style.color);
    out.extend(std::iter::repeat_n(' ', "yes  ".len() - answer.len()));
    push_wrapped(out, &clean(&capability.why), indent, style.prose_width());
    if capability.allowed == Allowed::Yes {
        return;
    }
    let lines = [
        ("without it: ", Some(capability.consequence.as_str())),
        ("to get it: ", capability.remedy.as_deref()),
    ];
    for (label, text) in lines {
        if let Some(text) = text {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(label);
            out.extend(std::iter::repeat_n(' ', LABEL - label.len()));
            push_wrapped(out, &clean(text), indent + LABEL, style.prose_width());
        }
    }
}
