//! The figures of one cell: what is shown, and what the claims are checked on.

use std::{collections::BTreeMap, time::Duration};

use filter_common::Reason;
use filter_user::lab::trial::{Clients, Filter, Results, Trial};
use serde::Serialize;

/// One trial's figures.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) clients: &'static str,
    pub(super) filter: &'static str,
    pub(super) loss_percent: u8,
    pub(super) connections: u64,
    pub(super) complete: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) corrupted: u64,
    pub(super) bytes_expected: u64,
    pub(super) bytes_read: u64,
    /// By the client with the fault.
    pub(super) spurious_acks_sent: u64,
    /// That arrived at a client, and that a TCP may heed.
    pub(super) resets: u64,
    pub(super) connections_reset: u64,
    pub(super) stale_resets: u64,
    /// By the filter's own count.
    pub(super) acks_dropped: u64,
    pub(super) resets_dropped: u64,
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// By the packets on both sides of the gateway.
    pub(super) acks_kept: u64,
    pub(super) resets_kept: u64,
    pub(super) others_kept: u64,
    /// ACKs that the server had asked for since the last one that was forwarded.
    pub(super) acks_kept_though_asked: u64,
    /// Servers that stayed in LAST-ACK after an ACK was dropped, since every one that had been
    /// forwarded got lost, or came later than the one that freed it.
    pub(super) servers_waiting_longer: u64,
    /// At most, from the drop on.
    pub(super) longest_wait_ms: f64,
    pub(super) segments_sent: u64,
    pub(super) server_retransmissions: u64,
    /// From the server's first FIN to the ACK that freed its socket, ascending.
    pub(super) last_ack_mean_ms: f64,
    pub(super) last_ack_median_ms: f64,
    pub(super) last_ack_99th_percentile_ms: f64,
    pub(super) last_ack_max_ms: f64,
    /// Sockets that the server's kernel had in LAST-ACK: the longest that one was seen there.
    pub(super) kernel_last_ack_max_ms: f64,
    pub(super) left_in_last_ack: u64,
}

impl Row {
    pub(super) fn new(trial: &Trial, loss_percent: u8, results: &Results) -> Self {
        let (ledger, counters) = (&results.ledger, &results.counters);
        let mut last_acks = ledger.last_acks.clone();
        last_acks.sort();
        let sum: Duration = last_acks.iter().sum();
        let counted = |reason: &Reason| counters.of(*reason) > 0;
        Self {
            clients: match trial.clients {
                Clients::Correct => "correct",
                Clients::Faulty => "with the fault",
            },
            filter: match trial.filter {
                Filter::Off => "off",
                Filter::R1 => "R1",
                Filter::R1AndR2 => "R1+R2",
            },
            loss_percent,
            connections: trial.connections.into(),
            complete: results.complete,
            failures: results.failures.clone(),
            corrupted: results.corrupted,
            bytes_expected: results.bytes_expected,
            bytes_read: results.bytes_read,
            spurious_acks_sent: results.spurious_acks,
            resets: ledger.resets,
            connections_reset: ledger.connections_reset,
            stale_resets: ledger.stale_resets,
            acks_dropped: counters.dropped_acks(),
            resets_dropped: counters.of(Reason::ResetAfterSpuriousAckSuppressed)
                + counters.of(Reason::ResetAfterCloseSuppressed),
            counters: Reason::ALL
                .iter()
                .filter(|reason| counted(reason))
                .map(|reason| (reason.as_str(), counters.of(*reason)))
                .collect(),
            acks_kept: ledger.kept_repetitions,
            resets_kept: ledger.kept_resets,
            others_kept: ledger.kept_others.len() as u64,
            acks_kept_though_asked: ledger.kept_though_asked,
            servers_waiting_longer: ledger.waits.len() as u64,
            longest_wait_ms: milliseconds(ledger.waits.iter().max().copied()),
            segments_sent: ledger.sent,
            server_retransmissions: results.server_retransmissions,
            last_ack_mean_ms: milliseconds(
                u32::try_from(last_acks.len())
                    .ok()
                    .and_then(|count| sum.checked_div(count)),
            ),
            last_ack_median_ms: milliseconds(percentile(&last_acks, 50)),
            last_ack_99th_percentile_ms: milliseconds(percentile(&last_acks, 99)),
            last_ack_max_ms: milliseconds(last_acks.last().copied()),
            kernel_last_ack_max_ms: milliseconds(results.last_ack.residences.iter().max().copied()),
            left_in_last_ack: results.last_ack.left as u64,
        }
    }
}

/// `sorted`: ascending.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get(sorted.len() * percent / 100).copied()
}

fn milliseconds(time: Option<Duration>) -> f64 {
    time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
