//! The state of a closing flow, and what can become of it.
//!
//! Only closing flows have state: the client's FIN makes it, or either side's, as the policy
//! says. Two halves, each written by one direction only, so that the hooks of both directions never
//! overwrite one another and need no lock.

use core::mem::offset_of;

use crate::{
    policy::{Moment, Policy, Ticks},
    segment::{Direction, Flags, Segment},
    seq::SeqNum,
    verdict::Reason,
};

/// What the client's segments have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ClientHalf {
    /// Fc: the sequence number that follows the client's FIN; while `finished` is 0, what the
    /// server's FIN acknowledged.
    pub fin_end: SeqNum,
    /// The Fs that was acknowledged when `answered` was last set.
    pub acked: SeqNum,
    /// [`ServerHalf::elicited`] when the last ACK of Fs was forwarded; 0: none was.
    pub answered: u16,
    /// 1 if the client's FIN was seen: always, unless the server's made the flow.
    pub finished: u8,
    /// Always 0.
    pub reserved: u8,
    /// Segments dropped so far (in monitor mode: that would have been).
    pub drops: u8,
    /// How many more ACKs the answers so far made redundant.
    pub owed: u8,
    /// 1 if a segment that nothing asked for was forwarded since the last answer.
    pub provoked: u8,
    /// By which link the last answer was forwarded; before the first, where the FIN was seen
    /// that made the flow.
    pub link: u8,
    /// When the last segment was forwarded; once there was an answer, when the last
    /// segment that acknowledged exactly Fs was.
    pub at: Moment,
}

/// What the server's segments have told.
///
/// All but `at` are the first 64 bits, so that a program can read and write them at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ServerHalf {
    /// Fs: the sequence number that follows the server's FIN; while `elicited` is 0, that of one
    /// that does not count, if `crossed` says so.
    pub fin_end: SeqNum,
    /// How many segments, from the server's FIN on, make a correct endpoint answer; 0: no FIN
    /// was seen that counts. Passes over 0 when it wraps.
    pub elicited: u16,
    /// 1 if a FIN that ends at `fin_end` did not acknowledge exactly Fc: the server closed first,
    /// or both did at once. A client that acknowledges Fs then need not know that its own FIN has
    /// arrived.
    pub crossed: u8,
    /// Always 0.
    pub reserved: u8,
    /// When the last segment was seen, if any was.
    pub at: Moment,
}

/// The state of one closing flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct Flow {
    /// Written in the direction from the server.
    pub server: ServerHalf,
    /// Written in the direction from the client.
    pub client: ClientHalf,
}

/// No padding: 12 octets and 20; and what the server told is the first word.
const _: () = assert!(size_of::<Flow>() == 32 && offset_of!(Flow, server) == 0);

/// How far a flow is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The client sent its FIN; the server may send for long. (Or the other way round, where
    /// the server's FIN makes flows.)
    HalfClosed,
    /// The server's FIN was seen, too. Where only the client's makes flows, it acknowledged that
    /// one, and the server is in LAST-ACK.
    LastAck,
    /// The client's ACK of exactly Fs was forwarded.
    Closed,
}

/// What becomes of a flow's state: at most one call for a segment.
///
/// Called where it is decided and not given back, since a value that holds one of several
/// things costs a packet program branches and its verifier's goodwill. [`decide`](crate::decide) gives it
/// back, for everybody else.
pub trait Effects {
    /// Stores a new flow, over one that may be there; false where that failed. Where the other
    /// direction has made it since the look-up, only this one's half.
    fn create(&mut self, flow: Flow) -> bool;
    /// Stores the client's half. The flow is to live for `lifetime` more.
    fn client(&mut self, client: ClientHalf, lifetime: Ticks);
    /// Stores the server's half, likewise.
    fn server(&mut self, server: ServerHalf, lifetime: Ticks);
    /// Stores [`ClientHalf::at`] and nothing else, likewise.
    fn client_at(&mut self, at: Moment, lifetime: Ticks);
    /// Stores [`ServerHalf::at`] and nothing else, likewise.
    fn server_at(&mut self, at: Moment, lifetime: Ticks);
    /// Removes the flow.
    fn forget(&mut self);
}

/// What to do with the state of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Store a new flow, over one that may be there.
    Create(Flow),
    /// Store the client's half.
    Client(ClientHalf),
    /// Store the server's half.
    Server(ServerHalf),
    /// Store when the client's half was touched.
    ClientAt(Moment),
    /// Store when the server's half was touched.
    ServerAt(Moment),
    /// Remove the flow.
    Forget,
}

impl Change {
    /// Applies it to the state of a flow.
    pub fn apply(self, flow: &mut Option<Flow>) {
        match (self, flow.as_mut()) {
            (Self::Create(new), _) => *flow = Some(new),
            (Self::Client(client), Some(flow)) => flow.client = client,
            (Self::Server(server), Some(flow)) => flow.server = server,
            (Self::ClientAt(at), Some(flow)) => flow.client.at = at,
            (Self::ServerAt(at), Some(flow)) => flow.server.at = at,
            (Self::Forget, _) => *flow = None,
            (Self::Keep, _)
            | (Self::Client(_) | Self::Server(_) | Self::ClientAt(_) | Self::ServerAt(_), None) => {
            }
        }
    }
}

impl Effects for Change {
    fn create(&mut self, flow: Flow) -> bool {
        *self = Self::Create(flow);
        true
    }

    fn client(&mut self, client: ClientHalf, _lifetime: Ticks) {
        *self = Self::Client(client);
    }

    fn server(&mut self, server: ServerHalf, _lifetime: Ticks) {
        *self = Self::Server(server);
    }

    fn client_at(&mut self, at: Moment, _lifetime: Ticks) {
        *self = Self::ClientAt(at);
    }

    fn server_at(&mut self, at: Moment, _lifetime: Ticks) {
        *self = Self::ServerAt(at);
    }

    fn forget(&mut self) {
        *self = Self::Forget;
    }
}

impl ServerHalf {
    /// The same after another segment, but for its time and what it elicits. `closes`: it is a FIN
    /// that counts; `second`: one that acknowledges exactly Fc.
    #[inline(always)]
    #[must_use]
    pub fn told(&self, segment: &Segment, closes: bool, second: bool) -> Self {
        if !segment.flags.any(Flags::FIN) {
            return *self;
        }
        let fin_end = segment.next();
        let again = fin_end == self.fin_end;
        if !closes && !again && self.elicited != 0 {
            // A stranger's.
            return *self;
        }
        Self {
            fin_end,
            crossed: u8::from(!second || again && self.crossed != 0),
            ..*self
        }
    }
}

impl Flow {
    /// How far it is closed.
    #[inline(always)]
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.server.elicited == 0 || self.client.finished == 0 {
            Phase::HalfClosed
        } else if self.client.answered != 0 && self.client.acked == self.server.fin_end {
            Phase::Closed
        } else {
            Phase::LastAck
        }
    }

    /// Whether a segment settles that both sides are seen, or that there is no more to see: it is
    /// the first of the side whose FIN did not make the flow, or the client gives up before that.
    ///
    /// A RST of the server leaves no trace here, so two of them settle twice.
    #[inline(always)]
    #[must_use]
    pub fn is_settled_by(&self, direction: Direction, reason: Reason) -> bool {
        let (client_unseen, server_unseen) = (
            self.client.at == Moment::NEVER,
            self.server.at == Moment::NEVER,
        );
        let is_first = match direction {
            Direction::FromClient => client_unseen,
            Direction::FromServer => server_unseen,
        };
        let gives_up = matches!(reason, Reason::Syn | Reason::ClientReset);
        is_first || (client_unseen || server_unseen) && gives_up
    }

    /// How long it lives after the last segment that touched it.
    #[inline(always)]
    #[must_use]
    pub fn lifetime(&self, policy: &Policy) -> Ticks {
        let one_sided = self.client.at == Moment::NEVER || self.server.at == Moment::NEVER;
        self.lives(one_sided, policy)
    }

    /// How long it lives after a segment that comes now and changes nothing else.
    #[inline(always)]
    #[must_use]
    pub fn lifetime_after(&self, direction: Direction, policy: &Policy) -> Ticks {
        let other = match direction {
            Direction::FromClient => self.server.at,
            Direction::FromServer => self.client.at,
        };
        self.lives(other == Moment::NEVER, policy)
    }

    #[inline(always)]
    fn lives(&self, one_sided: bool, policy: &Policy) -> Ticks {
        match self.phase() {
            Phase::HalfClosed if one_sided => policy.one_sided_lifetime,
            Phase::HalfClosed | Phase::LastAck => policy.half_closed_lifetime,
            Phase::Closed => policy.closed_lifetime,
        }
    }

    /// When a segment last touched it.
    #[inline(always)]
    #[must_use]
    pub fn touched(&self) -> Moment {
        self.client.at.later(self.server.at)
    }

    /// Whether it was idle for longer than it lives.
    #[inline(always)]
    #[must_use]
    pub fn is_expired(&self, now: Ticks, policy: &Policy) -> bool {
        now.since(self.touched()) > self.lifetime(policy)
    }
}
