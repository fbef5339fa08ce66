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

/// How long a manager that reads nothing is waited for where it matters, before the message is
/// lost. Signs of life and status lines are not worth holding up what else there is to do.
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
        self.send(&[NotifyState::Ready], Some(PATIENCE));
        self.told = None;
        self.report(datapath);
    }

    /// Settings are read anew, until [`ready`](Self::ready): also where the old ones stay.
    pub fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            // systemd wants both in one message.
            Ok(now) => drop(self.send(&[NotifyState::Reloading, now], Some(PATIENCE))),
            Err(error) => warn!("the service manager is not told of the reload: {error}"),
        }
    }

    /// The end has begun.
    pub fn stopping(&mut self) {
        self.send(&[NotifyState::Stopping], Some(PATIENCE));
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
        self.send(&[NotifyState::Watchdog], None);
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
        if self.send(&[NotifyState::Status(&summary.to_string())], None) {
            self.told = Some((summary, Instant::now()));
        }
    }

    /// Whether it was taken.
    fn send(&mut self, message: &[NotifyState<'_>], patience: Option<Duration>) -> bool {
        let Some(manager) = &self.manager else {
            return false;
        };
        let sent = send(manager, message, patience);
        if let Err(error) = &sent
            && !self.lost
        {
            let manager = manager.display();
            warn!("cannot tell the service manager at {manager}: {error}; going on without it");
        }
        self.lost = sent.is_err();
        !self.lost
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
fn send(
    manager: &OsStr,
    message: &[NotifyState<'_>],
    patience: Option<Duration>,
) -> io::Result<()> {
    let lines: Vec<_> = message.iter().map(ToString::to_string).collect();
    let message = lines.join("\n");
    let socket = UnixDatagram::unbound()?;
    match patience {
        Some(_) => socket.set_write_timeout(patience)?,
        None => socket.set_nonblocking(true)?,
    }
    match socket.send_to_addr(message.as_bytes(), &address(manager)?) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::new(error.kind(), "it does not read"))
        }
        sent => sent.map(drop),
    }
}

fn address(manager: &OsStr) -> io::Result<SocketAddr> {
    match manager.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(manager),
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use nix::time::{ClockId, clock_gettime};

    use super::*;

    /// A service, and its manager's end.
    fn service(name: &str) -> (Service, UnixDatagram) {
        let name = format!("@lastack-{name}-{}", process::id());
        let manager = UnixDatagram::bind_addr(&address(name.as_ref()).unwrap()).unwrap();
        let service = Service {
            manager: Some(name.into()),
            watchdog: None,
            told: None,
            lost: false,
        };
        (service, manager)
    }

    fn clock() -> Duration {
        clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
    }

    #[test]
    fn a_reload_is_told_with_its_time_in_one_message() {
        let (mut service, manager) = service("reload");
        let before = clock();
        service.reloading();
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        let message = str::from_utf8(&message[..length]).unwrap();
        let time = message
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .unwrap();
        let time = time.trim_end().parse().unwrap();
        // To whole microseconds.
        assert!(
            (before.as_micros()..=clock().as_micros()).contains(&time),
            "{message}"
        );
    }

    #[test]
    fn a_manager_that_reads_nothing_does_not_hold_up_signs_of_life() {
        /// More than any queue has.
        const MANY: u32 = 10_000;
        let (mut service, _manager) = service("deaf");
        for _ in 0..MANY {
            service.alive();
        }
        assert!(service.lost);
    }
}
