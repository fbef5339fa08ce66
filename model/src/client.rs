//! The client: RFC 9293 from its FIN on, and three ways to be wrong in TIME-WAIT.

use filter_common::Closer;

use crate::{
    packet::{ACK, ECE, FC, FIN, FS, LATER, OTHER_OPTIONS, PSH, Packet, RST, SYN, WAITED_FOR},
    setup::{Setup, Stack},
};

/// Where the client is (RFC 9293, section 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientState {
    /// Has sent no FIN.
    Established,
    /// The server closed first.
    CloseWait,
    /// FIN sent.
    FinWait1,
    /// FIN acknowledged.
    FinWait2,
    /// Both sent a FIN before they got the other's.
    Closing,
    /// FIN sent, after the server's.
    LastAck,
    /// Both FINs sent and acknowledged.
    TimeWait,
    /// No socket.
    Closed,
    /// A later connection: SYN sent.
    SynSent,
    /// A later connection.
    LaterEstablished,
}

/// What a client with the fault may send in TIME-WAIT, unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unasked {
    /// The delayed-ACK timer's: exactly the last ACK again.
    Again,
    /// A keepalive: SEG.SEQ is Fc-1.
    Keepalive,
    /// A keepalive with an octet of garbage, as RFC 1122, section 4.2.3.6, allows.
    Garbage,
    /// The last ACK with an option that may matter.
    Options,
    /// The last ACK with PSH.
    Push,
    /// The last ACK with congestion feedback.
    Congestion,
}

impl Unasked {
    fn packet(self) -> Packet {
        let again = Packet::new(ACK, FC, FS);
        match self {
            Self::Again => again,
            Self::Keepalive => Packet {
                seq: FC - 1,
                ..again
            },
            Self::Garbage => Packet {
                seq: FC - 1,
                payload: 1,
                ..again
            },
            Self::Options => again.marked(OTHER_OPTIONS),
            Self::Push => Packet::new(ACK | PSH, FC, FS),
            Self::Congestion => Packet::new(ACK | ECE, FC, FS),
        }
    }
}

/// The client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Where it is.
    pub state: ClientState,
    /// RCV.NXT.
    pub received: i8,
    /// The server's FIN is here, its data is not.
    pub held: bool,
    /// Retransmissions that its FIN needed.
    pub timeouts: u8,
    /// A reset ended it.
    pub reset: bool,
    /// Ghost: the server waits for its next ACK.
    pub owes: bool,
}

impl Client {
    /// One that has sent its request and had it acknowledged.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            state: ClientState::Established,
            received: setup.server_start(),
            held: false,
            timeouts: 0,
            reset: false,
            owes: false,
        }
    }

    /// Closes its side: FIN.
    pub fn close(&mut self) -> Option<Packet> {
        self.state = match self.state {
            ClientState::Established => ClientState::FinWait1,
            ClientState::CloseWait => ClientState::LastAck,
            _ => return None,
        };
        Some(self.fin())
    }

    /// Whether its FIN is unacknowledged.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(
            self.state,
            ClientState::FinWait1 | ClientState::Closing | ClientState::LastAck
        )
    }

    /// Its FIN, for the first time or again.
    #[must_use]
    pub fn fin(&self) -> Packet {
        Packet::new(FIN | ACK, FC - 1, self.received).marked(self.ghost())
    }

    /// What a client with the fault sends, once it has the server's FIN and has sent its own.
    #[must_use]
    pub fn unasked(&self, what: Unasked, setup: &Setup) -> Option<Packet> {
        let early = setup.closer == Closer::Either
            && matches!(self.state, ClientState::LastAck | ClientState::Closing);
        (early || self.state == ClientState::TimeWait).then(|| what.packet().marked(self.ghost()))
    }

    /// The application, or its machine, gives up at once (RFC 9293, section 3.10.5).
    pub fn abort(&mut self) -> Packet {
        let packet = Packet::new(RST, self.next(), 0);
        self.state = ClientState::Closed;
        packet
    }

    /// Opens a later connection from the same port.
    pub fn reuse(&mut self, setup: &Setup) -> Packet {
        self.state = ClientState::SynSent;
        Packet::new(SYN, setup.later_client() - 1, 0).marked(LATER)
    }

    /// An ACK of a later connection.
    #[must_use]
    pub fn later(&self, setup: &Setup) -> Option<Packet> {
        (self.state == ClientState::LaterEstablished)
            .then(|| Packet::new(ACK, setup.later_client(), setup.later_server()).marked(LATER))
    }

    /// SND.NXT.
    fn next(&self) -> i8 {
        match self.state {
            ClientState::Established | ClientState::CloseWait => FC - 1,
            _ => FC,
        }
    }

    fn ghost(&self) -> u8 {
        if self.owes { WAITED_FOR } else { 0 }
    }

    fn ack(&self) -> Packet {
        Packet::new(ACK, self.next(), self.received).marked(self.ghost())
    }

    /// Takes a packet (RFC 9293, section 3.10.7); gives the answer, if any. `delays` leaves
    /// the ACK of data that arrived in order to a later segment.
    pub fn receive(&mut self, packet: &Packet, setup: &Setup, delays: bool) -> Option<Packet> {
        match self.state {
            ClientState::Closed => {
                return (!packet.has(RST)).then(|| Packet::new(RST, packet.ack, 0));
            }
            ClientState::SynSent | ClientState::LaterEstablished => {
                return self.receive_later(packet, setup);
            }
            _ => {}
        }
        let in_time_wait = self.state == ClientState::TimeWait;
        if packet.is(WAITED_FOR) {
            self.owes = true;
        }
        if packet.has(SYN) || !packet.is_in_window(self.received) {
            return (!packet.has(RST)).then(|| self.ack());
        }
        if packet.has(RST) {
            // In the window: what RFC 793 asks for, and the stacks with the fault do.
            self.reset = true;
            self.state = ClientState::Closed;
            return None;
        }
        self.acknowledged(packet);
        let answer = self.data(packet, delays);
        // uIP: "if we are in TIME_WAIT, all segments should just be acknowledged".
        if in_time_wait && setup.stack == Stack::Uip {
            return Some(self.ack());
        }
        answer
    }

    fn acknowledged(&mut self, packet: &Packet) {
        if !packet.has(ACK) || packet.ack != FC {
            return;
        }
        self.state = match self.state {
            ClientState::FinWait1 => ClientState::FinWait2,
            ClientState::Closing => ClientState::TimeWait,
            ClientState::LastAck => ClientState::Closed,
            other => other,
        };
    }

    fn data(&mut self, packet: &Packet, delays: bool) -> Option<Packet> {
        if packet.length() == 0 {
            return None;
        }
        if packet.seq > self.received {
            self.held |= packet.has(FIN);
            return Some(self.ack());
        }
        self.received = packet.next();
        if self.held {
            self.received = FS;
        }
        if self.received < FS {
            return (!delays).then(|| self.ack());
        }
        self.held = false;
        self.state = match self.state {
            ClientState::Established => ClientState::CloseWait,
            ClientState::FinWait1 => ClientState::Closing,
            ClientState::FinWait2 => ClientState::TimeWait,
            other => other,
        };
        Some(self.ack())
    }

    fn receive_later(&mut self, packet: &Packet, setup: &Setup) -> Option<Packet> {
        if packet.is(LATER) {
            if packet.has(SYN) {
                self.state = ClientState::LaterEstablished;
                return self.later(setup);
            }
            if packet.has(RST) && self.state == ClientState::LaterEstablished {
                self.reset = true;
                self.state = ClientState::Closed;
            }
            return None;
        }
        // An ACK of the earlier connection (a challenge among them) is answered with a RST,
        // unless it happens to fit.
        let unfit = packet.has(ACK) && packet.ack != setup.later_client();
        (self.state == ClientState::SynSent && unfit && !packet.has(RST))
            .then(|| Packet::new(RST, packet.ack, 0))
    }
}
