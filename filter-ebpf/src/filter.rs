//! Parse, look up, decide, store, count. No policy: it fetches facts, asks, and carries the
//! decision out.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::bpf_jiffies64,
};
use aya_log_ebpf::debug;
use filter_common::{
    ClientHalf, Direction, Effects, Flow, FlowKey, Machine, Moment, Reason, Segment, ServerHalf,
    Ticks, Verdict,
    expiry::{self, Slot},
    wire::{self, Frame},
};

use crate::{
    configuration,
    maps::{self, Counters, FACTS, FLOWS, SCRATCH},
    packet::{Copied, Packet},
};

/// Where on an interface a program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Ingress,
    Egress,
}

/// Decides one packet.
#[inline(always)]
pub(crate) fn filter<P: Packet>(packet: &P, hook: Hook) -> Verdict {
    let direction = configuration::direction(hook);
    let in_place = packet.in_place();
    let mut examined = examine(packet, &in_place, hook, direction);
    if examined == Err(Reason::Truncated) && in_place.is_partial() {
        examined = examine_copy(packet, hook, direction);
    }
    match examined {
        Ok(verdict) => verdict,
        Err(reason) => {
            if reason.is_counted()
                && let Some(counters) = Counters::of(packet.interface())
            {
                counters.count(reason);
            }
            Verdict::Pass
        }
    }
}

/// For headers that reach behind the first buffer.
#[inline(always)]
fn examine_copy<P: Packet>(
    packet: &P,
    hook: Hook,
    direction: Direction,
) -> Result<Verdict, Reason> {
    let scratch = SCRATCH.get_ptr_mut(hook as u32).ok_or(Reason::Truncated)?;
    let copied = Copied::new(packet, scratch).ok_or(Reason::Truncated)?;
    examine(packet, &copied, hook, direction)
}

/// What an ordinary packet goes through, and no more: its headers and one slot.
///
/// Gives the verdict of what was judged and counted, or why nothing was to judge.
#[inline(always)]
fn examine<P: Packet, F: Frame>(
    packet: &P,
    frame: &F,
    hook: Hook,
    direction: Direction,
) -> Result<Verdict, Reason> {
    let located = wire::locate(frame, packet.link(), direction, configuration::secret())?;
    let slot = maps::slot(located.hash, configuration::slot_mask()).ok_or(Reason::NoFlow)?;
    let now = now();
    let opens = configuration::opens(direction, located.flags);
    // SAFETY: a live map value; other CPUs may write it, one word at a time.
    if !opens && !expiry::is_live(unsafe { slot.read_volatile() }, located.hash, now) {
        return Err(Reason::NoFlow);
    }
    let facts = FACTS.get_ptr_mut(hook as u32).ok_or(Reason::NoFlow)?;
    // SAFETY: a live map value of this CPU, where no other packet is at this hook now.
    let facts = unsafe {
        facts.write(Facts {
            key: wire::key(frame, &located, direction)?,
            segment: wire::segment(frame, &located)?,
            hash: located.hash,
            interface: packet.interface(),
        });
        &*facts
    };
    let reason = judge(facts, direction, slot, now);
    if configuration::logs_decisions() && reason.is_counted() {
        log(facts, reason);
    }
    Ok(reason.verdict())
}

#[inline(always)]
fn now() -> Ticks {
    // SAFETY: takes nothing and cannot fail.
    Ticks(unsafe { bpf_jiffies64() })
}

/// What is known of a segment that makes a flow, or may belong to one.
///
/// In a map, which the verifier does not look into: it has many ways to get here, and sees that
/// they are the same from here on.
pub(crate) struct Facts {
    key: FlowKey,
    segment: Segment,
    hash: u32,
    interface: u32,
}

/// Judges and counts a segment.
///
/// Out of line, and with no pointer into the packet, for the verifier's sake, too.
#[inline(never)]
fn judge(facts: &Facts, direction: Direction, slot: *mut Slot, now: Ticks) -> Reason {
    let Facts {
        key,
        segment,
        hash,
        interface,
    } = facts;
    // Behind the look-up, compilers leave a register unset that the verifier asks for.
    let policy = configuration::policy();
    let found = FLOWS.get_ptr_mut(key);
    if found.is_none() {
        if !configuration::opens(direction, segment.flags) {
            return Reason::NoFlow;
        }
        if !maps::is_in_scope(key) {
            return Reason::OutOfScope;
        }
    }
    let Some(counters) = Counters::of(*interface) else {
        return Reason::NoFlow;
    };
    let flow = found.map(read);
    let mut table = Table {
        key,
        hash: *hash,
        found,
        slot,
        before: flow.map(|flow| {
            let touched = flow.touched().seen_from(now);
            expiry::deadline(*hash, touched, flow.lifetime(&policy))
        }),
        now,
        kept: None,
    };
    let machine = Machine {
        now,
        link: counters.link(),
        policy: &policy,
        effects: &mut table,
    };
    let reason = machine.segment(flow, direction, segment);
    table.keep();
    counters.count(reason);
    if let Some(flow) = flow
        && flow.is_settled_by(direction, reason)
    {
        maps::count_settled(flow.client.link.into());
    }
    reason
}

/// Reads a flow that the other direction's hook may be writing: each word is then the old one or
/// the new one, as if the packets had met in another order. What the server told is one word.
#[inline(always)]
fn read(flow: *mut Flow) -> Flow {
    // SAFETY: a live map value. A flow begins with the word that is what the server told.
    unsafe {
        let mut copy = *flow;
        let told = flow.cast::<u64>().read_volatile();
        (&raw mut copy).cast::<u64>().write(told);
        copy
    }
}

/// One flow's place in the maps.
struct Table<'a> {
    key: &'a FlowKey,
    hash: u32,
    found: Option<*mut Flow>,
    slot: *mut Slot,
    /// What the flow wrote into its slot last, if it had one.
    before: Option<Slot>,
    now: Ticks,
    /// For how long the slot is to live on. Written once, in the end, wherever that was decided.
    kept: Option<Ticks>,
}

impl Effects for Table<'_> {
    #[inline(always)]
    fn create(&mut self, flow: Flow) -> bool {
        let lifetime = configuration::half_closed_lifetime();
        let flags = if self.found.is_none() {
            BPF_NOEXIST
        } else {
            BPF_ANY
        };
        let mut created = FLOWS.insert(self.key, flow, flags.into()).is_ok();
        if self.found.is_none() && !created {
            // The other direction's hook, or another CPU, was faster.
            self.found = FLOWS.get_ptr_mut(self.key);
            if flow.client.finished == 0 {
                self.server(flow.server, lifetime);
            } else {
                self.client(flow.client, lifetime);
            }
            created = self.found.is_some();
        }
        if created {
            self.kept = Some(lifetime);
        }
        created
    }

    #[inline(always)]
    fn client(&mut self, client: ClientHalf, lifetime: Ticks) {
        if let Some(flow) = self.found {
            // SAFETY: a live map value, of which this direction writes the client's half.
            unsafe { (*flow).client = client };
            self.kept = Some(lifetime);
        }
    }

    #[inline(always)]
    fn server(&mut self, server: ServerHalf, lifetime: Ticks) {
        if let Some(flow) = self.found {
            // SAFETY: a live map value, of which this direction writes the server's half; it begins
            // with the word that is what the server told.
            unsafe {
                let told = (&raw const server).cast::<u64>().read_unaligned();
                flow.cast::<u64>().write_volatile(told);
                (*flow).server.at = server.at;
            }
            self.kept = Some(lifetime);
        }
    }

    #[inline(always)]
    fn client_at(&mut self, at: Moment, lifetime: Ticks) {
        if let Some(flow) = self.found {
            // SAFETY: as above; a word.
            unsafe { (*flow).client.at = at };
            self.kept = Some(lifetime);
        }
    }

    #[inline(always)]
    fn server_at(&mut self, at: Moment, lifetime: Ticks) {
        if let Some(flow) = self.found {
            // SAFETY: as above; a word.
            unsafe { (*flow).server.at = at };
            self.kept = Some(lifetime);
        }
    }

    #[inline(always)]
    fn forget(&mut self) {
        self.kept = Some(Ticks(0));
        // It fails where another CPU was faster.
        FLOWS.remove(self.key).ok();
    }
}

impl Table<'_> {
    /// Sees to it that the slot outlives the flow. Another CPU that writes at this instant may
    /// win; its flow or this one then passes unseen.
    #[inline(always)]
    fn keep(&self) {
        let Some(lifetime) = self.kept else { return };
        let deadline = expiry::deadline(self.hash, self.now, lifetime);
        // SAFETY: a live map value, read and written one word at a time.
        unsafe {
            let there = self.slot.read_volatile();
            if let Some(slot) = expiry::renewed(there, self.before, deadline, self.now) {
                self.slot.write_volatile(slot);
            }
        }
    }
}

/// Kept out of line: it needs much of the stack, and is not there at all when it is off.
#[inline(never)]
fn log(facts: &Facts, reason: Reason) {
    let Facts { key, segment, .. } = facts;
    let address = |words: [u32; 4]| {
        let [a, b, c, d] = words.map(|word| u128::from(u32::from_be(word)));
        (a << 96 | b << 64 | c << 32 | d).to_be_bytes()
    };
    debug!(
        &(),
        "{:i} {} > {:i} {} seq {} ack {} flags {:x} payload {}: {}",
        address(key.client),
        key.client_port(),
        address(key.server),
        key.server_port(),
        segment.seq.0,
        segment.ack.0,
        segment.flags.bits(),
        segment.payload,
        reason.as_str(),
    );
}
