//! `tcpalive doctor`: what this host lets it do, and what was left behind.

use crate::cli::{Failure, Found, Presentation, say};
use crate::render::doctor::{LeftBehind, Report};
use std::io::{self, Write};
use tcpalive_kernel::capabilities;
use tcpalive_lab::leftovers::{Leftover, leftovers};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive doctor
  tcpalive doctor --clean
  sudo -u nobody tcpalive doctor --json | jq 'select(.allowed == false)'

Everything is tried for real in the current network namespace, and nothing is changed:
programs are loaded and unloaded, sockets opened and closed. Where something was not tried,
it says so. Leftovers are network namespaces of labs whose process was killed.

Exit codes: 0 done, whatever is allowed; 2 wrong usage; 3 leftovers are there that this
user may not remove; 4 failed midway.")]
pub struct Args {
    /// Remove what labs left behind whose process was killed
    #[arg(long)]
    clean: bool,
}

/// Says what is allowed, and finds or removes leftovers.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let capabilities = capabilities::look();
    // That a user may not look for them is no reason to say nothing else.
    let left = leftovers().unwrap_or_else(|error| {
        say(&error.to_string());
        Vec::new()
    });
    let mut failed = None;
    let left: Vec<LeftBehind> = left
        .into_iter()
        .map(|leftover| LeftBehind {
            removed: args.clean && remove(&leftover, &mut failed),
            netns: leftover.netns,
            maker: leftover.maker,
            processes: leftover.processes,
        })
        .collect();
    let report = Report {
        capabilities: &capabilities,
        left: &left,
        cleaned: args.clean,
    };
    let mut out = io::stdout().lock();
    if presentation.json {
        out.write_all(&report.json())?;
    } else {
        out.write_all(report.text(presentation.style).as_bytes())?;
    }
    out.flush()?;
    failed.map_or(Ok(Found::Nothing), Err)
}

/// Whether the leftover is gone. The first failure is kept, and the others
/// are tried all the same.
fn remove(leftover: &Leftover, failed: &mut Option<Failure>) -> bool {
    let Err(error) = leftover.remove() else {
        return true;
    };
    failed.get_or_insert_with(|| {
        let text = format!("removing what was left behind: {error}");
        if rustix::process::geteuid().is_root() {
            Failure::Midway(text)
        } else {
            Failure::NotAllowed(format!("{text}. Run it as root"))
        }
    });
    false
}
