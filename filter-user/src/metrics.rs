//! What Prometheus scrapes.

mod families;
mod format;
mod occasional;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use log::warn;

use self::families::Families;
pub use self::format::Format;
use self::occasional::Occasional;
use crate::{
    datapath::{Attachment, Datapath, InterfaceCounters, Presence},
    one_sided::OneSided,
    settings::Settings,
};

/// The metrics of a running instance.
#[derive(Clone)]
pub struct Metrics {
    datapath: Arc<Mutex<Datapath>>,
    one_sided: Arc<Mutex<OneSided>>,
    is_reloaded: Arc<AtomicBool>,
    flows: Occasional,
}

/// What was read of an instance for one scrape.
struct Snapshot {
    settings: Settings,
    /// With the closes that were seen from one side.
    interfaces: Vec<(InterfaceCounters, u64)>,
    presences: Vec<Presence>,
    attachments: Vec<Attachment>,
    events_lost: u64,
    is_reloaded: bool,
}

impl Metrics {
    /// The metrics of `datapath`, and of what looks at it. `is_reloaded`: whether the settings that
    /// were last read are in force.
    #[must_use]
    pub fn new(
        datapath: Arc<Mutex<Datapath>>,
        one_sided: Arc<Mutex<OneSided>>,
        is_reloaded: Arc<AtomicBool>,
    ) -> Self {
        Self {
            datapath,
            one_sided,
            is_reloaded,
            flows: Occasional::default(),
        }
    }

    /// Reads everything and writes it in a format.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give the counters.
    pub async fn encode(&self, format: Format) -> anyhow::Result<String> {
        let families = Families::new()?;
        families.add(&self.snapshot()?);
        if let Some(flows) = self.flows().await {
            families.flows(flows);
        }
        format.encode(&families.gather())
    }

    /// The interfaces that are not served although they are to be, and what is known of why.
    #[must_use]
    pub fn unserved(&self) -> Vec<(String, Option<String>)> {
        let presences = lock(&self.datapath).presences().into_iter();
        presences
            .filter(|presence| !presence.served)
            .map(|presence| (presence.interface, presence.trouble))
            .collect()
    }

    /// How many flows there are; none where that is not known, or not yet.
    async fn flows(&self) -> Option<u64> {
        let (tables, policy) = {
            let datapath = lock(&self.datapath);
            (datapath.tables(), datapath.configuration().policy())
        };
        let count = move || match tables.count_flows(&policy) {
            Ok(flows) => Some(flows),
            Err(error) => {
                warn!("metrics: {error}");
                None
            }
        };
        self.flows.number(count).await
    }

    /// Takes nobody's lock for longer than reading takes.
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let datapath = lock(&self.datapath);
        let counters = datapath.counters()?.into_iter();
        let one_sided = lock(&self.one_sided);
        let with_one_sided = |counters: InterfaceCounters| {
            let one_sided = one_sided.of(&counters.interface);
            (counters, one_sided)
        };
        Ok(Snapshot {
            settings: datapath.settings().clone(),
            interfaces: counters.map(with_one_sided).collect(),
            presences: datapath.presences(),
            attachments: datapath.attachments(),
            events_lost: datapath.tables().events_lost()?,
            is_reloaded: self.is_reloaded.load(Ordering::Relaxed),
        })
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
