//! What is said on a control socket: the question is one line of JSON, and so is the answer, or
//! each part of it.
//!
//! Either side may be the newer one: unknown fields are left alone, and a question that is not
//! known is answered by saying so.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::report::{Detached, Flow, Flows, Hosts, Snapshot, Status};

/// The longest question, in octets: room for some hundred prefixes.
pub(super) const LONGEST_QUESTION: u64 = 16 << 10;
/// The longest answer, in octets: room for [`MOST`] flows.
pub(super) const LONGEST_ANSWER: u64 = 64 << 20;
/// As many flows or hosts as one answer holds.
pub const MOST: u32 = 100_000;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// Once, for an [`Answer::Status`].
    Status,
    /// Once, for an [`Answer::Flows`].
    Flows(FlowsQuery),
    /// Once, for an [`Answer::Hosts`].
    Hosts {
        /// At most so many.
        limit: u32,
    },
    /// For an [`Answer::Snapshot`] now and each interval.
    Watch {
        /// In milliseconds.
        interval: u64,
        /// At most so many hosts each time.
        hosts: u32,
    },
    /// That it takes everything off and ends; an [`Answer::Detached`] when that is done.
    Detach,
}

/// Which flows are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsQuery {
    /// Of these clients; empty: of all.
    #[serde(default)]
    pub clients: Vec<IpNet>,
    /// At most so many.
    pub limit: u32,
}

impl FlowsQuery {
    /// Whether a flow is among those that are asked for.
    #[must_use]
    pub fn includes(&self, flow: &Flow) -> bool {
        self.clients.is_empty()
            || self
                .clients
                .iter()
                .any(|prefix| prefix.contains(&flow.client))
    }
}

/// What an instance answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Status),
    /// To [`Question::Flows`].
    Flows(Flows),
    /// To [`Question::Hosts`].
    Hosts(Hosts),
    /// To [`Question::Watch`], again and again.
    Snapshot(Snapshot),
    /// To [`Question::Detach`].
    Detached(Detached),
    /// To any: why there is no other answer.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn questions_are_read_as_they_are_written() {
        let flows = FlowsQuery {
            clients: vec!["10.0.0.0/8".parse().unwrap()],
            limit: 3,
        };
        for (question, text) in [
            (Question::Status, json!({"ask": "status"})),
            (
                Question::Flows(flows),
                json!({"ask": "flows", "clients": ["10.0.0.0/8"], "limit": 3}),
            ),
            (
                Question::Hosts { limit: 9 },
                json!({"ask": "hosts", "limit": 9}),
            ),
            (
                Question::Watch {
                    interval: 1000,
                    hosts: 5,
                },
                json!({"ask": "watch", "interval": 1000, "hosts": 5}),
            ),
            (Question::Detach, json!({"ask": "detach"})),
        ] {
            assert_eq!(serde_json::to_value(&question).unwrap(), text);
            assert_eq!(serde_json::from_value::<Question>(text).unwrap(), question);
        }
    }

    #[test]
    fn what_a_newer_side_adds_is_left_alone() {
        let newer = json!({"ask": "status", "verbose": true});
        assert_eq!(
            serde_json::from_value::<Question>(newer).unwrap(),
            Question::Status
        );
        let newer = json!({"hosts": {"hosts": [], "total": 0, "since": "ever"}});
        assert_eq!(
            serde_json::from_value::<Answer>(newer).unwrap(),
            Answer::Hosts(Hosts::default())
        );
        assert!(serde_json::from_value::<Question>(json!({"ask": "dance"})).is_err());
    }
}
