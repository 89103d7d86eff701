//! A second reading of a capture, for the packets of chosen flows.

use super::kept::{Id, Kept};
use super::log::{Key, Log, Room, event};
use std::collections::HashMap;
use tcpalive_capture::flow::{Tracker, TrackerOptions};
use tcpalive_segment::Segment;

/// Packets that are kept of a flow, each of 48 bytes.
const ROOM: Room = Room {
    head: 256,
    tail: 768,
};

/// Collects the packets of chosen flows of one capture.
#[derive(Debug)]
pub struct Replay {
    tracker: Tracker,
    flows: HashMap<Key, Vec<Chosen>>,
    /// Flows whose packets are not all seen.
    left: usize,
}

#[derive(Debug)]
struct Chosen {
    id: Id,
    /// How many of its packets are to come.
    left: u32,
    log: Log,
}

impl Replay {
    pub(super) fn new<'a>(chosen: impl Iterator<Item = &'a Kept>) -> Self {
        let mut options = TrackerOptions::default();
        options.late_frames = true;
        let mut flows: HashMap<Key, Vec<Chosen>> = HashMap::new();
        let mut left = 0;
        for kept in chosen {
            left += 1;
            flows.entry(Key::of(&kept.flow)).or_default().push(Chosen {
                id: kept.id,
                left: kept.flow.packets,
                log: Log::new(ROOM),
            });
        }
        Self {
            tracker: Tracker::new(options),
            flows,
            left,
        }
    }

    /// Whether all packets that are wanted were seen.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// Takes the next packet that passed the filter.
    pub fn packet(&mut self, frame: u64, ns: u64, context: u64, segment: &Segment<'_>) {
        let (key, from_low) = Key::new(context, segment.source(), segment.destination());
        let Some(chosen) = self.flows.get_mut(&key) else {
            return;
        };
        // Ports may be used again: a flow has as many packets from its first
        // on as were counted.
        let Some(chosen) = chosen
            .iter_mut()
            .find(|chosen| chosen.left > 0 && frame >= chosen.id.1)
        else {
            return;
        };
        chosen.left -= 1;
        self.left -= usize::from(chosen.left == 0);
        let kind = self.tracker.observe(frame, ns, context, segment);
        let event = event(frame, ns, segment, from_low, kind);
        chosen.log.push(event);
        for (frame, kind) in self.tracker.take_late() {
            for chosen in self.flows.values_mut().flatten() {
                if chosen.log.amend(frame, kind) {
                    break;
                }
            }
        }
    }

    pub(super) fn into_logs(self) -> impl Iterator<Item = (Id, Log)> {
        self.flows
            .into_values()
            .flatten()
            .filter(|chosen| !chosen.log.head.is_empty())
            .map(|chosen| (chosen.id, chosen.log))
    }
}
