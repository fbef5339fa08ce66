//! The signals that end `lastack run`, or have it read its configuration again.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks for an end in good order, or for a look at the configuration.
pub(super) struct Signals {
    /// None where it is ignored, as nohup has it.
    hangup: Option<Signal>,
    reloads: bool,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To end; the signal's name.
    End(&'static str),
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// `reloads`: SIGHUP asks for that, whoever ignores it. Else it comes from a terminal that goes
    /// away, and asks for the end.
    pub(super) fn new(reloads: bool) -> std::io::Result<Self> {
        let heeds_hangup = reloads || !is_hangup_ignored()?;
        Ok(Self {
            hangup: heeds_hangup
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
            reloads,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            () = hangup(self.hangup.as_mut()) => {
                if self.reloads { Asked::Reload } else { Asked::End("SIGHUP") }
            }
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.quit.recv() => Asked::End("SIGQUIT"),
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
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
