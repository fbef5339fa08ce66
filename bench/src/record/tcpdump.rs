//! The system's tcpdump in a namespace, and the programs that make other files of its.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use filter_user::lab::namespace::Namespace;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// TCP, and nothing that hosts send on their own account.
pub(super) const TCP: &str = "tcp";
/// On a device that gets nothing else.
pub(super) const ALL: &str = "";

/// How long it may take to write what has come.
const WRITING: Duration = Duration::from_millis(200);

/// A running tcpdump. Dropping it kills it.
pub(super) struct Tcpdump {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Tcpdump {
    /// Starts it; when this returns, it listens. `filter`: which packets it takes.
    pub(super) fn start(
        namespace: &Namespace,
        interface: &str,
        options: &[&str],
        filter: &str,
        file: &Path,
    ) -> Result<Self> {
        let mut tcpdump = Command::new("tcpdump");
        // The directory may be root's.
        tcpdump
            .args(["-n", "--immediate-mode", "--packet-buffered", "-Z", "root"])
            // Room for all that comes.
            .args(["-B", "16384"])
            .args(["-i", interface, "-w"])
            .arg(file)
            .args(options)
            .arg(filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = namespace.spawn(tcpdump)?;
        let stderr = child.stderr.take().context("tcpdump has no output")?;
        let mut tcpdump = Self {
            child,
            said: BufReader::new(stderr),
        };
        let mut said = String::new();
        while !said.contains("listening on") {
            let length = tcpdump.said.read_line(&mut said)?;
            ensure!(length > 0, "tcpdump: {said}");
        }
        Ok(tcpdump)
    }

    /// Ends it. It has missed no packet.
    pub(super) fn stop(mut self) -> Result<()> {
        // It leaves what it has not read yet.
        thread::sleep(WRITING);
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGINT)?;
        let mut summary = String::new();
        self.said.read_to_string(&mut summary)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "tcpdump: {status}: {summary}");
        let count = |what| {
            let mut lines = summary.lines();
            lines.find_map(|line| line.strip_suffix(what)?.trim().parse::<u64>().ok())
        };
        let captured = count("packets captured");
        let is_whole = captured.is_some()
            && captured == count("packets received by filter")
            && count("packets dropped by kernel") == Some(0);
        ensure!(is_whole, "tcpdump: {summary}");
        Ok(())
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // It has ended if it was stopped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program of the system.
pub(super) fn tool(program: &str, arguments: &[&Path]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
