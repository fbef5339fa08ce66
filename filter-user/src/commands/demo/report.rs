//! The demo's figures, and what can be read off them.

use std::{env, fmt, io, ops::Add};

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};
use filter_common::Reason;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::{counters::Counters, lab::client::Outcome};

/// Of the text, in columns.
const WIDTH: usize = 80;

/// What the filter does in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PhaseMode {
    /// It is not there.
    Off,
    /// It counts.
    Monitor,
    /// It drops.
    Enforce,
}

/// All phases.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// In each phase.
    pub(super) connections: u64,
    pub(super) rst_guard: bool,
    pub(super) phases: Vec<Phase>,
}

/// The figures of one phase.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) mode: PhaseMode,
    #[serde(flatten)]
    all: Figures,
    /// By the kernel's count; redundant ones included.
    spurious_acks_dropped: u64,
    spurious_acks_observed: u64,
    /// By the count of the server's kernel, whether they arrived or not.
    pub(super) server_resets_sent: u64,
    /// R2.
    server_resets_suppressed: u64,
    ipv4: Figures,
    ipv6: Figures,
}

/// What the client counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Figures {
    connections: u64,
    spurious_acks_sent: u64,
    /// ACKs of the FIN that the client's TCP repeated by itself: none, unless a segment was
    /// lost or a FIN came twice.
    repeated_acks_sent: u64,
    /// That arrived at the client.
    server_resets: u64,
    client_read_errors: u64,
    bytes_expected: u64,
    bytes_read: u64,
    /// Connections whose bytes are not those that the server sent.
    corrupted: u64,
}

impl PhaseMode {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Monitor => "monitor",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for PhaseMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&Outcome> for Figures {
    fn from(outcome: &Outcome) -> Self {
        Self {
            connections: 1,
            spurious_acks_sent: outcome.seen.spurious_acks,
            repeated_acks_sent: outcome.seen.repeated_acks,
            server_resets: outcome.seen.resets,
            client_read_errors: outcome.read_error.into(),
            bytes_expected: outcome.bytes_expected,
            bytes_read: outcome.bytes_read,
            corrupted: (!outcome.intact).into(),
        }
    }
}

impl Add for Figures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            spurious_acks_sent: self.spurious_acks_sent + other.spurious_acks_sent,
            repeated_acks_sent: self.repeated_acks_sent + other.repeated_acks_sent,
            server_resets: self.server_resets + other.server_resets,
            client_read_errors: self.client_read_errors + other.client_read_errors,
            bytes_expected: self.bytes_expected + other.bytes_expected,
            bytes_read: self.bytes_read + other.bytes_read,
            corrupted: self.corrupted + other.corrupted,
        }
    }
}

impl Figures {
    fn bytes_lost(&self) -> u64 {
        self.bytes_expected.saturating_sub(self.bytes_read)
    }

    /// The fault in full: every connection acknowledged the FIN once more and was reset.
    fn is_fault_of_all(&self) -> bool {
        self.spurious_acks_sent == self.connections
            && self.server_resets >= self.connections
            && self.client_read_errors == self.connections
            && self.bytes_lost() > 0
    }

    /// The cure in full: every connection acknowledged the FIN once more, and none suffered.
    fn is_cure_of_all(&self) -> bool {
        self.spurious_acks_sent == self.connections
            && self.server_resets == 0
            && self.client_read_errors == 0
            && self.bytes_lost() == 0
    }
}

impl Phase {
    /// What the client counted, with nothing from the kernel yet.
    pub(super) fn new(mode: PhaseMode, outcomes: &[Outcome]) -> Self {
        let sum = |is_ipv4: bool| {
            outcomes
                .iter()
                .filter(|outcome| outcome.client.is_ipv4() == is_ipv4)
                .map(Figures::from)
                .fold(Figures::default(), Add::add)
        };
        let (ipv4, ipv6) = (sum(true), sum(false));
        Self {
            mode,
            all: ipv4 + ipv6,
            spurious_acks_dropped: 0,
            spurious_acks_observed: 0,
            server_resets_sent: 0,
            server_resets_suppressed: 0,
            ipv4,
            ipv6,
        }
    }

    /// Adds what the filter counted on an interface.
    pub(super) fn count(&mut self, counters: &Counters) {
        self.spurious_acks_dropped += counters.dropped_acks();
        self.spurious_acks_observed += counters.observed_acks();
        self.server_resets_suppressed += counters.of(Reason::ResetAfterSpuriousAckSuppressed)
            + counters.of(Reason::ResetAfterCloseSuppressed);
    }

    /// What is not as the demo is there to show, if anything.
    fn surprise(&self) -> Option<String> {
        let Self { mode, all, .. } = self;
        let sent = all.spurious_acks_sent;
        // One that the client's TCP repeated counts as redundant, unless the server asked.
        let plausible = sent..=sent + all.repeated_acks_sent;
        let (observed, dropped) = (self.spurious_acks_observed, self.spurious_acks_dropped);
        let as_it_should = match mode {
            PhaseMode::Off => all.is_fault_of_all() && observed == 0 && dropped == 0,
            PhaseMode::Monitor => {
                all.is_fault_of_all() && plausible.contains(&observed) && dropped == 0
            }
            PhaseMode::Enforce => {
                all.is_cure_of_all() && observed == 0 && plausible.contains(&dropped)
            }
        };
        if all.corrupted > 0 {
            return Some(format!(
                "{mode}: {} connections read bytes that nobody sent",
                all.corrupted
            ));
        }
        (!as_it_should).then(|| {
            format!(
                "{mode}: of {} connections {} were reset and {} reads failed; \
                 {sent} spurious ACKs sent, {observed} observed, {dropped} dropped; {} bytes lost",
                all.connections,
                all.server_resets,
                all.client_read_errors,
                all.bytes_lost()
            )
        })
    }
}

impl Report {
    /// What is not as the demo is there to show, if anything.
    pub(super) fn surprise(&self) -> Option<String> {
        self.phases.iter().find_map(Phase::surprise)
    }

    pub(super) fn write_json(&self, mut output: impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut output, self)?;
        writeln!(output)
    }

    pub(super) fn write_text(&self, mut output: impl io::Write) -> io::Result<()> {
        writeln!(output, "{}\n", self.table())?;
        for phase in &self.phases {
            writeln!(output, "{}", textwrap::fill(&phase.sentence(), WIDTH))?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            table.force_no_tty();
        }
        table.set_header([
            "\nfilter",
            "connec-\ntions",
            "spurious\nACKs sent",
            "\nobserved",
            "\ndropped",
            "server\nresets",
            "failed\nreads",
            "bytes\nread",
        ]);
        for phase in &self.phases {
            table.add_row(phase.row());
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl Phase {
    /// A line for each family and one for both; the kernel's counters know both only.
    fn row(&self) -> Vec<Cell> {
        let families = [self.ipv4, self.ipv6, self.all];
        let lines = |show: fn(&Figures) -> String| families.each_ref().map(show).join("\n");
        let counted = |count: u64| match self.mode {
            PhaseMode::Off => Cell::new("\n\n-"),
            PhaseMode::Monitor | PhaseMode::Enforce => Cell::new(format!("\n\n{count}")),
        };
        let harm = |count: u64, text: String| {
            let color = if count == 0 { Color::Green } else { Color::Red };
            Cell::new(text).fg(color)
        };
        vec![
            Cell::new(self.mode).add_attribute(Attribute::Bold),
            Cell::new(format!(
                "{} IPv4\n{} IPv6\n{} both",
                self.ipv4.connections, self.ipv6.connections, self.all.connections
            )),
            Cell::new(lines(|figures| figures.spurious_acks_sent.to_string())),
            counted(self.spurious_acks_observed),
            counted(self.spurious_acks_dropped),
            harm(
                self.all.server_resets,
                lines(|figures| figures.server_resets.to_string()),
            ),
            harm(
                self.all.client_read_errors,
                lines(|figures| figures.client_read_errors.to_string()),
            ),
            harm(
                self.all.bytes_lost(),
                lines(|figures| percentage(figures.bytes_read, figures.bytes_expected)),
            ),
        ]
    }

    fn sentence(&self) -> String {
        let all = &self.all;
        let sent = all.spurious_acks_sent;
        let harm = if all.server_resets == 0 && all.client_read_errors == 0 && all.bytes_lost() == 0
        {
            "no connection was reset, and every byte was read".to_owned()
        } else {
            format!(
                "{} of {} connections ended in a failed read, and {} of {} were lost",
                all.client_read_errors,
                all.connections,
                HumanBytes(all.bytes_lost()),
                HumanBytes(all.bytes_expected)
            )
        };
        match self.mode {
            PhaseMode::Off => format!(
                "Without the filter, {sent} spurious ACKs drew {} resets from the server: {harm}.",
                all.server_resets
            ),
            PhaseMode::Monitor => format!(
                "Monitoring, it observed {} of {sent} and changed nothing: {harm}.",
                self.spurious_acks_observed
            ),
            PhaseMode::Enforce => format!(
                "Enforcing, it dropped {} of {sent}: {harm}.",
                self.spurious_acks_dropped
            ),
        }
    }
}

/// Rounded down, so that only all of it is 100 %.
fn percentage(part: u64, whole: u64) -> String {
    format!("{} %", (part * 100).checked_div(whole).unwrap_or(100))
}
