//! Segments and whose they are.

use std::net::SocketAddr;

use filter_common::{Direction, FlowKey, Reason, Segment};

use crate::report::Kind;

/// The two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Who sent its FIN first.
    pub client: SocketAddr,
    /// The other.
    pub server: SocketAddr,
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// No TCP segment, or none that can be understood.
    Skipped(&'static str),
    /// Of a connection that is not looked at: filtered out, or its numbers were rewritten between two
    /// points of capture.
    LeftOut,
    /// A frame of a close that was captured before.
    Copy,
    /// A TCP segment.
    Segment(Judgement),
}

/// What was judged of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The sender as client.
    pub key: FlowKey,
    /// Its facts.
    pub segment: Segment,
    /// Which way it went; none before a FIN tells who the client is.
    pub direction: Option<Direction>,
    /// What the filter's state machine says.
    pub reason: Reason,
    /// If it is an ACK after Closed that nothing asked for: what kind of one.
    pub unsolicited: Option<Kind>,
    /// If it is a reset that followed such an ACK: the number of that one's frame.
    pub drawn_by: Option<u64>,
}

impl Judgement {
    /// Of a segment that belongs to no close.
    pub(crate) const fn ordinary(key: FlowKey, segment: Segment) -> Self {
        Self {
            key,
            segment,
            direction: None,
            reason: Reason::NoFlow,
            unsolicited: None,
            drawn_by: None,
        }
    }

    /// Who sent it.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.key.client_address(), self.key.client_port())
    }

    /// Who was to get it.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.key.server_address(), self.key.server_port())
    }

    /// The two sides, once it is known which is which.
    #[must_use]
    pub fn endpoints(&self) -> Option<Endpoints> {
        let direction = self.direction?;
        Some(Endpoints::of(&self.key, direction))
    }
}

impl Endpoints {
    /// Those of a segment; `direction` is the one in which the key's client sends.
    pub(crate) fn of(key: &FlowKey, direction: Direction) -> Self {
        let sender = SocketAddr::new(key.client_address(), key.client_port());
        let receiver = SocketAddr::new(key.server_address(), key.server_port());
        match direction {
            Direction::FromClient => Self {
                client: sender,
                server: receiver,
            },
            Direction::FromServer => Self {
                client: receiver,
                server: sender,
            },
        }
    }
}
