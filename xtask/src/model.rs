//! `cargo xtask model`: the exploration of every run of a small close, optimised.

use std::{
    fs::File,
    io::{self, stdout},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    process::{in_words, visibly},
    workspace,
};

const RUN: [&str; 5] = ["run", "--quiet", "--release", "--package=model", "--"];

/// Options of `cargo xtask model`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Explores further: about an hour, and several gigabytes of memory
    #[arg(long)]
    deep: bool,
    /// Explores only this one, and breaks nothing
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Shows the run by which each mutant is caught
    #[arg(long)]
    traces: bool,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut model = workspace::cargo(RUN);
    model.args(arguments.deep.then_some("--deep"));
    model.args(arguments.traces.then_some("--traces"));
    if let Some(name) = &arguments.only {
        model.args(["--only", name]);
    }
    visibly(&mut model)
}

/// The verb, beside something that waits more than it works: it takes what nobody else wants.
pub(crate) struct Aside {
    child: Child,
    log: PathBuf,
}

impl Aside {
    /// Starts it; what it prints is kept back.
    pub(crate) fn start() -> Result<Self> {
        let log = workspace::root().join("target/model.log");
        let file = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (for_errors, file) = file.with_context(|| format!("cannot write {}", log.display()))?;
        // It ends with this process, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "nice", "-n", "19"])
            .arg(workspace::cargo_program())
            .args(RUN)
            .current_dir(workspace::root())
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(for_errors)
            .spawn()
            .context("cannot start setpriv")?;
        Ok(Self { child, log })
    }

    /// Waits for its end, and prints what it printed.
    pub(crate) fn finish(mut self) -> Result<()> {
        let status = self.child.wait().context("cannot wait for the model")?;
        let printed = File::open(&self.log).and_then(|mut log| io::copy(&mut log, &mut stdout()));
        printed.with_context(|| format!("cannot show {}", self.log.display()))?;
        if !status.success() {
            bail!("the model did not hold ({})", in_words(status));
        }
        Ok(())
    }
}

impl Drop for Aside {
    /// Where something else has failed, nobody waits for it.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
