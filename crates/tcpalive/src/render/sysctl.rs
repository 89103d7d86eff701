//! The keep-alive sysctls, and what a change of them reaches.

use super::Style;
use super::json;
use super::line::{Align, Slot, push_line};
use super::style::Paint;
use super::text::{Cut, clean, push_wrapped, width};
use super::units::{Count, Exact, Of};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use tcpalive_connections::Comm;
use tcpalive_keepalive::{Hz, Sysctl};
use tcpalive_kernel::sysctl::KeepaliveSysctls;

/// The sysctls of one namespace, with what follows from them.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Inode of the namespace.
    pub netns: u64,
    /// How it was found: its name, its path or a process in it.
    pub name: String,
    /// The values.
    pub values: KeepaliveSysctls,
    /// The kernel's tick rate, if known.
    pub hz: Option<Hz>,
    /// Its connections, if known.
    pub sockets: Option<Sockets>,
    /// What these values do that nobody wants.
    pub warnings: Vec<String>,
}

impl Shown {
    /// What follows from the values; see [`Effect::of`].
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        Effect::of(&self.values, self.hz)
    }
}

/// Connections of a namespace in the states that keep-alive watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sockets {
    /// With keep-alive by the sysctls alone.
    pub follow: u64,
    /// With keep-alive, and at least one value that the program set.
    pub own_values: u64,
    /// Without keep-alive.
    pub off: u64,
}

/// What follows from the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// From the last that was heard of a dead peer to the end of the
    /// connection, at the soonest. It differs from `within` only when the
    /// interval is longer than the time.
    pub soonest: Duration,
    /// The same, at the latest.
    pub within: Duration,
    /// How much later the kernel's timers can make it, if its tick rate is known.
    pub lateness: Option<Duration>,
}

impl Effect {
    /// `None` when a value is negative: no dead peer is noticed then.
    #[must_use]
    pub fn of(values: &KeepaliveSysctls, hz: Option<Hz>) -> Option<Self> {
        let [time, interval, probes] = values.values();
        let timing = Sysctl::new(time, interval, probes).ok()?.timing();
        let span = timing.detection_time().from_last_heard;
        Some(Self {
            soonest: span.best,
            within: span.worst,
            lateness: hz.map(|hz| timing.lateness(hz)),
        })
    }

    /// The detection time: `1 min 50 s`, or `1 min 50 s to 2 min`.
    fn detection(&self) -> String {
        let within = Exact(self.within.as_secs());
        if self.soonest == self.within {
            within.to_string()
        } else {
            format!("{} to {within}", Exact(self.soonest.as_secs()))
        }
    }
}

/// All that is shown.
#[derive(Debug, Clone, Default)]
pub struct Table {
    shown: Vec<Shown>,
}

const TITLES: [&str; 10] = [
    "NETNS",
    "INODE",
    "TIME",
    "INTERVAL",
    "PROBES",
    "DETECTS WITHIN",
    "LATE BY",
    "FOLLOW",
    "OWN",
    "OFF",
];

impl Table {
    /// Adds a namespace.
    pub fn push(&mut self, shown: Shown) {
        self.shown.push(shown);
    }

    /// The objects, a summary last.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for shown in &self.shown {
            json::sysctl(&mut out, shown);
        }
        json::sysctl_summary(&mut out, &self.shown);
        out
    }

    /// The table for people: a row per namespace. The kernel's names of
    /// namespaces may be paths, which are cut at their beginning.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let rows: Vec<[String; 10]> = self.shown.iter().map(cells).collect();
        let mut slots: Vec<Slot> = (0..TITLES.len())
            .map(|at| {
                let cells = rows.iter().map(|row| width(&row[at]));
                Slot {
                    width: cells.chain([width(TITLES[at])]).max().unwrap_or_default(),
                    align: if at == 0 { Align::Left } else { Align::Right },
                    cut: if at == 0 { Cut::Start } else { Cut::Never },
                }
            })
            .collect();
        let excess = super::line::total_width(&slots).saturating_sub(style.width);
        slots[0].width = slots[0].width.saturating_sub(excess).max(12);
        let mut out = String::new();
        push_line(
            &mut out,
            &slots,
            TITLES.into_iter().map(|title| (title, Paint::Bold)),
            style,
        );
        for (row, shown) in rows.iter().zip(&self.shown) {
            let dangerous = !shown.warnings.is_empty();
            let cells = row.iter().enumerate().map(|(at, cell)| {
                let paint = match at {
                    2..=4 if dangerous => Paint::Yellow,
                    5 => Paint::Bold,
                    _ => Paint::Plain,
                };
                (cell.as_str(), paint)
            });
            push_line(&mut out, &slots, cells, style);
        }
        out.push('\n');
        let line = "FOLLOW, OWN and OFF are connections with keep-alive by these sysctls, with values \
                    that their programs set, and without keep-alive.";
        push_wrapped(&mut out, line, 0, style.prose_width());
        out
    }
}

fn cells(shown: &Shown) -> [String; 10] {
    let effect = shown.effect();
    let unknown = || "?".to_owned();
    let sockets = |of: fn(&Sockets) -> u64| {
        let sockets = shown.sockets.as_ref().map(of);
        sockets.map_or_else(unknown, |count| Count(count).to_string())
    };
    [
        clean(&shown.name),
        shown.netns.to_string(),
        format!("{} s", shown.values.time_s),
        format!("{} s", shown.values.interval_s),
        shown.values.probes.to_string(),
        effect.map_or_else(|| "never".to_owned(), |it| it.detection()),
        match effect {
            Some(effect) => effect.lateness.map_or_else(unknown, rounded_up),
            None => "-".to_owned(),
        },
        sockets(|it| it.follow),
        sockets(|it| it.own_values),
        sockets(|it| it.off),
    ]
}

/// To tenths below ten seconds, then to seconds: never less than it is.
fn rounded_up(duration: Duration) -> String {
    let tenths = duration.as_millis().div_ceil(100);
    if tenths < 100 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = u64::try_from(duration.as_millis().div_ceil(1000));
    Exact(seconds.unwrap_or(u64::MAX)).to_string()
}

/// What was set in one namespace.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Inode of the namespace.
    pub netns: u64,
    /// How it was found.
    pub name: String,
    /// The values before.
    pub before: KeepaliveSysctls,
    /// The values now.
    pub after: KeepaliveSysctls,
    /// The kernel's tick rate, if known.
    pub hz: Option<Hz>,
    /// What the change reaches, if known.
    pub reach: Option<Reach>,
    /// What the values do that nobody wants.
    pub warnings: Vec<String>,
}

/// What a change reaches, and what not.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// The connections: those that follow are reached when their timer, set
    /// before the change, next fires.
    pub sockets: Sockets,
    /// When the last of these timers is due, in milliseconds from now.
    pub next_fire_latest_ms: Option<u64>,
    /// How many connections with values of their own have another time,
    /// interval, number of probes than the namespace.
    pub other_values: [u64; 3],
    /// Programs that hold those with values of their own, most first.
    pub programs: Vec<(Comm, u64)>,
}

/// The file that was written.
#[derive(Debug, Clone)]
pub struct Persisted {
    /// Where it is.
    pub path: PathBuf,
    /// What wins over it at the next boot.
    pub overridden: Vec<Override>,
}

/// A file that gives a key another value after ours gave it one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The file.
    pub path: PathBuf,
    /// The key with dots.
    pub key: String,
    /// What it is set to there.
    pub value: String,
}

/// All that `sysctl set` did.
#[derive(Debug, Clone)]
pub struct Report {
    /// One for each namespace.
    pub changes: Vec<Changed>,
    /// The file, if one was written.
    pub persisted: Option<Persisted>,
}

/// Programs that are named.
const NAMED: usize = 5;

impl Report {
    /// The objects, a summary last.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for changed in &self.changes {
            json::sysctl_changed(&mut out, changed);
        }
        if let Some(persisted) = &self.persisted {
            json::sysctl_persisted(&mut out, persisted);
        }
        json::sysctl_set_summary(&mut out, self);
        out
    }

    /// The account for people, a paragraph per namespace.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        for changed in &self.changes {
            changed.push_text(&mut out, style);
            out.push('\n');
        }
        if let Some(persisted) = &self.persisted {
            let line = format!("Written for the next boot: {}", persisted.path.display());
            push_wrapped(&mut out, &clean(&line), 0, style.prose_width());
        } else {
            let line = "This holds until the namespace is gone or the host boots; --persist writes it \
                        to /etc/sysctl.d for the host's initial namespace.";
            push_wrapped(&mut out, line, 0, style.prose_width());
        }
        out
    }
}

impl Changed {
    fn push_text(&self, out: &mut String, style: Style) {
        let title = format!("Network namespace {} ({})", clean(&self.name), self.netns);
        Paint::Bold.push(out, &title, style.color);
        out.push('\n');
        let (before, after) = (self.before.values(), self.after.values());
        for (at, (name, unit)) in [("time", " s"), ("interval", " s"), ("probes", "")]
            .into_iter()
            .enumerate()
        {
            write!(out, "  {name:<9} ").expect("a String takes everything");
            if before[at] == after[at] {
                writeln!(out, "{}{unit}, as before", after[at]).expect("a String takes everything");
            } else {
                write!(out, "{}{unit} → ", before[at]).expect("a String takes everything");
                Paint::Bold.push(out, &format!("{}{unit}\n", after[at]), style.color);
            }
        }
        let within = |values| {
            let effect = Effect::of(values, self.hz);
            effect.map_or_else(|| "never".to_owned(), |it| it.detection())
        };
        let late = Effect::of(&self.after, self.hz).and_then(|it| it.lateness);
        let late = late.map_or_else(String::new, |late| {
            format!(
                ", and up to {} more by the kernel's timers",
                rounded_up(late)
            )
        });
        let (was, is) = (within(&self.before), within(&self.after));
        let detects = if was == is {
            is
        } else {
            format!("{was} → {is}")
        };
        let mut line = |text: &str| {
            out.push_str("  ");
            push_wrapped(out, text, 2, style.prose_width());
        };
        line(&format!("detects   a dead peer within {detects}{late}"));
        let Some(reach) = &self.reach else {
            line("Which connections that reaches is not known here.");
            return;
        };
        for sentence in reach.sentences(&clean(&self.name)) {
            line(&sentence);
        }
    }
}

impl Reach {
    fn sentences(&self, name: &str) -> Vec<String> {
        let Sockets {
            follow,
            own_values,
            off,
        } = self.sockets;
        let mut sentences = Vec::new();
        if follow > 0 {
            let latest = match self.next_fire_latest_ms {
                Some(ms) => format!(", the last of them due in {}", Exact(ms.div_ceil(1000))),
                None => String::new(),
            };
            sentences.push(format!(
                "{} with keep-alive by the sysctls: reached when their timers fire, which were armed \
                 before and do not move{latest}.",
                Of(follow, "connection")
            ));
        }
        if own_values > 0 {
            let [time, interval, probes] = self.other_values.map(Count);
            sentences.push(format!(
                "{} with values that programs set{}: not reached where these differ, which is the time of \
                 {time}, the interval of {interval} and the probes of {probes}.",
                Of(own_values, "connection"),
                self.programs_text()
            ));
        }
        if off > 0 {
            sentences.push(format!(
                "{} without keep-alive: not reached by any sysctl. `tcpalive ls --netns {name} 'not \
                 keepalive'` lists them.",
                Of(off, "connection")
            ));
        }
        if sentences.is_empty() {
            sentences
                .push("No connection is open there: those to come start with these values.".into());
        }
        sentences
    }

    /// ` (nginx 12, go 3)`.
    fn programs_text(&self) -> String {
        if self.programs.is_empty() {
            return String::new();
        }
        let mut named: Vec<String> = self
            .programs
            .iter()
            .take(NAMED)
            .map(|(comm, count)| format!("{} {}", clean(&comm.as_text()), Count(*count)))
            .collect();
        if self.programs.len() > NAMED {
            named.push("…".into());
        }
        format!(" ({})", named.join(", "))
    }
}
