//! The running kernel: the same script, without a virtual machine.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::tally::Tally;
use crate::process::in_words;

/// What `timeout` ends with when the time is over.
const OVER: i32 = 124;

/// What `uname -r` says here.
pub(super) fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim().to_owned()
}

/// Runs the script, whose place is `file`, and gives an error unless all tests passed.
pub(super) fn run(script: &str, file: &Path, limit: Duration, tally: &mut Tally) -> Result<()> {
    let script = format!("exec 2>&1\n{script}");
    fs::write(file, script).with_context(|| format!("cannot write {}", file.display()))?;
    let limit = limit.as_secs();
    let mut child = Command::new("timeout")
        // Whatever it has started ends with it.
        .args(["--kill-after=10", &limit.to_string(), "sh"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start timeout")?;
    *tally = child.stdout.take().map(Tally::show).unwrap_or_default();
    let status = child.wait().context("cannot wait for the tests")?;
    match status.code() {
        Some(0) => Ok(()),
        Some(OVER) => bail!("not done after {limit} s (--timeout)"),
        Some(1) => bail!("tests failed"),
        _ => bail!("the tests' script failed ({})", in_words(status)),
    }
}
