//! `lastack demo`: the fault and the cure, with real packets through a real kernel.

mod report;

use std::{io, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use self::report::{Phase, PhaseMode, Report};
use super::is_read;
use crate::{
    datapath::Datapath,
    lab::{
        client::{Client, Outcome, Plan},
        server::{self, Server},
        topology::{Topology, WAN},
    },
    settings::{Mode, Settings},
};

/// Long enough for several reads; fits in a receive window, so that all of it, and the
/// server's FIN, are there while the application still reads.
const RESPONSE: u16 = 32 * 1024;

/// Shows the fault and the cure: real packets, a real kernel, namespaces of its own
#[derive(Debug, Args)]
pub struct Arguments {
    /// How many connections to open in each phase, half of them over IPv6
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=1000))]
    connections: u16,

    /// The client's delayed-ACK time: when it acknowledges the server's FIN once more
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = super::span)]
    delay: Duration,

    /// Drop resets that come after the close, too
    #[arg(long)]
    rst_guard: bool,

    /// How long after a forwarded ACK another one may be dropped
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = super::span)]
    window: Duration,

    /// How long a phase may take before the demo gives up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = super::span)]
    timeout: Duration,

    /// How the figures are shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// How the figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table
    Text,
    /// One JSON object
    Json,
}

impl Arguments {
    /// How long the application reads: it must still read when the spurious ACK goes out.
    fn reading(&self) -> Duration {
        self.delay * 5 / 2
    }
}

/// Runs the command.
///
/// Fails also if the figures are not what the demo is there to show.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.reading() >= arguments.timeout {
        bail!(
            "the client reads for {}, two and a half times --delay: --timeout must be longer",
            humantime::format_duration(arguments.reading())
        );
    }
    let report = Lab::new()?.show(arguments)?;
    let output = io::stdout().lock();
    let written = match arguments.output {
        Output::Text => report.write_text(output),
        Output::Json => report.write_json(output),
    };
    is_read(written).context("could not write the figures")?;
    if let Some(surprise) = report.surprise() {
        bail!("the demo did not show what it should: {surprise}");
    }
    Ok(())
}

/// Where all phases take place.
struct Lab {
    topology: Topology,
    client: Client,
    /// Serves until it is dropped.
    _server: Server,
}

impl Lab {
    fn new() -> anyhow::Result<Self> {
        let mut topology = Topology::new()?;
        let client = Client::new(topology.add_client()?)?;
        let server = Server::start(&topology.server)?;
        Ok(Self {
            topology,
            client,
            _server: server,
        })
    }

    fn show(mut self, arguments: &Arguments) -> anyhow::Result<Report> {
        let mut phases = Vec::new();
        for mode in [PhaseMode::Off, PhaseMode::Monitor, PhaseMode::Enforce] {
            let phase = self.phase(mode, arguments);
            phases.push(phase.with_context(|| format!("phase {mode}"))?);
        }
        Ok(Report {
            connections: u64::from(arguments.connections),
            rst_guard: arguments.rst_guard,
            phases,
        })
    }

    fn phase(&mut self, mode: PhaseMode, arguments: &Arguments) -> anyhow::Result<Phase> {
        let datapath = self.protect(mode, arguments)?;
        let resets_before = server::resets_sent(&self.topology.server)?;
        let outcomes = self.connect(mode, arguments)?;
        let mut phase = Phase::new(mode, &outcomes);
        phase.server_resets_sent = server::resets_sent(&self.topology.server)? - resets_before;
        if let Some(mut datapath) = datapath {
            for interface in datapath.counters()? {
                phase.count(&interface.counters);
            }
            self.topology.gateway.run(move || datapath.detach())?;
        }
        Ok(phase)
    }

    /// Attaches the filter, if the phase has one.
    fn protect(&self, mode: PhaseMode, arguments: &Arguments) -> anyhow::Result<Option<Datapath>> {
        let mode = match mode {
            PhaseMode::Off => return Ok(None),
            PhaseMode::Monitor => Mode::Monitor,
            PhaseMode::Enforce => Mode::Enforce,
        };
        let settings = Settings {
            mode,
            rst_guard: arguments.rst_guard,
            window: arguments.window,
            ..Settings::default()
        };
        self.topology.gateway.run(move || {
            let mut datapath = Datapath::load(&settings)?;
            datapath.attach(WAN)?;
            Ok(Some(datapath))
        })
    }

    fn connect(&mut self, mode: PhaseMode, arguments: &Arguments) -> anyhow::Result<Vec<Outcome>> {
        let plan = Plan {
            connections: arguments.connections,
            spurious_ack_after: Some(arguments.delay),
            response: RESPONSE,
            reading: arguments.reading(),
            timeout: arguments.timeout,
        };
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::new(u64::from(arguments.connections)).with_message(mode.as_str());
        let style = ProgressStyle::with_template("{msg:8} [{bar:40}] {pos} of {len} connections")?;
        bar.set_style(style.progress_chars("=> "));
        bar.tick();
        let outcomes = self
            .client
            .run(&plan, &mut |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        outcomes
    }
}
