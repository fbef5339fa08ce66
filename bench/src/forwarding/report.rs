//! The differences as a table and as JSON.

use comfy_table::{Table, TableStyle};
use serde::Serialize;

use crate::{
    document::{self, Section, spread, table, yes_or_no},
    machine::Machine,
    statistics::{Summary, median_interval},
};

const NOTE: &str = "Nanoseconds a packet, from where it enters the stack to where the next \
interface has sent it: the gateway beside which the other is measured, and how much longer the \
other takes in the same pair. The interval is where the median of that lies (95 %, sign test); a \
difference is resolved if it excludes zero.";

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) pairs: u32,
    /// In each half of a pair.
    pub(super) packets: u32,
    pub(super) figures: Vec<Figure>,
}

/// One gateway beside another; nanoseconds a packet.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    path: &'static str,
    beside: &'static str,
    gateway: &'static str,
    /// The one beside which it is measured.
    base: Summary,
    /// How much longer it takes, pair by pair.
    difference: Summary,
    /// Where the median of the differences lies, with a confidence of 95 %.
    interval: Option<(f64, f64)>,
    /// Whether that excludes zero.
    resolved: bool,
    /// How many times as long as the base it takes; the median.
    ratio: f64,
}

impl Figure {
    /// `samples`: the base and the gateway, for each pair.
    pub(super) fn new(
        path: &'static str,
        beside: &'static str,
        gateway: &'static str,
        samples: &[(f64, f64)],
    ) -> Option<Self> {
        let differences = samples.iter().map(|(base, with)| with - base);
        let interval = median_interval(differences.clone());
        Some(Self {
            path,
            beside,
            gateway,
            base: Summary::of(samples.iter().map(|(base, _)| *base))?,
            difference: Summary::of(differences)?,
            interval,
            resolved: interval.is_some_and(|(least, most)| least > 0.0 || most < 0.0),
            ratio: Summary::of(samples.iter().map(|(base, with)| with / base))?.median,
        })
    }
}

impl document::Report for Report {
    const MARKS: &'static str = "forwarding";

    fn sentence(&self) -> String {
        format!(
            "Measured {}; {} pairs of {} packets.",
            self.machine, self.pairs, self.packets
        )
    }

    fn sections(&self, style: TableStyle) -> Vec<Section> {
        vec![Section {
            title: None,
            note: NOTE,
            table: self.table(style),
        }]
    }
}

impl Report {
    fn table(&self, style: TableStyle) -> Table {
        let header = vec![
            "path",
            "beside",
            "gateway with",
            "base",
            "difference",
            "95 % interval",
            "resolved",
            "ratio",
        ];
        let mut table = table(style, header, 3);
        for figure in &self.figures {
            let interval = figure.interval.map_or_else(String::new, |(least, most)| {
                format!("{least:.1} to {most:.1}")
            });
            table.add_row([
                figure.path,
                figure.beside,
                figure.gateway,
                &format!("{:.0}", figure.base.median),
                &spread(&figure.difference),
                &interval,
                yes_or_no(figure.resolved),
                &format!("×{:.3}", figure.ratio),
            ]);
        }
        table
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small integers are exact")]
mod tests {
    use super::*;

    fn figure(samples: &[(f64, f64)]) -> Figure {
        Figure::new("", "", "", samples).unwrap()
    }

    #[test]
    fn a_drift_that_both_halves_of_a_pair_share_does_not_count() {
        let figure = figure(&[0.0, 100.0, 900.0, 400.0, 300.0, 50.0].map(|drift| {
            let base = 700.0 + drift;
            (base, base + 7.0)
        }));
        assert_eq!(figure.difference.median, 7.0);
        assert_eq!(figure.interval, Some((7.0, 7.0)));
        assert!(figure.resolved);
    }

    #[test]
    fn differences_on_both_sides_of_zero_are_not_resolved() {
        let around: Vec<_> = (-10..10).map(|n| (700.0, 700.5 + f64::from(n))).collect();
        assert!(!figure(&around).resolved);
        let below: Vec<_> = (0..10).map(|n| (700.0, 690.0 - f64::from(n))).collect();
        assert!(figure(&below).resolved, "faster is a difference, too");
    }

    #[test]
    fn two_pairs_resolve_nothing() {
        assert!(!figure(&[(700.0, 1400.0), (700.0, 1400.0)]).resolved);
    }
}
