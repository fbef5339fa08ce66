//! The report for people: 80 columns, the answer first.

mod answer;
mod notes;
mod tables;
mod words;

use std::{collections::BTreeSet, io, time::Duration};

use analysis::{
    capture::{LinkType, Time},
    report::Report,
};
use indicatif::HumanCount;

pub(super) use self::words::count;
use self::{
    answer::Answer,
    words::{date, paragraph},
};
use super::{Arguments, options::STDIN, printable};
use crate::commands::table;

/// What has been asked for, as far as the text depends on it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// How many findings are listed.
    pub(super) findings: usize,
    /// R1.4.
    pub(super) window: Duration,
    /// Whether only some connections are looked at.
    pub(super) is_filtered: bool,
    /// Options on which findings depend, and values, as far as they are not the defaults.
    pub(super) options: Vec<(&'static str, String)>,
    /// Types of packets that were not understood.
    pub(super) links: BTreeSet<LinkType>,
}

impl Asked {
    /// By these options, of a capture with packets of such types that are not understood.
    pub(super) fn of(arguments: &Arguments, links: BTreeSet<LinkType>) -> Self {
        Self {
            findings: arguments.listed(),
            window: arguments.window(),
            is_filtered: arguments.is_filtered(),
            options: arguments.decisive(),
            links,
        }
    }
}

/// Writes all of it.
pub(super) fn write(output: &mut impl io::Write, report: &Report, asked: &Asked) -> io::Result<()> {
    let answer = Answer::of(report);
    let name = if report.file == STDIN {
        "standard input".to_owned()
    } else {
        printable(&report.file)
    };
    let sentences = answer.sentences(report, asked);
    writeln!(output, "{name}\n\n{}\n", paragraph(&sentences, ""))?;
    totals(output, report, asked)?;
    if report.damage.is_some() {
        writeln!(
            output,
            "The capture is damaged: this is of what could be read."
        )?;
    }
    if !report.hosts.is_empty() {
        writeln!(output, "\nClients, the worst first\n")?;
        tables::hosts(output, report)?;
        let unlisted = report.hosts.len().saturating_sub(tables::MOST_HOSTS) as u64;
        let more = unlisted + report.hosts_left_out;
        if more > 0 {
            writeln!(
                output,
                "{} more clients; --output json has them",
                HumanCount(more)
            )?;
        }
    }
    let listed = asked.findings.min(report.findings.len());
    if listed > 0 {
        writeln!(output, "\nACKs that nothing had asked for\n")?;
        tables::findings(output, report, listed, asked.window)?;
    }
    let more = (report.findings.len() - listed) as u64 + report.findings_left_out;
    if more > 0 {
        writeln!(
            output,
            "{} more findings; --findings N lists them",
            HumanCount(more)
        )?;
    }
    if !report.hosts.is_empty() {
        write!(output, "\n{LEGEND}")?;
    }
    let notes = notes::notes(report, &asked.links);
    if !notes.is_empty() {
        writeln!(output, "\nWhat else was seen\n")?;
    }
    for note in notes {
        writeln!(output, "{}", paragraph(&format!("- {note}"), "  "))?;
    }
    let steps = notes::next(answer, report, &asked.options);
    if !steps.is_empty() {
        writeln!(output, "\nWhat to do next\n")?;
    }
    for (command, does) in steps {
        writeln!(output, "  {command}\n      {does}")?;
    }
    Ok(())
}

const LEGEND: &str = "\
after    since the last ACK of the server's FIN that lastack run lets pass
reset    the frame of the server's reset, and how much later it came
R1       it helps that lastack run drops the ACK
R1+      the same, but with --closer either only
R2       it helps only that lastack run --rst-guard drops the reset
none     neither helps: both pass
";

fn totals(output: &mut impl io::Write, report: &Report, asked: &Asked) -> io::Result<()> {
    let segments = count(report.segments, "TCP segment");
    let filtered = if asked.is_filtered {
        " of what --filter wants"
    } else {
        ""
    };
    writeln!(
        output,
        "packets      {}, {segments}{filtered}",
        HumanCount(report.packets)
    )?;
    if let (Some(first), Some(last)) = (report.first, report.last) {
        writeln!(output, "captured     {}", period(first, last))?;
    }
    let their = if report.closed == 1 { "its" } else { "their" };
    let reset = match report.connections_reset {
        0 => String::new(),
        reset => format!(", {} reset before", HumanCount(reset)),
    };
    writeln!(
        output,
        "connections  {}, {} with all of {their} close{reset}",
        HumanCount(report.connections),
        HumanCount(report.closed)
    )
}

/// `2026-11-27 15:00:00.000 to 15:10:00.000 UTC, 10m 0s`.
fn period(first: Time, last: Time) -> String {
    let (from, to) = (date(first), date(last));
    let is_same_day = from.get(..10) == to.get(..10);
    let to = to.get(if is_same_day { 11.. } else { 0.. }).unwrap_or(&to);
    format!("{from} to {to} UTC, {}", table::span(last.since(first)))
}

#[cfg(test)]
mod tests;
