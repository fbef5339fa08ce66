//! A connection as a sequence diagram of two columns, in text and as SVG.

mod label;
mod picture;
mod rows;
#[cfg(test)]
mod samples;
mod text;

use std::{io, net::SocketAddr, time::Duration};

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

impl Ladder {
    /// Writes it in characters that every terminal shows, in no more columns than one has.
    ///
    /// Foreign characters that steer a terminal are replaced. Nothing is told by colour alone.
    pub fn write_text(&self, output: &mut impl io::Write, coloured: bool) -> io::Result<()> {
        text::write(self, output, coloured)
    }

    /// Draws it.
    #[must_use]
    pub fn svg(&self) -> String {
        svg(std::slice::from_ref(self))
    }
}

/// Draws some, one below the other, in one SVG document.
#[must_use]
pub fn svg(ladders: &[Ladder]) -> String {
    picture::draw(ladders)
}
