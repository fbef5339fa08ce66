//! All maps. The loader sets the sizes that depend on settings.

#![expect(
    unsafe_code,
    reason = "elements of maps are shared with other CPUs, so they are reached by pointer"
)]
#![expect(clippy::cast_possible_truncation, reason = "an entry has 8 bits")]

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, lpm_trie::Key},
};
use filter_common::{
    Fault, Flow, FlowKey, HostRecord, Tallies, Ticks,
    expiry::{self, Line, Slot},
    policy::{INTERFACE_PROBES, MOST_INTERFACES, UNSERVED},
    record::{EventQuota, MOST_HOSTS},
};

use crate::{configuration, filter::Facts, packet::Scratch};

/// The closing flows. LRU: a full table forgets the oldest instead of refusing.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(65_536, 0);

/// The expiry array in front of it.
#[map]
static EXPIRY: Array<Line> = Array::with_max_entries(1, 0);

/// The slot of a hash.
#[inline(always)]
pub(crate) fn slot(hash: u32, mask: u32) -> Option<*mut Slot> {
    let (line, slot) = expiry::place(hash, mask);
    let line = EXPIRY.get_ptr_mut(line)?;
    // SAFETY: `place` gives a slot of the line.
    Some(unsafe { line.cast::<Slot>().add(slot) })
}

/// Prefixes of clients' addresses, as in a flow's key, and whether they are in scope: 1, or 0 for
/// what is taken out of a longer one.
#[map]
static CLIENTS: LpmTrie<[u32; 4], u8> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Ports of servers that are in scope.
#[map]
static PORTS: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

/// Whether a flow may be made. Only asked then, so that no other packet pays for it, and out of line,
/// as it needs stack.
#[inline(never)]
pub(crate) fn is_in_scope(key: &FlowKey) -> bool {
    if configuration::scopes_clients() && CLIENTS.get(Key::new(128, key.client)) != Some(&1) {
        return false;
    }
    // SAFETY: the value is not looked at.
    !configuration::scopes_ports() || unsafe { PORTS.get(u32::from(key.server_port())) }.is_some()
}

/// Which interface owns an entry of `COUNTERS`: its index, or 0.
#[map]
static INTERFACES: Array<u32> = Array::with_max_entries(MOST_INTERFACES, 0);

/// What was counted, by interface; at `UNSERVED` that of interfaces without an entry.
#[map]
static COUNTERS: PerCpuArray<Tallies> = PerCpuArray::with_max_entries(MOST_INTERFACES, 0);

/// Clients with the fault. LRU, as the flows; per CPU, since several count the same client's.
#[map]
static HOSTS: LruPerCpuHashMap<[u32; 4], HostRecord> =
    LruPerCpuHashMap::with_max_entries(MOST_HOSTS, 0);

/// How much each CPU may report, and what it could not. Here also where nothing is reported, so that
/// what was lost before is still known then.
#[map]
pub(crate) static EVENT_QUOTA: PerCpuArray<EventQuota> = PerCpuArray::with_max_entries(1, 0);

/// Headers of frames whose own are not readable in place, one entry a hook.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// What is known of the packet at each hook.
#[map]
pub(crate) static FACTS: PerCpuArray<Facts> = PerCpuArray::with_max_entries(2, 0);

/// What the verifier is to forget goes through here.
#[map]
static BARRIER: PerCpuArray<usize> = PerCpuArray::with_max_entries(1, 0);

/// Gives an offset back by a way on which the verifier loses sight of it, as it does not follow
/// what is in a map; all that it then knows is a bound.
#[inline(always)]
pub(crate) fn forgotten(offset: usize) -> usize {
    let Some(entry) = BARRIER.get_ptr_mut(0) else {
        return OFFSETS;
    };
    // SAFETY: a live map value of this CPU.
    unsafe {
        entry.write_volatile(offset.min(OFFSETS));
        entry.read_volatile() & OFFSETS
    }
}

/// Larger than any offset of a header, and all ones.
const OFFSETS: usize = 0x3ff;

/// Counts one of these at an entry.
#[inline(always)]
pub(crate) fn count(entry: u32, what: usize) {
    if let Some(tallies) = COUNTERS.get_ptr_mut(entry) {
        // SAFETY: a live map value of this CPU. A program that interrupts another one
        // between its read and its write costs a count, and no more.
        unsafe {
            if let Some(tally) = (*tallies).get_mut(what) {
                *tally += 1;
            }
        }
    }
}

/// Counts what a client has done.
///
/// Out of line: few packets come here.
#[inline(never)]
pub(crate) fn blame(client: &[u32; 4], fault: Fault, now: Ticks) {
    if let Some(host) = HOSTS.get_ptr_mut(client) {
        return add(host, fault, now);
    }
    let once = |of| u64::from(fault == of);
    let host = HostRecord {
        spurious_acks: once(Fault::SpuriousAck),
        redundant_acks: once(Fault::RedundantAck),
        resets: once(Fault::Reset),
        last: now,
    };
    if HOSTS.insert(client, host, BPF_NOEXIST.into()).is_err()
        // Another CPU was faster.
        && let Some(host) = HOSTS.get_ptr_mut(client)
    {
        add(host, fault, now);
    }
}

#[inline(always)]
fn add(host: *mut HostRecord, fault: Fault, now: Ticks) {
    // SAFETY: a live map value of this CPU.
    let host = unsafe { &mut *host };
    match fault {
        Fault::SpuriousAck => host.spurious_acks += 1,
        Fault::RedundantAck => host.redundant_acks += 1,
        Fault::Reset => host.resets += 1,
    }
    host.last = now;
}

/// Which of the served interfaces has this entry.
#[inline(always)]
pub(crate) fn link(entry: u32) -> u8 {
    entry as u8
}

/// The entry of an interface.
#[inline(always)]
pub(crate) fn entry(interface: u32) -> u32 {
    for probe in 0..INTERFACE_PROBES {
        let entry = (interface + probe) % MOST_INTERFACES;
        if INTERFACES.get(entry) == Some(&interface) {
            return entry;
        }
    }
    UNSERVED
}
