//! Parse, look up, decide, store, count. No policy: it fetches facts, asks, and carries the
//! decision out.

#![expect(
    unsafe_code,
    reason = "elements of maps are shared with other CPUs, so they are reached by pointer"
)]

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::bpf_jiffies64,
};
use filter_common::{
    ClientHalf, Direction, Effects, Flow, FlowKey, Machine, Moment, Reason, SETTLED, Segment,
    ServerHalf, Ticks, Verdict,
    expiry::{self, Slot},
    wire::{self, Frame},
};

use crate::{
    configuration,
    maps::{self, FACTS, FLOWS, SCRATCH},
    packet::{Copied, Packet},
    tell::tell,
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
            if reason.is_counted() {
                maps::count(maps::entry(packet.interface()), reason as usize);
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
            judged: MaybeUninit::uninit(),
        });
        &mut *facts
    };
    let reason = judge(facts, direction, slot, now);
    tell(facts, reason, direction);
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
/// they are the same from here on. And the stack is small.
pub(crate) struct Facts {
    pub(crate) key: FlowKey,
    pub(crate) segment: Segment,
    hash: u32,
    pub(crate) interface: u32,
    judged: MaybeUninit<Judged>,
}

/// What is left to do about a segment that was judged.
struct Judged {
    /// The state of its flow before it, if there was one.
    flow: MaybeUninit<Flow>,
    /// What that flow wrote into its slot last, if there was one.
    before: Option<Slot>,
    /// For how long the slot is to live on.
    kept: Ticks,
    /// Of the counters of its interface.
    entry: u32,
    /// Whether it settles its flow.
    settles: bool,
}

/// That a slot is to live on as it is. A number and no Option, so that compilers keep it in a
/// register.
const UNTOUCHED: Ticks = Ticks(u64::MAX);

/// Judges and counts a segment.
///
/// Out of line, and with no pointer into the packet, for the verifier's sake, too. So are the
/// four cases of it: in each, compilers know whether there is a flow and which side speaks, and
/// need not keep a flow that may not be there. None of them calls anything, so that their stack
/// is the end of a chain.
#[inline(never)]
fn judge(facts: &mut Facts, direction: Direction, slot: *mut Slot, now: Ticks) -> Reason {
    let key = &facts.key;
    let found = FLOWS.get_ptr_mut(key);
    if found.is_none() {
        if !configuration::opens(direction, facts.segment.flags) {
            return Reason::NoFlow;
        }
        if !maps::is_in_scope(key) {
            return Reason::OutOfScope;
        }
    }
    let reason = match (found, direction) {
        (Some(flow), Direction::FromClient) => judge_client(facts, flow, now),
        (Some(flow), Direction::FromServer) => judge_server(facts, flow, now),
        (None, Direction::FromClient) => open_by_client(facts, now),
        (None, Direction::FromServer) => open_by_server(facts, now),
    };
    conclude(facts, slot, now, reason);
    reason
}

#[inline(never)]
fn judge_client(facts: &mut Facts, flow: *mut Flow, now: Ticks) -> Reason {
    judge_known(facts, Direction::FromClient, flow, now)
}

#[inline(never)]
fn judge_server(facts: &mut Facts, flow: *mut Flow, now: Ticks) -> Reason {
    judge_known(facts, Direction::FromServer, flow, now)
}

#[inline(never)]
fn open_by_client(facts: &mut Facts, now: Ticks) -> Reason {
    judge_unknown(facts, Direction::FromClient, now)
}

#[inline(never)]
fn open_by_server(facts: &mut Facts, now: Ticks) -> Reason {
    judge_unknown(facts, Direction::FromServer, now)
}

/// A segment of a flow that is in the table.
#[inline(always)]
fn judge_known(facts: &mut Facts, direction: Direction, found: *mut Flow, now: Ticks) -> Reason {
    let entry = maps::entry(facts.interface);
    let judged = facts.judged.write(Judged {
        flow: MaybeUninit::uninit(),
        before: None,
        kept: UNTOUCHED,
        entry,
        settles: false,
    });
    let policy = configuration::policy();
    let flow = read(found, &mut judged.flow);
    let touched = flow.touched().seen_from(now);
    let before = expiry::deadline(facts.hash, touched, flow.lifetime(&policy));
    judged.before = Some(before);
    let mut table = Known {
        key: &facts.key,
        found,
        kept: &mut judged.kept,
    };
    let machine = Machine {
        now,
        link: maps::link(entry),
        policy: &policy,
        effects: &mut table,
    };
    let reason = machine.segment(Some(flow), direction, &facts.segment);
    judged.settles = flow.is_settled_by(direction, reason);
    reason
}

/// A segment that makes a flow.
#[inline(always)]
fn judge_unknown(facts: &mut Facts, direction: Direction, now: Ticks) -> Reason {
    let entry = maps::entry(facts.interface);
    let judged = facts.judged.write(Judged {
        flow: MaybeUninit::uninit(),
        before: None,
        kept: UNTOUCHED,
        entry,
        settles: false,
    });
    let policy = configuration::policy();
    let mut table = Unknown {
        key: &facts.key,
        kept: &mut judged.kept,
    };
    let machine = Machine {
        now,
        link: maps::link(entry),
        policy: &policy,
        effects: &mut table,
    };
    machine.segment(None, direction, &facts.segment)
}

/// Sees to the flow's slot, and counts.
#[inline(never)]
fn conclude(facts: &Facts, slot: *mut Slot, now: Ticks, reason: Reason) {
    // SAFETY: every segment that comes here was judged.
    let judged = unsafe { facts.judged.assume_init_ref() };
    if judged.kept != UNTOUCHED {
        let deadline = expiry::deadline(facts.hash, now, judged.kept);
        keep(slot, judged.before, deadline, now);
    }
    maps::count(judged.entry, reason as usize);
    if judged.settles {
        // SAFETY: only what belongs to a flow settles one.
        let flow = unsafe { judged.flow.assume_init_ref() };
        maps::count(flow.client.link.into(), SETTLED);
    }
    if let Some(fault) = reason.fault() {
        maps::blame(&facts.key.client, fault, now);
    }
}

/// Sees to it that the slot outlives the flow. Another CPU that writes at this instant may
/// win; its flow or this one then passes unseen. So may a flow's first segment of one side that meets the
/// first of the other, if both are silent for as long as a one-sided flow lives.
#[inline(always)]
fn keep(slot: *mut Slot, before: Option<Slot>, deadline: Slot, now: Ticks) {
    // SAFETY: a live map value, read and written one word at a time.
    unsafe {
        if let Some(renewed) = expiry::renewed(slot.read_volatile(), before, deadline, now) {
            slot.write_volatile(renewed);
        }
    }
}

/// Copies a flow that the other direction's hook may be writing: each word is then the old one or
/// the new one, as if the packets had met in another order. What the server told is one word.
#[inline(always)]
fn read(flow: *const Flow, copy: &mut MaybeUninit<Flow>) -> &Flow {
    const WORDS: usize = size_of::<Flow>() / size_of::<u64>();
    let (from, to) = (flow.cast::<u64>(), copy.as_mut_ptr().cast::<u64>());
    for word in 0..WORDS {
        // SAFETY: live map values, aligned to words, of which a flow is made.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
    // SAFETY: all of it is written.
    unsafe { copy.assume_init_ref() }
}

/// The place of a flow that is in the table.
struct Known<'a> {
    key: &'a FlowKey,
    found: *mut Flow,
    kept: &'a mut Ticks,
}

impl Effects for Known<'_> {
    #[inline(always)]
    fn create(&mut self, flow: Flow) -> bool {
        let created = FLOWS.insert(self.key, flow, BPF_ANY.into()).is_ok();
        if created {
            *self.kept = configuration::one_sided_lifetime();
        }
        created
    }

    #[inline(always)]
    fn client(&mut self, client: ClientHalf, lifetime: Ticks) {
        // SAFETY: a live map value, of which this direction writes the client's half.
        unsafe { write_client(self.found, client) };
        *self.kept = lifetime;
    }

    #[inline(always)]
    fn server(&mut self, server: ServerHalf, lifetime: Ticks) {
        // SAFETY: a live map value, of which this direction writes the server's half.
        unsafe { write_server(self.found, server) };
        *self.kept = lifetime;
    }

    #[inline(always)]
    fn client_at(&mut self, at: Moment, lifetime: Ticks) {
        // SAFETY: as above; a word.
        unsafe { (*self.found).client.at = at };
        *self.kept = lifetime;
    }

    #[inline(always)]
    fn server_at(&mut self, at: Moment, lifetime: Ticks) {
        // SAFETY: as above; a word.
        unsafe { (*self.found).server.at = at };
        *self.kept = lifetime;
    }

    #[inline(always)]
    fn forget(&mut self) {
        *self.kept = Ticks(0);
        // It fails where another CPU was faster.
        FLOWS.remove(self.key).ok();
    }
}

/// The place of a flow that is not in the table: all that can be done is to make it.
struct Unknown<'a> {
    key: &'a FlowKey,
    kept: &'a mut Ticks,
}

impl Effects for Unknown<'_> {
    #[inline(always)]
    fn create(&mut self, flow: Flow) -> bool {
        if FLOWS.insert(self.key, flow, BPF_NOEXIST.into()).is_ok() {
            *self.kept = configuration::one_sided_lifetime();
        } else {
            // The other direction's hook, or another CPU, was faster.
            let Some(found) = FLOWS.get_ptr_mut(self.key) else {
                return false;
            };
            // SAFETY: a live map value, of which each direction writes its half.
            unsafe {
                if flow.client.finished == 0 {
                    write_server(found, flow.server);
                } else {
                    write_client(found, flow.client);
                }
            }
            *self.kept = configuration::half_closed_lifetime();
        }
        true
    }

    fn client(&mut self, _: ClientHalf, _: Ticks) {}

    fn server(&mut self, _: ServerHalf, _: Ticks) {}

    fn client_at(&mut self, _: Moment, _: Ticks) {}

    fn server_at(&mut self, _: Moment, _: Ticks) {}

    fn forget(&mut self) {}
}

/// # Safety
///
/// `flow` is a live map value.
#[inline(always)]
unsafe fn write_client(flow: *mut Flow, client: ClientHalf) {
    // SAFETY: as the caller says.
    unsafe { (*flow).client = client };
}

/// # Safety
///
/// `flow` is a live map value.
#[inline(always)]
unsafe fn write_server(flow: *mut Flow, server: ServerHalf) {
    // SAFETY: as the caller says; the server's half begins with the word that is what it told.
    unsafe {
        let told = (&raw const server).cast::<u64>().read_unaligned();
        flow.cast::<u64>().write_volatile(told);
        (*flow).server.at = server.at;
    }
}
