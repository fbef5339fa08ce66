//! Real stacks: the demo's client with the fault against the kernel's server, between links that
//! lose nothing, and between links that do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use filter_user::lab::{
    impairment::Impairment,
    topology::WAN,
    trial::{Clients, Filter, Results, Trial},
};
use serde::Serialize;

use super::guard::Guard;
use crate::effect::play::{Played, Tally};

/// A situation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) name: &'static str,
    links: Impairment,
}

/// What the connections came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) connections: u64,
    /// ACKs of the server's FIN that entered the gateway behind one which it had forwarded: those
    /// that the server had asked for since are needed. So is everything else, of which only what
    /// the gateway kept is counted.
    pub(super) acks: Played,
    /// What it kept beside ACKs of the server's FIN that repeat one, and RSTs behind the close.
    pub(super) others_kept: u64,
    /// Clients that a RST reached which a TCP may heed.
    pub(super) clients_reset: u64,
    /// Clients that have read everything.
    pub(super) complete: u64,
    /// Milliseconds from the server's first FIN to the ACK that freed its socket.
    pub(super) last_ack_median_ms: f64,
    /// Sockets of the server that were left there.
    pub(super) left_in_last_ack: u64,
}

/// All of them.
pub(super) fn situations(seed: u64) -> [Situation; 2] {
    let five_percent = Impairment::one_of_two(0.05, seed);
    [
        Situation {
            name: "no loss",
            links: Impairment {
                loss: 0.0,
                copies: 0.0,
                late: 0.0,
                lateness: Duration::ZERO,
                ..five_percent
            },
        },
        Situation {
            name: "5 % loss each way",
            links: five_percent,
        },
    ]
}

impl Situation {
    /// So many connections of the client with the fault.
    pub(super) fn run(&self, guard: Guard, connections: u16, seed: u64) -> Result<Outcome> {
        let trial = Trial {
            clients: Clients::Faulty,
            filter: Filter::Off,
            loss: self.links.loss,
            connections,
            seed,
        };
        let mut posted = None;
        let results = trial
            .run_between(self.links, |gateway| {
                posted = guard.post(gateway, &[WAN])?;
                Ok(())
            })
            .with_context(|| format!("{}, {}", self.name, guard.name()))?;
        drop(posted);
        Ok(Outcome::new(connections, &results))
    }
}

impl Outcome {
    fn new(connections: u16, results: &Results) -> Self {
        let ledger = &results.ledger;
        let mut last_acks = ledger.last_acks.clone();
        last_acks.sort();
        let median = last_acks.get(last_acks.len() / 2);
        Self {
            connections: connections.into(),
            acks: Played {
                needed: Tally {
                    sent: ledger.repetitions_asked,
                    stopped: ledger.kept_though_asked,
                },
                spurious: Tally {
                    sent: ledger.repetitions - ledger.repetitions_asked,
                    stopped: ledger.kept_repetitions - ledger.kept_though_asked,
                },
            },
            others_kept: ledger.kept_others.len() as u64,
            clients_reset: ledger.connections_reset,
            complete: results.complete,
            last_ack_median_ms: median.map_or(0.0, |time| time.as_secs_f64() * 1e3),
            left_in_last_ack: results.last_ack.left as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use filter_user::lab::ledger::Ledger;

    use super::*;

    #[test]
    fn asked_for_is_needed_and_the_rest_is_spurious() {
        let results = Results {
            ledger: Ledger {
                repetitions: 30,
                repetitions_asked: 10,
                kept_repetitions: 21,
                kept_though_asked: 3,
                ..Ledger::default()
            },
            ..Results::default()
        };
        let acks = Outcome::new(1, &results).acks;
        assert_eq!((acks.needed.sent, acks.needed.stopped), (10, 3));
        assert_eq!((acks.spurious.sent, acks.spurious.stopped), (20, 18));
    }
}
