//! An instance in one line, as `systemctl status` shows it.

use std::fmt;

use crate::datapath::{InterfaceCounters, Presence};

/// What is served, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) served: String,
    dropped: u64,
    observed: u64,
}

impl Summary {
    pub(super) fn new(presences: &[Presence], counters: &[InterfaceCounters]) -> Self {
        let name = |presence: &Presence| presence.interface.clone();
        let (served, missing): (Vec<_>, Vec<_>) =
            presences.iter().partition(|presence| presence.served);
        let served: Vec<_> = served.into_iter().map(name).collect();
        let mut parts = Vec::new();
        if !served.is_empty() {
            parts.push(format!("{} served", served.join(", ")));
        }
        parts.extend(missing.into_iter().map(|presence| {
            let trouble = presence.trouble.as_deref().unwrap_or("not there");
            format!("{} not served: {trouble}", presence.interface)
        }));
        let sum = |of: fn(&InterfaceCounters) -> u64| counters.iter().map(of).sum();
        Self {
            // A line's end would end the message.
            served: parts.join("; ").replace('\n', " "),
            dropped: sum(|interface| interface.counters.dropped_acks()),
            observed: sum(|interface| interface.counters.observed_acks()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acks = |count| if count == 1 { "ACK" } else { "ACKs" };
        let Self {
            served,
            dropped,
            observed,
        } = self;
        write!(f, "{served}; {dropped} spurious {} dropped", acks(*dropped))?;
        if *observed > 0 {
            write!(f, ", {observed} observed")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    fn presence(interface: &str, served: bool, trouble: Option<&str>) -> Presence {
        Presence {
            interface: interface.to_owned(),
            served,
            losses: 0,
            trouble: trouble.map(str::to_owned),
        }
    }

    #[test]
    fn it_names_what_is_served_and_what_is_not_in_one_line() {
        let counters = [InterfaceCounters {
            interface: "wan0".to_owned(),
            counters: Counters::default(),
        }];
        let both = [presence("wan0", true, None), presence("wan1", true, None)];
        assert_eq!(
            Summary::new(&both, &counters).to_string(),
            "wan0, wan1 served; 0 spurious ACKs dropped"
        );
        let less = [
            presence("wan0", true, None),
            presence("wan1", false, None),
            presence("wan2", false, Some("refused\nby its driver")),
        ];
        assert_eq!(
            Summary::new(&less, &counters).to_string(),
            "wan0 served; wan1 not served: not there; wan2 not served: refused by its driver; \
             0 spurious ACKs dropped"
        );
    }

    #[test]
    fn one_ack_is_an_ack_and_observed_ones_are_told_apart() {
        let summary = |dropped, observed| {
            let served = "wan0 served".to_owned();
            let summary = Summary {
                served,
                dropped,
                observed,
            };
            summary.to_string()
        };
        assert_eq!(summary(1, 0), "wan0 served; 1 spurious ACK dropped");
        assert_eq!(
            summary(0, 7),
            "wan0 served; 0 spurious ACKs dropped, 7 observed"
        );
    }
}
