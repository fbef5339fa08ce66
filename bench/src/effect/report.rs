//! What was stopped, as tables and as JSON.

use comfy_table::{Table, TableStyle};
use serde::Serialize;

use super::{
    guard::Guard,
    play::{Played, Tally},
    stacks::Outcome,
};
use crate::{
    document::{self, Section, table},
    machine::Machine,
};

/// All that was counted.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// Of real stacks, in each row.
    pub(super) connections: u16,
    /// Of each script.
    pub(super) scripted: u16,
    pub(super) seed: u64,
    pub(super) scripts: Vec<Scripted>,
    pub(super) stacks: Vec<Stacked>,
}

/// A script with each guard.
#[derive(Debug, Serialize)]
pub(super) struct Scripted {
    pub(super) script: &'static str,
    pub(super) played: Vec<(Guard, Played)>,
}

/// Real stacks in a situation with one guard.
#[derive(Debug, Serialize)]
pub(super) struct Stacked {
    pub(super) situation: &'static str,
    pub(super) guard: Guard,
    pub(super) outcome: Outcome,
}

impl document::Report for Report {
    const MARKS: &'static str = "effect";

    fn sentence(&self) -> String {
        format!(
            "Counted {}; {} connections of each script, {} of real stacks a line, seed {}.",
            self.machine, self.scripted, self.connections, self.seed,
        )
    }

    fn sections(&self, style: TableStyle) -> Vec<Section> {
        vec![
            Section {
                title: Some("Scripted closes"),
                note: "Segments that did not come out of the gateway, of those that went in: \
                       spurious ACKs, which should not, and needed segments, which should.",
                table: self.scripted(style),
            },
            Section {
                title: Some("Real stacks"),
                note: "A client with the fault and Linux's server. ACKs of the server's FIN that \
                       entered the gateway behind one which it had forwarded, and were stopped: \
                       spurious ones, and those that the server had asked for since; and whatever \
                       else that was no RST after the close.",
                table: self.stacked(style),
            },
        ]
    }
}

impl Report {
    fn scripted(&self, style: TableStyle) -> Table {
        let mut header = vec!["close", "stopped"];
        header.extend(Guard::TWO_UPLINKS.map(Guard::name));
        let mut table = table(style, header, 2);
        for Scripted { script, played } in &self.scripts {
            type Kind = fn(&Played) -> Tally;
            let kinds: [(&str, Kind); 2] = [
                ("spurious", |played| played.spurious),
                ("needed", |played| played.needed),
            ];
            for (kind, of) in kinds {
                if played.iter().all(|(_, played)| of(played).sent == 0) {
                    continue;
                }
                let mut row = vec![(*script).to_owned(), kind.to_owned()];
                row.extend(played.iter().map(|(_, played)| share(of(played))));
                table.add_row(row);
            }
        }
        table
    }

    fn stacked(&self, style: TableStyle) -> Table {
        let header = vec![
            "situation",
            "guard",
            "spurious stopped",
            "needed stopped",
            "others stopped",
            "clients reset",
            "read all",
            "LAST-ACK median (ms)",
            "left in LAST-ACK",
        ];
        let mut table = table(style, header, 2);
        for Stacked {
            situation,
            guard,
            outcome,
        } in &self.stacks
        {
            table.add_row([
                (*situation).to_owned(),
                guard.name().to_owned(),
                share(outcome.acks.spurious),
                share(outcome.acks.needed),
                outcome.others_kept.to_string(),
                outcome.clients_reset.to_string(),
                outcome.complete.to_string(),
                format!("{:.0}", outcome.last_ack_median_ms),
                outcome.left_in_last_ack.to_string(),
            ]);
        }
        table
    }
}

fn share(Tally { sent, stopped }: Tally) -> String {
    format!("{stopped} of {sent}")
}
