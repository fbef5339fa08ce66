//! What the programs tell while they are at work; of others it is listened to anew.

use std::sync::{Arc, Mutex};

use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};

use super::{
    decisions::log_decisions,
    events::{self, EventReader},
    lock,
};
use crate::{datapath::Datapath, report::Event, settings::LogDecisions};

/// Those who listen to the programs that are at work now.
#[derive(Default)]
pub(super) struct Told {
    decisions: Option<(watch::Sender<()>, JoinHandle<()>)>,
    events: Option<EventReader>,
}

impl Told {
    /// Listens to what the settings have the programs tell; events go to `watchers`.
    pub(super) fn by(
        datapath: &Arc<Mutex<Datapath>>,
        watchers: &broadcast::Sender<Event>,
    ) -> anyhow::Result<Self> {
        let mut told = Self::default();
        let mut loaded = lock(datapath);
        if loaded.settings().log_decisions != LogDecisions::Off {
            let (stop, stopped) = watch::channel(());
            let names = events::names(Arc::clone(datapath));
            told.decisions = Some((stop, log_decisions(&mut loaded, names, stopped)?));
        }
        if let Some(events) = loaded.take_events()? {
            let names = events::names(Arc::clone(datapath));
            told.events = Some(EventReader::start(events, names, watchers.clone())?);
        }
        Ok(told)
    }

    /// Takes what is left of it.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        if let Some((stop, decisions)) = self.decisions {
            drop(stop);
            decisions.await?;
        }
        if let Some(events) = self.events {
            events.stop().await?;
        }
        Ok(())
    }
}
