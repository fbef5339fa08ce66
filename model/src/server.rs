//! The server: RFC 9293 from CLOSE-WAIT on, and after it has forgotten the connection.

use crate::{
    packet::{ACK, FC, FIN, FS, GUESSES, LATER, PSH, Packet, RST, SYN, WAITED_FOR},
    setup::Setup,
};

/// Where the server is (RFC 9293, section 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerState {
    /// Has got no FIN.
    Established,
    /// Has got the client's.
    CloseWait,
    /// Its own FIN sent, after the client's.
    LastAck,
    /// Its own FIN sent, before it got the client's.
    FinWait1,
    /// That was acknowledged.
    FinWait2,
    /// Both sent a FIN before they got the other's.
    Closing,
    /// Both FINs sent and acknowledged, its own first.
    TimeWait,
    /// No socket: answers with RST.
    Closed,
    /// A later connection: SYN got.
    SynReceived,
    /// A later connection.
    LaterEstablished,
}

/// The server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Where it is.
    pub state: ServerState,
    /// SND.UNA.
    pub acknowledged: i8,
    /// SND.NXT.
    pub next: i8,
    /// RCV.NXT.
    pub received: i8,
    /// Retransmissions that it needed: nothing was on the way any more.
    pub timeouts: u8,
    /// It gave up: so many were in vain.
    pub gave_up: bool,
    /// Its application or machine gave up, or a RST ended it: not by the close.
    pub aborted: bool,
}

impl Server {
    /// One that has the client's request.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            state: ServerState::Established,
            acknowledged: setup.server_start(),
            next: setup.server_start(),
            received: FC - 1,
            timeouts: 0,
            gave_up: false,
            aborted: false,
        }
    }

    /// Whether it has forgotten the connection, or ends it by itself.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, ServerState::Closed | ServerState::TimeWait)
    }

    /// Sends what is next: data, or its FIN.
    pub fn send(&mut self, setup: &Setup) -> Option<Packet> {
        match self.state {
            ServerState::Established | ServerState::CloseWait if self.next < FS - 1 => {
                self.next = FS - 1;
            }
            ServerState::CloseWait => self.finish(ServerState::LastAck),
            ServerState::Established if setup.closes_first => self.finish(ServerState::FinWait1),
            _ => return None,
        }
        Some(self.octets(self.next - 1, self.next))
    }

    fn finish(&mut self, state: ServerState) {
        self.next = FS;
        self.state = state;
    }

    /// Whether something that it sent is unacknowledged.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.state == ServerState::SynReceived
            || !self.is_done()
                && self.state != ServerState::LaterEstablished
                && self.acknowledged < self.next
    }

    /// The oldest unacknowledged segment again; if `merges`, with what follows it.
    #[must_use]
    pub fn again(&self, setup: &Setup, merges: bool) -> Packet {
        if self.state == ServerState::SynReceived {
            return syn_ack(setup);
        }
        let end = if merges {
            self.next
        } else {
            self.acknowledged + 1
        };
        self.octets(self.acknowledged, end)
    }

    fn octets(&self, from: i8, to: i8) -> Packet {
        let fin = to == FS;
        let payload = u8::from(from == FS - 2);
        let flags = ACK | if fin { FIN } else { PSH };
        Packet {
            payload,
            ..Packet::new(flags, from, self.received).marked(WAITED_FOR)
        }
    }

    /// Its application gives up: RFC 9293, section 3.10.5, as the standard has it, or with
    /// ACK as common stacks do.
    pub fn abort(&mut self, acknowledges: bool) -> Packet {
        let flags = if acknowledges { RST | ACK } else { RST };
        self.vanish();
        Packet::new(flags, self.next, self.received)
    }

    /// Its machine restarts.
    pub fn vanish(&mut self) {
        self.aborted = true;
        self.state = ServerState::Closed;
    }

    fn ack(&self) -> Packet {
        Packet::new(ACK, self.next, self.received)
    }

    /// Takes a packet (RFC 9293, section 3.10.7); gives the answer, if any.
    pub fn receive(&mut self, packet: &Packet, setup: &Setup) -> Option<Packet> {
        match self.state {
            ServerState::Closed => return self.receive_closed(packet, setup),
            ServerState::SynReceived | ServerState::LaterEstablished => {
                if packet.is(LATER) && packet.has(ACK) {
                    self.state = ServerState::LaterEstablished;
                }
                return None;
            }
            _ => {}
        }
        if packet.has(SYN) || !packet.is_in_window(self.received) {
            return (!packet.has(RST)).then(|| self.ack());
        }
        if packet.has(RST) {
            if packet.seq == self.received {
                self.vanish();
            }
            return None;
        }
        if packet.has(ACK) {
            if packet.ack > self.next {
                // Endpoints that an attacker has told different numbers would answer one
                // another for ever; stacks limit the rate of this, to none here.
                return (!setup.on_path).then(|| self.ack());
            }
            self.acknowledge(packet.ack, setup);
        }
        if packet.has(FIN) && packet.seq == self.received {
            self.received = FC;
            self.state = match self.state {
                ServerState::Established => ServerState::CloseWait,
                ServerState::FinWait1 => ServerState::Closing,
                ServerState::FinWait2 => Self::after_both(setup),
                other => other,
            };
            return Some(self.ack());
        }
        None
    }

    /// Where it is once both FINs are acknowledged, its own first.
    fn after_both(setup: &Setup) -> ServerState {
        if setup.forgets {
            ServerState::Closed
        } else {
            ServerState::TimeWait
        }
    }

    fn acknowledge(&mut self, ack: i8, setup: &Setup) {
        self.acknowledged = self.acknowledged.max(ack);
        if self.acknowledged < FS {
            return;
        }
        self.state = match self.state {
            ServerState::LastAck => ServerState::Closed,
            ServerState::FinWait1 => ServerState::FinWait2,
            ServerState::Closing => Self::after_both(setup),
            other => other,
        };
    }

    /// CLOSED, or LISTEN where a later connection may come.
    fn receive_closed(&mut self, packet: &Packet, setup: &Setup) -> Option<Packet> {
        if packet.has(RST) {
            return None;
        }
        if packet.has(ACK) {
            let later = packet.marks & LATER;
            return Some(Packet::new(RST, packet.ack, 0).marked(later));
        }
        if packet.has(SYN) && packet.is(LATER) && setup.limits.reuses > 0 && !self.aborted {
            self.state = ServerState::SynReceived;
            return Some(syn_ack(setup));
        }
        // <SEQ=0>: some number that is none of the connection's.
        Some(Packet::new(RST | ACK, GUESSES[0], packet.next()))
    }
}

fn syn_ack(setup: &Setup) -> Packet {
    Packet::new(SYN | ACK, setup.later_server() - 1, setup.later_client()).marked(LATER)
}
