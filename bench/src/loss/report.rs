//! The tables, and whether what is claimed holds.

use std::{env, io};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{
    claims::{self, Claim},
    row::Row,
};

/// Of the text, in columns.
const WIDTH: usize = 100;

/// All figures.
#[derive(Serialize)]
pub(super) struct Report {
    /// In each row.
    connections: u16,
    seed: u64,
    rows: Vec<Row>,
    /// Whether each claim holds.
    holds: bool,
    #[serde(skip)]
    claims: Vec<Claim>,
}

impl Report {
    pub(super) fn new(connections: u16, seed: u64, rows: Vec<Row>) -> Self {
        let claims = claims::check(&rows);
        Self {
            connections,
            seed,
            rows,
            holds: claims.iter().all(|claim| claim.broken.is_empty()),
            claims,
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    pub(super) fn write_json(&self, mut output: impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut output, self)?;
        writeln!(output)
    }

    pub(super) fn write_text(&self, mut output: impl io::Write) -> io::Result<()> {
        let head = format!(
            "{} connections a line, seed {}. Loss is the share of segments that get lost in each \
             direction, half of it before the gateway and half behind. On each of these two links \
             1 % is copied and 5 % is up to 20 ms late, in every line. Linux retransmits after \
             50 ms at the least and 1 s at the most; the client with the fault is smoltcp, after 1 s \
             and then twice as long each time. A reset counts if a TCP may heed it.",
            self.connections, self.seed
        );
        writeln!(output, "{}\n", textwrap::fill(&head, WIDTH))?;
        for (clients, head) in [
            (
                "correct",
                "Correct client: Linux; it half-closes, and the server closes second",
            ),
            (
                "with the fault",
                "Client with the fault: one ACK too many, 200 ms after the close",
            ),
        ] {
            writeln!(output, "{head}\n{}\n", self.table(clients))?;
        }
        for Claim { text, broken } in &self.claims {
            let verdict = if broken.is_empty() {
                "holds  "
            } else {
                "BROKEN "
            };
            let claim = textwrap::Options::new(WIDTH)
                .initial_indent(verdict)
                .subsequent_indent("       ");
            writeln!(output, "{}", textwrap::fill(text, claim))?;
            for place in broken {
                writeln!(output, "        {place}")?;
            }
        }
        for row in self.rows.iter().filter(|row| !row.failures.is_empty()) {
            writeln!(
                output,
                "failed: {} client, {} % loss, filter {}: {:?}",
                row.clients, row.loss_percent, row.filter, row.failures
            )?;
        }
        Ok(())
    }

    fn table(&self, clients: &str) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            table.force_no_tty();
        }
        table.set_header([
            "\n\nloss",
            "\n\nfilter",
            "\nread\nall",
            "\nbytes\nread",
            "spurious\nACKs\nsent",
            "\nACKs\ndropped",
            "\nRSTs\ndropped",
            "\nclients\nreset",
            "server\nre-\nsent",
            "LAST-ACK\nmedian,\n99 % (ms)",
            "servers\nwaiting\nlonger",
            "left in\nLAST-\nACK",
        ]);
        let rows: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.clients == clients)
            .collect();
        for rows in rows.chunk_by(|one, next| one.loss_percent == next.loss_percent) {
            table.add_row(cells(rows));
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// A line for each filter.
fn cells(rows: &[&Row]) -> Vec<String> {
    let lines = |show: &dyn Fn(&Row) -> String| {
        let lines: Vec<_> = rows.iter().map(|row| show(row)).collect();
        lines.join("\n")
    };
    let of_filter = |row: &Row, count: u64| match row.filter {
        "off" => "-".to_owned(),
        _ => count.to_string(),
    };
    vec![
        rows.first()
            .map_or_else(String::new, |row| format!("{} %", row.loss_percent)),
        lines(&|row| row.filter.to_owned()),
        lines(&|row| row.complete.to_string()),
        // Rounded down, so that only all of it is 100 %.
        lines(&|row| {
            let percent = (row.bytes_read * 100).checked_div(row.bytes_expected);
            format!("{} %", percent.unwrap_or(100))
        }),
        lines(&|row| row.spurious_acks_sent.to_string()),
        lines(&|row| of_filter(row, row.acks_dropped)),
        lines(&|row| of_filter(row, row.resets_dropped)),
        lines(&|row| row.connections_reset.to_string()),
        lines(&|row| row.server_retransmissions.to_string()),
        lines(&|row| {
            let (median, most) = (row.last_ack_median_ms, row.last_ack_99th_percentile_ms);
            format!("{median:.0}, {most:.0}")
        }),
        lines(&|row| of_filter(row, row.servers_waiting_longer)),
        lines(&|row| row.left_in_last_ack.to_string()),
    ]
}
