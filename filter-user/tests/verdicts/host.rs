//! What the packet programs do, done by the host with the same parser and state machine.

use std::collections::HashMap;

use filter_common::{
    ClientHalf, Direction, Effects, Flow, FlowKey, Machine, Moment, Policy, Reason, ServerHalf,
    Ticks,
    expiry::{self, Slot},
    policy::Configuration,
    wire::{self, Frame, Link, Located},
};

use crate::kernel::kept;

/// A filter whose maps are here. Its clock is the caller's.
pub(crate) struct Host {
    configuration: Configuration,
    flows: HashMap<FlowKey, Flow>,
    slots: HashMap<u32, Slot>,
}

/// What was decided of one frame, and what becomes of its flow and its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) reason: Reason,
    /// Whether it settles a flow.
    pub(crate) settles: bool,
    /// Nothing where there is no TCP header.
    pub(crate) place: Option<Place>,
}

/// A flow's entry in the table and its slot in the expiry array, after a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) key: FlowKey,
    pub(crate) flow: Option<Flow>,
    pub(crate) index: u32,
    pub(crate) slot: Slot,
}

impl Host {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self {
            configuration,
            flows: HashMap::new(),
            slots: HashMap::new(),
        }
    }

    /// Decides a frame and carries the decision out.
    pub(crate) fn see(&mut self, direction: Direction, frame: &[u8], now: Ticks) -> Reason {
        let outcome = self.decide(Link::Ethernet, direction, frame, now);
        self.carry_out(&outcome);
        outcome.reason
    }

    /// Decides a frame.
    pub(crate) fn decide<F: Frame + ?Sized>(
        &self,
        link: Link,
        direction: Direction,
        frame: &F,
        now: Ticks,
    ) -> Outcome {
        let located = wire::locate(frame, link, direction, self.configuration.secret);
        let place = located.and_then(|located| {
            let key = wire::key(frame, &located, direction)?;
            Ok((self.place(key, located.hash), located))
        });
        match place {
            Err(reason) => Outcome {
                reason,
                settles: false,
                place: None,
            },
            Ok((mut place, located)) => {
                let before = place.flow;
                let decided = self.judge(direction, frame, &located, &mut place, now);
                Outcome {
                    reason: decided.unwrap_or_else(|reason| reason),
                    settles: decided.is_ok_and(|reason| {
                        before.is_some_and(|flow| flow.is_settled_by(direction, reason))
                    }),
                    place: Some(place),
                }
            }
        }
    }

    /// Carries a decision out.
    pub(crate) fn carry_out(&mut self, outcome: &Outcome) {
        let Some(place) = outcome.place else { return };
        self.slots.insert(place.index, place.slot);
        match place.flow {
            Some(flow) => self.flows.insert(place.key, flow),
            None => self.flows.remove(&place.key),
        };
    }

    fn place(&self, key: FlowKey, hash: u32) -> Place {
        let index = hash & self.configuration.slot_mask;
        Place {
            key,
            flow: self.flows.get(&key).copied(),
            index,
            slot: self.slots.get(&index).copied().unwrap_or_default(),
        }
    }

    fn judge<F: Frame + ?Sized>(
        &self,
        direction: Direction,
        frame: &F,
        located: &Located,
        place: &mut Place,
        now: Ticks,
    ) -> Result<Reason, Reason> {
        let opens = self.configuration.policy().opens(direction, located.flags);
        if !opens && !expiry::is_live(place.slot, located.hash, now) {
            return Err(Reason::NoFlow);
        }
        let segment = wire::segment(frame, located)?;
        let policy = self.configuration.policy();
        let found = place.flow;
        let mut table = Table {
            place,
            hash: located.hash,
            before: found.map(|flow| {
                let touched = flow.touched().seen_from(now);
                expiry::deadline(located.hash, touched, flow.lifetime(&policy))
            }),
            now,
            policy: &policy,
        };
        let machine = Machine {
            now,
            link: 0,
            policy: &policy,
            effects: &mut table,
        };
        Ok(machine.segment(found.as_ref(), direction, &segment))
    }

    /// As [`Kernel::keep_slots`](crate::kernel::Kernel::keep_slots).
    pub(crate) fn keep_slots(&mut self) {
        for slot in self.slots.values_mut() {
            *slot = kept(*slot);
        }
    }

    pub(crate) fn flows(&self) -> &HashMap<FlowKey, Flow> {
        &self.flows
    }
}

struct Table<'a> {
    place: &'a mut Place,
    hash: u32,
    before: Option<Slot>,
    now: Ticks,
    policy: &'a Policy,
}

impl Table<'_> {
    fn keep_for(&mut self, lifetime: Ticks) {
        let deadline = expiry::deadline(self.hash, self.now, lifetime);
        if let Some(slot) = expiry::renewed(self.place.slot, self.before, deadline, self.now) {
            self.place.slot = slot;
        }
    }
}

impl Effects for Table<'_> {
    fn create(&mut self, flow: Flow) -> bool {
        self.place.flow = Some(flow);
        self.keep_for(self.policy.one_sided_lifetime);
        true
    }

    fn client(&mut self, client: ClientHalf, lifetime: Ticks) {
        if let Some(flow) = &mut self.place.flow {
            flow.client = client;
            self.keep_for(lifetime);
        }
    }

    fn server(&mut self, server: ServerHalf, lifetime: Ticks) {
        if let Some(flow) = &mut self.place.flow {
            flow.server = server;
            self.keep_for(lifetime);
        }
    }

    fn client_at(&mut self, at: Moment, lifetime: Ticks) {
        if let Some(flow) = &mut self.place.flow {
            flow.client.at = at;
            self.keep_for(lifetime);
        }
    }

    fn server_at(&mut self, at: Moment, lifetime: Ticks) {
        if let Some(flow) = &mut self.place.flow {
            flow.server.at = at;
            self.keep_for(lifetime);
        }
    }

    fn forget(&mut self) {
        self.place.flow = None;
        self.keep_for(Ticks(0));
    }
}
