//! `tcpalive disable`: no keep-alive on live connections.

use super::changing::{ChangeArgs, change_selected};
use crate::cli::{Failure, Found, Presentation, SelectionArgs, SourceArgs};
use tcpalive_liveness::enable::Wanted;

/// Arguments of `disable`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive disable 'remote.addr in 10.0.0.0/8 and keepalive' --undo-file /root/before.jsonl
  tcpalive undo /root/before.jsonl                 and back
  tcpalive disable --port 3333 --dry-run           what would be changed

Only the switch (SO_KEEPALIVE) is changed. The idle time, interval, count and user timeout of
the sockets stay, and hold again when keep-alive is switched on.

Exit codes: 0 done (what was left alone is said); 2 wrong usage or bad input; 3 this host or
user does not allow it; 4 failed or was stopped midway.")]
pub struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    how: ChangeArgs,
}

/// Switches keep-alive off.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    change_selected(
        &args.selection,
        &args.source,
        &args.how,
        Wanted::default(),
        presentation,
    )
}
