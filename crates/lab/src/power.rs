//! Hosts that lose their power, come back, or go for good.
//!
//! The cable goes first: by the time that the kernel could say goodbye for
//! the host's sockets there is nothing left to say it on. No FIN and no RST
//! ever leaves.

use crate::error::{LabError, Result};
use crate::host::{Host, Interface, Kind, write_sysctl};

impl Host {
    /// Takes the host's power: its processes are killed and its namespace is
    /// removed without a packet leaving. Its cables stay with its neighbours,
    /// who see that the carrier is lost. Rules and faults in it are forgotten.
    ///
    /// Sockets that the calling process opened in the host stay open as
    /// descriptors, in a namespace without a name or a cable.
    ///
    /// # Errors
    /// When the host has no power, and failures of `ip`.
    pub fn power_off(&self) -> Result<()> {
        if !self.is_on() {
            return Err(LabError::Other(format!("{} has no power", self.name())));
        }
        let lab = self.lab()?;
        let names: Vec<String> = self.interface_names();
        for name in names {
            let (netns, parked) = lab.parking()?;
            // Down first: from here on nothing leaves.
            self.ip(&format!("link set {name} down"))?;
            self.ip(&format!("link set {name} netns {netns} name {parked}"))?;
            self.edit_interface(&name, |interface| interface.parked = Some((netns, parked)));
        }
        self.forget()
    }

    /// Gives the host its power again: a new namespace with the same name,
    /// interfaces, hardware and IP addresses, routes and sysctls, and no
    /// memory of any connection.
    ///
    /// # Errors
    /// When the host has power, and failures of `ip`.
    pub fn power_on(&self) -> Result<()> {
        if self.is_on() {
            return Err(LabError::Other(format!("{} has power", self.name())));
        }
        self.make_namespace()?;
        if self.kind() == Kind::Bridge {
            self.make_bridge()?;
        }
        let (interfaces, sysctls) = {
            let state = self.state();
            (state.interfaces.clone(), state.sysctls.clone())
        };
        self.run(|| {
            sysctls
                .iter()
                .try_for_each(|(key, value)| write_sysctl(key, value))
        })?;
        for Interface {
            name,
            addresses,
            master,
            parked,
            ..
        } in interfaces
        {
            let Some((netns, parked)) = parked else {
                continue;
            };
            crate::command::ip(&format!(
                "-n {netns} link set {parked} netns {} name {name}",
                self.netns_name()
            ))?;
            self.edit_interface(&name, |interface| {
                interface.parked = None;
                interface.addresses.clear();
            });
            self.assign(&name, addresses)?;
            if let Some(master) = master {
                self.ip(&format!("link set {name} master {master}"))?;
            }
            self.ip(&format!("link set {name} up"))?;
        }
        self.restore_routes()
    }

    /// [`Host::power_off`], then [`Host::power_on`].
    ///
    /// # Errors
    /// As theirs.
    pub fn reboot(&self) -> Result<()> {
        self.power_off()?;
        self.power_on()
    }

    /// Takes the host away for good, cables included: the interfaces at its
    /// neighbours' ends vanish too.
    ///
    /// # Errors
    /// Failures of `ip`.
    pub fn remove(&self) -> Result<()> {
        self.unplug()?;
        self.forget()?;
        if let Ok(lab) = self.lab() {
            lab.hosts().retain(|host| !host.is(self));
        }
        Ok(())
    }

    /// Routes that a link took along when it went down.
    pub(crate) fn restore_routes(&self) -> Result<()> {
        let routes = self.state().routes.clone();
        routes.iter().try_for_each(|route| self.ip(route).map(drop))
    }

    /// Removes all cables of the host, with their far ends.
    pub(crate) fn unplug(&self) -> Result<()> {
        let interfaces = std::mem::take(&mut self.state().interfaces);
        for interface in interfaces {
            let (netns, name) = interface
                .parked
                .unwrap_or_else(|| (self.netns_name().to_owned(), interface.name));
            crate::command::ip(&format!("-n {netns} link del {name}"))?;
            interface
                .peer
                .state()
                .interfaces
                .retain(|known| known.name != interface.peer_interface);
        }
        Ok(())
    }

    fn interface_names(&self) -> Vec<String> {
        let state = self.state();
        state
            .interfaces
            .iter()
            .map(|interface| interface.name.clone())
            .collect()
    }
}
