//! `cargo xtask record`: the golden captures that the tests of `lastack analyze` read, recorded in
//! the lab: a real server, a scripted client, and the system's tcpdump on the gateway between them.

mod client;
mod closes;
mod edit;
mod gateway;
mod stage;
mod tcpdump;
mod views;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

/// A capture to record.
#[derive(Clone, Copy)]
struct Scenario {
    /// The name of its file.
    file: &'static str,
    /// What is in it, in one line.
    what: &'static str,
    record: fn(&Path) -> Result<()>,
}

/// Records golden captures for the tests
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where they are written
    #[arg(long, value_name = "DIR", default_value = "filter-user/tests/captures")]
    into: PathBuf,

    /// Tells what there is, and records nothing
    #[arg(long, conflicts_with_all = ["into", "names"])]
    list: bool,

    /// Which, by the names of their files up to the first dot [default: all]
    names: Vec<String>,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let scenarios: Vec<_> = [closes::SCENARIOS, views::SCENARIOS].concat();
    for name in &arguments.names {
        ensure!(
            scenarios.iter().any(|scenario| scenario.name() == name),
            "there is no capture {name}; see --list"
        );
    }
    let is_wanted = |scenario: &&Scenario| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == scenario.name())
    };
    for scenario in scenarios.iter().filter(is_wanted) {
        println!("{}: {}", scenario.file, scenario.what);
        if arguments.list {
            continue;
        }
        fs::create_dir_all(&arguments.into)
            .with_context(|| format!("cannot make {}", arguments.into.display()))?;
        (scenario.record)(&arguments.into.join(scenario.file))
            .with_context(|| format!("cannot record {}", scenario.file))?;
    }
    Ok(())
}

impl Scenario {
    fn name(&self) -> &str {
        let end = self.file.find('.').unwrap_or(self.file.len());
        &self.file[..end]
    }
}
