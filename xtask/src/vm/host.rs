//! The running kernel: the same script, without a virtual machine.

use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::tally::Tally;
use crate::{
    machine::{Here, Machine},
    process::in_words,
};

/// What `timeout` ends with when the time is over.
const OVER: i32 = 124;

/// What `uname -r` says here.
pub(super) fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim().to_owned()
}

/// Within it what the tests printed last has arrived.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the script, whose place is `file`, and gives an error unless all tests passed.
pub(super) fn run(script: &str, file: &Path, limit: Duration, tally: &mut Tally) -> Result<()> {
    let mut command = command(&Here)?;
    let script = format!("exec 2>&1\n{script}");
    fs::write(file, script).with_context(|| format!("cannot write {}", file.display()))?;
    let limit = limit.as_secs();
    command.arg(limit.to_string()).arg("sh").arg(file);
    let status = finish(&mut command, tally)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(OVER) => bail!("not done after {limit} s (--timeout)"),
        Some(1) => bail!("tests failed"),
        _ => bail!("the tests' script failed ({})", in_words(status)),
    }
}

/// What runs something as root for so long.
fn command(machine: &dyn Machine) -> Result<Command> {
    // A group of its own, which an interrupt from the terminal does not reach; and whatever it has
    // started ends with it.
    let bound = ["--pdeathsig", "TERM", "timeout", "--kill-after=10"];
    if machine.is_root() {
        let mut command = Command::new("setpriv");
        command.args(bound);
        return Ok(command);
    }
    if machine.program("sudo").is_none() {
        bail!(
            "the tests need root, and there is no sudo: run this as root, or name other kernels than host"
        );
    }
    let mut command = Command::new("sudo");
    // A signal for sudo is passed on.
    command.args(["-E", "setpriv"]).args(bound);
    Ok(command)
}

/// Runs it to its end, and shows and counts what is printed until then: something that it has left
/// behind may hold the pipe.
fn finish(command: &mut Command, tally: &mut Tally) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the tests")?;
    let (counted, counts) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            Tally::show_each(stdout, |tally| counted.send(tally.clone()).is_ok())
        });
    }
    let status = child.wait().context("cannot wait for the tests")?;
    let end = Instant::now() + GRACE;
    // Ends at once where the pipe has ended.
    while let Ok(now) = counts.recv_timeout(end.saturating_duration_since(Instant::now())) {
        *tally = now;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::fake::Fake;

    fn words(command: &Command) -> String {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn the_tests_run_as_root_and_end_with_who_started_them() {
        let bound = "setpriv --pdeathsig TERM timeout --kill-after=10";
        assert_eq!(words(&command(&Fake::root()).unwrap()), bound);
        let user = Fake::user().program("sudo");
        assert_eq!(words(&command(&user).unwrap()), format!("sudo -E {bound}"));
        let error = command(&Fake::user()).unwrap_err().to_string();
        assert!(error.contains("run this as root"), "{error}");
    }

    #[test]
    fn what_holds_the_pipe_when_the_tests_have_ended_is_not_waited_for() {
        let start = Instant::now();
        let result = "test result: ok. 3 passed; 0 failed;";
        let script = format!("setsid sleep 30 & echo '{result}'");
        let mut shell = Command::new("timeout");
        shell.args(["60", "sh", "-c", &script]);
        let mut tally = Tally::default();
        assert!(finish(&mut shell, &mut tally).unwrap().success());
        assert_eq!(tally.passed, 3);
        assert!(start.elapsed() < Duration::from_secs(25));
    }
}
