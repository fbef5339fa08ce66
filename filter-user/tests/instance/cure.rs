//! The client with the fault, before and while an instance serves what it goes through.

use std::time::Duration;

use filter_user::lab::{
    client::{Client, Outcome, Plan},
    namespace::Namespace,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Instance;

/// In each run of the client: half of them over IPv4 and half over IPv6.
pub(crate) const CONNECTIONS: u16 = 16;

/// Its delayed ACKs are quicker than Windows', to save time.
const PLAN: Plan = Plan {
    connections: CONNECTIONS,
    spurious_ack_after: Some(Duration::from_millis(100)),
    response: 16_384,
    reading: Duration::from_millis(300),
    timeout: Duration::from_secs(30),
};

/// What the instance said while the client was cured.
#[derive(Debug)]
pub(crate) struct Cured {
    /// Its lines about the interfaces that it serves, in their order.
    pub(crate) attached: Vec<Value>,
    /// Its last counters of each.
    counters: Vec<Value>,
}

impl Cured {
    /// The hooks that it had attached to, by its own word.
    pub(crate) fn hooks(&self) -> Vec<String> {
        super::hooks_of(&self.attached)
    }

    /// Spurious ACKs that were dropped at an interface.
    pub(crate) fn dropped(&self, interface: &str) -> u64 {
        dropped(self.of(interface))
    }

    /// Packets that a reason was given for at an interface.
    pub(crate) fn packets(&self, interface: &str, reason: &str) -> u64 {
        self.of(interface)["packets"][reason].as_u64().unwrap()
    }

    fn of(&self, interface: &str) -> &Value {
        let mut found = self.counters.iter();
        found.find(|line| line["iface"] == interface).unwrap()
    }
}

/// Lets the client work; gives how many of its connections were reset.
pub(crate) fn resets(client: &mut Client) -> u64 {
    let outcomes = run(client);
    let resets = outcomes.iter().filter(|outcome| outcome.seen.resets > 0);
    resets.count().try_into().unwrap()
}

/// Lets the client work.
pub(crate) fn run(client: &mut Client) -> Vec<Outcome> {
    let outcomes = client.run(&PLAN, &mut |_| {}).unwrap();
    let sent = outcomes.iter().map(|outcome| outcome.seen.spurious_acks);
    assert_eq!(sent.sum::<u64>(), u64::from(CONNECTIONS), "the client");
    outcomes
}

/// The client shows the fault. Then `interfaces` of `gateway` are served as `options` say, and
/// each of its spurious ACKs is dropped, nothing else, no connection is reset, and all is read.
pub(crate) fn assert_cured(
    gateway: &Namespace,
    client: &mut Client,
    interfaces: &[&str],
    options: &[&str],
) -> Cured {
    assert_eq!(resets(client), u64::from(CONNECTIONS), "the fault");
    assert_cured_by(Instance::start(gateway, interfaces, options), client)
}

/// The same as [`assert_cured`] for an instance that has started.
pub(crate) fn assert_cured_by(instance: Instance, client: &mut Client) -> Cured {
    let attached = instance.attached.clone();
    let outcomes = run(client);
    let (status, lines) = instance.stop(Signal::SIGINT);
    assert!(status.success(), "{status}");
    let is_counters = |line: &Value| line["type"] == "counters";
    let last = lines.into_iter().rev().filter(is_counters);
    let counters: Vec<_> = last.take(attached.len()).collect();
    let cured = Cured { attached, counters };
    for outcome in &outcomes {
        let is_cured = outcome.seen.resets == 0 && !outcome.read_error;
        assert!(is_cured && outcome.intact, "{outcome:?}: {cured:?}");
        assert_eq!(outcome.bytes_read, outcome.bytes_expected);
    }
    let dropped = cured.counters.iter().map(dropped);
    assert_eq!(dropped.sum::<u64>(), u64::from(CONNECTIONS), "{cured:?}");
    cured
}

fn dropped(counters: &Value) -> u64 {
    counters["spurious_acks_dropped"].as_u64().unwrap()
}
