//! Many connections on one timing wheel.

use crate::machine::{Abort, Action, Errno, Event, Machine};
use crate::options::{Options, Sysctl};
use crate::time::Time;
use crate::wheel::Wheel;
use alloc::vec::Vec;
use core::time::Duration;

/// The keep-alive of many connections.
///
/// **The engine neither sends nor waits. Its owner tells it what happened
/// ([`handle`](Self::handle)), asks what is to be sent
/// ([`poll`](Self::poll)), and comes back at
/// [`next_timeout`](Self::next_timeout) at the latest.**
///
/// `Id` is whatever the owner knows a connection by: a cookie, an address, an
/// index. The engine hands out a [`Key`] for each, to be kept beside it.
///
/// ```
/// use tcpalive_keepalive::{Engine, Event, Output, Params, Time};
///
/// let mut engine = Engine::new(Time::ZERO);
/// let params: Params = "10/20/2".parse()?;
/// let key = engine.insert("client 7", params.into(), Time::ZERO);
/// assert_eq!(engine.poll(Time::from_secs(9)), None);
///
/// let (due, output) = engine.poll(Time::from_secs(10)).unwrap();
/// assert_eq!((engine.id(due), output), (Some(&"client 7"), Output::Probe { probes_out: 1 }));
/// // The client answers. Nothing is due before the interval has passed.
/// engine.handle(key, Event::Ack { outstanding: false }, Time::from_secs(11));
/// assert_eq!(engine.machine(key).unwrap().probes_out(), 0);
/// # Ok::<(), tcpalive_keepalive::ParamsError>(())
/// ```
///
/// # Lateness
/// Timers are rounded up to a tick of the wheel, 4 ms unless
/// [`with_tick`](Self::with_tick) says otherwise: no probe is early.
///
/// # Cost
/// With an `Id` of 8 bytes a connection takes 40 bytes, and 12.3 in the
/// wheel. An event touches one connection; an acknowledgment does not touch
/// the wheel at all. `make bench` measures it.
#[derive(Debug)]
pub struct Engine<Id> {
    slots: Vec<Slot<Id>>,
    /// The first slot that is free; they are chained.
    free: Option<u32>,
    len: usize,
    wheel: Wheel,
    sysctl: Sysctl,
}

#[derive(Debug)]
struct Slot<Id> {
    machine: Machine,
    entry: Entry<Id>,
}

#[derive(Debug)]
enum Entry<Id> {
    Taken { generation: u32, id: Id },
    Free { generation: u32, next: Option<u32> },
}

/// A connection in an [`Engine`]. Keys of connections that were removed are
/// known as such for 2³² further ones in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    slot: u32,
    generation: u32,
}

/// What is to be done for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// Send a probe.
    Probe {
        /// Unanswered probes, this one included.
        probes_out: u8,
    },
    /// The peer is given up: send a reset, tell the program, and
    /// [`remove`](Engine::remove) the connection.
    Abort(Abort),
}

/// So many expired timers are taken from the wheel at a time.
const BATCH: usize = 128;

impl<Id> Engine<Id> {
    /// The tick of Linux at 250 Hz.
    pub const DEFAULT_TICK: Duration = Duration::from_millis(4);

    /// No connections yet, at this time.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self::with_tick(Self::DEFAULT_TICK, now, 0)
    }

    /// With a tick of its own, and room for so many connections.
    #[must_use]
    pub fn with_tick(tick: Duration, now: Time, connections: usize) -> Self {
        Self {
            slots: Vec::with_capacity(connections),
            free: None,
            len: 0,
            wheel: Wheel::with_capacity(tick, now, connections),
            sysctl: Sysctl::LINUX,
        }
    }

    /// The values for what connections have not set of their own. Timers that
    /// are armed do not move; values are read each time that one fires.
    pub fn set_sysctl(&mut self, sysctl: Sysctl) {
        self.sysctl = sysctl;
    }

    /// The values for what connections have not set of their own.
    #[must_use]
    pub const fn sysctl(&self) -> &Sysctl {
        &self.sysctl
    }

    /// Takes a connection that is established now.
    ///
    /// # Panics
    /// Beyond [`Wheel::MAX_TIMERS`] connections (2³¹).
    pub fn insert(&mut self, id: Id, options: Options, now: Time) -> Key {
        let key = self.insert_connecting(id, options);
        self.handle(key, Event::Established, now);
        key
    }

    /// Takes a connection that will be established later:
    /// [`Event::Established`] says when.
    ///
    /// # Panics
    /// Beyond [`Wheel::MAX_TIMERS`] connections (2³¹).
    pub fn insert_connecting(&mut self, id: Id, options: Options) -> Key {
        let machine = Machine::connecting(options);
        self.len += 1;
        let Some(slot) = self.free else {
            let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            assert!(slot < Wheel::MAX_TIMERS, "more than 2^31 connections");
            let generation = 0;
            let entry = Entry::Taken { generation, id };
            self.slots.push(Slot { machine, entry });
            return Key { slot, generation };
        };
        let place = &mut self.slots[slot as usize];
        let mut generation = 0;
        if let Entry::Free {
            generation: before,
            next,
        } = place.entry
        {
            generation = before.wrapping_add(1);
            self.free = next;
        }
        place.machine = machine;
        place.entry = Entry::Taken { generation, id };
        Key { slot, generation }
    }

    /// Lets go of a connection; `None` when it was removed before.
    pub fn remove(&mut self, key: Key) -> Option<Id> {
        self.slot(key)?;
        self.wheel.cancel(key.slot);
        self.len -= 1;
        let free = Entry::Free {
            generation: key.generation,
            next: self.free.replace(key.slot),
        };
        match core::mem::replace(&mut self.slots[key.slot as usize].entry, free) {
            Entry::Taken { id, .. } => Some(id),
            Entry::Free { .. } => None,
        }
    }

    /// Takes note of something that happened to a connection now. If that
    /// ended it, says with which error. Events of connections that were
    /// removed are for nobody.
    ///
    /// Nothing is ever to be sent at once, but [`poll`](Self::poll) may have
    /// something at this same time.
    pub fn handle(&mut self, key: Key, event: Event, now: Time) -> Option<Errno> {
        let sysctl = self.sysctl;
        let machine = &mut self.slot_mut(key)?.machine;
        match machine.handle(event, now, &sysctl) {
            Action::Keep => None,
            Action::Closed { error } => {
                self.wheel.cancel(key.slot);
                error
            }
            Action::Arm(at) => {
                self.wheel.arm(key.slot, at);
                None
            }
            // Only the timer probes and aborts.
            Action::Disarm | Action::Probe { .. } | Action::Abort(_) => {
                self.wheel.cancel(key.slot);
                None
            }
        }
    }

    /// Something that is to be done now, one at a time; `None` when that is all.
    pub fn poll(&mut self, now: Time) -> Option<(Key, Output)> {
        loop {
            let timer = self.wheel.pop(now)?;
            if let Some(key) = self.key(timer)
                && let Some(output) = self.fire(key, now)
            {
                return Some((key, output));
            }
        }
    }

    /// As [`poll`](Self::poll), many at a time, which is faster where there
    /// are millions: appends to `due` and says whether to come again for more.
    pub fn poll_batch(&mut self, now: Time, due: &mut Vec<(Key, Output)>) -> bool {
        let mut timers = [0; BATCH];
        let popped = self.wheel.pop_batch(now, &mut timers);
        // All connections are looked at before any of them is changed, so
        // that their cache misses are waited for together.
        let mut keys = [None; BATCH];
        for (key, &timer) in keys.iter_mut().zip(&timers[..popped]) {
            *key = self.key(timer);
        }
        for key in keys.into_iter().flatten() {
            let output = self.fire(key, now);
            due.extend(output.map(|output| (key, output)));
        }
        popped > 0
    }

    /// The connection that has this timer.
    #[inline]
    fn key(&self, timer: u32) -> Option<Key> {
        match self.slots.get(timer as usize)?.entry {
            Entry::Taken { generation, .. } => Some(Key {
                slot: timer,
                generation,
            }),
            Entry::Free { .. } => None,
        }
    }

    #[inline]
    fn fire(&mut self, key: Key, now: Time) -> Option<Output> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        match slot.machine.on_timer(now, &self.sysctl) {
            Action::Probe { probes_out, next } => {
                self.wheel.arm(key.slot, next);
                Some(Output::Probe { probes_out })
            }
            Action::Arm(at) => {
                self.wheel.arm(key.slot, at);
                None
            }
            Action::Abort(abort) => Some(Output::Abort(abort)),
            // The timer is down already, by having fired.
            Action::Keep | Action::Disarm | Action::Closed { .. } => None,
        }
    }

    /// When to poll again; `None` when no timer is set. Nothing is due before
    /// the connection's own timer, so it may be that nothing is due then.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.wheel.next_expiry()
    }

    /// What the owner knows the connection by.
    #[must_use]
    pub fn id(&self, key: Key) -> Option<&Id> {
        match &self.slot(key)?.entry {
            Entry::Taken { id, .. } => Some(id),
            Entry::Free { .. } => None,
        }
    }

    /// The connection's state.
    #[must_use]
    pub fn machine(&self, key: Key) -> Option<&Machine> {
        self.slot(key).map(|slot| &slot.machine)
    }

    /// When the connection's timer fires, rounded up to a tick.
    #[must_use]
    pub fn timer(&self, key: Key) -> Option<Time> {
        self.slot(key)?;
        self.wheel.deadline(key.slot)
    }

    /// All connections, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Id, &Machine)> {
        (0..).zip(&self.slots).filter_map(|(slot, place)| {
            let Entry::Taken { generation, ref id } = place.entry else {
                return None;
            };
            Some((Key { slot, generation }, id, &place.machine))
        })
    }

    /// How many connections there are, closed ones that were not removed included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<Id>>() + self.wheel.memory()
    }

    fn slot(&self, key: Key) -> Option<&Slot<Id>> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.is(key).then_some(slot)
    }

    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot<Id>> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.is(key).then_some(slot)
    }
}

impl<Id> Slot<Id> {
    fn is(&self, key: Key) -> bool {
        matches!(self.entry, Entry::Taken { generation, .. } if generation == key.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_with_an_id_of_8_bytes_takes_40() {
        assert_eq!(size_of::<Slot<u64>>(), 40);
    }

    #[test]
    fn keys_of_removed_connections_are_known_as_such() {
        let mut engine = Engine::new(Time::ZERO);
        let first = engine.insert('a', Options::ON, Time::ZERO);
        assert_eq!(engine.remove(first), Some('a'));
        let second = engine.insert('b', Options::ON, Time::ZERO);
        assert_eq!(engine.remove(first), None);
        assert_eq!(engine.handle(first, Event::Reset, Time::ZERO), None);
        assert_eq!((engine.id(first), engine.id(second)), (None, Some(&'b')));
        assert!(!engine.machine(second).unwrap().is_closed());
        assert_eq!(engine.len(), 1);
        let left: Vec<(Key, char)> = engine.iter().map(|(key, id, _)| (key, *id)).collect();
        assert_eq!(left, [(second, 'b')]);
    }

    #[test]
    fn a_removed_connection_is_not_probed_and_neither_is_its_successor_early() {
        let mut engine = Engine::new(Time::ZERO);
        let key = engine.insert(0, Options::ON, Time::ZERO);
        engine.remove(key);
        let now = Time::from_secs(7000);
        engine.insert(1, Options::ON, now);
        assert_eq!(engine.poll(Time::from_secs(7200)), None);
        let due = engine.poll(Time::from_secs(14_200));
        assert!(matches!(due, Some((_, Output::Probe { probes_out: 1 }))));
    }
}
