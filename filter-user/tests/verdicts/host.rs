//! What the packet programs do, done by the host with the same parser and state machine.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use filter_common::{
    ClientHalf, Direction, Effects, Flow, FlowKey, Machine, Policy, Reason, ServerHalf, Ticks,
    expiry::{self, Slot},
    wire,
};
use filter_user::settings::Settings;

/// A filter whose clock counts milliseconds.
pub(crate) struct Host {
    policy: Policy,
    start: Instant,
    flows: HashMap<FlowKey, Flow>,
    slots: HashMap<u32, Slot>,
}

const SECRET: u64 = 7;

impl Host {
    pub(crate) fn new(settings: &Settings) -> Self {
        let ticks = |duration: Duration| {
            Ticks(
                u64::try_from(duration.as_millis())
                    .expect("no such timeout")
                    .max(1),
            )
        };
        let policy = Policy {
            mode: settings.mode,
            rst_guard: settings.rst_guard,
            window: ticks(settings.window),
            budget: settings.budget,
            half_closed_lifetime: ticks(settings.half_closed_timeout),
            closed_lifetime: ticks(settings.closed_timeout),
        };
        Self {
            policy,
            start: Instant::now(),
            flows: HashMap::new(),
            slots: HashMap::new(),
        }
    }

    pub(crate) fn see(&mut self, direction: Direction, frame: &[u8]) -> Reason {
        self.examine(direction, frame)
            .unwrap_or_else(|reason| reason)
    }

    fn examine(&mut self, direction: Direction, frame: &[u8]) -> Result<Reason, Reason> {
        let now = u64::try_from(self.start.elapsed().as_millis()).expect("a short test");
        // A machine is up for a while when it runs programs, so its slots look expired.
        let now = Ticks(now + (1 << 24));
        let located = wire::locate(frame, direction, SECRET)?;
        let slot = self.slots.entry(located.hash).or_default();
        let opens = direction == Direction::FromClient && located.flags.opens();
        if !opens && !expiry::is_live(*slot, now) {
            return Err(Reason::NoFlow);
        }
        let key = wire::key(frame, &located, direction)?;
        let segment = wire::segment(frame, &located)?;
        let found = self.flows.get(&key).copied();
        let mut table = Table {
            key,
            flows: &mut self.flows,
            slot,
            before: found.map(|flow| expiry::deadline(flow.touched(), flow.lifetime(&self.policy))),
            now,
            policy: &self.policy,
        };
        let machine = Machine {
            now,
            link: 0,
            policy: &self.policy,
            effects: &mut table,
        };
        Ok(machine.segment(found, direction, &segment))
    }

    /// As [`Kernel::keep_slots`](crate::kernel::Kernel::keep_slots).
    pub(crate) fn keep_slots(&mut self) {
        for slot in self.slots.values_mut() {
            *slot = slot.wrapping_add(1 << 20);
        }
    }

    pub(crate) fn flows(&self) -> &HashMap<FlowKey, Flow> {
        &self.flows
    }
}

struct Table<'a> {
    key: FlowKey,
    flows: &'a mut HashMap<FlowKey, Flow>,
    slot: &'a mut Slot,
    before: Option<Slot>,
    now: Ticks,
    policy: &'a Policy,
}

impl Table<'_> {
    fn keep_for(&mut self, lifetime: Ticks) {
        let deadline = expiry::deadline(self.now, lifetime);
        if let Some(slot) = expiry::renewed(*self.slot, self.before, deadline) {
            *self.slot = slot;
        }
    }
}

impl Effects for Table<'_> {
    fn create(&mut self, client: ClientHalf) -> bool {
        self.flows.insert(
            self.key,
            Flow {
                client,
                ..Flow::default()
            },
        );
        self.keep_for(self.policy.half_closed_lifetime);
        true
    }

    fn client(&mut self, client: ClientHalf, lifetime: Ticks) {
        if let Some(flow) = self.flows.get_mut(&self.key) {
            flow.client = client;
            self.keep_for(lifetime);
        }
    }

    fn server(&mut self, server: ServerHalf, lifetime: Ticks) {
        if let Some(flow) = self.flows.get_mut(&self.key) {
            flow.server = server;
            self.keep_for(lifetime);
        }
    }

    fn forget(&mut self) {
        self.keep_for(Ticks(0));
        self.flows.remove(&self.key);
    }
}
