//! What is told of decisions: events, and the log.

#![expect(
    unsafe_code,
    reason = "helpers of the kernel; elements of maps are reached by pointer"
)]

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::map, maps::RingBuf};
use aya_log_ebpf::debug;
use filter_common::{
    Direction, EventRecord, Reason,
    record::{EventQuota, MOST_EVENTS},
};

use crate::{filter::Facts, maps::EVENT_QUOTA};

const SECOND: u64 = 1_000_000_000;

/// Drops and resets, for whoever reads them (kernel 5.8). The loader sets its size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 18, 0);

/// Tells of a decision what the settings ask for.
#[inline(always)]
pub(crate) fn tell(facts: &Facts, reason: Reason, direction: Direction) {
    if field!(events) != 0 && reason.is_event() {
        report(facts, reason);
    }
    if reason.is_counted() && is_logged(&facts.key.client) {
        log(facts, reason, direction);
    }
}

/// Whether decisions about this client's connections are logged.
#[inline(always)]
fn is_logged(client: &[u32; 4]) -> bool {
    match field!(log_decisions) {
        0 => false,
        1 => true,
        _ => *client == field!(log_client),
    }
}

/// Reports an event, or counts that it could not.
#[inline(never)]
fn report(facts: &Facts, reason: Reason) {
    let Some(quota) = EVENT_QUOTA.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: takes nothing and cannot fail.
    let time = unsafe { bpf_ktime_get_ns() };
    if !is_granted(quota, time / SECOND) || !submit(facts, reason, time) {
        // SAFETY: a live map value of this CPU.
        unsafe { (*quota).lost += 1 };
    }
}

#[inline(always)]
fn is_granted(quota: *mut EventQuota, second: u64) -> bool {
    // SAFETY: a live map value of this CPU. A program that interrupts another one here costs
    // one event more or less than the quota.
    unsafe {
        if (*quota).second != second {
            (*quota).second = second;
            (*quota).taken = 0;
        }
        (*quota).taken += 1;
        (*quota).taken <= MOST_EVENTS
    }
}

#[inline(always)]
fn submit(facts: &Facts, reason: Reason, time: u64) -> bool {
    let Some(mut record) = EVENTS.reserve::<EventRecord>(0) else {
        return false;
    };
    record.write(EventRecord {
        time,
        key: facts.key,
        seq: facts.segment.seq,
        ack: facts.segment.ack,
        interface: facts.interface,
        reason: reason as u8,
        reserved: [0; 7],
    });
    record.submit(0);
    true
}

/// Bare fields, from whom to whom first: the loader makes a line of them, and every word here is
/// copied by instructions of its own. Kept out of line: it needs much of the stack.
#[inline(never)]
fn log(facts: &Facts, reason: Reason, direction: Direction) {
    let Facts { key, segment, .. } = facts;
    let client = (&key.client, key.client_port());
    let server = (&key.server, key.server_port());
    let ((from, from_port), (to, to_port)) = match direction {
        Direction::FromClient => (client, server),
        Direction::FromServer => (server, client),
    };
    let address = |words: &[u32; 4]| {
        let [a, b, c, d] = words.map(|word| u128::from(u32::from_be(word)));
        (a << 96 | b << 64 | c << 32 | d).to_be_bytes()
    };
    debug!(
        &(),
        "{} {:i} {} {:i} {} {} {} {:x} {} {}",
        facts.interface,
        address(from),
        from_port,
        address(to),
        to_port,
        segment.seq.0,
        segment.ack.0,
        segment.flags.bits(),
        segment.payload,
        reason.as_str(),
    );
}
