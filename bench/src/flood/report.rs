//! The figures of floods.

use std::collections::BTreeMap;

use comfy_table::{Table, TableStyle};
use filter_common::Reason;
use filter_user::lab::flood::{
    claims,
    trial::{Demo, Results},
};
use serde::Serialize;

use crate::{
    document::{self, Section, table},
    machine::Machine,
};

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) packets: u64,
    pub(super) rows: Vec<Row>,
}

/// One flood.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    flood: &'static str,
    frames: u64,
    seconds: f64,
    /// Packets that the programs saw a second, arriving and leaving, all traffic together.
    seen_per_second: [f64; 2],
    /// Nanoseconds that each of them took, the kernel's clock included.
    nanoseconds: [f64; 2],
    ordinary_nanoseconds_before: [f64; 2],
    ordinary_nanoseconds_after: [f64; 2],
    before: Connections,
    meanwhile: Connections,
    after: Connections,
    transfers: u64,
    broken_transfers: u64,
    flows: u64,
    capacity: u64,
    map_errors: u64,
    acks_dropped: u64,
    strangers_repeated_acks: u64,
    map_bytes: [u64; 3],
    process_bytes: [u64; 3],
    packets: BTreeMap<String, u64>,
    broken_claims: Vec<String>,
}

/// Connections of the client with the fault.
#[derive(Debug, Serialize)]
struct Connections {
    made: u64,
    cured: u64,
    reset: u64,
}

impl From<Demo> for Connections {
    fn from(demo: Demo) -> Self {
        Self {
            made: demo.connections,
            cured: demo.cured,
            reset: demo.reset,
        }
    }
}

impl Row {
    pub(super) fn new(flood: &'static str, results: &Results) -> Self {
        let seconds = results.sent.took.as_secs_f64();
        let [before, meanwhile, after] = results.demo.map(Connections::from);
        Self {
            flood,
            frames: results.sent.frames,
            seconds,
            seen_per_second: results.seen.map(|packets| per_second(packets, seconds)),
            nanoseconds: results.cost,
            ordinary_nanoseconds_before: results.ordinary[0],
            ordinary_nanoseconds_after: results.ordinary[1],
            before,
            meanwhile,
            after,
            transfers: results.transfers,
            broken_transfers: results.broken_transfers.len() as u64,
            flows: results.flows,
            capacity: results.capacity,
            map_errors: results.counters.of(Reason::FlowNotStored),
            acks_dropped: results.counters.dropped_acks(),
            strangers_repeated_acks: results.sent.repeated_acks,
            map_bytes: results.memory.map(|memory| memory.maps),
            process_bytes: results.memory.map(|memory| memory.process),
            packets: results.counters.by_name(),
            broken_claims: claims::broken(results),
        }
    }

    /// Claims that do not hold.
    pub(super) fn broken(&self) -> impl Iterator<Item = String> {
        let claims = self.broken_claims.iter();
        claims.map(|claim| format!("{}: {claim}", self.flood))
    }
}

impl document::Report for Report {
    const MARKS: &'static str = "floods";

    fn sentence(&self) -> String {
        format!(
            "Measured {}; {} frames a flood, or as many as it takes for one run of the client.",
            self.machine, self.packets
        )
    }

    fn sections(&self, style: TableStyle) -> Vec<Section> {
        vec![
            Section {
                title: Some("Connections"),
                note: "Thousands of packets a second that the programs saw, arriving and leaving; \
                       connections of the client with the fault meanwhile, those that were cured, \
                       and the share that was cured afterwards; ordinary transfers meanwhile, and \
                       those that failed.",
                table: self.connections(style),
            },
            Section {
                title: Some("Cost"),
                note: "The most flows at once, and room; times that the table refused one; \
                       megabytes of the maps and of the process, before, at the most and after; \
                       nanoseconds a packet at the ingress and the egress hook, the kernel's \
                       clock included: of the flood, and of ordinary packets of as many flows \
                       before and three seconds after it.",
                table: self.costs(style),
            },
        ]
    }
}

impl Report {
    fn connections(&self, style: TableStyle) -> Table {
        let header = vec![
            "flood",
            "seconds",
            "in",
            "out",
            "made",
            "cured",
            "",
            "after",
            "transfers",
            "failed",
        ];
        let mut table = table(style, header, 1);
        for row in &self.rows {
            let [arriving, leaving] = row.seen_per_second;
            table.add_row([
                row.flood.to_owned(),
                format!("{:.0}", row.seconds),
                format!("{:.0}", arriving / 1e3),
                format!("{:.0}", leaving / 1e3),
                row.meanwhile.made.to_string(),
                row.meanwhile.cured.to_string(),
                row.meanwhile.share(),
                row.after.share(),
                row.transfers.to_string(),
                row.broken_transfers.to_string(),
            ]);
        }
        table
    }

    fn costs(&self, style: TableStyle) -> Table {
        let header = vec![
            "flood",
            "flows",
            "room",
            "refused",
            "maps",
            "process",
            "flood's ns",
            "ordinary ns",
            "afterwards",
        ];
        let mut table = table(style, header, 1);
        let megabytes =
            |bytes: [u64; 3]| bytes.map(|bytes| format!("{:.1}", mega(bytes))).join(" ");
        let pair = |[arriving, leaving]: [f64; 2]| format!("{arriving:.0} {leaving:.0}");
        for row in &self.rows {
            table.add_row([
                row.flood.to_owned(),
                row.flows.to_string(),
                row.capacity.to_string(),
                row.map_errors.to_string(),
                megabytes(row.map_bytes),
                megabytes(row.process_bytes),
                pair(row.nanoseconds),
                pair(row.ordinary_nanoseconds_before),
                pair(row.ordinary_nanoseconds_after),
            ]);
        }
        table
    }
}

impl Connections {
    /// Of those that were cured.
    fn share(&self) -> String {
        match self.made {
            0 => "-".to_owned(),
            // Rounded down, so that only all of them are 100 %.
            made => {
                let tenths = self.cured * 1000 / made;
                format!("{}.{} %", tenths / 10, tenths % 10)
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_second(packets: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        packets as f64 / seconds
    } else {
        0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
