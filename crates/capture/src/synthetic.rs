//! Captures that were never captured, and the truth about them.
//!
//! [`Synthetic`] makes packets of as many connections as wished, in order of
//! time, and knows of each connection what it is: who probes whom, after how
//! long, how often, and how it ends. The keep-alive timer is Linux's
//! (`tcp_keepalive_timer`): lazy, late by up to a 64th, silent while data is
//! in flight. Around the probes there is what looks like them or hides them:
//! typing one byte at a time, duplicate acknowledgments, retransmissions,
//! zero-window probes, connections whose handshake is not in the capture.
//!
//! The same [`Shape`] makes the same bytes on every machine.
//!
//! Frames are Ethernet; the payload is zeros.

mod flow;
mod frame;

use crate::write::Writer;
use flow::Flow;
use frame::FrameBuffer;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::net::SocketAddr;

/// What is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of connections, at most 2³⁰.
    pub flows: u32,
    /// Packets of each connection, roughly: its life ends when they are used
    /// up. At least 20, so that there is room for a death.
    pub packets_per_flow: u32,
    /// Another seed makes other connections.
    pub seed: u64,
    /// When the capture begins, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// The time in which connections begin, in nanoseconds.
    pub spread: u64,
    /// The most bytes of a packet that are kept.
    pub snap_length: u32,
    /// No connection ends before the capture does: for measuring what the
    /// living cost.
    pub stay_open: bool,
}

impl Shape {
    /// A capture from the year 2017 on, begun within a minute, of the first
    /// 96 bytes of each packet.
    #[must_use]
    pub const fn new(flows: u32, packets_per_flow: u32, seed: u64) -> Self {
        Self {
            flows,
            packets_per_flow,
            seed,
            start: 1_500_000_000_000_000_000,
            spread: 60_000_000_000,
            snap_length: 96,
            stay_open: false,
        }
    }
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Keeps itself alive between rare requests.
    KeepAlive,
    /// Sends requests and gets answers, all the time.
    Requests,
    /// One byte at a time, each echoed.
    Typing,
    /// Data in one direction, with losses and with pauses by a zero window.
    Bulk,
    /// A few requests, then silence.
    Quiet,
}

/// Which ends probe. `A` opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probers {
    /// Neither.
    Neither,
    /// The one that connected.
    A,
    /// The one that listened.
    B,
    /// Both, with the same values.
    Both,
}

/// How a connection ends in the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It does not.
    Open,
    /// Both ends said FIN.
    Fin,
    /// A reset that has nothing to do with keep-alive.
    Reset,
    /// A reset after `count` unanswered probes.
    KeepAliveTimeout,
}

/// The truth about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// Who connected.
    pub a: SocketAddr,
    /// Who listened.
    pub b: SocketAddr,
    /// What it does.
    pub kind: Kind,
    /// The number of its first frame, from 1.
    pub first_frame: u64,
    /// Packets in the capture.
    pub packets: u32,
    /// Whether its handshake is in the capture.
    pub handshake: bool,
    /// Who probes.
    pub probers: Probers,
    /// Idle time in seconds; where nobody probes, 0, as the next two.
    pub idle: u32,
    /// Interval in seconds.
    pub interval: u32,
    /// Count.
    pub count: u32,
    /// Whether the probes carry a byte of garbage.
    pub garbage: bool,
    /// Probes in the capture.
    pub probes: u32,
    /// Answers to them.
    pub answers: u32,
    /// The longest run of probes of one end without an answer.
    pub longest_unanswered: u32,
    /// How it ends.
    pub end: End,
}

/// A frame as [`Writer::packet`] takes it. Its number is its place in the
/// sequence, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// Captured bytes, from the Ethernet header on.
    pub data: &'a [u8],
    /// Bytes on the wire.
    pub original_len: u32,
}

/// Makes the packets of a [`Shape`], one after the other.
///
/// ```
/// use tcpalive_capture::synthetic::{Shape, Synthetic};
///
/// let mut synthetic = Synthetic::new(Shape::new(100, 30, 1));
/// let mut frames = 0;
/// while let Some(frame) = synthetic.next() {
///     assert!(frame.data.len() <= 96);
///     frames += 1;
/// }
/// let packets: u32 = synthetic.truths().map(|truth| truth.packets).sum();
/// assert_eq!(packets, frames);
/// ```
#[derive(Debug)]
pub struct Synthetic {
    shape: Shape,
    flows: Vec<Flow>,
    schedule: BinaryHeap<Reverse<Scheduled>>,
    frame: FrameBuffer,
    frames: u64,
}

/// What happens to a connection, and when. The order of its fields is the
/// order of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    time: u64,
    flow: u32,
    event: flow::Event,
}

impl Synthetic {
    /// Nothing is made before it is asked for, but the connections are dealt
    /// out: about 150 bytes for each.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let mut flows = Vec::with_capacity(shape.flows as usize);
        let mut schedule = Vec::with_capacity(shape.flows as usize);
        for index in 0..shape.flows {
            let (flow, begins) = Flow::new(&shape, index);
            flows.push(flow);
            schedule.push(Reverse(Scheduled {
                time: shape.start + begins,
                flow: index,
                event: flow::Event::Begin,
            }));
        }
        Self {
            shape,
            flows,
            schedule: schedule.into(),
            frame: FrameBuffer::new(shape.snap_length as usize),
            frames: 0,
        }
    }

    /// The next frame; `None` when all connections had theirs.
    #[expect(
        clippy::should_implement_trait,
        reason = "frames borrow from the generator, which an iterator's items cannot"
    )]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        loop {
            let Reverse(Scheduled { time, flow, event }) = self.schedule.pop()?;
            let schedule = &mut self.schedule;
            let segment = self.flows[flow as usize].happen(event, time, |time, event| {
                schedule.push(Reverse(Scheduled { time, flow, event }));
            });
            if let Some(segment) = segment {
                self.frames += 1;
                self.flows[flow as usize].count_packet(self.frames);
                let original_len = self.frame.build(flow::addresses(flow), &segment);
                return Some(Frame {
                    time,
                    data: self.frame.captured(),
                    original_len,
                });
            }
        }
    }

    /// The truth about each connection, as far as its packets were made.
    pub fn truths(&self) -> impl ExactSizeIterator<Item = Truth> {
        // Lossless: as many as the shape has.
        let truth = |(index, flow): (usize, &Flow)| flow.truth(index as u32);
        self.flows.iter().enumerate().map(truth)
    }

    /// What is being made.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// Writes all packets of a shape, and tells the truth about them.
///
/// # Errors
///
/// When writing fails.
pub fn write<W: Write>(shape: Shape, writer: &mut Writer<W>) -> io::Result<Vec<Truth>> {
    let mut synthetic = Synthetic::new(shape);
    while let Some(frame) = synthetic.next() {
        writer.packet(frame.time, frame.data, frame.original_len)?;
    }
    writer.flush()?;
    Ok(synthetic.truths().collect())
}
