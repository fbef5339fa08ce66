//! The lab without any filter: the fault is there, and only where it was put. Needs root.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::time::Duration;

use filter_user::lab::{
    client::{Client, Outcome, Plan},
    server::{self, Server},
    topology::Topology,
};

const PLAN: Plan = Plan {
    connections: 20,
    spurious_ack_after: Some(Duration::from_millis(200)),
    response: 32 * 1024,
    reading: Duration::from_millis(500),
    timeout: Duration::from_secs(20),
};

fn run(plan: &Plan) -> (Vec<Outcome>, u64) {
    let mut topology = Topology::new().expect("this test needs root");
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let outcomes = client.run(plan, &mut |_| ()).unwrap();
    (outcomes, server::resets_sent(&topology.server).unwrap())
}

#[test]
fn each_spurious_ack_draws_a_reset_from_the_kernel_that_costs_the_client_unread_data() {
    let (outcomes, resets_sent) = run(&PLAN);
    let over_ipv4 = outcomes
        .iter()
        .filter(|outcome| outcome.client.is_ipv4())
        .count();
    assert_eq!((over_ipv4, outcomes.len()), (10, 20));
    for outcome in outcomes {
        assert_eq!(outcome.seen.spurious_acks, 1, "{outcome:?}");
        assert_eq!(outcome.seen.repeated_acks, 0, "{outcome:?}");
        assert_eq!(outcome.seen.resets, 1, "{outcome:?}");
        assert!(outcome.read_error, "{outcome:?}");
        assert!(
            outcome.bytes_read > 0 && outcome.bytes_read < outcome.bytes_expected,
            "{outcome:?}"
        );
        assert!(outcome.intact, "{outcome:?}");
    }
    assert_eq!(resets_sent, 20);
}

#[test]
fn a_client_without_the_fault_reads_everything_and_is_never_reset() {
    let plan = Plan {
        spurious_ack_after: None,
        ..PLAN
    };
    let (outcomes, resets_sent) = run(&plan);
    for outcome in outcomes {
        assert_eq!(outcome.seen.spurious_acks, 0, "{outcome:?}");
        assert_eq!(outcome.seen.resets, 0, "{outcome:?}");
        assert!(!outcome.read_error, "{outcome:?}");
        assert_eq!(outcome.bytes_read, outcome.bytes_expected, "{outcome:?}");
        assert!(outcome.intact, "{outcome:?}");
    }
    assert_eq!(resets_sent, 0);
}

#[test]
fn data_that_was_read_before_the_spurious_ack_is_not_lost() {
    // An application that reads faster than the delayed-ACK timer fires.
    let plan = Plan {
        reading: Duration::from_millis(20),
        ..PLAN
    };
    let (outcomes, resets_sent) = run(&plan);
    for outcome in outcomes {
        assert_eq!(outcome.seen.resets, 1, "{outcome:?}");
        assert!(!outcome.read_error, "{outcome:?}");
        assert_eq!(outcome.bytes_read, outcome.bytes_expected, "{outcome:?}");
    }
    assert_eq!(resets_sent, 20);
}
