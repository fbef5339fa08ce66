//! Clients and findings, a row each; what does not fit into a row has lines of its own.

use std::{io, time::Duration};

use analysis::{
    capture::Time,
    report::{Cure, Finding, Report},
};

use super::{
    notes,
    words::{WIDTH, date, paragraph},
};
use crate::commands::table::{delay, table};

/// A longer address is on a line of its own, before its row.
const LONGEST_ADDRESS: usize = 15;

/// Clients that are listed.
pub(super) const MOST_HOSTS: usize = 20;

/// The clients, the worst first.
pub(super) fn hosts(output: &mut impl io::Write, report: &Report) -> io::Result<()> {
    let head = [
        "client",
        "connections",
        "spurious",
        "redundant",
        "resets",
        "R1",
        "R1+",
        "R2",
        "none",
    ];
    let mut table = table(head, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut before = Vec::new();
    for host in report.hosts.iter().take(MOST_HOSTS) {
        let address = host.client.to_string();
        let (own_line, cell) = if address.len() > LONGEST_ADDRESS {
            (Some(address), String::new())
        } else {
            (None, address)
        };
        before.push(own_line);
        table.add_row([
            cell,
            host.connections.to_string(),
            host.spurious_acks.to_string(),
            host.redundant_acks.to_string(),
            host.resets.to_string(),
            host.cured_by_r1.to_string(),
            host.cured_by_either.to_string(),
            host.cured_by_r2.to_string(),
            host.not_cured.to_string(),
        ]);
    }
    let rows = table.trim_fmt();
    let mut rows = rows.lines();
    writeln!(output, "{}", rows.next().unwrap_or_default())?;
    for (row, own_line) in rows.zip(before) {
        if let Some(address) = own_line {
            writeln!(output, "{address}")?;
        }
        writeln!(output, "{row}")?;
    }
    Ok(())
}

/// The first findings, each with its connection below.
pub(super) fn findings(
    output: &mut impl io::Write,
    report: &Report,
    listed: usize,
    window: Duration,
) -> io::Result<()> {
    let head = [
        "#", "frame", "time", "kind", "after", "reset", "later", "cured by",
    ];
    let days = [report.first, report.last].map(|time| time.map(day));
    let one_day = days[0] == days[1];
    let mut table = table(head, &[0, 1, 4, 5, 6]);
    let findings = report.findings.get(..listed).unwrap_or(&report.findings);
    for finding in findings {
        table.add_row(row(finding, one_day));
    }
    let rows = table.trim_fmt();
    let mut rows = rows.lines();
    writeln!(output, "{}", rows.next().unwrap_or_default())?;
    let indent = " ".repeat(number_width(findings) + 2);
    for (row, finding) in rows.zip(findings) {
        writeln!(output, "{row}\n{}", below(finding, window, &indent))?;
    }
    Ok(())
}

fn number_width(findings: &[Finding]) -> usize {
    let last = findings.last().map_or(0, |finding| finding.number);
    last.to_string().len()
}

fn row(finding: &Finding, one_day: bool) -> [String; 8] {
    let date = date(finding.time);
    // Without the year, or without the day.
    let time = date.get(if one_day { 11.. } else { 5.. });
    let none = || "-".to_owned();
    [
        finding.number.to_string(),
        finding.frame.to_string(),
        time.unwrap_or(&date).to_owned(),
        finding.kind.as_str().to_owned(),
        delay(finding.seconds_after_ack),
        finding
            .reset_frame
            .map_or_else(none, |frame| frame.to_string()),
        finding.reset_after_seconds.map_or_else(none, delay),
        match finding.cure {
            Cure::R1 => "R1",
            Cure::Either => "R1+",
            Cure::R2 => "R2",
            Cure::None => "none",
            Cure::NotNeeded => "-",
        }
        .to_owned(),
    ]
}

/// Its connection, and why R1 lets it pass if it does. What does not fit goes on further lines.
fn below(finding: &Finding, window: Duration, indent: &str) -> String {
    let connection = format!("{indent}{} > {}", finding.client, finding.server);
    let Some(why) = notes::passed(finding, window) else {
        return paragraph(&connection, indent);
    };
    let line = format!("{connection}; {why}");
    if line.len() <= WIDTH {
        return line;
    }
    let why = paragraph(&format!("{indent}{why}"), indent);
    format!("{}\n{why}", paragraph(&connection, indent))
}

/// Days since 1970.
const fn day(time: Time) -> u64 {
    const NANOSECONDS: u64 = 86_400_000_000_000;
    time.0 / NANOSECONDS
}
