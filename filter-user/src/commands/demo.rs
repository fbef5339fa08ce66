//! `lastack demo`: the fault and the cure, with real packets through a real kernel.

mod drawing;
mod report;

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    iter,
    path::{Path, PathBuf},
    time::Duration,
};

use analysis::ladder::{self, Ladder};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum, ValueHint};
use filter_common::EventRecord;
use indicatif::{ProgressBar, ProgressStyle};

use self::report::{Phase, PhaseMode, Report};
use super::{Contradiction, is_read, table::is_coloured};
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

    /// Draw one connection of each phase, too
    #[arg(long)]
    ladder: bool,

    /// Draw them into this file, too
    #[arg(long, value_name = "FILE", requires = "ladder", value_hint = ValueHint::FilePath)]
    svg: Option<PathBuf>,
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

    /// Which options cannot be used together.
    pub(crate) fn contradiction(&self) -> Option<Contradiction> {
        let is_json = self.output == Output::Json;
        (self.ladder && is_json && self.svg.is_none()).then_some(Contradiction {
            options: ["ladder", "output"],
            message: "--ladder draws in text; with --output json it needs --svg",
        })
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
    let (report, ladders) = Lab::new(arguments.ladder)?.show(arguments)?;
    let written = match arguments.output {
        Output::Text => write_text(&report, &ladders),
        Output::Json => report.write_json(io::stdout().lock()),
    };
    is_read(written).context("could not write the figures")?;
    if let Some(path) = &arguments.svg {
        write_svg(path, &ladders)?;
    }
    if let Some(surprise) = report.surprise() {
        let why = if arguments.delay > arguments.window {
            format!(
                "; ACKs that come later than --window ({}) are let pass, and --delay is {}",
                humantime::format_duration(arguments.window),
                humantime::format_duration(arguments.delay)
            )
        } else {
            String::new()
        };
        bail!("the demo did not show what it should: {surprise}{why}");
    }
    Ok(())
}

fn write_text(report: &Report, ladders: &[Ladder]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    report.write_text(&mut output)?;
    let coloured = output.is_terminal() && is_coloured();
    for ladder in ladders {
        writeln!(output)?;
        ladder.write_text(&mut output, coloured)?;
    }
    Ok(())
}

fn write_svg(path: &Path, ladders: &[Ladder]) -> anyhow::Result<()> {
    let written = fs::write(path, ladder::svg(ladders));
    written.with_context(|| format!("could not write {}", path.display()))
}

/// Where all phases take place.
struct Lab {
    topology: Topology,
    client: Client,
    /// Whether a connection of each phase is drawn.
    draws: bool,
    /// Serves until it is dropped.
    _server: Server,
}

impl Lab {
    fn new(draws: bool) -> anyhow::Result<Self> {
        let mut topology = Topology::new()?;
        let mut client = Client::new(topology.add_client()?)?;
        if draws {
            client.record();
        }
        let server = Server::start(&topology.server)?;
        Ok(Self {
            topology,
            client,
            draws,
            _server: server,
        })
    }

    /// The figures, and a drawing of each phase if there are to be any.
    fn show(mut self, arguments: &Arguments) -> anyhow::Result<(Report, Vec<Ladder>)> {
        let mut phases = Vec::new();
        let mut ladders = Vec::new();
        for mode in [PhaseMode::Off, PhaseMode::Monitor, PhaseMode::Enforce] {
            let phase = self.phase(mode, arguments);
            let (phase, ladder) = phase.with_context(|| format!("phase {mode}"))?;
            phases.push(phase);
            ladders.extend(ladder);
        }
        let report = Report {
            connections: u64::from(arguments.connections),
            rst_guard: arguments.rst_guard,
            phases,
        };
        Ok((report, ladders))
    }

    fn phase(
        &mut self,
        mode: PhaseMode,
        arguments: &Arguments,
    ) -> anyhow::Result<(Phase, Option<Ladder>)> {
        let settings = self.settings(mode, arguments);
        let datapath = self.protect(mode, &settings)?;
        let resets_before = server::resets_sent(&self.topology.server)?;
        let outcomes = self.connect(mode, arguments)?;
        let mut phase = Phase::new(mode, &outcomes);
        phase.server_resets_sent = server::resets_sent(&self.topology.server)? - resets_before;
        let mut events = Vec::new();
        if let Some(mut datapath) = datapath {
            events = reported(&mut datapath)?;
            for interface in datapath.counters()? {
                phase.count(&interface.counters);
            }
            self.topology.gateway.run(move || datapath.detach())?;
        }
        let recording = self.client.take_recording();
        let ladder = recording
            .and_then(|recording| drawing::ladder(mode, &settings, &recording, &outcomes, &events));
        Ok((phase, ladder))
    }

    /// By which the filter of a phase works, or would work.
    fn settings(&self, mode: PhaseMode, arguments: &Arguments) -> Settings {
        Settings {
            mode: match mode {
                PhaseMode::Off | PhaseMode::Monitor => Mode::Monitor,
                PhaseMode::Enforce => Mode::Enforce,
            },
            rst_guard: arguments.rst_guard,
            window: arguments.window,
            events: self.draws,
            ..Settings::default()
        }
    }

    /// Attaches the filter, if the phase has one.
    fn protect(&self, mode: PhaseMode, settings: &Settings) -> anyhow::Result<Option<Datapath>> {
        if mode == PhaseMode::Off {
            return Ok(None);
        }
        let settings = settings.clone();
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

/// What the packet programs have reported; nothing, if they were not to.
fn reported(datapath: &mut Datapath) -> anyhow::Result<Vec<EventRecord>> {
    let events = datapath.take_events()?;
    Ok(events.map_or_else(Vec::new, |mut events| {
        iter::from_fn(|| events.next()).collect()
    }))
}
