//! Why these values, and what to beware of.

use super::Hop;
use super::presets::AtExpiry;
use crate::render::units::{Count, Span};
use std::time::Duration;
use tcpalive_keepalive::plan::{ASSUMED_IDLE_TIMEOUT, LONGEST_IDLE, SHARE_OF_PATH};
use tcpalive_keepalive::{DecidedBy, Plan};

/// Radios of phones stay awake for some ten seconds after each packet; probes
/// more often than this keep them from sleeping.
const RADIO: Duration = Duration::from_secs(60);
/// BGP's hold time (RFC 4271 §4.2 and §10): so long may a route take to be
/// given up for another.
const REROUTING: Duration = Duration::from_secs(90);
/// A switch that starts anew, or a host that moves, is away for so long.
const BRIEF: Duration = Duration::from_secs(10);
/// Ports that a NAT has towards one destination: 64,512 at most, 55,000 with
/// the large clouds.
const NAT_PORTS: u64 = 55_000;
/// Probes per second that somebody may take for an attack.
const MANY_PROBES: f64 = 5_000.0;

/// Why the values are what they are, a sentence each.
#[must_use]
pub fn why(plan: &Plan, detect_within: Option<Duration>, hops: &[Hop<'_>]) -> Vec<String> {
    let params = &plan.params;
    let (idle, interval, count) = (params.idle.get(), params.interval.get(), params.count.get());
    let mut why = Vec::new();
    why.push(match plan.decided_by {
        DecidedBy::Detection => format!(
            "Idle {idle}s: half of the {} that you gave is for silence, the other half for asking.",
            shown(detect_within.unwrap_or_default())
        ),
        DecidedBy::IdleTimeout(index) => {
            let hop = &hops[index];
            let shortest = if hops.len() > 1 { "the shortest, " } else { "" };
            format!(
                "Idle {idle}s: {} lets go after {}s ({shortest}{}); at most {SHARE_OF_PATH} % of that is \
                 silence, lateness and round trip included, and if a probe is lost the next one \
                 still comes in time.",
                hop.title(),
                hop.after.as_secs_f64(),
                expiry(hop)
            )
        }
        DecidedBy::Assumption => format!(
            "Idle {idle}s: nothing was wished, so connections are kept through what forgets them after \
             {}s, the shortest default of the large clouds; name your path with --via.",
            ASSUMED_IDLE_TIMEOUT.as_secs()
        ),
        DecidedBy::Longest => format!(
            "Idle {idle}s: what you gave would allow more, but no plan waits longer than Linux's \
             default of {LONGEST_IDLE}s."
        ),
    });
    if let (DecidedBy::Detection | DecidedBy::Longest, Some(hop)) =
        (plan.decided_by, hops.iter().min_by_key(|hop| hop.after))
    {
        why.push(format!(
            "That is less than {} needs, which lets go after {}s.",
            hop.title(),
            hop.after.as_secs_f64()
        ));
    }
    why.push(format!(
        "Interval {interval}s, count {count}: {} answers may be lost, and an outage of up to {} ends \
         nothing; no interval is longer than the idle time, since Linux's lazy timer would then put \
         off the first probe.",
        count - 1,
        shown(plan.survives())
    ));
    why.push(format!(
        "User timeout {}ms: with one, Linux does not look at the count; this one passes just before the \
         fire at which the count would end it, so both agree. With data in flight no probes are sent, \
         and it ends the connection after that time in place of 13 to 30 minutes (tcp_retries2).",
        params.user_timeout.as_millis()
    ));
    why
}

fn expiry(hop: &Hop<'_>) -> &'static str {
    match hop.preset.map(|preset| preset.at_expiry) {
        Some(AtExpiry::Silent) => "silently: nobody is told",
        Some(AtExpiry::Reset) => "with a reset",
        Some(AtExpiry::Close) => "closing both sides",
        Some(AtExpiry::Unknown) => "in an unknown way",
        None => "as you say",
    }
}

/// What to beware of with every user timeout: `tcp_probe_timer` goes by it,
/// too (seen on Linux 6.18; a test repeats it).
#[must_use]
pub fn full_window(plan: &Plan) -> String {
    format!(
        "The user timeout also ends connections whose peer lives, but does not read for {}s while data \
         wait for it (a window that is full): where readers pause for so long, leave it out, and the \
         count alone decides.",
        f64::from(plan.params.user_timeout.as_millis()) / 1000.0
    )
}

/// What else to beware of, a sentence each.
#[must_use]
pub fn warnings(plan: &Plan, hops: &[Hop<'_>], connections: u64) -> Vec<String> {
    let idle = plan.params.idle.duration();
    let detects = plan.detects_within();
    let mut warnings = Vec::new();
    if detects < BRIEF {
        warnings.push(format!(
            "An outage of more than {} ends living connections: a cable that is moved or a virtual \
             machine that is paused is enough.",
            shown(plan.survives())
        ));
    }
    if detects < REROUTING {
        warnings.push(format!(
            "Routers may take {}s (BGP's hold time) to find another way, and this gives up after {}; \
             on BGP sessions themselves it ends peerings that the hold timer would have kept.",
            REROUTING.as_secs(),
            shown(detects)
        ));
    }
    if idle < RADIO {
        warnings.push(format!(
            "A probe every {} keeps the radios of mobile peers awake and drains their batteries: for \
             phones, {}s or more.",
            shown(idle),
            RADIO.as_secs()
        ));
    }
    let probes = connections as f64 / plan.probe_period().as_secs_f64();
    if probes > MANY_PROBES {
        warnings.push(format!(
            "{} probes and as many answers per second are work for every firewall on the way, and may \
             look like an attack.",
            Count(probes as u64)
        ));
    }
    if connections > NAT_PORTS {
        warnings.push(format!(
            "Probes keep the NAT entries of all {} quiet connections: a NAT address has about {} ports \
             towards one destination.",
            Count(connections),
            Count(NAT_PORTS)
        ));
    }
    if hops.is_empty() && plan.quiet() * 100 > ASSUMED_IDLE_TIMEOUT * SHARE_OF_PATH {
        warnings.push(format!(
            "No path was named, and {} of silence is more than some allow (Azure's load balancer: {}s): \
             name yours with --via.",
            shown(idle),
            ASSUMED_IDLE_TIMEOUT.as_secs()
        ));
    }
    for preset in hops.iter().filter_map(|hop| hop.preset) {
        if !preset.verified {
            warnings.push(format!(
                "The {}s of {} are not confirmed (source: {}): look at yours.",
                preset.idle_s, preset.title, preset.source
            ));
        }
    }
    warnings
}

fn shown(time: Duration) -> Span {
    Span(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
