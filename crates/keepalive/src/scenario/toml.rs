//! Scenarios from TOML files.

use super::{Happening, Opened, Peer, Scenario, Step};
use crate::machine::Errno;
use crate::options::{Options, SetOption, Sysctl};
use crate::params::{Count, Seconds, UserTimeout};
use crate::time::Time;
use core::fmt;
use core::time::Duration;
use serde::Deserialize;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;
use toml::Spanned;

impl Scenario {
    /// Reads a scenario. All times are seconds; keep-alive is off, and its
    /// values are Linux's, where nothing else is said.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and field.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let reading = Reading { text };
        let file: File = toml::from_str(text).map_err(|error| reading.syntax(&error))?;
        reading.scenario(&file)
    }
}

/// What is wrong with a scenario file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// Counted from 1; 0 when something is missing from the file as a whole.
    pub line: usize,
    /// The table and key, such as `keepalive.idle`, where one is at fault.
    pub field: Option<String>,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl core::error::Error for ScenarioError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    until: Spanned<f64>,
    opened: Option<Spanned<String>>,
    #[serde(default)]
    keepalive: KeepAlive,
    #[serde(default)]
    sysctl: SysctlTable,
    #[serde(default)]
    peer: PeerTable,
    #[serde(default)]
    event: Vec<Spanned<Event>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct KeepAlive {
    enabled: Option<bool>,
    idle: Option<Spanned<f64>>,
    interval: Option<Spanned<f64>>,
    count: Option<Spanned<i64>>,
    user_timeout: Option<Spanned<f64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SysctlTable {
    time: Option<Spanned<i64>>,
    interval: Option<Spanned<i64>>,
    probes: Option<Spanned<i64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    rtt: Option<Spanned<f64>>,
    silent_from: Option<Spanned<f64>>,
    resets_from: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    at: Spanned<f64>,
    kind: Spanned<String>,
    acked: Option<Spanned<bool>>,
    error: Option<Spanned<String>>,
    quotes: Option<Spanned<String>>,
    enabled: Option<Spanned<bool>>,
    idle: Option<Spanned<f64>>,
    interval: Option<Spanned<f64>>,
    count: Option<Spanned<i64>>,
    user_timeout: Option<Spanned<f64>>,
    time: Option<Spanned<i64>>,
    probes: Option<Spanned<i64>>,
}

/// The kinds of events and the fields that they take beside `at` and `kind`.
const KINDS: [(&str, &[&str]); 16] = [
    ("receive-data", &[]),
    ("receive-ack", &[]),
    ("receive-probe", &[]),
    ("receive-garbage-probe", &[]),
    ("receive-out-of-order", &[]),
    ("receive-old-ack", &[]),
    ("receive-future-ack", &[]),
    ("send-data", &["acked"]),
    (
        "set",
        &["enabled", "idle", "interval", "count", "user_timeout"],
    ),
    ("sysctl", &["time", "interval", "probes"]),
    ("icmp-error", &["error", "quotes"]),
    ("queue-full", &[]),
    ("queue-drained", &[]),
    ("peer-closes", &[]),
    ("shutdown", &[]),
    ("close", &[]),
];

/// A text that is being read, for the lines of its errors.
struct Reading<'a> {
    text: &'a str,
}

impl Reading<'_> {
    fn syntax(&self, error: &toml::de::Error) -> ScenarioError {
        let message = error
            .message()
            .trim()
            .replace("expected f64", "expected a number")
            .replace("expected i64", "expected a whole number");
        ScenarioError {
            line: error.span().map_or(0, |span| self.line(span.start)),
            field: match message.as_str() {
                text if text.starts_with("invalid type") || text == "duplicate key" => {
                    error.span().and_then(|span| self.field_at(span.start))
                }
                // Other messages name the field, or there is none.
                _ => None,
            },
            message,
        }
    }

    /// The table and key of the line that a value stands in, as they are
    /// written there: the parser tells only where the value is.
    fn field_at(&self, offset: usize) -> Option<String> {
        let end = self.text.get(offset..)?.find('\n');
        let through = self
            .text
            .get(..end.map_or(self.text.len(), |end| offset + end))?;
        let header = through.lines().rev().map(str::trim_start);
        let table = header
            .filter(|line| line.starts_with('['))
            .find_map(|line| line.trim_start_matches('[').split(']').next())
            .map(str::trim);
        let key = through.lines().next_back()?.split_once('=');
        match (table, key.map(|(key, _)| key.trim())) {
            (Some(table), Some(key)) => Some(format!("{table}.{key}")),
            (table, key) => key.or(table).map(String::from),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn error<T>(&self, at: &Spanned<T>, field: &str, message: String) -> ScenarioError {
        ScenarioError {
            line: self.line(at.span().start),
            field: Some(field.to_string()),
            message,
        }
    }

    fn scenario(&self, file: &File) -> Result<Scenario, ScenarioError> {
        let opened = match &file.opened {
            None => Opened::Connect,
            Some(text) => match text.get_ref().as_str() {
                "connect" => Opened::Connect,
                "accept" => Opened::Accept,
                other => {
                    let message = format!("expected connect or accept, not {other:?}");
                    return Err(self.error(text, "opened", message));
                }
            },
        };
        let mut sysctl = Sysctl::LINUX;
        self.set_sysctl(&mut sysctl, &file.sysctl, "sysctl")?;
        let mut current = sysctl;
        let mut events: Vec<Step> = Vec::new();
        for event in &file.event {
            let step = self.step(event, &mut current)?;
            if let Some(last) = events.last()
                && step.at < last.at
            {
                let message = "events must be in time order".to_string();
                return Err(self.error(&event.get_ref().at, "event.at", message));
            }
            events.push(step);
        }
        Ok(Scenario {
            until: self.time(&file.until, "until")?,
            options: self.options(&file.keepalive)?,
            sysctl,
            opened,
            peer: Peer {
                rtt: self
                    .optional_time(file.peer.rtt.as_ref(), "peer.rtt")?
                    .map_or(Duration::ZERO, Time::since_origin),
                silent_from: self
                    .optional_time(file.peer.silent_from.as_ref(), "peer.silent_from")?,
                resets_from: self
                    .optional_time(file.peer.resets_from.as_ref(), "peer.resets_from")?,
            },
            events,
        })
    }

    fn options(&self, table: &KeepAlive) -> Result<Options, ScenarioError> {
        let mut options = Options {
            enabled: table.enabled.unwrap_or(false),
            ..Options::default()
        };
        if let Some(idle) = &table.idle {
            options.idle = Some(self.seconds(idle, "keepalive.idle")?);
        }
        if let Some(interval) = &table.interval {
            options.interval = Some(self.seconds(interval, "keepalive.interval")?);
        }
        if let Some(count) = &table.count {
            options.count = Some(self.count(count, "keepalive.count")?);
        }
        if let Some(timeout) = &table.user_timeout {
            options.user_timeout = self.user_timeout(timeout, "keepalive.user_timeout")?;
        }
        Ok(options)
    }

    fn step(&self, event: &Spanned<Event>, sysctl: &mut Sysctl) -> Result<Step, ScenarioError> {
        let fields = event.get_ref();
        self.only_fields_of_the_kind(event)?;
        let what = match fields.kind.get_ref().as_str() {
            "receive-data" => Happening::ReceiveData,
            "receive-ack" => Happening::ReceiveAck,
            "receive-probe" => Happening::ReceiveProbe,
            "receive-garbage-probe" => Happening::ReceiveGarbageProbe,
            "receive-out-of-order" => Happening::ReceiveOutOfOrder,
            "receive-old-ack" => Happening::ReceiveOldAck,
            "receive-future-ack" => Happening::ReceiveFutureAck,
            "send-data" => Happening::SendData {
                acked: fields.acked.as_ref().is_none_or(|acked| *acked.get_ref()),
            },
            "set" => self.set(event)?,
            "sysctl" => {
                let table = SysctlTable {
                    time: fields.time.clone(),
                    interval: fields.interval.as_ref().map(whole).transpose().map_err(
                        |interval| {
                            let message = "must be a whole number of seconds".to_string();
                            self.error(interval, "event.interval", message)
                        },
                    )?,
                    probes: fields.probes.clone(),
                };
                self.set_sysctl(sysctl, &table, "event")?;
                Happening::Sysctl(*sysctl)
            }
            "icmp-error" => self.icmp_error(fields)?,
            "queue-full" => Happening::QueueFull,
            "queue-drained" => Happening::QueueDrained,
            "peer-closes" => Happening::PeerCloses,
            "shutdown" => Happening::Shutdown,
            _ => Happening::Close,
        };
        Ok(Step {
            at: self.time(&fields.at, "event.at")?,
            what,
        })
    }

    fn only_fields_of_the_kind(&self, event: &Spanned<Event>) -> Result<(), ScenarioError> {
        let fields = event.get_ref();
        let kind = fields.kind.get_ref().as_str();
        let known = KINDS.iter().find(|(name, _)| *name == kind);
        let taken: &[&str] = match known {
            Some((_, taken)) => taken,
            None => {
                let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                let message = format!("expected one of {}, not {kind:?}", names.join(", "));
                return Err(self.error(&fields.kind, "event.kind", message));
            }
        };
        let given = [
            ("acked", fields.acked.as_ref().map(Spanned::span)),
            ("error", fields.error.as_ref().map(Spanned::span)),
            ("quotes", fields.quotes.as_ref().map(Spanned::span)),
            ("enabled", fields.enabled.as_ref().map(Spanned::span)),
            ("idle", fields.idle.as_ref().map(Spanned::span)),
            ("interval", fields.interval.as_ref().map(Spanned::span)),
            ("count", fields.count.as_ref().map(Spanned::span)),
            (
                "user_timeout",
                fields.user_timeout.as_ref().map(Spanned::span),
            ),
            ("time", fields.time.as_ref().map(Spanned::span)),
            ("probes", fields.probes.as_ref().map(Spanned::span)),
        ];
        for (field, place) in &given {
            if let Some(place) = place
                && !taken.contains(field)
            {
                let message = format!("{kind} does not take {field}");
                let place = Spanned::new(place.clone(), ());
                return Err(self.error(&place, &format!("event.{field}"), message));
            }
        }
        if matches!(kind, "set" | "sysctl") && !given.iter().any(|(_, place)| place.is_some()) {
            let message = format!("{kind} needs one of {} at least", taken.join(", "));
            return Err(self.error(&fields.kind, "event.kind", message));
        }
        Ok(())
    }

    fn set(&self, event: &Spanned<Event>) -> Result<Happening, ScenarioError> {
        let fields = event.get_ref();
        let mut options = Vec::new();
        if let Some(enabled) = &fields.enabled {
            options.push(SetOption::KeepAlive(*enabled.get_ref()));
        }
        if let Some(idle) = &fields.idle {
            options.push(SetOption::Idle(self.seconds(idle, "event.idle")?));
        }
        if let Some(interval) = &fields.interval {
            let interval = self.seconds(interval, "event.interval")?;
            options.push(SetOption::Interval(interval));
        }
        if let Some(count) = &fields.count {
            options.push(SetOption::Count(self.count(count, "event.count")?));
        }
        if let Some(timeout) = &fields.user_timeout {
            let timeout = self.user_timeout(timeout, "event.user_timeout")?;
            options.push(SetOption::UserTimeout(timeout));
        }
        Ok(Happening::Set(options))
    }

    fn icmp_error(&self, fields: &Event) -> Result<Happening, ScenarioError> {
        let error = match &fields.error {
            None => Errno::EHOSTUNREACH,
            Some(name) => Errno::from_name(name.get_ref()).ok_or_else(|| {
                let message = format!(
                    "expected a name such as EHOSTUNREACH, not {:?}",
                    name.get_ref()
                );
                self.error(name, "event.error", message)
            })?,
        };
        let quotes_probe = match &fields.quotes {
            None => false,
            Some(what) => match what.get_ref().as_str() {
                "ack" => false,
                "probe" => true,
                other => {
                    let message = format!("expected ack or probe, not {other:?}");
                    return Err(self.error(what, "event.quotes", message));
                }
            },
        };
        Ok(Happening::IcmpError {
            error,
            quotes_probe,
        })
    }

    fn set_sysctl(
        &self,
        sysctl: &mut Sysctl,
        table: &SysctlTable,
        name: &str,
    ) -> Result<(), ScenarioError> {
        let whole = |seconds: Duration| i64::try_from(seconds.as_secs()).unwrap_or(i64::MAX);
        let mut values = [
            whole(sysctl.time()),
            whole(sysctl.interval()),
            i64::from(sysctl.probes()),
        ];
        let given = [
            (&table.time, "time"),
            (&table.interval, "interval"),
            (&table.probes, "probes"),
        ];
        for (value, (given, key)) in given.into_iter().enumerate() {
            let Some(given) = given else { continue };
            values[value] = *given.get_ref();
            *sysctl = Sysctl::new(values[0], values[1], values[2])
                .map_err(|error| self.error(given, &format!("{name}.{key}"), error.to_string()))?;
        }
        Ok(())
    }

    fn seconds(&self, given: &Spanned<f64>, field: &str) -> Result<Seconds, ScenarioError> {
        whole(given)
            .ok()
            .and_then(|whole| u32::try_from(*whole.get_ref()).ok())
            .and_then(Seconds::new)
            .ok_or_else(|| {
                let message = format!(
                    "must be 1 to 32767 whole seconds, as Linux takes them, not {}",
                    given.get_ref()
                );
                self.error(given, field, message)
            })
    }

    fn count(&self, given: &Spanned<i64>, field: &str) -> Result<Count, ScenarioError> {
        u32::try_from(*given.get_ref())
            .ok()
            .and_then(Count::new)
            .ok_or_else(|| {
                let given_count = given.get_ref();
                let message = format!("must be 1 to 127 probes, not {given_count}");
                self.error(given, field, message)
            })
    }

    fn user_timeout(
        &self,
        given: &Spanned<f64>,
        field: &str,
    ) -> Result<UserTimeout, ScenarioError> {
        let time = self.time(given, field)?.since_origin();
        u64::try_from(time.as_millis())
            .ok()
            .filter(|_| time.subsec_nanos() % 1_000_000 == 0)
            .and_then(UserTimeout::from_millis)
            .ok_or_else(|| {
                let message = format!(
                    "must be 0 to 2147483.647 seconds in whole milliseconds, not {}",
                    given.get_ref()
                );
                self.error(given, field, message)
            })
    }

    fn optional_time(
        &self,
        given: Option<&Spanned<f64>>,
        field: &str,
    ) -> Result<Option<Time>, ScenarioError> {
        given.map(|given| self.time(given, field)).transpose()
    }

    fn time(&self, given: &Spanned<f64>, field: &str) -> Result<Time, ScenarioError> {
        /// Thirty years: far from where 64 bits of nanoseconds end.
        const LONGEST_S: f64 = 1e9;
        let seconds = *given.get_ref();
        if !(0.0..=LONGEST_S).contains(&seconds) {
            let message = format!("must be 0 to {LONGEST_S} seconds, not {seconds}");
            return Err(self.error(given, field, message));
        }
        // To the nanosecond nearest: 10.001 has no exact binary form. At this
        // size the conversion cannot overflow.
        Ok(Time::from_nanos((seconds * 1e9).round() as u64))
    }
}

/// A number without decimals.
fn whole(given: &Spanned<f64>) -> Result<Spanned<i64>, &Spanned<f64>> {
    let number = *given.get_ref();
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Ok(Spanned::new(given.span(), number as i64))
    } else {
        Err(given)
    }
}
