//! How many lost exchanges are too many to be chance.
//!
//! One exchange is a probe and its answer; it is lost when either is. A
//! living peer stays silent to n probes with probability qⁿ when exchanges
//! are lost independently with probability q. q is not known. What this run
//! saw of it is: how many probes the connections that did answer needed.
//!
//! The rule: of all loss rates q, take the one under which *both* what was
//! seen (relative to the rate that explains it best) *and* a further n losses
//! in a row are most likely. If even that joint likelihood is at most the
//! error that is allowed, silence to n probes is not chance. With no answers
//! seen there is nothing to weigh, and the assumed floor stands alone.

use std::collections::HashMap;
use std::net::IpAddr;

/// Loss that is assumed of every path, whatever was seen of it.
pub const FLOOR: f64 = 0.01;

/// Probes demanded of a connection whose peer's host has answered others,
/// each at the first probe, but too few of them to say more. A host that
/// lives answers for connections that it has forgotten, with a reset, so
/// silence beside life is odd and is looked at longer.
const MIXED_HOST_CAP: u32 = 15;

/// More probes than any schedule sends.
pub const UNREACHABLE: u32 = 10_000;

/// How many probes the answers of one path took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Answers {
    /// Connections that answered.
    count: u64,
    /// Probes of theirs that were lost before.
    lost: u64,
    /// The most probes that one of them was sent.
    rounds: u32,
}

impl Answers {
    /// A connection answered the `probe`th probe (from 1) it was sent.
    pub fn record(&mut self, probe: u32) {
        self.count += 1;
        self.lost += u64::from(probe.saturating_sub(1));
        self.rounds = self.rounds.max(probe);
    }

    /// Connections that answered.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether any exchange is known to have been lost.
    #[must_use]
    pub const fn saw_loss(&self) -> bool {
        self.lost > 0
    }

    /// Share of exchanges lost before an answer.
    #[must_use]
    pub fn loss(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.lost as f64 / (self.lost + self.count) as f64
        }
    }

    /// Logarithm of the likelihood of what was seen at loss rate `q`: each
    /// answer came after some losses, and within the rounds so far, since
    /// those that were not answered yet are not among them.
    fn log_likelihood(&self, q: f64, rounds: u32) -> f64 {
        let truncation = -(-(q.powi(rounds.cast_signed()))).ln_1p();
        let lost = if self.lost == 0 {
            0.0
        } else {
            self.lost as f64 * q.ln()
        };
        self.count as f64 * ((-q).ln_1p() + truncation) + lost
    }

    /// Probes after which silence is not chance, given these answers, with
    /// `rounds` of probes sent so far on the path.
    fn required(&self, rounds: u32, error: f64) -> u32 {
        const STEPS: u32 = 999;
        let rounds = rounds.max(self.rounds).max(1);
        let rates = || (1..=STEPS).map(|step| f64::from(step) / f64::from(STEPS + 1));
        let mut best = f64::NEG_INFINITY;
        if self.lost == 0 {
            best = 0.0; // The likelihood at q = 0.
        }
        for q in rates() {
            best = best.max(self.log_likelihood(q, rounds));
        }
        let allowed = error.ln() + 1e-9;
        // For each rate the number of losses that makes it too unlikely.
        rates()
            .map(|q| {
                ((allowed - (self.log_likelihood(q, rounds) - best)) / q.ln())
                    .ceil()
                    .max(0.0)
            })
            .fold(0.0, f64::max)
            .min(f64::from(UNREACHABLE)) as u32
    }
}

/// The loss to assume of a connection that retransmitted so many of its
/// segments: twice that share, as both a probe and its answer can be lost,
/// and at least [`FLOOR`]. One retransmission is no history.
#[must_use]
pub fn assumed_loss(retransmitted: u32, segments: u32) -> f64 {
    if retransmitted < 2 {
        return FLOOR;
    }
    let share = f64::from(retransmitted) / f64::from(segments.max(retransmitted));
    (2.0 * share).clamp(FLOOR, 0.9)
}

/// Probes whose exchanges are all lost with a chance of at most `error`, when
/// each is lost with the chance `loss`.
#[must_use]
pub fn probes_against(loss: f64, error: f64) -> u32 {
    ((error.ln() + 1e-9) / loss.ln()).ceil() as u32
}

/// Probes that a silent connection must have been sent before it can be
/// called dead.
///
/// `host` are the answers from the peer's host, `overall` those of the whole
/// run, `rounds` the probes that this connection was sent so far, and `error`
/// the allowed chance that a living peer lost every exchange.
#[must_use]
pub fn required_probes(host: &Answers, overall: &Answers, rounds: u32, error: f64) -> u32 {
    let floor = probes_against(FLOOR, error);
    let from_overall = if overall.saw_loss() {
        overall.required(rounds, error)
    } else {
        0
    };
    let from_host = match (host.count(), host.saw_loss()) {
        (0, _) => 0,
        (_, true) => host.required(rounds, error),
        (_, false) => host.required(rounds, error).min(MIXED_HOST_CAP),
    };
    floor.max(from_overall).max(from_host)
}

/// What every peer host has answered, and what follows from it.
#[derive(Debug, Default)]
pub struct Losses {
    hosts: HashMap<IpAddr, Answers>,
    /// Requirements worked out before: thousands of connections share one.
    known: HashMap<(Answers, Answers, u32), u32>,
}

impl Losses {
    /// A connection to `host` answered the `probe`th probe it was sent.
    pub fn record(&mut self, host: IpAddr, probe: u32) {
        self.hosts.entry(host).or_default().record(probe);
    }

    /// [`required_probes`] for a connection to `host`.
    pub fn required(&mut self, host: IpAddr, overall: &Answers, rounds: u32, error: f64) -> u32 {
        let host = self.hosts.get(&host).copied().unwrap_or_default();
        *self
            .known
            .entry((host, *overall, rounds))
            .or_insert_with(|| required_probes(&host, overall, rounds, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: f64 = 1e-6;

    fn answers(per_probe: &[u64]) -> Answers {
        let mut answers = Answers::default();
        for (index, count) in per_probe.iter().enumerate() {
            for _ in 0..*count {
                answers.record(index as u32 + 1);
            }
        }
        answers
    }

    #[test]
    fn the_floor_alone_asks_for_three_probes() {
        let none = Answers::default();
        assert_eq!(required_probes(&none, &none, 3, ERROR), 3);
        assert_eq!(required_probes(&none, &answers(&[480]), 3, ERROR), 3);
        assert_eq!(required_probes(&none, &none, 3, 1e-9), 5);
    }

    #[test]
    fn a_connection_that_retransmitted_much_is_given_more_probes() {
        assert_eq!(probes_against(assumed_loss(0, 0), ERROR), 3);
        assert_eq!(probes_against(assumed_loss(1, 1), ERROR), 3);
        assert_eq!(probes_against(assumed_loss(5, 100), ERROR), 6);
        assert!(probes_against(assumed_loss(300, 400), ERROR) > 100);
    }

    #[test]
    fn a_host_that_answers_hundreds_at_once_needs_no_more() {
        let host = answers(&[480]);
        assert_eq!(required_probes(&host, &host, 3, ERROR), 3);
    }

    #[test]
    fn a_host_that_answers_a_few_is_looked_at_longer() {
        for (count, expected) in [(1, 15..=15), (5, 15..=15), (20, 5..=8), (50, 4..=5)] {
            let host = answers(&[count]);
            let required = required_probes(&host, &host, 3, ERROR);
            assert!(
                expected.contains(&required),
                "{count} answers ask for {required} probes"
            );
        }
    }

    #[test]
    fn loss_that_was_seen_is_held_against_silence() {
        // One exchange in five is lost: 10 % each way.
        let host = answers(&[405, 77, 14, 3]);
        assert!((9..=12).contains(&required_probes(&host, &host, 4, ERROR)));
        // Three in four are lost: 50 % each way.
        let host = answers(&[125, 94, 70, 53, 40, 30, 22, 17]);
        assert!(required_probes(&host, &host, 8, ERROR) > 40);
    }

    #[test]
    fn answers_cut_short_by_the_clock_do_not_hide_the_loss() {
        // 75 % lost, after three rounds: 58 % have answered.
        let host = answers(&[125, 94, 70]);
        assert!(required_probes(&host, &host, 3, ERROR) > 30);
    }

    #[test]
    fn one_late_answer_among_hundreds_is_no_storm() {
        let host = answers(&[479, 1]);
        assert_eq!(required_probes(&Answers::default(), &host, 3, ERROR), 3);
    }

    #[test]
    fn the_chance_of_a_wrong_death_stays_below_the_error_for_every_loss_rate() {
        // A simulation of whole runs: every peer lives, exchanges are lost
        // with probability q, verdicts follow the rule. None may be dead.
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut lost = |q: f64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as f64 / (1_u64 << 53) as f64 <= q
        };
        let mut wrong = 0;
        for q in [0.02, 0.1, 0.19, 0.36, 0.51, 0.75, 0.9] {
            for connections in [50, 200] {
                for _ in 0..40 {
                    let mut host = Answers::default();
                    let mut silent = connections;
                    for round in 1..=60 {
                        let answered = (0..silent).filter(|_| !lost(q)).count();
                        for _ in 0..answered {
                            host.record(round);
                        }
                        silent -= answered;
                        if round >= 3
                            && silent > 0
                            && required_probes(&host, &host, round, ERROR) <= round
                        {
                            wrong += silent;
                            break;
                        }
                    }
                }
            }
        }
        assert_eq!(wrong, 0);
    }
}
