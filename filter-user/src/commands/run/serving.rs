//! The loop of a running instance.

use std::{
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use log::{info, warn};
use tokio::{
    sync::{
        broadcast::{Receiver, Sender},
        mpsc,
    },
    time::{Instant, Interval, MissedTickBehavior, interval, interval_at},
};

use super::{
    answering::Removal,
    events,
    keeper::Keeper,
    lock,
    reload::Asked,
    signals::{self, Signals},
    told::Told,
};
use crate::{
    datapath::{Datapath, DatapathError},
    one_sided::OneSided,
    privilege,
    report::Event,
    service::Service,
    stream::Stream,
};

/// Between two looks for closes of which one direction is seen.
const LOOK: Duration = Duration::from_secs(1);

/// An instance at work.
pub(super) struct Serving<'a> {
    pub(super) asked: Asked<'a>,
    pub(super) datapath: Arc<Mutex<Datapath>>,
    pub(super) one_sided: Arc<Mutex<OneSided>>,
    pub(super) keeper: Keeper,
    pub(super) stream: Stream,
    pub(super) service: Service,
    pub(super) told: Told,
    /// To whom events go.
    pub(super) watchers: Sender<Event>,
    /// One of them.
    pub(super) events: Receiver<Event>,
}

impl Serving<'_> {
    /// Serves until a signal, or until somebody asks for what was attached to be taken off; then
    /// that is done, and whoever has asked is answered.
    pub(super) async fn until_end(
        mut self,
        signals: &mut Signals,
        mut removals: mpsc::Receiver<Removal>,
    ) -> anyhow::Result<()> {
        self.service.ready(&lock(&self.datapath));
        let mut ticks = every(self.asked.now().interval);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (reason, removal) = loop {
            tokio::select! {
                _ = ticks.tick() => self.print(),
                _ = looks.tick() => self.look(),
                event = self.events.recv() => {
                    events::print(&mut self.stream, event, &mut self.events);
                }
                () = self.keeper.due() => privilege::raised(|| {
                    self.keeper.look(&mut lock(&self.datapath), &mut self.stream);
                }),
                () = self.service.due() => self.service.alive(),
                signal = signals.next() => match signal {
                    signals::Asked::End(signal) => break (signal, None),
                    signals::Asked::Reload => {
                        let before = self.asked.now().interval;
                        self.reload().await?;
                        let now = self.asked.now().interval;
                        if now != before {
                            ticks = every(now);
                        }
                    }
                },
                Some(removal) = removals.recv() => break ("lastack detach", Some(removal)),
            }
        };
        self.service.stopping();
        self.print();
        let ended = privilege::raised(|| end(&mut lock(&self.datapath), reason, removal.is_some()));
        self.told.end().await?;
        events::print_rest(&mut self.stream, &mut self.events);
        let stays = lock(&self.datapath).pins().is_some() && removal.is_none();
        self.stream.ended(stays);
        // Those that ask from now on are not left waiting.
        drop(removals);
        if let Some(removal) = removal {
            removal.done(&ended);
        }
        Ok(ended?)
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        self.service.reloading();
        let has_replaced = privilege::raised(|| {
            self.asked
                .reload(&mut lock(&self.datapath), &mut self.stream)
        });
        if has_replaced {
            // First the new ones, so that their buffers are not full before they are read.
            let now = Told::by(&self.datapath, &self.watchers).unwrap_or_else(|error| {
                warn!("{error:#}; going on without it");
                Told::default()
            });
            mem::replace(&mut self.told, now).end().await?;
            // What could not be replaced is off its hook, and is put on again at once.
            privilege::raised(|| {
                self.keeper
                    .look(&mut lock(&self.datapath), &mut self.stream);
            });
        }
        self.service.ready(&lock(&self.datapath));
        Ok(())
    }

    fn print(&mut self) {
        match lock(&self.datapath).counters() {
            Ok(counters) => self.stream.counters(&counters),
            Err(error) => warn!("{error}"),
        }
    }

    /// Looks for interfaces of which one direction is seen, and says how things are.
    fn look(&mut self) {
        let datapath = lock(&self.datapath);
        self.service.report(&datapath);
        let counters = match datapath.counters() {
            Ok(counters) => counters,
            Err(error) => return warn!("{error}"),
        };
        for suspicion in lock(&self.one_sided).look(std::time::Instant::now(), &counters) {
            warn!("{suspicion}");
            self.stream.one_sided(&suspicion);
        }
    }
}

fn every(time: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + time, time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Detaches, or leaves what is pinned at work unless it was asked to detach.
fn end(
    datapath: &mut Datapath,
    reason: &str,
    was_asked_to_detach: bool,
) -> Result<(), DatapathError> {
    match datapath.pins() {
        Some(pins) if !was_asked_to_detach => info!(
            "{reason}: leaving the programs at work, pinned in {}; `lastack detach` takes them off",
            pins.directory().display()
        ),
        _ => info!("{reason}: detaching"),
    }
    if was_asked_to_detach {
        datapath.detach()
    } else {
        datapath.leave()
    }
}
