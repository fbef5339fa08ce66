//! Real stacks between links that lose, copy and reorder, through the filter. Needs root.
//!
//! `cargo xtask loss` is the same at large, with the figures.

use filter_common::Reason;
use filter_user::lab::trial::{Clients, Filter, Results, Trial};

/// Loses, copies and reorders enough for every rule to be needed.
const TRIAL: Trial = Trial {
    clients: Clients::Correct,
    filter: Filter::R1,
    loss: 0.1,
    connections: 300,
    seed: 3,
};

fn run(trial: Trial) -> Results {
    trial.run().expect("this test needs root")
}

/// The gateway kept what the rules name, as the packets on both sides of it say, and the
/// filter knows of each.
#[track_caller]
fn assert_only_what_the_rules_name_is_dropped(results: &Results) {
    let (ledger, counters) = (&results.ledger, &results.counters);
    assert!(ledger.kept_others.is_empty(), "{:?}", ledger.kept_others);
    assert_eq!(ledger.kept_though_asked, 0);
    assert_eq!(ledger.kept_repetitions, counters.dropped_acks());
    let suppressed = [
        Reason::ResetAfterSpuriousAckSuppressed,
        Reason::ResetAfterCloseSuppressed,
    ];
    let suppressed: u64 = suppressed.map(|reason| counters.of(reason)).iter().sum();
    assert_eq!(ledger.kept_resets, suppressed);
}

#[test]
fn correct_clients_read_everything_and_no_socket_is_left_in_last_ack() {
    for filter in [Filter::Off, Filter::R1] {
        let results = run(Trial { filter, ..TRIAL });
        assert_eq!(results.failures.len(), 0, "{:?}", results.failures);
        assert_eq!(results.complete, 300);
        assert_eq!(results.last_ack.left, 0);
        assert_eq!(results.ledger.last_acks.len(), 300, "each ended by an ACK");
        assert_only_what_the_rules_name_is_dropped(&results);
        assert!(results.server_retransmissions > 0, "nothing was lost");
        // Without which this would show nothing.
        assert_eq!(results.counters.dropped_acks() > 0, filter == Filter::R1);
    }
}

#[test]
fn no_reset_reaches_a_client_with_the_fault_through_r1_and_the_guard() {
    let faulty = Trial {
        clients: Clients::Faulty,
        connections: 150,
        ..TRIAL
    };
    let without = run(Trial {
        filter: Filter::Off,
        ..faulty
    });
    assert!(without.ledger.connections_reset > 75, "the fault is there");
    let results = run(Trial {
        filter: Filter::R1AndR2,
        ..faulty
    });
    assert!(results.spurious_acks > 0);
    assert_eq!(results.ledger.resets, 0);
    assert_eq!(results.failures.len(), 0, "{:?}", results.failures);
    assert_eq!(results.bytes_read, results.bytes_expected);
    assert_only_what_the_rules_name_is_dropped(&results);
}
