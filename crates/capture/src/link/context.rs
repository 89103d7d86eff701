//! What keeps flows with equal addresses apart.

use std::fmt;

/// Where a packet belongs besides its addresses: networks that share a wire
/// often use the same private addresses.
///
/// It is part of what makes a flow, so it has only what is the same in both
/// directions of a connection:
///
/// * the ids of the two outermost VLAN tags (not priority nor drop bits;
///   id 0, which only carries a priority, is no VLAN);
/// * the id of the innermost of tunnel and session: VXLAN's and Geneve's
///   network identifier, GRE's key, the PPPoE session.
///
/// MPLS labels are not in it: they always differ between directions. Nor is
/// the interface: routes may differ between directions, and a capture on two
/// interfaces sees the same packet twice. Nor are the outer addresses of a
/// tunnel.
///
/// Where a network does use another VLAN or VNI on the way back (asymmetric
/// routing between EVPN segments, a tap that tags its two wires), the two
/// directions have different contexts and look like two connections seen from
/// one side each; `Context::default()` in the place of both joins them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Context(u64);

/// What the id of a tunnel or session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Vxlan = 1,
    Geneve = 2,
    Gre = 3,
    Pppoe = 4,
}

// From the lowest bit on: outer VLAN, inner VLAN, id, kind of id.
const VLAN_BITS: u32 = 12;
const VLAN: u64 = (1 << VLAN_BITS) - 1;
const ID_AT: u32 = 2 * VLAN_BITS;
const KIND_AT: u32 = ID_AT + 32;

impl Context {
    /// All of it in a number: 0 for a packet without tag and tunnel, and the
    /// same number only for the same context.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The ids of the outermost VLAN tag and of the one inside it; 0 is none.
    #[must_use]
    pub const fn vlans(self) -> (u16, u16) {
        ((self.0 & VLAN) as u16, (self.0 >> VLAN_BITS & VLAN) as u16)
    }

    /// Adds a tag inside those that are there. A third one is not kept.
    pub(super) const fn add_vlan(&mut self, tag: u16) {
        let id = tag as u64 & VLAN;
        if self.0 & VLAN == 0 {
            self.0 |= id;
        } else if self.0 >> VLAN_BITS & VLAN == 0 {
            self.0 |= id << VLAN_BITS;
        }
    }

    /// Sets the id of a tunnel or session, in the place of one further out.
    pub(super) const fn set_id(&mut self, kind: Kind, id: u32) {
        self.0 &= (1 << ID_AT) - 1;
        self.0 |= (id as u64) << ID_AT | (kind as u64) << KIND_AT;
    }
}

/// `vlan 7`, `vlan 7.8 vni 9`, or nothing.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vlans = self.vlans();
        match vlans {
            (0, _) => {}
            (outer, 0) => write!(f, "vlan {outer}")?,
            (outer, inner) => write!(f, "vlan {outer}.{inner}")?,
        }
        let id = (self.0 >> ID_AT) as u32;
        let name = match self.0 >> KIND_AT {
            0 => return Ok(()),
            kind if kind == Kind::Gre as u64 => "gre key",
            kind if kind == Kind::Pppoe as u64 => "pppoe session",
            _ => "vni",
        };
        let space = if vlans.0 == 0 { "" } else { " " };
        write!(f, "{space}{name} {id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_shown_as_people_name_them() {
        let mut context = Context::default();
        assert_eq!((context.to_string().as_str(), context.number()), ("", 0));
        context.set_id(Kind::Gre, u32::MAX);
        assert_eq!(context.to_string(), "gre key 4294967295");
        context.add_vlan(0xe007);
        assert_eq!(context.to_string(), "vlan 7 gre key 4294967295");
        context.add_vlan(4095);
        context.add_vlan(9);
        assert_eq!(context.vlans(), (7, 4095));
        context.set_id(Kind::Vxlan, 5);
        assert_eq!(context.to_string(), "vlan 7.4095 vni 5");
        context.set_id(Kind::Pppoe, 6);
        assert_eq!(context.to_string(), "vlan 7.4095 pppoe session 6");
    }

    #[test]
    fn the_same_id_of_another_kind_is_another_context() {
        let with = |kind| {
            let mut context = Context::default();
            context.set_id(kind, 0);
            context
        };
        let kinds = [Kind::Vxlan, Kind::Geneve, Kind::Gre, Kind::Pppoe];
        for (at, kind) in kinds.into_iter().enumerate() {
            assert_ne!(with(kind), Context::default());
            for other in &kinds[at + 1..] {
                assert_ne!(with(kind), with(*other));
            }
        }
    }
}
