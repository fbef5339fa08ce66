//! What is claimed of every flood.

use filter_common::Reason;

use super::trial::Results;

/// Bytes by which a process may seem to have grown: what it reads of its tables passes through it.
const SLACK: u64 = 8 << 20;

/// What of it does not hold; empty: all does.
#[must_use]
pub fn broken(results: &Results) -> Vec<String> {
    let mut broken = Vec::new();
    let mut claim = |holds: bool, otherwise: String| {
        if !holds {
            broken.push(otherwise);
        }
    };
    let counted = |reason| results.counters.of(reason);

    let refused = counted(Reason::FlowNotStored);
    claim(refused == 0, format!("the table refused {refused} flows"));
    let (flows, capacity) = (results.flows, results.capacity);
    claim(
        flows <= capacity,
        format!("{flows} flows in a table for {capacity}"),
    );

    let [before, most, after] = results.memory;
    claim(
        before.maps == most.maps && before.maps == after.maps,
        format!(
            "the maps grew: {} bytes, then {}, then {}",
            before.maps, most.maps, after.maps
        ),
    );
    claim(
        after.process <= before.process + SLACK,
        format!(
            "the process grew from {} bytes to {}",
            before.process, after.process
        ),
    );

    claim(results.transfers > 0, "no ordinary transfer".to_owned());
    for transfer in &results.broken_transfers {
        claim(false, transfer.clone());
    }
    let corrupted: u64 = results.demo.iter().map(|demo| demo.corrupted).sum();
    claim(
        corrupted == 0,
        format!("{corrupted} responses came with other bytes"),
    );
    for (when, demo) in [("before", results.demo[0]), ("after", results.demo[2])] {
        claim(
            demo.connections > 0 && demo.cured == demo.connections,
            format!(
                "{when} the flood {} of {} connections were cured",
                demo.cured, demo.connections
            ),
        );
    }

    // A connection is only cured if its spurious ACK is dropped. What else is dropped are strangers', and
    // further answers to what a server has repeated.
    let dropped = results.counters.dropped_acks();
    let cured: u64 = results.demo.iter().map(|demo| demo.cured).sum();
    let repeated = counted(Reason::ServerElicits);
    let most = results.spurious_acks() + results.sent.repeated_acks + repeated;
    claim(
        (cured..=most).contains(&dropped),
        format!(
            "{dropped} ACKs were dropped, {cured} connections cured, and there were only {most} \
             spurious ACKs or repetitions of a server's"
        ),
    );
    let suppressed = counted(Reason::ResetAfterSpuriousAckSuppressed)
        + counted(Reason::ResetAfterCloseSuppressed);
    claim(suppressed == 0, format!("{suppressed} resets were dropped"));
    broken
}

#[cfg(test)]
mod tests {
    use super::{super::trial::Demo, *};
    use crate::counters::Counters;

    fn sound() -> Results {
        let demo = Demo {
            connections: 40,
            cured: 40,
            spurious_acks: 40,
            ..Demo::default()
        };
        Results {
            demo: [demo; 3],
            transfers: 1,
            counters: counters(&[("spurious_ack_dropped", 120)]),
            ..Results::default()
        }
    }

    fn counters(counts: &[(&str, u64)]) -> Counters {
        let counts = counts.iter().map(|&(name, count)| (name.to_owned(), count));
        Counters::from_names(&counts.collect(), 0)
    }

    type Break<'a> = &'a dyn Fn(&mut Results);

    #[test]
    fn every_claim_can_break() {
        assert_eq!(broken(&sound()), [""; 0]);
        let breaks: [(&str, Break<'_>); 11] = [
            ("refused 1", &|results| {
                results.counters =
                    counters(&[("flow_not_stored", 1), ("spurious_ack_dropped", 120)]);
            }),
            ("in a table", &|results| results.flows = 1),
            ("the maps grew", &|results| results.memory[2].maps = 1),
            ("the process grew", &|results| {
                results.memory[2].process = SLACK + 1;
            }),
            ("no ordinary transfer", &|results| results.transfers = 0),
            ("reset by peer", &|results| {
                results.broken_transfers.push("reset by peer".to_owned());
            }),
            ("other bytes", &|results| results.demo[1].corrupted = 1),
            ("after the flood", &|results| results.demo[2].cured = 39),
            ("121 ACKs were dropped", &|results| {
                results.counters = counters(&[("spurious_ack_dropped", 121)]);
            }),
            ("119 ACKs were dropped", &|results| {
                results.counters = counters(&[("redundant_ack_dropped", 119)]);
            }),
            ("resets were dropped", &|results| {
                results.counters = counters(&[
                    ("spurious_ack_dropped", 120),
                    ("reset_after_close_suppressed", 1),
                ]);
            }),
        ];
        for (expected, break_it) in breaks {
            let mut results = sound();
            break_it(&mut results);
            let broken = broken(&results);
            assert!(
                matches!(&broken[..], [one] if one.contains(expected)),
                "{expected}: {broken:?}"
            );
        }
    }
}
