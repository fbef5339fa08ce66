//! Hands on what the programs report, to whoever watches.

#![expect(
    unsafe_code,
    reason = "registering a descriptor is a promise to keep it open"
)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use log::warn;
use tokio::{
    io::unix::AsyncFd,
    sync::{
        broadcast::{
            Receiver, Sender,
            error::{RecvError, TryRecvError},
        },
        watch,
    },
    task::{JoinHandle, yield_now},
};

use crate::{
    datapath::{Datapath, Events},
    report::Event,
    stream::Stream,
};

/// Events that wait for a watcher who is slow; it misses the oldest of more.
pub(super) const BACKLOG: usize = 8192;
/// Events that are handed on before watchers get their turn.
const AT_ONCE: usize = 256;

/// Reads one ring buffer. Where programs are replaced, a reader of theirs is started before this
/// one is stopped.
pub(super) struct EventReader {
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl EventReader {
    /// Hands on what comes through `events`. `name` gives the name of an interface by its index.
    pub(super) fn start(
        events: Events,
        mut name: impl FnMut(u32) -> Option<String> + Send + 'static,
        watchers: Sender<Event>,
    ) -> anyhow::Result<Self> {
        // SAFETY: the ring buffer owns its descriptor and gives the same one for as long as it
        // lives.
        let events = unsafe { AsyncFd::register(events) };
        let mut events = events.context("cannot wait for events")?;
        let (stop, mut stopped) = watch::channel(());
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Ok(mut ready) = events.readable_mut() => {
                        if hand_on(ready.get_inner_mut(), &mut name, &watchers) {
                            ready.clear_ready();
                        }
                    }
                    _ = stopped.changed() => break,
                }
                yield_now().await;
            }
            while !hand_on(events.get_mut(), &mut name, &watchers) {
                yield_now().await;
            }
        });
        Ok(Self { stop, task })
    }

    /// Hands on what there is, and stops.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.task.await.context("events were not read to the end")
    }
}

/// Whether that was all.
fn hand_on(
    events: &mut Events,
    name: &mut impl FnMut(u32) -> Option<String>,
    watchers: &Sender<Event>,
) -> bool {
    for _ in 0..AT_ONCE {
        let Some(record) = events.next() else {
            return true;
        };
        match Event::new(&record, &mut *name) {
            // Nobody may watch now.
            Ok(event) => drop(watchers.send(event)),
            Err(error) => warn!("an event is left out: {error}"),
        }
    }
    false
}

/// Prints an event that was waited for, and every other that is there.
pub(super) fn print(
    stream: &mut Stream,
    first: Result<Event, RecvError>,
    events: &mut Receiver<Event>,
) {
    match first {
        Ok(event) => stream.report(&event),
        Err(RecvError::Lagged(missed)) => warn_of(missed),
        Err(RecvError::Closed) => return,
    }
    print_rest(stream, events);
}

/// Prints every event that is there.
pub(super) fn print_rest(stream: &mut Stream, events: &mut Receiver<Event>) {
    loop {
        match events.try_recv() {
            Ok(event) => stream.report(&event),
            Err(TryRecvError::Lagged(missed)) => warn_of(missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

fn warn_of(missed: u64) {
    warn!("{missed} events were not printed: there were too many at once");
}

/// Gives the names of interfaces by their index: those that are served, and those that were when
/// they were last asked for, since events outlive that.
pub(super) fn names(datapath: Arc<Mutex<Datapath>>) -> impl FnMut(u32) -> Option<String> + Send {
    let mut known = HashMap::new();
    move |index| {
        let datapath = datapath.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = datapath.name_of(index) {
            known.insert(index, name.to_owned());
        }
        known.get(&index).cloned()
    }
}
