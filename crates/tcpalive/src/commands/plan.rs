//! `tcpalive plan`: which values, what they cost, and the lines to paste.

pub mod advice;
pub mod cost;
pub mod presets;
pub mod snippets;

use crate::cli::{Failure, Found, Presentation, say};
use crate::render::plan::{Report, preset_list};
use crate::render::units::{LONGEST_DURATION, parse_duration};
use presets::{Preset, Presets};
use snippets::Snippets;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;
use tcpalive_keepalive::plan::{ASSUMED_RTT, IdleTimeout, Impossible, Wish};
use tcpalive_keepalive::{Hz, Plan};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive plan                                   values that fit most clouds
  tcpalive plan --detect-within 2m --via aws-nlb --connections 200000
  tcpalive plan --idle-timeout 5m --rtt 600ms     a path of your own, by satellite
  tcpalive plan --detect-within 60s --for nginx > /etc/nginx/conf.d/keepalive.conf
  tcpalive plan --list                            the names that --via knows

Nothing is read or changed on this host, but for the size of its sockets. The times are for
Linux, whose timers are late by up to an eighth; that is allowed for. The lines for each
program are tested with that program.

Exit codes: 0 done; 2 wrong usage, or a wish that no values fulfil: what would is said;
4 the output could not be written.")]
pub struct Args {
    /// The latest that the death of a peer may be noticed
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    detect_within: Option<Duration>,
    /// What connections pass, by its name in --list; several combine
    #[arg(long, value_name = "NAME")]
    via: Vec<String>,
    /// After how long something on the way lets go of quiet connections; several combine
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    idle_timeout: Vec<Duration>,
    /// The longest round-trip time to expect
    #[arg(long, value_name = "D", value_parser = parse_duration, default_value = "250ms")]
    rtt: Duration,
    /// How many quiet connections the cost is for
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    connections: u64,
    /// Peers that die without a word, per hour: what their connections hold until noticed
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    churn: u64,
    /// Ticks per second of the kernel (CONFIG_HZ), which decide how late it is
    #[arg(long, value_name = "N", default_value_t = Hz::DEBIAN.get(), value_parser = clap::value_parser!(u32).range(24..=10_000))]
    hz: u32,
    /// Print the lines for this program alone, such as nginx or python; repeatable
    #[arg(long = "for", value_name = "PROGRAM")]
    programs: Vec<String>,
    /// List what --via knows, with the source of each number
    #[arg(long, conflicts_with_all = ["detect_within", "via", "idle_timeout", "programs"])]
    list: bool,
}

/// What is on the way: a preset, or a number that was given.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The preset, if it was named.
    pub preset: Option<&'a Preset>,
    /// After how long it lets go of quiet connections.
    pub after: Duration,
}

impl Hop<'_> {
    /// What people know it by.
    #[must_use]
    pub fn title(&self) -> &str {
        self.preset
            .map_or("the path that you named", |preset| &preset.title)
    }
}

/// Chooses values, and prints them.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let presets = Presets::shipped();
    if args.list {
        return print(&preset_list(&presets, presentation));
    }
    let snippets = Snippets::shipped();
    let wanted = snippets.wanted(&args.programs)?;
    let hops = hops(args, &presets)?;
    let plan = choose(args, &hops)?;
    let warnings = advice::warnings(&plan, &hops, args.connections);
    let report = Report {
        plan: &plan,
        why: advice::why(&plan, args.detect_within, &hops),
        warnings: [&[advice::full_window(&plan)], &warnings[..]].concat(),
        cost: cost::Cost::of(&plan, args.connections),
        dead: cost::Dead::of(&plan, args.churn),
        snippets: wanted.iter().map(|it| it.fill(&plan)).collect(),
    };
    if presentation.json {
        return print(&report.json());
    }
    if args.programs.is_empty() {
        return print(&report.text(presentation.style));
    }
    if let Some(cannot) = report.snippets.iter().find_map(snippets::Filled::refusal) {
        return Err(Failure::Usage(cannot));
    }
    // Lines with a user timeout say themselves what it does.
    for warning in &warnings {
        say(&format!("beware: {warning}"));
    }
    print(&report.lines_to_paste())
}

fn print(text: &str) -> Result<Found, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Found::Nothing)
}

fn hops<'a>(args: &Args, presets: &'a Presets) -> Result<Vec<Hop<'a>>, Failure> {
    let named = args.via.iter().map(|name| {
        let preset = presets.find(name).map_err(Failure::Usage)?;
        Ok(Hop {
            preset: Some(preset),
            after: Duration::from_secs(preset.idle_s),
        })
    });
    let given = args.idle_timeout.iter().map(|after| {
        Ok(Hop {
            preset: None,
            after: *after,
        })
    });
    named.chain(given).collect()
}

fn choose(args: &Args, hops: &[Hop<'_>]) -> Result<Plan, Failure> {
    let timeouts: Vec<IdleTimeout> = hops
        .iter()
        .map(|hop| IdleTimeout {
            after: hop.after,
            refreshed_by_probes: hop.preset.is_none_or(|it| it.refreshed_by_probes),
        })
        .collect();
    let wish = Wish {
        detect_within: args.detect_within,
        idle_timeouts: &timeouts,
        rtt: args.rtt,
        hz: Hz::new(args.hz).unwrap_or(Hz::DEBIAN),
    };
    wish.plan()
        .map_err(|impossible| Failure::Usage(explain(impossible, &wish, hops)))
}

/// What is impossible, and what would work instead.
fn explain(impossible: Impossible, wish: &Wish<'_>, hops: &[Hop<'_>]) -> String {
    let mut text = match impossible {
        Impossible::NotRefreshed { .. } => {
            return not_refreshed(hops);
        }
        impossible => impossible.to_string(),
    };
    let instead = match impossible {
        Impossible::TooFast { at_least, .. } => format!(
            "--detect-within {at_least:?}, or messages and timeouts of the program's own, which know \
             no such limits"
        ),
        Impossible::ForgetsTooSoon { .. } => {
            let shortest = hops.iter().min_by_key(|hop| hop.after);
            let title = shortest.map_or("that", Hop::title);
            format!("raise the idle timeout of {title}, or let the program send something itself")
        }
        _ => format!("--rtt with what really passes; {ASSUMED_RTT:?} is assumed without it"),
    };
    let _ = write!(text, ". What would work instead: {instead}");
    if wish.rtt > ASSUMED_RTT && !matches!(impossible, Impossible::RoundTripTooLong { .. }) {
        text.push_str(", or a smaller --rtt if that is the truth");
    }
    text
}

fn not_refreshed(hops: &[Hop<'_>]) -> String {
    let presets = || hops.iter().filter_map(|hop| hop.preset);
    let stubborn: Vec<&Preset> = presets().filter(|it| !it.refreshed_by_probes).collect();
    let mut shortest = LONGEST_DURATION;
    let mut titles = String::new();
    for preset in &stubborn {
        shortest = shortest.min(Duration::from_secs(preset.idle_s));
        let range = preset.range_s.map(|(_, most)| format!(" (up to {most}s)"));
        let separator = if titles.is_empty() { "" } else { " and " };
        let (title, idle, range) = (&preset.title, preset.idle_s, range.unwrap_or_default());
        let _ = write!(titles, "{separator}{title} after {idle}s{range}");
    }
    let names: Vec<&str> = stubborn.iter().map(|it| it.name.as_str()).collect();
    let names = names.join(" and ");
    let every = shortest.as_secs() / 2;
    format!(
        "no keep-alive values keep a connection through {names}: what counts there is data, a probe \
         carries none, and the connection ends: {titles}. What would work instead: something that \
         the program itself sends, every {every}s for example (a WebSocket or HTTP/2 ping, gRPC's \
         keepalive, SELECT 1); or a longer idle timeout there. Keep-alive still tells whether the \
         proxy itself is there: plan without --via {}",
        names.replace(" and ", " --via ")
    )
}
