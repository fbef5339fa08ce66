//! What was measured, as tables and as JSON, and whether what is claimed holds.

use comfy_table::TableStyle;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::program::{Program, Run};
use crate::{
    document::{self, Section, spread, table, yes_or_no},
    machine::Machine,
    statistics::Summary,
};

/// So many times as fast as tshark it has to be.
const LEAST_RATIO: f64 = 30.0;
/// So much more memory it may take for ten times the packets.
const MOST_GROWTH: f64 = 1.2;

/// All figures.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    pub(super) conversations: u32,
    pub(super) seed: u64,
    /// tshark's version.
    pub(super) tshark: String,
    /// Octets of memory that a process has on its way from this one to a program, which Linux counts
    /// as that one's.
    pub(super) floor: u64,
    /// The smaller capture first.
    pub(super) sizes: Vec<Size>,
}

/// One capture.
#[derive(Serialize)]
pub(super) struct Size {
    pub(super) packets: u64,
    /// From the first packet to the last.
    pub(super) seconds: u64,
    pub(super) octets: u64,
    pub(super) programs: Vec<Measured>,
}

/// A program on one capture.
pub(super) struct Measured {
    pub(super) program: Program,
    pub(super) runs: Vec<Run>,
}

impl Measured {
    pub(super) const fn new(program: Program) -> Self {
        Self {
            program,
            runs: Vec::new(),
        }
    }

    /// Octets of memory, of all runs.
    pub(super) fn peak(&self) -> u64 {
        self.runs.iter().map(|run| run.peak).max().unwrap_or(0)
    }

    /// Thousands of packets a second.
    fn speed(&self, packets: u64) -> Option<Summary> {
        let runs = self.runs.iter();
        Summary::of(runs.map(|run| real(packets) / run.took.as_secs_f64() / 1e3))
    }
}

impl Serialize for Measured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.runs.iter().map(|run| run.took.as_secs_f64());
        let mut measured = serializer.serialize_struct("Measured", 3)?;
        measured.serialize_field("program", self.program.name())?;
        measured.serialize_field("seconds", &Summary::of(seconds))?;
        measured.serialize_field("peak_octets", &self.peak())?;
        measured.end()
    }
}

impl Size {
    /// What was measured of a program, if it was.
    pub(super) fn of(&self, is: fn(&Program) -> bool) -> Option<&Measured> {
        self.programs.iter().find(|measured| is(&measured.program))
    }

    /// How many times as fast as tshark lastack was. Of a small capture that says more of how programs
    /// start.
    fn ratio(&self) -> Option<f64> {
        const SMALL: u64 = 1_000_000;
        if self.packets < SMALL {
            return None;
        }
        let median = |is| Some(self.of(is)?.speed(self.packets)?.median);
        Some(median(Program::is_lastack)? / median(Program::is_tshark)?)
    }
}

impl Report {
    /// The memory that the larger capture takes, by that of the smaller one. That says nothing where
    /// the latter is over before the first of its closes is forgotten.
    fn growth(&self) -> Option<f64> {
        /// What --closed-timeout is by default.
        const CLOSED: u64 = 240;
        let [smaller, larger] = self.sizes.as_slice() else {
            return None;
        };
        if smaller.seconds < CLOSED {
            return None;
        }
        let peak = |size: &Size| Some(size.of(Program::is_lastack)?.peak());
        Some(real(peak(larger)?) / real(peak(smaller)?))
    }

    /// What is claimed and not so.
    pub(super) fn broken(&self) -> Vec<String> {
        let slow = self.sizes.iter().filter_map(|size| {
            let ratio = size.ratio().filter(|ratio| *ratio < LEAST_RATIO)?;
            let packets = size.packets;
            Some(format!(
                "of {packets} packets it is {ratio:.1} times as fast as tshark, not {LEAST_RATIO}"
            ))
        });
        let grows = self.growth().filter(|growth| *growth > MOST_GROWTH);
        let grows = grows.map(|growth| {
            format!("for ten times the packets it takes {growth:.2} times the memory")
        });
        slow.chain(grows).collect()
    }
}

impl document::Report for Report {
    const MARKS: &'static str = "analyze";

    fn sentence(&self) -> String {
        format!(
            "Measured {}; {} rounds, {} conversations at once, seed {}; {}. What starts them has {:.0} \
             MiB itself, so that no program can be seen to take less.",
            self.machine,
            self.rounds,
            self.conversations,
            self.seed,
            self.tshark.trim_end_matches('.'),
            mebibytes(self.floor)
        )
    }

    fn sections(&self, style: TableStyle) -> Vec<Section> {
        let header = vec![
            "capture",
            "program",
            "thousand packets/s",
            "times tshark",
            "peak MiB",
        ];
        let mut speeds = table(style, header, 2);
        for size in &self.sizes {
            let tshark = size.of(Program::is_tshark);
            let tshark = tshark.and_then(|measured| measured.speed(size.packets));
            for measured in &size.programs {
                let speed = measured.speed(size.packets);
                let ratio = speed
                    .zip(tshark)
                    .map(|(speed, tshark)| speed.median / tshark.median);
                let unknown = || "-".to_owned();
                speeds.add_row([
                    format!("{} packets, {} MiB", size.packets, size.octets >> 20),
                    measured.program.name().to_owned(),
                    speed.as_ref().map_or_else(unknown, spread),
                    ratio.map_or_else(unknown, |ratio| format!("{ratio:.1}")),
                    format!("{:.0}", mebibytes(measured.peak())),
                ]);
            }
        }
        let mut claims = table(style, vec!["claim", "measured", "met"], 1);
        let ratios = self.sizes.iter().filter_map(Size::ratio);
        if let Some(least) = ratios.min_by(f64::total_cmp) {
            claims.add_row([
                format!("at least {LEAST_RATIO} times as fast as tshark"),
                format!("{least:.1}"),
                yes_or_no(least >= LEAST_RATIO).to_owned(),
            ]);
        }
        if let Some(growth) = self.growth() {
            claims.add_row([
                format!("no more than {MOST_GROWTH} times the memory for ten times the packets"),
                format!("{growth:.2}"),
                yes_or_no(growth <= MOST_GROWTH).to_owned(),
            ]);
        }
        vec![
            Section {
                title: None,
                note: "Each program reads the whole capture, which is in the page cache, and what \
                       it prints goes nowhere: median and quartiles of the rounds, in which the \
                       programs take turns. Memory is resident, the most that any run had.",
                table: speeds,
            },
            Section {
                title: None,
                note: "What is claimed.",
                table: claims,
            },
        ]
    }
}

fn mebibytes(octets: u64) -> f64 {
    real(octets) / real(1 << 20)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "packets and octets, far below 2^52"
)]
const fn real(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn size(packets: u64, lastack: (u64, u64), tshark: u64) -> Size {
        let measured = |program, milliseconds, peak| Measured {
            program,
            runs: vec![Run {
                took: Duration::from_millis(milliseconds),
                peak,
            }],
        };
        Size {
            packets,
            seconds: packets / 3000,
            octets: 0,
            programs: vec![
                measured(Program::Lastack("lastack".into()), lastack.0, lastack.1),
                measured(Program::Tshark, tshark, 1 << 30),
            ],
        }
    }

    fn broken(sizes: Vec<Size>) -> Vec<String> {
        let report = Report {
            machine: Machine::here().unwrap(),
            rounds: 1,
            conversations: 1,
            seed: 1,
            tshark: String::new(),
            floor: 0,
            sizes,
        };
        report.broken()
    }

    #[test]
    fn what_is_too_slow_or_grows_is_told() {
        let fine = || size(1_000_000, (100, 1000), 4000);
        assert!(broken(vec![fine(), size(10_000_000, (1000, 1100), 40_000)]).is_empty());
        let slow = broken(vec![fine(), size(10_000_000, (2000, 1100), 40_000)]);
        assert_eq!(
            slow,
            ["of 10000000 packets it is 20.0 times as fast as tshark, not 30"]
        );
        let grows = broken(vec![fine(), size(10_000_000, (1000, 1500), 40_000)]);
        let short = [(100_000, 1000), (1_000_000, 1500)];
        let short = short.map(|(packets, peak)| size(packets, (packets / 10_000, peak), packets));
        assert!(broken(short.into()).is_empty());
        assert_eq!(
            grows,
            ["for ten times the packets it takes 1.50 times the memory"]
        );
    }
}
