//! `cargo xtask build`: the lastack binary, with the packet programs inside.

use std::{
    io::{BufRead as _, BufReader, IsTerminal as _, Read as _, stderr},
    path::PathBuf,
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    process::{Clock, in_words},
    setup, workspace,
};

/// Options of `cargo xtask build`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Optimised, as it is by default
    #[arg(long, hide = true)]
    release: bool,
    /// Without optimisation, for a quicker build
    #[arg(long, conflicts_with = "release")]
    dev: bool,
}

impl Arguments {
    /// Optimised or not.
    pub(crate) const fn dev(dev: bool) -> Self {
        Self {
            release: false,
            dev,
        }
    }
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("{}", lastack(arguments)?.display());
    Ok(())
}

/// Sets up, builds, and tells where the binary is.
pub(crate) fn lastack(arguments: &Arguments) -> Result<PathBuf> {
    setup::ensure()?;
    eprintln!("building lastack");
    let mut command = workspace::cargo([
        "build",
        "--quiet",
        "--package=filter-user",
        "--bin=lastack",
        "--message-format=json-render-diagnostics",
    ]);
    if !arguments.dev {
        command.arg("--release");
    }
    if stderr().is_terminal() {
        command.arg("--color=always");
    }
    let mut cargo = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    // Kept back until the end, or the clock would run through cargo's lines.
    let messages = cargo.stderr.take().map(|mut stderr| {
        thread::spawn(move || {
            let mut messages = Vec::new();
            let read = stderr.read_to_end(&mut messages);
            read.map(|_| String::from_utf8_lossy(&messages).into_owned())
        })
    });
    let artifacts = cargo.stdout.take().map(|stdout| {
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines
                .filter_map(|line| workspace::executable(&line, "lastack"))
                .last()
        })
    });
    let clock = Clock::start();
    let status = loop {
        if let Some(status) = cargo.try_wait().context("cannot wait for cargo")? {
            break status;
        }
        clock.show();
        thread::sleep(Duration::from_millis(50));
    };
    clock.clear();
    if let Some(Ok(Ok(messages))) = messages.map(thread::JoinHandle::join) {
        eprint!("{messages}");
    }
    if !status.success() {
        bail!("lastack was not built: cargo failed ({})", in_words(status));
    }
    if clock.seconds() > 5 {
        eprintln!("built in {} s", clock.seconds());
    }
    let built = artifacts.and_then(|reader| reader.join().ok()).flatten();
    built.context("cargo built no lastack binary")
}
