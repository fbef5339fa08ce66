//! Passes over a capture: one that judges, and one more for what depends on what was found.

use std::{collections::BTreeSet, io::Read};

use analysis::{
    Analysis, Analyzer, Judged, Scribe, Span,
    capture::{
        Capture, Damage, LinkType, Packet,
        source::{Rereadable, Source},
    },
    ladder::Ladder,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{in_one, options::Arguments};

/// What the first pass found.
pub(super) struct Found {
    pub(super) analysis: Analysis,
    /// Types of packets that are not understood.
    pub(super) links: BTreeSet<LinkType>,
    /// Where and why it ended early.
    pub(super) damage: Option<Damage>,
}

/// Why packets are skipped whose type is not understood.
pub(super) const LINK_TYPE: &str = "link_type";

/// The first pass. Shows how far it is, where standard error is a terminal.
pub(super) fn judge(input: &mut Rereadable, arguments: &Arguments) -> anyhow::Result<Found> {
    let source = input.source().map_err(in_one)?;
    let progress = Progress::new(source.octets());
    let mut analyzer = Analyzer::new(&arguments.analysis());
    let mut links = BTreeSet::new();
    let damage = each(progress.of(source), |packet| {
        let judged = analyzer.packet(packet);
        if judged == Judged::Skipped(LINK_TYPE) {
            links.insert(packet.link);
        }
        progress.tell(packet.number);
        true
    })?;
    progress.bar.finish_and_clear();
    Ok(Found {
        analysis: analyzer.finish(),
        links,
        damage,
    })
}

/// Draws the connection of a finding. What is damaged behind it does not matter.
pub(super) fn draw(
    input: &mut Rereadable,
    arguments: &Arguments,
    span: &Span,
    title: String,
) -> anyhow::Result<Ladder> {
    let mut analyzer = Analyzer::new(&arguments.analysis());
    let mut scribe = Scribe::new(span.endpoints.client, span.endpoints.server);
    each(input.source().map_err(in_one)?, |packet| {
        // Judged is all that precedes it, too, as in the first pass.
        let judged = analyzer.packet(packet);
        if packet.number >= span.first {
            scribe.frame(packet.number, packet.time, &judged);
        }
        packet.number < span.last
    })?;
    Ok(scribe.ladder(title))
}

/// Hands over each packet until there are no more, or `packet` wants no more. Tells of damage.
pub(super) fn each(
    reader: impl Read + Send + 'static,
    mut packet: impl FnMut(&Packet<'_>) -> bool,
) -> anyhow::Result<Option<Damage>> {
    let mut capture = Capture::open(reader).map_err(in_one)?;
    loop {
        match capture.next() {
            Ok(Some(next)) => {
                if !packet(&next) {
                    return Ok(None);
                }
            }
            Ok(None) => return Ok(None),
            Err(damage) => return Ok(Some(damage)),
        }
    }
}

/// How far the first pass is: of the octets where their number is known, else in packets.
struct Progress {
    bar: ProgressBar,
    counts_packets: bool,
}

impl Progress {
    fn new(octets: Option<u64>) -> Self {
        // Hidden by itself where standard error is no terminal.
        let bar = octets.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = if octets.is_some() {
            "[{bar:40}] {binary_bytes} of {binary_total_bytes}, {eta} left"
        } else {
            "{human_pos} packets"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            counts_packets: octets.is_none(),
        }
    }

    /// Tells of octets as they are read, if they are what counts.
    fn of(&self, source: Source) -> Box<dyn Read + Send> {
        if self.counts_packets {
            Box::new(source)
        } else {
            Box::new(self.bar.wrap_read(source))
        }
    }

    /// So rarely that it costs nothing.
    fn tell(&self, packets: u64) {
        const EACH: u64 = 1 << 16;
        if self.counts_packets && packets.is_multiple_of(EACH) {
            self.bar.set_position(packets);
        }
    }
}
