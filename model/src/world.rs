//! Client, gateway, server and what is between them: one state of all, and every step.

use filter_common::{Direction, Reason};

use crate::{
    client::{Client, ClientState, Unasked},
    gateway::{Gateway, Judged, Late},
    mutant::Mutant,
    packet::{FIN, FORGED, LATER, Link, MOST, Packet, WAITED_FOR},
    property::Property,
    server::{Server, ServerState},
    setup::{LINKS, Limits, Setup},
};

const CLIENT_TO_GATEWAY: usize = 0;
const GATEWAY_TO_SERVER: usize = 1;
const SERVER_TO_GATEWAY: usize = 2;
const GATEWAY_TO_CLIENT: usize = 3;

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
    /// The gateway passes a packet on, or not; the table is full.
    Pass(Direction, usize, bool),
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

/// A step that was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// What came of it.
    pub world: World,
    /// What it violates.
    pub violated: Option<Property>,
    /// The packet that it was about, if there was one.
    pub packet: Option<Packet>,
    /// What the gateway said of it.
    pub reason: Option<Reason>,
}

impl World {
    /// An established connection whose request was acknowledged.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            client: Client::new(setup),
            server: Server::new(setup),
            gateway: Gateway::default(),
            links: [Link::default(); LINKS],
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

    fn is_quiet(&self) -> bool {
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
            if client.state == ClientState::TimeWait && left.unasked > 0 {
                steps.extend(setup.unasks.iter().map(|what| Step::ClientUnasked(*what)));
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
            let early = left.early > 0
                && !(setup.server_is_near && self.gateway.has_seen_the_close());
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
            0..if setup.reorders[link] { length } else { length.min(1) }
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
                    if self.gateway.held[..setup.hooks].contains(&None) {
                        steps.push(Step::Hold(direction, index));
                    }
                } else {
                    steps.push(Step::Pass(direction, index, false));
                    let opens = self.links[from].packets()[index].has(FIN);
                    if left.refusals > 0 && direction == Direction::FromClient && opens {
                        steps.push(Step::Pass(direction, index, true));
                    }
                }
                if unseen > 0 {
                    steps.push(Step::Bypass(direction, index));
                }
            }
        }
        if room(SERVER_TO_GATEWAY) {
            let deliveries = takes(GATEWAY_TO_SERVER);
            steps.extend(deliveries.map(|index| Step::Deliver(Direction::FromClient, index, false)));
        }
        if room(CLIENT_TO_GATEWAY) {
            for index in takes(GATEWAY_TO_CLIENT) {
                steps.push(Step::Deliver(Direction::FromServer, index, false));
                if setup.delays && self.links[GATEWAY_TO_CLIENT].packets()[index].payload > 0 {
                    steps.push(Step::Deliver(Direction::FromServer, index, true));
                }
            }
        }
        for cpu in 0..setup.hooks {
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

    /// Does a step; `None` if nothing comes of it.
    #[must_use]
    pub fn after(&self, step: Step, setup: &Setup, mutant: &Mutant) -> Option<Done> {
        let mut done = Done {
            world: *self,
            violated: None,
            packet: None,
            reason: None,
        };
        done.take(step, setup, mutant)?;
        for (link, reorders) in done.world.links.iter_mut().zip(setup.reorders) {
            if reorders {
                link.sort();
            }
        }
        (done.violated.is_some() || done.world != *self).then_some(done)
    }
}

impl Done {
    fn take(&mut self, step: Step, setup: &Setup, mutant: &Mutant) -> Option<()> {
        let world = &mut self.world;
        let quiet = world.is_quiet();
        let left = &mut world.left;
        match step {
            Step::ClientCloses => self.client_sends(|client| client.close()),
            Step::ClientRepeats => {
                if quiet {
                    world.client.timeouts += 1;
                    if world.client.timeouts > setup.timeouts {
                        return None;
                    }
                } else {
                    left.early -= 1;
                }
                self.client_sends(|client| Some(client.fin()))
            }
            Step::ClientUnasked(what) => {
                left.unasked -= 1;
                self.client_sends(|client| client.unasked(what))
            }
            Step::ClientAborts => {
                left.client_aborts -= 1;
                self.client_sends(|client| Some(client.abort()))
            }
            Step::ClientReuses => {
                left.reuses -= 1;
                self.client_sends(|client| Some(client.reuse(setup)))
            }
            Step::ClientLater => {
                left.later -= 1;
                self.client_sends(|client| client.later(setup))
            }
            Step::ServerSends => self.server_sends(|server| server.send(setup)),
            Step::ServerRepeats(merges) => {
                if quiet {
                    world.server.timeouts += 1;
                    if world.server.timeouts > setup.timeouts {
                        world.server.gave_up = true;
                        world.server.vanish();
                        self.violated = setup.claims.liveness.then_some(Property::Liveness);
                        return Some(());
                    }
                } else {
                    left.early -= 1;
                }
                self.server_sends(|server| Some(server.again(setup, merges)))
            }
            Step::ServerAborts(acknowledges) => {
                left.server_aborts -= 1;
                self.server_sends(|server| Some(server.abort(acknowledges)))
            }
            Step::ServerVanishes => {
                left.server_aborts -= 1;
                world.server.vanish();
                Some(())
            }
            Step::Pass(direction, index, refuses) => {
                left.refusals -= u8::from(refuses);
                let packet = world.links[from(direction)].remove(index);
                let judged = world.gateway.pass(packet, direction, refuses, setup, mutant);
                self.goes_on(packet, direction, judged);
                Some(())
            }
            Step::Hold(direction, index) => {
                let packet = world.links[from(direction)].remove(index);
                self.packet = Some(packet);
                world.gateway.hold(packet, direction, setup.hooks).then_some(())
            }
            Step::Release(cpu, late) => {
                let (held, judged) = world.gateway.release(cpu, late, setup, mutant)?;
                self.goes_on(held.packet, held.direction, judged);
                Some(())
            }
            Step::Deliver(direction, index, delays) => {
                let packet = world.links[to(direction)].remove(index);
                self.deliver(packet, direction, setup, delays);
                Some(())
            }
            Step::Bypass(direction, index) => {
                match direction {
                    Direction::FromClient => left.unseen_client -= 1,
                    Direction::FromServer => left.unseen_server -= 1,
                }
                let packet = world.links[from(direction)].remove(index);
                self.packet = Some(packet);
                self.forwarded(packet, direction);
                Some(())
            }
            Step::Lose(link, index) => {
                left.losses -= 1;
                self.packet = Some(world.links[link].remove(index));
                Some(())
            }
            Step::Copy(link, index) => {
                left.copies -= 1;
                let packet = world.links[link].packets()[index];
                world.links[link].insert(index, packet);
                self.packet = Some(packet);
                Some(())
            }
            Step::Forge(direction, index) => {
                left.forgeries -= 1;
                let packet = match direction {
                    Direction::FromServer => setup.forgeries.0[index],
                    Direction::FromClient => setup.forgeries.1[index],
                };
                self.packet = Some(packet);
                world.links[from(direction)].push(packet.marked(FORGED));
                Some(())
            }
            Step::Evict => {
                left.evictions -= 1;
                world.gateway.evict();
                Some(())
            }
            Step::Tick => {
                left.ticks -= 1;
                world.gateway.tick();
                Some(())
            }
        }
    }

    fn client_sends(&mut self, send: impl FnOnce(&mut Client) -> Option<Packet>) -> Option<()> {
        self.packet = send(&mut self.world.client);
        self.world.links[CLIENT_TO_GATEWAY].push(self.packet?);
        Some(())
    }

    fn server_sends(&mut self, send: impl FnOnce(&mut Server) -> Option<Packet>) -> Option<()> {
        self.packet = send(&mut self.world.server);
        self.world.links[SERVER_TO_GATEWAY].push(self.packet?);
        Some(())
    }

    fn goes_on(&mut self, packet: Packet, direction: Direction, judged: Judged) {
        self.packet = Some(packet);
        self.reason = judged.reason;
        self.violated = judged.violated;
        if judged.passes {
            self.forwarded(packet, direction);
        }
    }

    /// On its way behind the gateway. An ACK that closes answers all that was sent so far.
    fn forwarded(&mut self, packet: Packet, direction: Direction) {
        let world = &mut self.world;
        if direction == Direction::FromClient && packet.closes() && !packet.is(FORGED) {
            world.client.owes = false;
            let held = world.gateway.held.iter_mut().flatten();
            let packets = world.links.iter_mut().flat_map(Link::packets_mut);
            for packet in packets.chain(held.map(|held| &mut held.packet)) {
                packet.marks &= !WAITED_FOR;
            }
        }
        let mut onward = packet;
        if direction == Direction::FromClient {
            onward.marks &= !WAITED_FOR;
        }
        world.links[to(direction)].push(onward);
    }

    fn deliver(&mut self, packet: Packet, direction: Direction, setup: &Setup, delays: bool) {
        self.packet = Some(packet);
        let world = &mut self.world;
        let (answer, back) = match direction {
            Direction::FromClient => (world.server.receive(&packet, setup), SERVER_TO_GATEWAY),
            Direction::FromServer => {
                let was_reset = world.client.reset;
                let answer = world.client.receive(&packet, setup, delays);
                if setup.claims.cure && world.client.reset && !was_reset && !packet.is(LATER) {
                    self.violated = Some(Property::Cure);
                }
                (answer, CLIENT_TO_GATEWAY)
            }
        };
        if let Some(answer) = answer {
            world.links[back].push(answer);
        }
    }
}

const fn from(direction: Direction) -> usize {
    match direction {
        Direction::FromClient => CLIENT_TO_GATEWAY,
        Direction::FromServer => SERVER_TO_GATEWAY,
    }
}

const fn to(direction: Direction) -> usize {
    match direction {
        Direction::FromClient => GATEWAY_TO_SERVER,
        Direction::FromServer => GATEWAY_TO_CLIENT,
    }
}
