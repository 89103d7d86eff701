//! `tcpalive sysctl`: the keep-alive sysctls of network namespaces, and what
//! follows from them.
//!
//! * `set`: changing them, all or nothing.
//! * `reach`: which sockets they decide about.
//! * `dangers`: values that the kernel takes and that do harm.
//! * `persist`: the file in /etc/sysctl.d; `overrides`: which files win over it.

mod dangers;
mod overrides;
mod persist;
mod reach;
mod set;

use crate::cli::{Failure, Found, Presentation, say};
use crate::render::sysctl::{Shown, Table};
use crate::survey::{find_namespaces, open_sweeper};
use std::io::{self, Write};
use tcpalive_kernel::netns::Scope;
use tcpalive_kernel::sweep::BackendChoice;
use tcpalive_kernel::sysctl::KeepaliveSysctls;

/// Arguments of `sysctl`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive sysctl
  tcpalive sysctl --netns pid:4711
  tcpalive sysctl --json | jq 'select(.type == \"sysctl\" and .detects_within_s > 600)'
  tcpalive sysctl set --time 10m --interval 15 --probes 4

The sysctls decide for connections whose programs switch keep-alive on (SO_KEEPALIVE) and
set no values of their own. Each network namespace has its own three; a new one starts at
7200 s, 75 s and 9 probes, whatever the host has. DETECTS WITHIN is how long a peer can be
dead before the connection is ended: the time, and then the interval for each probe. LATE BY
is by how much the kernel's timers can exceed it. FOLLOW, OWN and OFF count connections:
with keep-alive by the sysctls, with values that their programs set, without keep-alive.
Without BPF, these four are not known.

Exit codes: 0 done; 2 wrong usage or bad input; 3 this host or user does not allow it;
4 failed midway.")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Network namespaces: all that can be reached (what is shown by default), the
    /// current one (what is set by default), one by the name that `ip netns` knows it
    /// by, by its path, or a process's
    #[arg(
        long,
        global = true,
        value_name = "all|current|NAME|PATH|pid:N",
        value_parser = str::parse::<Scope>
    )]
    netns: Option<Scope>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Change them in the current namespace, or in those that --netns says
    Set(set::Args),
}

/// Shows the sysctls, or sets them.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    match &args.action {
        Some(Action::Set(wanted)) => {
            // Changing every namespace by accident would be wrong.
            let scope = args.netns.as_ref().unwrap_or(&Scope::Current);
            set::run(wanted, scope, presentation)
        }
        None => show(args.netns.as_ref().unwrap_or(&Scope::All), presentation),
    }
}

fn show(scope: &Scope, presentation: Presentation) -> Result<Found, Failure> {
    let namespaces = find_namespaces(scope, true)?;
    let mut sweeper = open_sweeper(BackendChoice::Auto)?;
    let hz = reach::tick_rate(&sweeper);
    let mut table = Table::default();
    for namespace in &namespaces {
        let values = KeepaliveSysctls::read(namespace)?;
        let warnings = dangers::dangers(&values, hz);
        warn(namespace.label(), &warnings);
        table.push(Shown {
            netns: namespace.inode(),
            name: namespace.label().to_owned(),
            values,
            hz,
            sockets: reach::sockets(&mut sweeper, namespace)?,
            warnings,
        });
    }
    let mut out = io::stdout().lock();
    if presentation.json {
        out.write_all(&table.json())?;
    } else {
        out.write_all(table.text(presentation.style).as_bytes())?;
    }
    out.flush()?;
    Ok(Found::Nothing)
}

fn warn(namespace: &str, warnings: &[String]) {
    for warning in warnings {
        say(&format!(
            "warning: in network namespace {namespace}, {warning}"
        ));
    }
}
