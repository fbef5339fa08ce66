//! Which version the layout is of that outlives a process: what is pinned.

/// The version of everything that programs of one build write and those of another may read:
/// [`FlowKey`](crate::FlowKey) and [`Flow`](crate::Flow); the slots of [`expiry`](crate::expiry), how a
/// time and a tag are put into them, and the hash that chooses them; the order of
/// [`Reason`](crate::Reason) in [`Tallies`](crate::Tallies); [`HostRecord`](crate::HostRecord) and
/// [`EventQuota`](crate::record::EventQuota).
///
/// Whoever changes any of it raises this; the test below has a fingerprint of what it can see.
pub const LAYOUT: u32 = 1;

#[cfg(test)]
mod tests {
    use std::{
        fmt::Write as _,
        mem::{offset_of, size_of},
    };

    use super::*;
    use crate::{
        ClientHalf, Flow, FlowKey, HostRecord, Moment, Reason, SETTLED, SeqNum, ServerHalf,
        Tallies, Ticks,
        expiry::{self, SLOTS_PER_LINE, TupleHash},
        policy::{INTERFACE_PROBES, MOST_INTERFACES, UNSERVED},
        record::EventQuota,
    };

    /// Octets of a flow, each field with another pattern, and what is computed from a hash.
    fn described() -> String {
        let mut text = String::new();
        let mut line = |args: std::fmt::Arguments<'_>| {
            text.write_fmt(args).unwrap();
            text.push('\n');
        };
        line(format_args!(
            "key {} client {} server {} ports {}",
            size_of::<FlowKey>(),
            offset_of!(FlowKey, client),
            offset_of!(FlowKey, server),
            offset_of!(FlowKey, ports),
        ));
        line(format_args!(
            "flow {} server {} client {}",
            size_of::<Flow>(),
            offset_of!(Flow, server),
            offset_of!(Flow, client),
        ));
        line(format_args!(
            "server half {} fin_end {} elicited {} crossed {} at {}",
            size_of::<ServerHalf>(),
            offset_of!(ServerHalf, fin_end),
            offset_of!(ServerHalf, elicited),
            offset_of!(ServerHalf, crossed),
            offset_of!(ServerHalf, at),
        ));
        line(format_args!(
            "client half {} fin_end {} acked {} answered {} finished {} drops {} owed {} \
             provoked {} link {} at {}",
            size_of::<ClientHalf>(),
            offset_of!(ClientHalf, fin_end),
            offset_of!(ClientHalf, acked),
            offset_of!(ClientHalf, answered),
            offset_of!(ClientHalf, finished),
            offset_of!(ClientHalf, drops),
            offset_of!(ClientHalf, owed),
            offset_of!(ClientHalf, provoked),
            offset_of!(ClientHalf, link),
            offset_of!(ClientHalf, at),
        ));
        line(format_args!(
            "sequence {} moment {} of 0 {:?} of 2^32+7 {:?}",
            size_of::<SeqNum>(),
            size_of::<Moment>(),
            Moment::of(Ticks(0)),
            Moment::of(Ticks((1 << 32) + 7)),
        ));
        line(format_args!(
            "host {} spurious {} redundant {} resets {} last {}",
            size_of::<HostRecord>(),
            offset_of!(HostRecord, spurious_acks),
            offset_of!(HostRecord, redundant_acks),
            offset_of!(HostRecord, resets),
            offset_of!(HostRecord, last),
        ));
        line(format_args!(
            "quota {} second {} taken {} lost {}",
            size_of::<EventQuota>(),
            offset_of!(EventQuota, second),
            offset_of!(EventQuota, taken),
            offset_of!(EventQuota, lost),
        ));
        let hash = TupleHash::new(7).words(1, 2).words(3, 4).finish();
        line(format_args!(
            "hash {hash:#010x} place {:?} deadline {:#010x} slots {SLOTS_PER_LINE}",
            expiry::place(hash, 0xffff),
            expiry::deadline(hash, Ticks(1 << 20), Ticks(1 << 10)),
        ));
        line(format_args!(
            "interfaces {MOST_INTERFACES} unserved {UNSERVED} probes {INTERFACE_PROBES}"
        ));
        line(format_args!(
            "tallies {} settled {SETTLED}",
            size_of::<Tallies>()
        ));
        for reason in Reason::ALL {
            line(format_args!("{} {}", reason as u8, reason.as_str()));
        }
        text
    }

    /// FNV-1a.
    fn fingerprint(text: &str) -> u64 {
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    #[test]
    fn whoever_changes_what_is_pinned_raises_its_version() {
        let text = described();
        assert_eq!(
            (LAYOUT, format!("{:#018x}", fingerprint(&text))),
            (1, "0x0".to_owned()),
            "what is pinned has changed: raise LAYOUT, so that no program of an earlier build takes \
             it for its own, and then put the new fingerprint here:\n{text}"
        );
    }
}
