//! What a service manager is told, as sd_notify(3) says. Nobody is told anything where
//! `NOTIFY_SOCKET` names no socket.

mod summary;

use std::{
    env,
    ffi::{OsStr, OsString},
    future::pending,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use log::warn;
use sd_notify::NotifyState;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use self::summary::Summary;
use crate::datapath::Datapath;

/// How long a manager may take to read a message, before it is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two status lines of which only the figures differ: each costs the manager a signal
/// on its bus.
const FIGURES: Duration = Duration::from_secs(5);

/// The service manager, if there is one.
///
/// The environment stays as it is: `run` starts no other programs.
#[derive(Debug)]
pub struct Service {
    manager: Option<OsString>,
    watchdog: Option<Interval>,
    told: Option<(Summary, Instant)>,
    /// The manager did not take the last message.
    lost: bool,
}

impl Service {
    /// What the environment says of a manager, and of a watchdog that is meant for this process.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn from_environment() -> Self {
        let manager = env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        let watchdog = manager.as_ref().and_then(|_| sd_notify::watchdog_enabled());
        Self {
            manager,
            watchdog: watchdog.and_then(pings),
            told: None,
            lost: false,
        }
    }

    /// Everything that is to be served is, or is waited for: after the start, and after
    /// [`reloading`](Self::reloading).
    pub fn ready(&mut self, datapath: &Datapath) {
        self.send(&[NotifyState::Ready]);
        self.told = None;
        self.report(datapath);
    }

    /// Settings are read anew, until [`ready`](Self::ready): also where the old ones stay.
    pub fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            // systemd wants both in one message.
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => warn!("the service manager is not told of the reload: {error}"),
        }
    }

    /// The end has begun.
    pub fn stopping(&mut self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// Waits until the watchdog is to be told that [`alive`](Self::alive); for ever without one.
    ///
    /// To be awaited by the loop that must not hang.
    pub async fn due(&mut self) {
        match &mut self.watchdog {
            Some(pings) => pings.tick().await,
            None => pending().await,
        };
    }

    /// Keeps the watchdog quiet.
    pub fn alive(&mut self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Brings the status line up to date: what is served at once, figures now and then.
    pub fn report(&mut self, datapath: &Datapath) {
        if self.manager.is_none() {
            return;
        }
        let counters = match datapath.counters() {
            Ok(counters) => counters,
            Err(error) => return warn!("{error}"),
        };
        let summary = Summary::new(&datapath.presences(), &counters);
        if let Some((told, when)) = &self.told
            && (*told == summary || told.served == summary.served && when.elapsed() < FIGURES)
        {
            return;
        }
        self.send(&[NotifyState::Status(&summary.to_string())]);
        self.told = Some((summary, Instant::now()));
    }

    fn send(&mut self, message: &[NotifyState<'_>]) {
        let Some(manager) = &self.manager else {
            return;
        };
        let sent = send(manager, message);
        let lost = sent.is_err();
        if let Err(error) = sent
            && !self.lost
        {
            warn!(
                "cannot tell the service manager at {}: {error}",
                manager.display()
            );
        }
        self.lost = lost;
    }
}

/// Twice in the time after which the watchdog bites.
fn pings(watchdog: Duration) -> Option<Interval> {
    let half = watchdog / 2;
    if half.is_zero() {
        return None;
    }
    let mut pings = interval_at(Instant::now() + half, half);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(pings)
}

/// Not [`sd_notify::notify`], which knows no abstract sockets, and waits for ever where nobody
/// reads.
fn send(manager: &OsStr, message: &[NotifyState<'_>]) -> io::Result<()> {
    let message: String = message.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(message.as_bytes(), &address(manager)?)?;
    Ok(())
}

fn address(manager: &OsStr) -> io::Result<SocketAddr> {
    match manager.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(manager),
    }
}
