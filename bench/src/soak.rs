//! `bench soak`: all loads at once for long, through a gateway with the filter and one without.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use filter_user::lab::soak::{Results, Soak, Traffic};
use humantime::format_duration;
use serde::Serialize;

use crate::{
    machine::Machine,
    statistics::{Summary, median_interval},
};

/// How long the streams go through one gateway before the other has its turn, at the most.
const BLOCK: Duration = Duration::from_secs(30);
/// Pairs of blocks, at the least, where there is time for blocks of a second.
const PAIRS: u32 = 6;

/// All loads at once for long: streams, short connections, half-closing ones, the fault
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// The lastack binary
    #[arg(long, value_name = "FILE", env = "LASTACK_BINARY")]
    lastack: PathBuf,

    /// How the figures are shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// How the figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Lines
    Text,
    /// One JSON object
    Json,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    /// Throughput with the filter as a share of that without, of each pair.
    ratio: Option<Summary>,
    /// Where its median lies with a confidence of 95 %, if there are pairs enough to say.
    median: Option<(f64, f64)>,
    #[serde(flatten)]
    results: Results,
}

/// Runs it. Fails also if something is not as it has to be.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let block = (arguments.duration / (2 * PAIRS)).clamp(Duration::from_secs(1), BLOCK);
    let soak = Soak {
        lastack: &arguments.lastack,
        duration: arguments.duration,
        block,
    };
    let machine = Machine::here()?;
    let results = soak.run()?;
    let ratios = || results.pairs.iter().map(|pair| pair.with / pair.without);
    let report = Report {
        machine,
        ratio: Summary::of(ratios()),
        median: median_interval(ratios()),
        results,
    };
    let mut output = io::stdout().lock();
    match arguments.output {
        Output::Text => report.write_text(&mut output, block)?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut output, &report)?;
            writeln!(output)?;
        }
    }
    ensure!(
        report.results.broken.is_empty(),
        "something is not as it has to be; see above"
    );
    Ok(())
}

impl Report {
    fn write_text(&self, mut output: impl Write, block: Duration) -> Result<()> {
        const MEBIBYTE: f64 = 1024.0 * 1024.0;

        let Self {
            machine, results, ..
        } = self;
        let took = Duration::from_secs(results.took);
        writeln!(
            output,
            "{} of all loads, {machine}.\n",
            format_duration(took)
        )?;
        for (filter, traffic) in [("with", &results.with), ("without", &results.without)] {
            let Traffic {
                faulty,
                spurious_acks,
                resets,
                half_closing,
                ordinary,
                failures,
            } = traffic;
            writeln!(
                output,
                "{filter} the filter\n  \
                 client with the fault   {faulty} connections, {spurious_acks} spurious ACKs, \
                 {resets} reset\n  \
                 correct, half-closing   {half_closing} connections\n  \
                 ordinary, to nginx      {ordinary} connections\n  \
                 failed                  {}",
                failures.len()
            )?;
        }
        let watched = &results.watched;
        let [warm, most, last] = watched.resident.map(|octets| {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let octets = octets as f64;
            octets / MEBIBYTE
        });
        let descriptors = watched.descriptors;
        writeln!(
            output,
            "lastack\n  \
             dropped                 {} ACKs, {} of them redundant; {} segments to the server kept by the kernel's \
             count, {} from it\n  \
             memory                  {warm:.1} MiB when warm, {most:.1} at the most, {last:.1} \
             in the end\n  \
             descriptors             {} when warm, {} at the most, {} in the end\n  \
             /metrics                {} scrapes, the slowest {} ms\n  \
             closing flows           {} at the most\n",
            watched.dropped,
            watched.redundant,
            results.kept,
            results.dropped_by_xdp,
            descriptors[0],
            descriptors[1],
            descriptors[2],
            watched.scrapes,
            watched.slowest_scrape,
            watched.most_flows,
        )?;
        let ratio = self.ratio.context("nothing was streamed")?;
        writeln!(
            output,
            "Streams with the filter as a share of those without, {} pairs of {}: median {:.3}, \
             quartiles {:.3} and {:.3}{}.",
            results.pairs.len(),
            format_duration(block),
            ratio.median,
            ratio.lower_quartile,
            ratio.upper_quartile,
            self.median
                .map_or_else(String::new, |(least, most)| format!(
                    "; the median is between {least:.3} and {most:.3} with a confidence of 95 %"
                ))
        )?;
        for broken in &results.broken {
            writeln!(output, "BROKEN  {broken}")?;
        }
        Ok(())
    }
}
