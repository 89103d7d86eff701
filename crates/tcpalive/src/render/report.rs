//! What was found in captures, as a page or as a drawing: an overview of all
//! flows, and the lives of the most telling ones.
//!
//! [`Report`] takes packets and flows as they stream by. What it keeps does
//! not grow with the capture:
//!
//! * [`activity`]: 128 bins of time, for all flows and for at most 2,048
//!   groups of them;
//! * [`kept`]: at most 5,000 flows of each class, the first of the capture;
//! * [`log`](mod@log): packets of flows whose lives are drawn, at most 1,024
//!   of each. Which flows these are is known in the end alone, so a capture is
//!   read a second time ([`replay`]); what cannot be read twice, a pipe, has
//!   logs that begin with a flow's first probe, for 2,000 flows at a time.
//!
//! [`story`] makes a diagram out of a log, [`chart`] and [`heat`] draw the
//! overview, [`page`] and [`drawing`] put all together.

mod activity;
mod chart;
mod drawing;
mod heat;
mod kept;
mod log;
mod moment;
mod page;
mod replay;
mod story;
mod tables;

use super::analyze::Findings;
use activity::{Activity, Clock};
use kept::{Id, Keeper, Kept};
use log::{Log, Streamed};
pub use replay::Replay;
use std::collections::{BTreeMap, HashMap};
use tcpalive_capture::flow::{Flow, FrameKind};
use tcpalive_segment::Segment;

/// So many flows are shown in a row each; more are shown in groups.
const ROWS: u64 = 200;

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A page.
    Html,
    /// A drawing.
    Svg,
}

impl Form {
    /// Lives that are drawn at most.
    const fn lives(self) -> usize {
        match self {
            Self::Html => 20,
            Self::Svg => 3,
        }
    }
}

/// Collects what a report shows.
#[derive(Debug)]
pub struct Report {
    form: Form,
    filter: String,
    files: Vec<Source>,
    activity: Activity,
    clock: Clock,
    keeper: Keeper,
    /// Of the capture that is being read, if it cannot be read again.
    streamed: Streamed,
    /// Logs of flows that are over, of captures that cannot be read again.
    over: BTreeMap<(kept::Class, Id), Log>,
    logs: HashMap<Id, Log>,
}

#[derive(Debug)]
struct Source {
    name: String,
    is_stream: bool,
}

impl Report {
    /// A report about nothing yet. `filter`: which packets it is about, for
    /// people.
    #[must_use]
    pub fn new(form: Form, filter: &str) -> Self {
        Self {
            form,
            filter: filter.trim().to_owned(),
            files: Vec::new(),
            activity: Activity::new(),
            clock: Clock::new(),
            keeper: Keeper::default(),
            streamed: Streamed::default(),
            over: BTreeMap::new(),
            logs: HashMap::new(),
        }
    }

    /// What follows is of another capture. `is_stream`: it cannot be read
    /// again.
    pub fn begin(&mut self, name: &str, is_stream: bool) {
        self.files.push(Source {
            name: name.to_owned(),
            is_stream,
        });
        self.clock = Clock::new();
        self.streamed = Streamed::default();
    }

    /// Takes a packet that passed the filter, and what it is.
    #[inline]
    pub fn packet(
        &mut self,
        frame: u64,
        ns: u64,
        context: u64,
        segment: &Segment<'_>,
        kind: Option<FrameKind>,
    ) {
        self.activity.reach(ns);
        self.clock.note(frame, ns);
        if let Some(kind) = kind {
            self.activity.frame(ns, kind);
        }
        if self.files.last().is_some_and(|file| file.is_stream) {
            self.streamed.packet(frame, ns, context, segment, kind);
        }
    }

    /// What an earlier frame of this capture is, has become clear.
    pub fn late(&mut self, frame: u64, kind: FrameKind) {
        if let Some(ns) = self.clock.time(frame) {
            self.activity.frame(ns, kind);
        }
    }

    /// Takes a flow of this capture that is over, or goes on at its end.
    pub fn flow(&mut self, flow: &Flow) {
        let id = (self.files.len().saturating_sub(1), flow.first_frame);
        self.keeper.add(id, flow);
        if flow.probes() > 0 {
            self.activity.flow(flow);
        }
        if let Some(log) = self.streamed.take(flow) {
            self.over.insert((kept::Class::of(flow), id), log);
            if self.over.len() as u64 > ROWS {
                self.over.pop_last();
            }
        }
    }

    /// What is to be read again of a capture, counted from 0, if anything.
    #[must_use]
    pub fn replay(&self, file: usize) -> Option<Replay> {
        let is_stream = self.files.get(file).is_none_or(|file| file.is_stream);
        if is_stream {
            return None;
        }
        let shown = self.keeper.shown();
        let wanted = if self.keeper.total() <= ROWS {
            shown.iter().map(|kept| kept.id).collect()
        } else {
            self.telling(&shown)
        };
        let chosen = |kept: &&Kept| kept.id.0 == file && wanted.contains(&kept.id);
        let mut chosen = shown.iter().filter(chosen).peekable();
        chosen.peek()?;
        Some(Replay::new(chosen))
    }

    /// Takes what was read again.
    pub fn take(&mut self, replay: Replay) {
        self.logs.extend(replay.into_logs());
    }

    /// The whole file.
    #[must_use]
    pub fn render(&self, findings: &Findings) -> String {
        match self.form {
            Form::Html => page::render(self, findings),
            Form::Svg => drawing::render(self, findings),
        }
    }

    /// The flows whose lives are drawn.
    fn telling(&self, shown: &[Kept]) -> Vec<Id> {
        let can_be_drawn = |kept: &&Kept| {
            !self.files[kept.id.0].is_stream || self.over.contains_key(&(kept.class(), kept.id))
        };
        let candidates: Vec<Kept> = shown.iter().filter(can_be_drawn).cloned().collect();
        kept::telling(&candidates, self.form.lives())
    }

    fn log(&self, kept: &Kept) -> Option<&Log> {
        let over = || self.over.get(&(kept.class(), kept.id));
        self.logs.get(&kept.id).or_else(over)
    }

    /// Which frames are meant, where there are several captures.
    fn file_of(&self, id: Id) -> Option<&str> {
        (self.files.len() > 1).then(|| self.files[id.0].name.as_str())
    }
}
