//! The gateway: two hooks that run filter-common's state machine on one flow, and what an
//! onlooker who knows the truth has seen pass.

use filter_common::{
    Change, ClientHalf, Closer, Direction, Effects, Flow, Machine, Mode, Moment, Policy, Reason,
    Segment, ServerHalf, Ticks, Verdict,
};

use crate::{
    mutant::Mutant,
    packet::{ACK, FC, FIN, FORGED, FS, HANDSHAKE, LATER, OTHER_OPTIONS, Packet, RST, SYN},
    property::Property,
    setup::{CLOSED_LIFETIME, Filter, Interfaces, Setup, WINDOW},
};

/// The present; what is past is moved away from it, so that equal states stay equal.
pub(crate) const NOW: Ticks = Ticks(100);
/// The age from which on nothing that happened matters.
const OLDEST: u8 = 4;

/// What an onlooker knows, whatever the filter believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// The server's own FIN passed the gateway, one that counts for the closes that are served.
    fin: bool,
    /// One passed that did not acknowledge exactly Fc.
    crossed: bool,
    /// Behind it the client's own ACK that closes passed.
    closed: bool,
    /// A SYN, or a RST of the client, passed since the last FIN of the client.
    disarmed: bool,
    /// Steps of the clock since a client's ACK of Fs passed.
    since_ack: u8,
    /// Steps of the clock since anything but a server's RST passed.
    idle: u8,
    /// ACKs dropped.
    drops: u8,
    /// Stores of the client's half over another's.
    overwritten: u8,
}

/// A packet between look-up and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// The packet.
    pub packet: Packet,
    /// Where it goes.
    pub direction: Direction,
    /// Ghost: it came after what disarms, and not at the same time.
    disarmed: bool,
    /// What the look-up found, and which element of the table.
    found: Option<(Flow, u8)>,
}

/// Which words of a flow a hook reads late, after others have stored: a copy of the flow is not
/// atomic. What the server told is one word of 64 bits, all others have 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late(pub u8);

impl Late {
    /// All ways to be late.
    pub const WAYS: u8 = 1 << 7;

    fn read(self, copy: &mut Flow, flow: &Flow) {
        let late = |word: u8| self.0 & 1 << word != 0;
        let (client, server) = (flow.client, flow.server);
        if late(0) {
            copy.client.fin_end = client.fin_end;
        }
        if late(1) {
            copy.client.acked = client.acked;
        }
        if late(2) {
            copy.client.answered = client.answered;
            copy.client.finished = client.finished;
        }
        if late(3) {
            copy.client.drops = client.drops;
            copy.client.owed = client.owed;
            copy.client.provoked = client.provoked;
            copy.client.link = client.link;
        }
        if late(4) {
            copy.client.at = client.at;
        }
        if late(5) {
            copy.server = ServerHalf {
                at: copy.server.at,
                ..server
            };
        }
        if late(6) {
            copy.server.at = server.at;
        }
    }
}

/// The gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gateway {
    flow: Option<Flow>,
    /// Which element of the table holds it: a store to an earlier one is lost.
    element: u8,
    /// What CPUs are at.
    pub held: [Option<Held>; 2],
    truth: Truth,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// What the machine said; `None` without a filter.
    pub reason: Option<Reason>,
    /// Whether it goes on.
    pub passes: bool,
    /// What that violates.
    pub violated: Option<Property>,
}

impl Gateway {
    /// Whether the machine has state.
    #[must_use]
    pub fn knows(&self) -> bool {
        self.flow.is_some()
    }

    /// Whether an onlooker saw the close.
    #[must_use]
    pub fn has_seen_the_close(&self) -> bool {
        self.truth.closed
    }

    /// Another flow takes the place of this one.
    pub fn evict(&mut self) {
        self.flow = None;
        self.element += 1;
        self.settle();
    }

    /// A step of the clock.
    pub fn tick(&mut self) {
        let age = |at: &mut Moment| {
            if *at != Moment::NEVER {
                let before = at.seen_from(NOW).0 - 1;
                *at = Moment::of(Ticks(before.max(NOW.0 - u64::from(OLDEST))));
            }
        };
        let held = self.held.iter_mut().flatten();
        let copies = held.filter_map(|held| held.found.as_mut().map(|(flow, _)| flow));
        for flow in self.flow.iter_mut().chain(copies) {
            age(&mut flow.client.at);
            age(&mut flow.server.at);
        }
        self.truth.since_ack = (self.truth.since_ack + 1).min(OLDEST);
        self.truth.idle = (self.truth.idle + 1).min(OLDEST);
    }

    /// A CPU takes a packet and looks its flow up. False if all are busy.
    pub fn hold(&mut self, packet: Packet, direction: Direction) -> bool {
        let found = self.flow.map(|flow| (flow, self.element));
        let Some(free) = self.held.iter_mut().find(|held| held.is_none()) else {
            return false;
        };
        *free = Some(Held {
            packet,
            direction,
            disarmed: self.truth.disarmed,
            found,
        });
        true
    }

    /// That CPU decides and stores.
    pub fn release(
        &mut self,
        cpu: usize,
        late: Late,
        setup: &Setup,
        mutant: &Mutant,
    ) -> Option<(Held, Judged)> {
        let held = self.held[cpu].take()?;
        let mut found = held.found;
        let mut overwrites = false;
        if let (Some((copy, element)), Some(flow)) = (&mut found, &self.flow)
            && *element == self.element
        {
            late.read(copy, flow);
            overwrites = copy.client != flow.client;
        }
        let overwriting = Store {
            overwrites,
            refuses: false,
            link: 0,
        };
        let judged = self.judge(&held, found, overwriting, setup, mutant);
        self.settle();
        Some((held, judged))
    }

    /// Look-up, decision and store at once; at each interface that the packet goes through.
    /// `link`: which one it takes, where it takes one.
    pub fn pass(
        &mut self,
        packet: Packet,
        direction: Direction,
        refuses: bool,
        link: u8,
        setup: &Setup,
        mutant: &Mutant,
    ) -> Judged {
        let links: &[u8] = match (setup.interfaces, direction) {
            (Interfaces::One | Interfaces::Either, _) => &[link],
            (Interfaces::Both, Direction::FromClient) => &[0, 1],
            (Interfaces::Both, Direction::FromServer) => &[1, 0],
        };
        let disarmed = self.truth.disarmed;
        let mut judged = Judged {
            reason: None,
            passes: true,
            violated: None,
        };
        for &link in links {
            let found = self.flow.map(|flow| (flow, self.element));
            let held = Held {
                packet,
                direction,
                disarmed,
                found,
            };
            let store = Store {
                overwrites: false,
                refuses,
                link,
            };
            judged = self.judge(&held, found, store, setup, mutant);
            if !judged.passes {
                break;
            }
        }
        self.settle();
        judged
    }

    /// Numbers of elements mean nothing while no CPU holds one.
    fn settle(&mut self) {
        if self.held.iter().all(Option::is_none) {
            self.element = 0;
        }
    }

    fn judge(
        &mut self,
        held: &Held,
        found: Option<(Flow, u8)>,
        store: Store,
        setup: &Setup,
        mutant: &Mutant,
    ) -> Judged {
        let Held {
            packet, direction, ..
        } = held;
        let Some(policy) = setup.policy() else {
            self.truth.saw(packet, *direction, true, setup.closer);
            return Judged {
                reason: None,
                passes: true,
                violated: None,
            };
        };
        let copy = found.map(|(flow, _)| flow);
        let segment = packet.segment(*direction);
        let (reason, change) = decide(copy, *direction, &segment, &policy, store, mutant);
        if store.overwrites && matches!(change, Change::Client(_)) {
            self.truth.overwritten += 1;
        }
        let mut violated = None;
        let passes = reason.verdict() == Verdict::Pass;
        if !passes {
            violated = self.truth.violated(held, copy.is_some(), setup);
            self.truth.drops += u8::from(*direction == Direction::FromClient);
        }
        match change {
            // The other direction has made it since the look-up.
            Change::Create(new) if found.is_none() && self.flow.is_some() => {
                match direction {
                    Direction::FromClient => Change::Client(new.client),
                    Direction::FromServer => Change::Server(new.server),
                }
                .apply(&mut self.flow);
            }
            Change::Create(_) | Change::Forget => {
                self.element += 1;
                change.apply(&mut self.flow);
            }
            // A store to an element that is no longer the flow's is lost.
            Change::Client(_) | Change::Server(_) | Change::ClientAt(_) | Change::ServerAt(_) => {
                if found.is_some_and(|(_, element)| element == self.element) {
                    change.apply(&mut self.flow);
                }
            }
            Change::Keep => {}
        }
        self.truth.saw(packet, *direction, passes, setup.closer);
        Judged {
            reason: Some(reason),
            passes,
            violated,
        }
    }
}

/// How a CPU stores what was decided.
#[derive(Clone, Copy)]
struct Store {
    /// Over what another one has stored since the look-up.
    overwrites: bool,
    /// The table takes no new flow.
    refuses: bool,
    /// The interface that it works for.
    link: u8,
}

/// Carries effects out as the packet programs do, but on one flow, and later.
struct Table {
    change: Change,
    refuses: bool,
}

impl Effects for Table {
    fn create(&mut self, flow: Flow) -> bool {
        !self.refuses && self.change.create(flow)
    }

    fn client(&mut self, client: ClientHalf, lifetime: Ticks) {
        self.change.client(client, lifetime);
    }

    fn server(&mut self, server: ServerHalf, lifetime: Ticks) {
        self.change.server(server, lifetime);
    }

    fn client_at(&mut self, at: Moment, lifetime: Ticks) {
        self.change.client_at(at, lifetime);
    }

    fn server_at(&mut self, at: Moment, lifetime: Ticks) {
        self.change.server_at(at, lifetime);
    }

    fn forget(&mut self) {
        self.change.forget();
    }
}

/// Asks the machine that the kernel runs; a mutant lies to it, or about what it said.
fn decide(
    flow: Option<Flow>,
    direction: Direction,
    segment: &Segment,
    policy: &Policy,
    store: Store,
    mutant: &Mutant,
) -> (Reason, Change) {
    let (mut seen, mut segment, mut policy) = (flow, *segment, *policy);
    (mutant.before)(&mut seen, direction, &mut segment, &mut policy);
    let mut table = Table {
        change: Change::Keep,
        refuses: store.refuses,
    };
    let reason = Machine {
        now: NOW,
        link: if mutant.sees_one_interface {
            0
        } else {
            store.link
        },
        policy: &policy,
        effects: &mut table,
    }
    .segment(seen.as_ref(), direction, &segment);
    let change = (mutant.after)(flow, direction, reason, table.change);
    (reason, change)
}

impl Truth {
    /// What dropping `held` violates.
    fn violated(&self, held: &Held, had_state: bool, setup: &Setup) -> Option<Property> {
        let Held {
            packet, direction, ..
        } = held;
        let Filter::On {
            mode,
            rst_guard,
            budget,
        } = setup.filter
        else {
            return None;
        };
        let from_client = *direction == Direction::FromClient;
        let is_kind = if from_client {
            packet.flags == ACK && packet.payload == 0 && !packet.is(OTHER_OPTIONS)
        } else {
            packet.flags == RST
        };
        let has_numbers = if from_client {
            (packet.seq == FC || packet.seq == FC - 1) && packet.ack == FS
        } else {
            packet.seq == FS
        };
        let is_waited_for =
            setup.claims.sees_both && packet.closes() && packet.is(crate::packet::WAITED_FOR);
        let checks = [
            (had_state, Property::FailOpen),
            (
                mode == Mode::Enforce && (from_client || rst_guard),
                Property::Mode,
            ),
            (is_kind, Property::SafetyKind),
            (!is_waited_for, Property::SafetyNeeded),
            (
                self.closed && (from_client || !self.crossed) || setup.on_path,
                Property::SafetyClose,
            ),
            (has_numbers || setup.on_path, Property::SafetyNumbers),
            (!held.disarmed, Property::Disarm),
            (
                Ticks(self.idle.into()) <= CLOSED_LIFETIME,
                Property::Lifetime,
            ),
            (
                !from_client || self.drops < budget + self.overwritten,
                Property::Budget,
            ),
            (
                !from_client || Ticks(self.since_ack.into()) <= WINDOW,
                Property::Window,
            ),
        ];
        checks
            .into_iter()
            .find_map(|(holds, property)| (!holds).then_some(property))
    }

    fn saw(&mut self, packet: &Packet, direction: Direction, passes: bool, closer: Closer) {
        let from_client = direction == Direction::FromClient;
        if from_client || !packet.has(RST) {
            self.idle = 0;
        }
        let later = packet.has(SYN) && !packet.is(HANDSHAKE);
        if later || from_client && packet.has(RST) {
            self.disarmed = true;
            return;
        }
        if from_client && packet.has(FIN) && packet.has(ACK) {
            self.disarmed = false;
        }
        let acknowledges = from_client && packet.has(ACK) && packet.ack == FS && passes;
        if acknowledges {
            self.since_ack = 0;
        }
        if packet.has(RST) || packet.is(FORGED | LATER | HANDSHAKE) {
            return;
        }
        let either = closer == Closer::Either;
        if !from_client {
            let second = packet.has(FIN) && packet.ack == FC;
            self.crossed |= packet.has(FIN) && !second;
            self.fin |= second || either && packet.has(FIN);
        } else if acknowledges {
            self.closed |= self.fin && (packet.closes() || either && packet.has(FIN));
        }
    }
}
