//! The signals that end `lastack run`.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks for an end in good order: a terminal that goes away does, too.
pub(super) struct Signals {
    /// None where it is ignored, as nohup has it.
    hangup: Option<Signal>,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: (!is_hangup_ignored()?)
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            () = hangup(self.hangup.as_mut()) => "SIGHUP",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

async fn hangup(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with SIGHUP ignored (`SigIgn` of proc(5)).
fn is_hangup_ignored() -> std::io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(ignored.is_some_and(|mask| mask & 1 << (nix::libc::SIGHUP - 1) != 0))
}
