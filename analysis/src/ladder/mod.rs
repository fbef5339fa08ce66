//! A connection as a sequence diagram of two columns, in text and as SVG.

use std::{net::SocketAddr, time::Duration};

use filter_common::{Direction, Flags};

/// A connection to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// What it shows, in one line.
    pub title: String,
    /// Left.
    pub client: SocketAddr,
    /// Right.
    pub server: SocketAddr,
    /// Its segments, in the order of the capture.
    pub steps: Vec<Step>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number of its frame in the capture, if it is of one.
    pub frame: Option<u64>,
    /// Since the first step.
    pub at: Duration,
    /// Which way it went.
    pub direction: Direction,
    /// Its control bits.
    pub flags: Flags,
    /// SEG.SEQ, less the sender's initial sequence number where that is known.
    pub seq: u32,
    /// SEG.ACK, likewise of the other side; none without [`Flags::ACK`].
    pub ack: Option<u32>,
    /// Octets of payload.
    pub payload: u32,
    /// What there is to say about it, in a few words.
    pub note: Option<String>,
    /// How it is drawn.
    pub emphasis: Emphasis,
    /// Whether the other side got it, as far as is known; else its arrow ends on the way.
    pub arrives: bool,
    /// Part of the close, drawn for itself; others are put together where many follow one another.
    pub is_close: bool,
}

/// How a step is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// As any other.
    None,
    /// An ACK that nothing asked for.
    Fault,
    /// A reset.
    Reset,
}
