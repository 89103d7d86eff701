//! One scenario: what virtual time predicts beside what the kernel did.

use super::judge::{Judgement, Seen, judge};
use super::record::{Fact, Record};
use super::scale::scaled;
use super::{Part, play, ticks_per_second};
use crate::error::{LabError, Result};
use std::time::Duration;
use tcpalive_keepalive::{Hz, Moment, Scenario, Sight, Time, simulate};

/// One step of a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What the machine predicts, with an exact clock; `None` when it does
    /// not predict what was seen.
    pub predicted: Option<Moment>,
    /// What was seen on the wire, with the kernel's time of its leaving;
    /// `None` when it did not happen. Of a probe that the subject's own
    /// queue dropped, the time is known to 10 ms.
    pub measured: Option<Moment>,
    /// How much later than predicted it was seen. Lateness adds up, since
    /// each fire of a timer sets the next.
    pub lateness: Option<Duration>,
    /// How late the kernel's timer wheel allows it to be, given when all that
    /// went before really was, and 150 ms for the machine's load. `None` for
    /// what the peer does.
    pub allowed: Option<Duration>,
    /// Whether the two are the same, and the lateness is allowed. A try of a
    /// full queue that is predicted need not be: each is a little later than
    /// the last one's time and half a second, so that in the end fewer fit in.
    pub held: bool,
}

/// A scenario beside its life on the real kernel. Times count from the
/// connection's establishment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The scenario as it was played, scaled down.
    pub scenario: Scenario,
    /// By how much it was scaled down.
    pub scale: u32,
    /// The kernel's ticks per second.
    pub hz: Hz,
    /// The steps, in their order.
    pub rows: Vec<Row>,
    /// Whether the host dropped packets of its own accord: under load, a
    /// processor's backlog behind the cable is full
    /// (`net.core.netdev_max_backlog`), and the kernel takes that for
    /// congestion. Then what was predicted need not come, and rows that were
    /// not predicted say nothing; the machine, which knows of it, holds.
    pub congested: bool,
    /// Why the machine does not agree with the kernel, if it does not: also
    /// what no row shows, such as a wrong error or a malformed segment.
    pub disagreement: Option<String>,
}

impl Comparison {
    /// Holds a record against the prediction and against the machine.
    #[must_use]
    pub fn new(scenario: &Scenario, record: &Record, hz: Hz) -> Self {
        let judgement = judge(scenario, record, hz);
        let (rows, difference) = rows(scenario, &judgement, record.watched_until, hz);
        let lost = record.facts.iter().any(|(_, fact)| *fact == Fact::Lost);
        let congested = lost
            || rows.iter().any(|row| {
                let dropped = |moment: &Moment| moment.what == Sight::Dropped;
                row.measured.as_ref().is_some_and(dropped)
                    && !row.predicted.as_ref().is_some_and(dropped)
            });
        Self {
            scenario: scenario.clone(),
            scale: 1,
            hz,
            rows,
            congested,
            disagreement: judgement.failure.or(difference.filter(|_| !congested)),
        }
    }

    /// Whether the kernel did what the machine says, in every step.
    #[must_use]
    pub fn held(&self) -> bool {
        self.disagreement.is_none()
    }
}

/// Plays a scenario on the real kernel, in a namespace that goes away, its
/// times divided by `scale`. It takes an eighth longer than the scenario, or
/// until the connection ends.
///
/// # Errors
/// A scale that leaves seconds that are not whole ([`super::ScaleError`] says
/// which scale would do), and those of [`play`].
pub fn compare(scenario: &Scenario, scale: u32) -> Result<Comparison> {
    let scenario = scaled(scenario, scale).map_err(|error| LabError::Other(error.to_string()))?;
    let hz = ticks_per_second()?;
    let records = play(&[Part::from(scenario.clone())])?;
    Ok(Comparison {
        scale,
        ..Comparison::new(&scenario, &records[0], hz)
    })
}

/// Steps side by side, and where they part. What is seen must be what is
/// predicted for as long as the connection was watched, and all that is
/// predicted until the scenario's end must be seen.
fn rows(
    scenario: &Scenario,
    judgement: &Judgement,
    watched_until: Time,
    hz: Hz,
) -> (Vec<Row>, Option<String>) {
    let predicted = simulate(&Scenario {
        until: watched_until.max(scenario.until),
        ..scenario.clone()
    });
    let must = predicted
        .iter()
        .filter(|moment| moment.at <= scenario.until)
        .count();
    let mut seen = judgement.seen.iter().peekable();
    let mut rows = Vec::new();
    for (number, moment) in predicted.iter().enumerate() {
        let dropped = moment.what == Sight::Dropped;
        let next = seen.next_if(|seen| !dropped || seen.what == [Sight::Dropped]);
        if next.is_none() && !dropped && number >= must {
            break;
        }
        let mut row = row(Some(moment), next, hz);
        // Tries of a full queue are half a second and a timer's lateness
        // apart: fewer may fit in.
        row.held |= dropped && next.is_none();
        if number < must || next.is_some() {
            rows.push(row);
        }
    }
    rows.extend(seen.map(|seen| row(None, Some(seen), hz)));
    let difference = rows.iter().find(|row| !row.held).map(|row| {
        let told = |moment: Option<Moment>| {
            moment.map_or("nothing".to_owned(), |moment| {
                format!("{:?} at {}", moment.what, moment.at)
            })
        };
        format!(
            "predicted {}, measured {}",
            told(row.predicted),
            told(row.measured)
        )
    });
    (rows, difference)
}

fn row(predicted: Option<&Moment>, seen: Option<&Seen>, hz: Hz) -> Row {
    let same = match (predicted, seen) {
        (Some(predicted), Some(seen)) => seen.what.contains(&predicted.what),
        _ => false,
    };
    let measured = seen.and_then(|seen| {
        let what: Option<Sight> = predicted
            .filter(|_| same)
            .map(|predicted| predicted.what)
            .or_else(|| seen.what.first().copied());
        what.map(|what| Moment {
            at: seen.at.to,
            what,
        })
    });
    let late = |at: Time| predicted.filter(|_| same).map(|ideal| at.since(ideal.at));
    let lateness = measured.and_then(|moment| late(moment.at));
    let window = seen.and_then(|seen| seen.window);
    let allowed = window.and_then(|window| late(window.latest));
    let early = match (predicted, seen) {
        (Some(predicted), Some(seen)) => predicted.at > seen.at.to + hz.tick(),
        _ => false,
    };
    let late = matches!((lateness, allowed), (Some(is), Some(may)) if is > may);
    Row {
        predicted: predicted.copied(),
        measured,
        lateness,
        allowed,
        held: same && !early && !late,
    }
}
