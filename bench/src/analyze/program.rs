//! Programs that read captures, and what one run of them takes.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use wait4::Wait4 as _;

/// What reads a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// `lastack analyze FILE`.
    Lastack(PathBuf),
    /// `capinfos FILE`.
    Capinfos,
    /// `tshark -r FILE`.
    Tshark,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// From its start to its end.
    pub(super) took: Duration,
    /// Of its resident memory, in octets.
    pub(super) peak: u64,
}

impl Program {
    /// As it is typed.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Lastack(_) => "lastack analyze FILE",
            Self::Capinfos => "capinfos FILE",
            Self::Tshark => "tshark -r FILE",
        }
    }

    /// With which it reads `file`. What it prints goes nowhere.
    pub(super) fn command(&self, file: &Path) -> Command {
        let (program, arguments): (&OsStr, &[&str]) = match self {
            Self::Lastack(binary) => (binary.as_os_str(), &["analyze"]),
            Self::Capinfos => ("capinfos".as_ref(), &[]),
            Self::Tshark => ("tshark".as_ref(), &["-r"]),
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(file);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // tshark warns that it runs as root.
            .stderr(Stdio::null());
        command
    }

    pub(super) const fn is_lastack(&self) -> bool {
        matches!(self, Self::Lastack(_))
    }

    pub(super) const fn is_tshark(&self) -> bool {
        matches!(self, Self::Tshark)
    }

    /// The first line of what it says to `--version`.
    pub(super) fn version(&self) -> Result<String> {
        let name = self.command(Path::new("")).get_program().to_owned();
        let output = Command::new(&name).arg("--version").output();
        let output = output.with_context(|| format!("cannot start {}", name.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

impl Run {
    /// Runs a program to its end.
    pub(super) fn of(command: &mut Command) -> Result<Self> {
        let shown = command.get_program().display().to_string();
        let start = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let ended = child
            .wait4()
            .with_context(|| format!("cannot wait for {shown}"))?;
        let took = start.elapsed();
        if !ended.status.success() {
            bail!("{shown} failed ({})", ended.status);
        }
        Ok(Self {
            took,
            peak: ended.rusage.maxrss,
        })
    }
}
