//! Whether silence may be the fault of this side.
//!
//! Routes, next hops and interfaces are looked at while probes are out. They
//! can show that probes do not reach the network (no route, a next hop that
//! does not answer ARP, an interface that went down), or that they get at
//! least as far as the next hop.

use std::collections::{HashMap, HashSet};
use std::io;
use tcpalive_kernel::Result;
use tcpalive_kernel::netns::Namespace;
pub use tcpalive_kernel::path::Flow;
use tcpalive_kernel::path::{Device, Neighbour, Paths, Route};
use tcpalive_kernel::sysctl::Settings;

/// What is known of the way to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It is shown to work, at least to the next hop.
    Works,
    /// Nothing speaks against it, and nothing for it.
    Unknown,
    /// The next hop is being asked, and has not answered yet.
    Asked,
    /// Probes do not get out, for this reason.
    Broken(String),
}

/// Judges the ways out of one namespace during one check.
#[derive(Debug)]
pub struct Ways {
    paths: Paths,
    at_start: HashMap<u32, Device>,
    went_down: HashMap<u32, String>,
    /// As they were when they were asked for first.
    routes: HashMap<Flow, std::result::Result<Route, String>>,
    /// As they were at the last look.
    routes_now: HashMap<Flow, std::result::Result<Route, String>>,
    /// A routing rule, or the choice among equal routes, looks at ports.
    rules_look_at_ports: bool,
    answered: HashSet<Route>,
    solicited: HashSet<Route>,
    judged: HashMap<Route, Way>,
}

impl Ways {
    /// Notes how the interfaces stand before the first probe.
    ///
    /// # Errors
    /// When the namespace cannot be entered or netlink is refused.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let mut paths = Paths::open(namespace)?;
        let at_start = paths.devices().unwrap_or_default();
        let rules_look_at_ports = paths.rules_look_at_ports().unwrap_or(true)
            || Settings::of(namespace)?.multipath_by_ports;
        Ok(Self {
            paths,
            rules_look_at_ports,
            routes_now: HashMap::new(),
            at_start,
            went_down: HashMap::new(),
            routes: HashMap::new(),
            answered: HashSet::new(),
            solicited: HashSet::new(),
            judged: HashMap::new(),
        })
    }

    /// Looks at the interfaces again, and forgets what was judged before.
    pub fn look(&mut self) {
        self.judged.clear();
        self.routes_now.clear();
        let Ok(now) = self.paths.devices() else {
            return;
        };
        for (index, before) in &self.at_start {
            let (name, index) = (&before.name, *index);
            let trouble = match now.get(&index) {
                None => format!("interface {name} disappeared during the check"),
                Some(device) if !device.is_up => format!("interface {name} is down"),
                Some(device) if device.carrier_changes != before.carrier_changes => {
                    format!("interface {name} lost its carrier during the check")
                }
                Some(_) => continue,
            };
            self.went_down.entry(index).or_insert(trouble);
        }
    }

    /// A peer answered over this way. Returns whether that says anything about
    /// the network: this host answers itself in any outage.
    pub fn answered(&mut self, flow: &Flow) -> bool {
        let Ok(route) = self.route(flow) else {
            return false;
        };
        self.answered.insert(route);
        !route.is_local
    }

    /// Whether the way leads out of this host.
    pub fn leads_out(&mut self, flow: &Flow) -> bool {
        self.route(flow).is_ok_and(|route| !route.is_local)
    }

    /// How an interface is called.
    #[must_use]
    pub fn device_name(&self, index: u32) -> String {
        self.at_start.get(&index).map_or_else(
            || format!("interface {index}"),
            |device| device.name.clone(),
        )
    }

    /// Has the next hop of this way asked whether it is there, once, unless
    /// it is known.
    pub fn ask(&mut self, flow: &Flow) {
        let Ok(route) = self.route(flow) else { return };
        if route.is_local || self.answered.contains(&route) || !self.solicited.insert(route) {
            return;
        }
        // Only a hint to the kernel: where it is refused, the entry's own
        // age decides.
        let _ = self.paths.solicit(&route);
    }

    /// Judges the way of `flow`, of a connection with these ports (local and
    /// remote); the check began `elapsed_ms` ago.
    pub fn judge(&mut self, flow: &Flow, ports: (u16, u16), elapsed_ms: u64) -> Way {
        let route = match self.route(flow) {
            Ok(route) => route,
            Err(reason) => return Way::Broken(reason),
        };
        match self.route_now(flow) {
            Err(reason) => return Way::Broken(reason),
            Ok(now) if now != route => {
                return Way::Broken(format!(
                    "the route to {} changed during the check",
                    flow.remote
                ));
            }
            Ok(_) => {}
        }
        if self.rules_look_at_ports && ask(&mut self.paths, flow, Some(ports)) != Ok(route) {
            return Way::Broken(
                "a routing rule, or the choice among equal routes, goes by ports and sends the connection another way than probes".into(),
            );
        }
        if let Some(judged) = self.judged.get(&route) {
            return judged.clone();
        }
        let way = self.judge_route(&route, elapsed_ms);
        self.judged.insert(route, way.clone());
        way
    }

    fn judge_route(&mut self, route: &Route, elapsed_ms: u64) -> Way {
        if route.is_local {
            return Way::Works;
        }
        if let Some(trouble) = self.went_down.get(&route.device) {
            return Way::Broken(trouble.clone());
        }
        let device = self.at_start.get(&route.device);
        let name = device.map_or("an interface that is not there any more", |device| {
            device.name.as_str()
        });
        match self.paths.neighbour(route) {
            Ok(Neighbour::Failed) => Way::Broken(format!(
                "the next hop {} on {name} does not answer {}",
                route.next_hop,
                if route.next_hop.is_ipv4() {
                    "ARP"
                } else {
                    "neighbour solicitations"
                }
            )),
            _ if self.answered.contains(route) => Way::Works,
            Ok(Neighbour::Confirmed(age)) if age <= elapsed_ms => Way::Works,
            Ok(Neighbour::Asked) => Way::Asked,
            _ => Way::Unknown,
        }
    }

    fn route(&mut self, flow: &Flow) -> std::result::Result<Route, String> {
        if let Some(known) = self.routes.get(flow) {
            return known.clone();
        }
        let found = ask(&mut self.paths, flow, None);
        self.routes.insert(*flow, found.clone());
        found
    }

    fn route_now(&mut self, flow: &Flow) -> std::result::Result<Route, String> {
        if let Some(known) = self.routes_now.get(flow) {
            return known.clone();
        }
        let found = ask(&mut self.paths, flow, None);
        self.routes_now.insert(*flow, found.clone());
        found
    }
}

fn ask(
    paths: &mut Paths,
    flow: &Flow,
    tcp_ports: Option<(u16, u16)>,
) -> std::result::Result<Route, String> {
    paths.route(flow, tcp_ports).map_err(|error| {
        format!(
            "there is no route to {}: {}",
            flow.remote,
            explain_route_error(&error)
        )
    })
}

fn explain_route_error(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EINVAL) => "a black hole, or the local address is gone".into(),
        Some(libc::EACCES) => "prohibited by a route or rule".into(),
        _ => error.to_string(),
    }
}
