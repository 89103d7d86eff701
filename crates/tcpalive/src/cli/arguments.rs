//! Groups of arguments that commands share, and what they resolve to.

use super::Failure;
use crate::render::Style;
use clap::{Args, ColorChoice, ValueEnum};
use std::fmt;
use std::str::FromStr;
use tcpalive_connections::{Filter, Selection, State, StateSet, View};
use tcpalive_kernel::netns::Scope;
use tcpalive_kernel::sweep::BackendChoice;

/// How results are printed; for every command.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// Print newline-delimited JSON; the last object is the summary
    #[arg(long, global = true)]
    json: bool,
    /// Colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

impl OutputArgs {
    /// Asks the terminal for what was left to it.
    #[must_use]
    pub fn resolve(self) -> Presentation {
        Presentation {
            json: self.json,
            style: Style::stdout(self.color),
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub struct Presentation {
    /// JSON for programs, else text for people.
    pub json: bool,
    /// How that text is laid out.
    pub style: Style,
}

/// Where connections are read; for every command that reads them.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Network namespaces: all that can be reached, the current one, one by
    /// the name that `ip netns` knows it by, by its path, or a process's
    #[arg(
        long,
        value_name = "all|current|NAME|PATH|pid:N",
        default_value = "all",
        hide_default_value = true,
        value_parser = str::parse::<Scope>
    )]
    pub netns: Scope,
    /// How the kernel is asked; netlink needs no BPF, but cannot tell
    /// keep-alive values
    #[arg(long, value_name = "WAY", default_value = "auto")]
    backend: Backend,
}

impl SourceArgs {
    /// The kernel crate's name for the backend.
    #[must_use]
    pub fn backend(&self) -> BackendChoice {
        match self.backend {
            Backend::Auto => BackendChoice::Auto,
            Backend::Bpf => BackendChoice::Bpf,
            Backend::Netlink => BackendChoice::Netlink,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Backend {
    Auto,
    Bpf,
    Netlink,
}

/// Which connections are meant; for every command that selects some.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectionArgs {
    /// Connections to select, such as 'local.port = 3333 and idle > 10m'
    ///
    /// Comparisons of state local.addr local.port remote.addr remote.port port
    /// pid comm cgroup container uid netns family keepalive idle unacked memory
    /// with = != < <= > >= in ~, joined by and or not ( ).
    filter: Option<String>,
    /// Only these ports, local or remote: 443, 8000-9000, comma-separated
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    port: Vec<Ports>,
    /// Only what these processes hold: ids, comma-separated
    #[arg(long, value_name = "PIDS", value_delimiter = ',')]
    pid: Vec<u32>,
    /// Only these states, comma-separated, or all; established if neither
    /// this nor the filter says otherwise
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    state: Vec<States>,
}

impl SelectionArgs {
    /// The filter and the flags as one.
    ///
    /// # Errors
    /// A filter that is none.
    pub fn resolve(&self) -> Result<Selected, Failure> {
        let mut filter = Filter::parse(self.filter.as_deref().unwrap_or_default())?;
        if !self.state.is_empty() {
            let states = self.state.iter().map(|states| states.0);
            filter = filter.and(any_state(states));
        } else if !filter.mentions_state() {
            filter = filter.and(Filter::for_state(StateSet::of(State::Established)));
        }
        if !self.port.is_empty() {
            filter = filter.and(one_of("port", &self.port)?);
        }
        if !self.pid.is_empty() {
            filter = filter.and(one_of("pid", &self.pid)?);
        }
        Ok(Selected::new(filter))
    }
}

fn any_state(states: impl Iterator<Item = StateSet>) -> Filter {
    let set = states.fold(StateSet::NONE, StateSet::union);
    if set == StateSet::ALL {
        Filter::everything()
    } else {
        Filter::for_state(set)
    }
}

fn one_of(field: &str, values: &[impl fmt::Display]) -> Result<Filter, Failure> {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    Ok(Filter::parse(&format!(
        "{field} in ({})",
        values.join(", ")
    ))?)
}

/// The connections that are meant.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The whole condition.
    pub filter: Filter,
    /// What of it the kernel applies.
    pub selection: Selection,
    /// Whether the kernel applies all of it.
    exactly: bool,
}

impl Selected {
    fn new(filter: Filter) -> Self {
        Self {
            selection: filter.selection(),
            exactly: filter.is_exactly_selected(),
            filter,
        }
    }

    /// Whether a connection that the kernel handed out is meant.
    #[must_use]
    pub fn contains(&self, view: &View<'_>) -> bool {
        self.exactly || self.filter.matches(view)
    }

    /// Whether the owners must be known to tell which connections are meant.
    /// They also tell a socket's cgroup where cgroup v1 has it
    /// ([`Cgroups::path`](crate::survey::Cgroups::path)).
    #[must_use]
    pub fn needs_owners(&self) -> bool {
        self.filter.needs_owners() || self.filter.needs_cgroup()
    }
}

/// A port or a range of ports.
#[derive(Debug, Clone, Copy)]
struct Ports {
    low: u16,
    high: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.trim().parse::<u16>().ok();
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        match (port(low), port(high)) {
            (Some(low), Some(high)) if low <= high => Ok(Self { low, high }),
            _ => Err("expected a port from 0 to 65535, or a range such as 8000-9000".into()),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

/// A state by its name, or all of them.
#[derive(Debug, Clone, Copy)]
struct States(StateSet);

impl FromStr for States {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self(StateSet::ALL));
        }
        text.parse()
            .map(|state| Self(StateSet::of(state)))
            .map_err(|()| {
                let mut names: Vec<&str> = State::ALL.into_iter().map(State::name).collect();
                names.dedup();
                // A request socket shares its name with a full one.
                names.pop();
                format!("expected all or one of {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(filter: &str, set: impl FnOnce(&mut SelectionArgs)) -> String {
        let mut args = SelectionArgs {
            filter: Some(filter.to_owned()),
            ..SelectionArgs::default()
        };
        set(&mut args);
        args.resolve().unwrap().filter.to_string()
    }

    #[test]
    fn established_is_meant_unless_something_else_is_said() {
        assert_eq!(resolved("", |_| {}), "state = established");
        assert_eq!(resolved("not state = listen", |_| {}), "state != listen");
        let all = |args: &mut SelectionArgs| args.state = vec!["all".parse().unwrap()];
        assert_eq!(resolved("uid = 0", all), "uid = 0");
        let two = |args: &mut SelectionArgs| {
            args.state = vec!["time-wait".parse().unwrap(), "LISTEN".parse().unwrap()];
        };
        assert_eq!(resolved("", two), "state in (time-wait, listen)");
    }

    #[test]
    fn flags_and_filter_must_all_be_fulfilled() {
        let text = resolved("uid = 0", |args| {
            args.port = vec!["443".parse().unwrap(), "8000-9000".parse().unwrap()];
            args.pid = vec![7];
        });
        assert_eq!(
            text,
            "uid = 0 and state = established and port in (443, 8000-9000) and pid = 7"
        );
    }

    #[test]
    fn what_is_no_port_or_state_is_told_what_is() {
        for bad in ["", "x", "65536", "9-8", "1-", "1-2-3"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
        let error = "open".parse::<States>().unwrap_err();
        assert!(error.ends_with("listen, closing"), "{error}");
        assert_eq!(error.matches("syn-recv").count(), 1);
    }
}
