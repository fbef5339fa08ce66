//! What was found in a capture. This is also what `lastack analyze --output json` prints: names are
//! a contract, fields may be added.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use crate::capture::Time;

/// All of one capture.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The name that it was given with; `-` for standard input.
    pub file: String,
    /// Frames, whatever is in them.
    pub packets: u64,
    /// TCP segments that were understood and are not left out by a filter.
    pub segments: u64,
    /// When the first packet was captured, and the last.
    pub first: Option<Time>,
    /// See `first`.
    pub last: Option<Time>,
    /// TCP connections, those included of which only a part is there.
    pub connections: u64,
    /// Connections of which only one side's segments are there.
    pub one_sided_connections: u64,
    /// Connections that were seen to be Closed: the client's FIN, the server's FIN that
    /// acknowledges exactly that one, and the client's ACK of it.
    pub closed: u64,
    /// Connections in which a RST came before they were closed.
    pub connections_reset: u64,
    /// Closes in which the second FIN did not acknowledge the first: no side is in LAST-ACK alone.
    pub crossing_closes: u64,
    /// Pure ACKs after Closed that nothing had asked for, whether R1 drops them or not. In closes that
    /// only `closer either` serves, those that a reset followed: other servers absorb them.
    pub spurious_acks: u64,
    /// Pure ACKs after Closed whose cause an earlier one had answered: no defect of the client.
    pub redundant_acks: u64,
    /// Of both: those that a reset followed.
    pub resets_after_spurious_ack: u64,
    /// ACKs after Closed that the server had asked for.
    pub reacks_elicited: u64,
    /// Resets that followed only such an ACK, which had to be sent: R2 alone prevents them.
    pub resets_after_elicited_ack: u64,
    /// Other resets of servers in closes.
    pub resets_other: u64,
    /// Frames of closes that were captured more than once, less one each.
    pub copies: u64,
    /// Connections that are left out, since their frames are there with two kinds of sequence
    /// numbers: something between two points of capture rewrites them.
    pub renumbered_connections: u64,
    /// Packets that are older than the one before them.
    pub time_backwards: u64,
    /// Connections that were forgotten early, as too many were open at once.
    pub forgotten: u64,
    /// Packets that were not understood, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Clients with findings, the worst first.
    pub hosts: Vec<Host>,
    /// Clients with findings that are not counted each, as there were too many.
    pub hosts_left_out: u64,
    /// In the order of the capture, no more than were asked for.
    pub findings: Vec<Finding>,
    /// Findings beyond those; they are counted everywhere else.
    pub findings_left_out: u64,
    /// Where and why reading ended before the capture did.
    pub damage: Option<String>,
}

/// A client with findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its address.
    pub client: IpAddr,
    /// Connections with a finding.
    pub connections: u64,
    /// See [`Report::spurious_acks`].
    pub spurious_acks: u64,
    /// See [`Report::redundant_acks`].
    pub redundant_acks: u64,
    /// See [`Report::resets_after_spurious_ack`].
    pub resets: u64,
    /// Findings that R1 cures.
    pub cured_by_r1: u64,
    /// Findings whose reset only R2 keeps from the client.
    pub cured_by_r2: u64,
    /// Findings that R1 cures with `closer either` only.
    pub cured_by_either: u64,
    /// Findings whose reset nothing keeps from the client.
    pub not_cured: u64,
}

/// A pure ACK after Closed that nothing asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// From 1.
    pub number: u64,
    /// The client.
    pub client: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// The number of its frame, from 1.
    pub frame: u64,
    /// When it was captured.
    pub time: Time,
    /// What it is.
    pub kind: Kind,
    /// Since the last ACK of the server's FIN before it that the filter lets pass: what R1 compares
    /// with its window.
    pub seconds_after_ack: f64,
    /// Why R1 drops it (`spurious_ack`, `redundant_ack`), or lets it pass: `closer` where it is not
    /// told to serve such closes, else the name of a [`Reason`](filter_common::Reason).
    pub reason: &'static str,
    /// The reset that followed.
    pub reset_frame: Option<u64>,
    /// How long after it.
    pub reset_after_seconds: Option<f64>,
    /// What helps.
    pub cure: Cure,
    /// Which of the [spans](crate::Analysis::spans) has its connection.
    #[serde(skip)]
    pub span: usize,
}

/// What a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing was said since the last ACK: the fault.
    Spurious,
    /// An earlier ACK had answered its cause already: no defect.
    Redundant,
}

impl Kind {
    /// Its name in JSON and in text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spurious => "spurious",
            Self::Redundant => "redundant",
        }
    }
}

/// What would have kept the reset of a finding from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cure {
    /// R1: it drops the ACK.
    R1,
    /// R1 lets the ACK pass, R2 drops the reset.
    R2,
    /// R1, but only with `closer either`: the server closed first, or both did at once, and kept no
    /// TIME-WAIT.
    Either,
    /// R1 lets the ACK pass, and the reset is not one that R2 drops.
    None,
    /// R1 lets the ACK pass, and no reset followed.
    NotNeeded,
}
