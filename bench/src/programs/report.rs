//! The figures as tables and as JSON.

use comfy_table::{Table, TableStyle};
use serde::Serialize;

use super::{cores::Cores, kernel::Program, memory::Memory, start::Start};
use crate::{
    document::{self, Section, spread, table, yes_or_no},
    machine::Machine,
    statistics::Summary,
};

/// All that was measured. Times are nanoseconds a packet but for the start, which is in
/// milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    pub(super) repeat: u32,
    pub(super) starts: u32,
    pub(super) figures: Vec<Figure>,
    pub(super) cores: Vec<Cores>,
    pub(super) memory: Vec<Memory>,
    pub(super) start: Start,
}

/// One path of one program.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) settings: &'static str,
    pub(super) max_flows: u32,
    /// Whether it shows what closing flows in the table cost.
    pub(super) is_fill: bool,
    /// In the table.
    pub(super) flows: usize,
    /// Share of the slots that send an ordinary packet to the table.
    pub(super) live_slots: f64,
    pub(super) path: &'static str,
    pub(super) program: &'static str,
    /// The empty program, driven alike.
    pub(super) empty: Summary,
    /// The program less the empty one, round by round.
    pub(super) above: Summary,
    /// The program by the empty one, its median.
    pub(super) ratio: f64,
    pub(super) target: Option<f64>,
    pub(super) met: Option<bool>,
}

impl document::Report for Report {
    const MARKS: &'static str = "figures";

    fn sentence(&self) -> String {
        format!(
            "Measured {}; {} rounds of {} packets.",
            self.machine, self.rounds, self.repeat,
        )
    }

    fn sections(&self, style: TableStyle) -> Vec<Section> {
        vec![
            Section {
                title: Some("Packets"),
                note: "Nanoseconds above the empty program of the same hook: median [quartiles] ×ratio.",
                table: self.packets(style),
            },
            Section {
                title: Some("Beside closing flows"),
                note: "Nanoseconds above the empty program: of 256 ordinary flows in turn, whose \
                       slots stay in the cache, and of 2^32, whose slots are all over the array. \
                       Slots: the share that sends a packet on to the flow table.",
                table: self.fills(style),
            },
            Section {
                title: Some("Two cores"),
                note: "Nanoseconds above the empty program, on one core alone and on two at once, each.",
                table: self.on_two_cores(style),
            },
            Section {
                title: Some("Memory"),
                note: "Of all maps, by the kernel's account (memlock), the table full.",
                table: self.of_memory(style),
            },
            Section {
                title: Some("Start"),
                note: "Milliseconds from exec of `lastack run`.",
                table: self.of_start(style),
            },
        ]
    }
}

impl Report {
    /// One row a path, one column a program.
    fn packets(&self, style: TableStyle) -> Table {
        let mut header = vec!["settings", "path", "target"];
        header.extend(Program::ALL.map(Program::name));
        header.push("met");
        let mut table = table(style, header, 2);
        for row in rows(self.figures.iter().filter(|figure| !figure.is_fill)) {
            let mut cells = vec![row.first.settings.to_owned(), row.first.path.to_owned()];
            cells.extend(row.cells(&Program::ALL));
            table.add_row(cells);
        }
        table
    }

    fn fills(&self, style: TableStyle) -> Table {
        const PROGRAMS: [Program; 2] = [Program::XdpMultiBuffer, Program::Egress];
        let mut header = vec!["room", "flows", "slots", "path", "target"];
        header.extend(PROGRAMS.map(Program::name));
        header.push("met");
        let mut table = table(style, header, 4);
        for row in rows(self.figures.iter().filter(|figure| figure.is_fill)) {
            let Figure {
                max_flows,
                flows,
                live_slots,
                path,
                ..
            } = row.first;
            let mut cells = vec![
                max_flows.to_string(),
                flows.to_string(),
                format!("{:.1} %", live_slots * 100.0),
                (*path).to_owned(),
            ];
            cells.extend(row.cells(&PROGRAMS));
            table.add_row(cells);
        }
        table
    }

    fn on_two_cores(&self, style: TableStyle) -> Table {
        let mut table = table(style, vec!["path", "program", "alone", "together"], 2);
        for cores in &self.cores {
            let (path, program, alone, together) = cores.row();
            table.add_row([path, program, &spread(&alone), &spread(&together)]);
        }
        table
    }

    fn of_memory(&self, style: TableStyle) -> Table {
        let header = vec![
            "room",
            "largest maps",
            "bytes",
            "bytes a flow",
            "target",
            "met",
        ];
        let mut table = table(style, header, 2);
        for memory in &self.memory {
            let largest: Vec<_> = memory
                .maps
                .iter()
                .take(3)
                .map(|map| format!("{} {}", map.name, map.bytes))
                .collect();
            table.add_row([
                memory.max_flows.to_string(),
                largest.join(", "),
                memory.bytes_filled.to_string(),
                format!("{:.1}", memory.bytes_per_flow),
                format!("{:.0}", memory.target),
                yes_or_no(memory.met).to_owned(),
            ]);
        }
        table
    }

    fn of_start(&self, style: TableStyle) -> Table {
        let header = vec!["until", "median [quartiles]", "slowest", "target", "met"];
        let mut table = table(style, header, 1);
        let Start {
            attached,
            counted,
            target,
            met,
        } = &self.start;
        let slowest = |times: &Summary| format!("{:.1}", times.maximum);
        table.add_row(["attached", &spread(attached), &slowest(attached), "", ""]);
        table.add_row([
            "first packet counted",
            &spread(counted),
            &slowest(counted),
            &format!("{target:.0}"),
            yes_or_no(*met),
        ]);
        table
    }
}

/// The figures of one path, of each program that has one.
struct Row<'a> {
    first: &'a Figure,
    figures: Vec<&'a Figure>,
}

impl Row<'_> {
    /// The target, a cell for each of these programs, and whether all met it.
    fn cells(&self, programs: &[Program]) -> Vec<String> {
        let target = self.first.target.map(|target| format!("{target:.0}"));
        let mut cells = vec![target.unwrap_or_default()];
        cells.extend(programs.iter().map(|program| {
            let mut figures = self.figures.iter();
            let figure = figures.find(|figure| figure.program == program.name());
            figure.map_or_else(String::new, |figure| {
                format!("{} ×{:.2}", spread(&figure.above), figure.ratio)
            })
        }));
        let mut met = self.figures.iter().filter_map(|figure| figure.met);
        let met = self.first.met.map(|_| yes_or_no(met.all(|met| met)));
        cells.push(met.unwrap_or_default().to_owned());
        cells
    }
}

/// Figures of one path under one setting, which follow one another.
fn rows<'a>(figures: impl Iterator<Item = &'a Figure>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for figure in figures {
        let is_of = |row: &&mut Row<'_>| {
            let first = row.first;
            (first.settings, first.path) == (figure.settings, figure.path)
                && (first.max_flows, first.flows) == (figure.max_flows, figure.flows)
        };
        match rows.last_mut().filter(is_of) {
            Some(row) => row.figures.push(figure),
            None => rows.push(Row {
                first: figure,
                figures: vec![figure],
            }),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(path: &'static str, program: Program, median: f64) -> Figure {
        let summary = |median| Summary::of([median]).unwrap();
        Figure {
            settings: "default",
            max_flows: 1,
            is_fill: false,
            flows: 0,
            live_slots: 0.0,
            path,
            program: program.name(),
            empty: summary(20.0),
            above: summary(median),
            ratio: (20.0 + median) / 20.0,
            target: Some(6.0),
            met: Some(median <= 6.0),
        }
    }

    #[test]
    fn a_path_is_met_when_every_program_meets_it() {
        let figures = [
            figure("fast", Program::Xdp, 5.0),
            figure("fast", Program::Egress, 6.0),
            figure("slow", Program::Xdp, 5.0),
            figure("slow", Program::Egress, 7.0),
        ];
        let cells: Vec<_> = rows(figures.iter())
            .iter()
            .map(|row| row.cells(&[Program::Xdp, Program::Ingress, Program::Egress]))
            .collect();
        assert_eq!(
            cells,
            [
                ["6", "5.0 [5.0 5.0] ×1.25", "", "6.0 [6.0 6.0] ×1.30", "yes"],
                ["6", "5.0 [5.0 5.0] ×1.25", "", "7.0 [7.0 7.0] ×1.35", "no"],
            ]
        );
    }
}
