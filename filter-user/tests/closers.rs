//! Closes in which both sides send their FIN at once, with a real server. Needs root.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::time::Duration;

use filter_user::lab::{
    client::{Client, Outcome, Plan},
    impairment::Impairment,
    server::Server,
    topology::{Topology, WAN},
};
use nix::sys::signal::Signal;

use instance::{Instance, wiring::route_to_clients};

const CONNECTIONS: u16 = 16;

/// Links that are long, and no more.
const LONG: Impairment = Impairment {
    loss: 0.0,
    copies: 0.0,
    late: 0.0,
    delay: Duration::from_millis(30),
    lateness: Duration::ZERO,
    seed: 1,
};
/// Later than the request, and long before the server's FIN can be here.
const BEHIND_THE_REQUEST: Duration = Duration::from_millis(45);

fn resets(outcomes: &[Outcome]) -> usize {
    let resets = outcomes.iter().filter(|outcome| outcome.seen.resets > 0);
    resets.count()
}

/// Both ends send their FIN before they get the other's, and the server keeps no TIME-WAIT.
#[test]
fn closes_at_once_with_a_server_without_time_wait_are_cured_with_closer_either_alone() {
    let mut topology = Topology::impaired(LONG).unwrap();
    topology
        .server
        .sysctl("ipv4/tcp_max_tw_buckets", "0")
        .unwrap();
    // Which has it wait before it repeats a FIN, too.
    route_to_clients(&topology, ["via 203.0.113.1", "via 2001:db8::1"]);
    let _server = Server::start_hasty(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    client.half_close_after(BEHIND_THE_REQUEST);
    let plan = Plan {
        connections: CONNECTIONS,
        spurious_ack_after: Some(Duration::from_millis(200)),
        // Less than an initial window (RFC 6928), so that the FIN goes with it.
        response: 8_192,
        reading: Duration::from_millis(600),
        timeout: Duration::from_secs(30),
    };

    let mut run = |options: &[&str]| {
        let instance = Instance::start(&topology.gateway, &[WAN], options);
        let outcomes = client.run(&plan, &mut |_| {}).unwrap();
        let (status, lines) = instance.stop(Signal::SIGINT);
        assert!(status.success(), "{status}");
        let counters = lines.iter().rfind(|line| line["type"] == "counters");
        (outcomes, counters.unwrap().clone())
    };

    let (outcomes, counters) = run(&["--closer", "client"]);
    assert_eq!(resets(&outcomes), usize::from(CONNECTIONS), "the fault");
    assert_eq!(counters["spurious_acks_dropped"], 0);

    let (outcomes, counters) = run(&["--closer", "either"]);
    assert_eq!(resets(&outcomes), 0);
    for outcome in &outcomes {
        assert!(outcome.intact && !outcome.read_error, "{outcome:?}");
        assert_eq!(outcome.bytes_read, outcome.bytes_expected);
        assert_eq!(outcome.seen.spurious_acks, 1, "{outcome:?}");
    }
    assert_eq!(counters["spurious_acks_dropped"], CONNECTIONS);
    assert_eq!(counters["packets"]["first_ack"], CONNECTIONS);
}
