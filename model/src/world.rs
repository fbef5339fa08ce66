//! Client, gateway, server and what is between them: one state of all, and what may come
//! next.

use filter_common::Direction;

use crate::{
    client::{Client, ClientState, Unasked},
    gateway::{Gateway, Late},
    packet::{ACK, FC, FIN, HANDSHAKE, Link, MOST, Packet, SYN},
    property::Property,
    server::{Server, ServerState},
    setup::{Interfaces, LINKS, Limits, Setup},
};

pub(crate) const CLIENT_TO_GATEWAY: usize = 0;
pub(crate) const GATEWAY_TO_SERVER: usize = 1;
pub(crate) const SERVER_TO_GATEWAY: usize = 2;
pub(crate) const GATEWAY_TO_CLIENT: usize = 3;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client closes its side.
    ClientCloses,
    /// Its FIN is repeated.
    ClientRepeats,
    /// It sends an ACK that nothing asked for.
    ClientUnasked(Unasked),
    /// It gives up.
    ClientAborts,
    /// It opens a later connection.
    ClientReuses,
    /// It sends an ACK of that.
    ClientLater,
    /// The server sends data or its FIN.
    ServerSends,
    /// It repeats the oldest; with all that follows.
    ServerRepeats(bool),
    /// It gives up; with ACK.
    ServerAborts(bool),
    /// Its machine restarts.
    ServerVanishes,
    /// The gateway passes a packet on, or not; the table is full; the interface.
    Pass(Direction, usize, bool, u8),
    /// A CPU of the gateway takes a packet.
    Hold(Direction, usize),
    /// It decides; what it read late.
    Release(usize, Late),
    /// An endpoint gets a packet; its ACK is left to a later segment.
    Deliver(Direction, usize, bool),
    /// A packet takes another way than through the gateway.
    Bypass(Direction, usize),
    /// A packet is lost.
    Lose(usize, usize),
    /// A packet is duplicated.
    Copy(usize, usize),
    /// An attacker's packet, in front of the gateway.
    Forge(Direction, usize),
    /// Another flow takes the place of this one.
    Evict,
    /// The clock goes on.
    Tick,
}

/// The state of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The client.
    pub client: Client,
    /// The server.
    pub server: Server,
    /// The gateway.
    pub gateway: Gateway,
    /// What is on the way.
    pub links: [Link; LINKS],
    /// What may still strike.
    pub left: Limits,
}

/// How a run ends, as client and server can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome {
    /// The client's state.
    pub client: ClientState,
    /// What it got of the server's octets.
    pub received: i8,
    /// Whether a reset ended it.
    pub reset: bool,
    /// The server's state.
    pub server: ServerState,
    /// Whether it gave up.
    pub gave_up: bool,
}

impl World {
    /// An established connection whose request was acknowledged.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let mut links = [Link::default(); LINKS];
        if setup.handshake {
            let (client, server) = (FC - 1, setup.server_start());
            links[CLIENT_TO_GATEWAY].push(Packet::new(SYN, client - 1, 0).marked(HANDSHAKE));
            links[SERVER_TO_GATEWAY]
                .push(Packet::new(SYN | ACK, server - 1, client).marked(HANDSHAKE));
        }
        Self {
            client: Client::new(setup),
            server: Server::new(setup),
            gateway: Gateway::default(),
            links,
            left: setup.limits,
        }
    }

    /// How it ends.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome {
            client: self.client.state,
            received: self.client.received,
            reset: self.client.reset,
            server: self.server.state,
            gave_up: self.server.gave_up,
        }
    }

    /// What a state without further steps violates.
    #[must_use]
    pub fn stuck(&self, setup: &Setup) -> Option<Property> {
        let client = matches!(
            self.client.state,
            ClientState::TimeWait | ClientState::Closed
        );
        (setup.claims.liveness && !(client && self.server.is_done())).then_some(Property::Liveness)
    }

    /// Whether nothing is on the way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.links.iter().all(Link::is_empty) && self.gateway.held.iter().all(Option::is_none)
    }

    /// The steps that may come next.
    pub fn steps(&self, setup: &Setup, steps: &mut Vec<Step>) {
        steps.clear();
        self.endpoints(setup, steps);
        self.network(setup, steps);
        let left = &self.left;
        for (direction, forgeries) in [
            (Direction::FromServer, setup.forgeries.0),
            (Direction::FromClient, setup.forgeries.1),
        ] {
            let link = match direction {
                Direction::FromClient => CLIENT_TO_GATEWAY,
                Direction::FromServer => SERVER_TO_GATEWAY,
            };
            if left.forgeries > 0 && self.links[link].len() < setup.room {
                steps.extend((0..forgeries.len()).map(|index| Step::Forge(direction, index)));
            }
        }
        if left.evictions > 0 && self.gateway.knows() {
            steps.push(Step::Evict);
        }
        if left.ticks > 0 && self.client.state != ClientState::Established {
            steps.push(Step::Tick);
        }
    }

    fn endpoints(&self, setup: &Setup, steps: &mut Vec<Step>) {
        let left = &self.left;
        let quiet = self.is_quiet();
        let (client, server) = (&self.client, &self.server);
        if self.links[CLIENT_TO_GATEWAY].len() < setup.room {
            if matches!(
                client.state,
                ClientState::Established | ClientState::CloseWait
            ) {
                steps.push(Step::ClientCloses);
            }
            if client.waits() && (quiet || left.early > 0) {
                steps.push(Step::ClientRepeats);
            }
            if left.unasked > 0 {
                let unasked = |what: &&Unasked| client.unasked(**what, setup).is_some();
                let unasks = setup.unasks.iter().filter(unasked);
                steps.extend(unasks.map(|what| Step::ClientUnasked(*what)));
            }
            if client.state != ClientState::Closed && left.client_aborts > 0 {
                steps.push(Step::ClientAborts);
            }
            if matches!(client.state, ClientState::TimeWait | ClientState::Closed)
                && left.reuses > 0
            {
                steps.push(Step::ClientReuses);
            }
            if client.state == ClientState::LaterEstablished && left.later > 0 {
                steps.push(Step::ClientLater);
            }
        }
        if self.links[SERVER_TO_GATEWAY].len() < setup.room {
            if server.clone().send(setup).is_some() {
                steps.push(Step::ServerSends);
            }
            let early =
                left.early > 0 && !(setup.server_is_near && self.gateway.has_seen_the_close());
            if server.waits() && (quiet || early) {
                steps.push(Step::ServerRepeats(false));
                if setup.merges && server.next - server.acknowledged > 1 {
                    steps.push(Step::ServerRepeats(true));
                }
            }
            if matches!(server.state, ServerState::CloseWait | ServerState::LastAck)
                && left.server_aborts > 0
            {
                steps.push(Step::ServerAborts(true));
                steps.push(Step::ServerAborts(false));
            }
        }
        if server.state != ServerState::Closed && left.server_aborts > 0 {
            steps.push(Step::ServerVanishes);
        }
    }

    fn network(&self, setup: &Setup, steps: &mut Vec<Step>) {
        let left = &self.left;
        let room = |link: usize| self.links[link].len() < setup.room;
        let takes = |link: usize| {
            let length = self.links[link].len();
            0..if setup.reorders[link] {
                length
            } else {
                length.min(1)
            }
        };
        let waits = setup.server_is_near && !self.links[SERVER_TO_GATEWAY].is_empty();
        for (direction, from, to, unseen) in [
            (
                Direction::FromClient,
                CLIENT_TO_GATEWAY,
                GATEWAY_TO_SERVER,
                left.unseen_client,
            ),
            (
                Direction::FromServer,
                SERVER_TO_GATEWAY,
                GATEWAY_TO_CLIENT,
                left.unseen_server,
            ),
        ] {
            // The way onward also has room for what CPUs hold.
            let onward = self.links[to].len() + self.held(direction) < setup.room.min(MOST);
            for index in takes(from) {
                if !onward || waits && direction == Direction::FromClient {
                    break;
                }
                if setup.hooks > 0 {
                    let free = self.gateway.held.contains(&None);
                    if free && self.held(direction) < setup.hooks {
                        steps.push(Step::Hold(direction, index));
                    }
                } else {
                    steps.push(Step::Pass(direction, index, false, 0));
                    if setup.interfaces == Interfaces::Either && direction == Direction::FromClient
                    {
                        steps.push(Step::Pass(direction, index, false, 1));
                    }
                    let opens = self.links[from].packets()[index].has(FIN);
                    if left.refusals > 0 && direction == Direction::FromClient && opens {
                        steps.push(Step::Pass(direction, index, true, 0));
                    }
                }
                if unseen > 0 {
                    steps.push(Step::Bypass(direction, index));
                }
            }
        }
        if room(SERVER_TO_GATEWAY) {
            let deliveries = takes(GATEWAY_TO_SERVER);
            steps
                .extend(deliveries.map(|index| Step::Deliver(Direction::FromClient, index, false)));
        }
        if room(CLIENT_TO_GATEWAY) {
            for index in takes(GATEWAY_TO_CLIENT) {
                steps.push(Step::Deliver(Direction::FromServer, index, false));
                if setup.delays && self.links[GATEWAY_TO_CLIENT].packets()[index].payload > 0 {
                    steps.push(Step::Deliver(Direction::FromServer, index, true));
                }
            }
        }
        for cpu in 0..self.gateway.held.len() {
            if self.gateway.held[cpu].is_some() {
                steps.extend((0..Late::WAYS).map(|late| Step::Release(cpu, Late(late))));
            }
        }
        for link in 0..LINKS {
            let length = self.links[link].len();
            if left.losses > 0 {
                steps.extend((0..length).map(|index| Step::Lose(link, index)));
            }
            if left.copies > 0 && setup.copies_on[link] && room(link) {
                steps.extend((0..length).map(|index| Step::Copy(link, index)));
            }
        }
    }

    fn held(&self, direction: Direction) -> usize {
        let held = self.gateway.held.iter().flatten();
        held.filter(|held| held.direction == direction).count()
    }
}
