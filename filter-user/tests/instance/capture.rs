//! tcpdump on an interface: what the stack sees there, behind XDP and before TC.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use filter_user::lab::namespace::Namespace;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A running tcpdump.
pub(crate) struct Capture {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Capture {
    /// Starts it; when this returns, it listens.
    pub(crate) fn start(namespace: &Namespace, interface: &str, filter: &str) -> Self {
        let mut command = Command::new("tcpdump");
        // No names, no times, absolute numbers; nothing held back, and room for all that comes.
        let options = "-nntS --immediate-mode -s 128 -B 16384 -i";
        command.args(options.split(' ')).args([interface, filter]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = namespace.spawn(command).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "tcpdump ended");
        }
        child.stderr = Some(stderr.into_inner());
        Self { child, stdout }
    }

    /// Ends it, and gives a line for each packet. Not one was missed.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        let lines: Vec<_> = self.stdout.by_ref().lines().map(Result::unwrap).collect();
        let mut summary = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut summary).unwrap();
        assert!(self.child.wait().unwrap().success(), "{summary}");
        assert!(
            summary.contains("\n0 packets dropped by kernel"),
            "{summary}"
        );
        lines
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
