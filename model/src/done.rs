//! What comes of a step.

use filter_common::{Closer, Direction, Reason};

use crate::{
    client::Client,
    gateway::Judged,
    mutant::Mutant,
    packet::{ACK, FC, FIN, FORGED, FS, LATER, Link, Packet, WAITED_FOR},
    property::Property,
    server::Server,
    setup::Setup,
    world::{
        CLIENT_TO_GATEWAY, GATEWAY_TO_CLIENT, GATEWAY_TO_SERVER, SERVER_TO_GATEWAY, Step, World,
    },
};

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
            Step::ClientCloses => self.client_sends(Client::close),
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
                self.client_sends(|client| client.unasked(what, setup))
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
            Step::Pass(direction, index, refuses, link) => {
                left.refusals -= u8::from(refuses);
                let packet = world.links[from(direction)].remove(index);
                let judged = world
                    .gateway
                    .pass(packet, direction, refuses, link, setup, mutant);
                self.goes_on(packet, direction, judged, setup);
                Some(())
            }
            Step::Hold(direction, index) => {
                let packet = world.links[from(direction)].remove(index);
                self.packet = Some(packet);
                world.gateway.hold(packet, direction).then_some(())
            }
            Step::Release(cpu, late) => {
                let (held, judged) = world.gateway.release(cpu, late, setup, mutant)?;
                self.goes_on(held.packet, held.direction, judged, setup);
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

    fn goes_on(&mut self, packet: Packet, direction: Direction, judged: Judged, setup: &Setup) {
        self.packet = Some(packet);
        self.reason = judged.reason;
        // A server that has closed first takes an ACK from the client's FIN, and from no copy of
        // it: what a copy of the FIN answers may be nothing that the server still waits for.
        let nobody_waits = setup.closer == Closer::Either && !self.world.server.waits();
        self.violated = judged
            .violated
            .filter(|property| !(*property == Property::SafetyNeeded && nobody_waits));
        if judged.passes {
            self.forwarded(packet, direction);
        }
    }

    /// On its way behind the gateway. What the server will take as an ACK of Fs answers all that
    /// was sent so far.
    fn forwarded(&mut self, packet: Packet, direction: Direction) {
        let world = &mut self.world;
        let behind = world.links[GATEWAY_TO_SERVER].packets();
        let is_first_fin = world.server.received < FC
            && packet.has(FIN)
            && !behind.iter().any(|packet| packet.has(FIN));
        let taken = packet.closes() || is_first_fin && packet.has(ACK) && packet.ack == FS;
        if direction == Direction::FromClient && taken && !packet.is(FORGED) {
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
