//! The packet programs in the kernel: loaded, attached, read, detached.

mod attach;
mod batch;
mod changes;
mod clock;
pub(crate) mod clsact;
pub(crate) mod driver;
mod error;
mod events;
mod hook;
mod interface;
pub(crate) mod kernel;
pub mod left;
mod load;
mod mark;
pub(crate) mod netlink;
mod pins;
mod presence;
mod record;
mod reload;
mod scope;
mod tables;
mod unpin;
mod verify;

use std::{path::PathBuf, sync::Arc, time::Duration};

use aya::Ebpf;
use filter_common::policy::{Configuration, INTERFACE_PROBES, MOST_INTERFACES, UNSERVED};
use log::warn;

pub use self::{
    attach::Attached,
    changes::Changes,
    clock::Clock,
    error::DatapathError,
    events::Events,
    hook::Hook,
    interface::{Condition, Interface, LinkState},
    load::{OBJECT, TELLING_OBJECT},
    pins::Pins,
    presence::{Loss, Presence},
    tables::{Query, Tables},
};
use self::{
    attach::Links,
    mark::Mark,
    pins::{PrivatePins, SHARED},
    record::Remembered,
};
pub(crate) use self::{
    error::kernel_answer,
    hook::uses_tcx,
    load::{is_realtime, missing_capabilities},
};
use crate::{counters::Counters, instance::InstanceName, report::Timestamp, settings::Settings};

/// The loaded programs and what they are attached to.
///
/// Dropping it detaches everything that is not pinned. If the process dies, the kernel does that;
/// only a clsact filter (as on kernels before 6.6) outlives it.
pub struct Datapath {
    ebpf: Ebpf,
    settings: Settings,
    configuration: Configuration,
    named: Vec<Named>,
    place: Place,
    /// By which its filters in clsact are known.
    mark: Mark,
    /// What an earlier process left, as far as it has not been taken over yet.
    left: Vec<Remembered>,
    /// Of what lastack an earlier process made what is pinned, if one did.
    took_over: Option<String>,
    since: Timestamp,
    /// The same since the machine's boot.
    began: Duration,
    tables: Arc<Tables>,
}

/// An interface to serve, which whoever has the name is.
struct Named {
    name: String,
    served: Option<Served>,
    /// What was counted on those that had the name before.
    before: Counters,
    losses: u64,
    /// Why it could not be attached to.
    trouble: Option<String>,
}

struct Served {
    interface: Interface,
    /// Of the map of counters.
    entry: u32,
    links: Links,
    /// Whether an earlier process has put it on.
    was_there: bool,
}

/// Where the maps are, by which programs can be replaced.
enum Place {
    /// Where they outlive this process.
    Pinned(Pins),
    /// Where they do not.
    Private(PrivatePins),
    /// Nowhere: they are only this process's descriptors.
    Nowhere,
}

/// What serves one interface.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The name that it was given with.
    pub interface: String,
    /// The kernel's number of it.
    pub index: u32,
    /// What it let through then.
    pub condition: Condition,
    /// The programs, arriving packets first.
    pub attached: Vec<Attached>,
    /// Why the ingress hook is not a better one.
    pub note: Option<String>,
}

/// The counters of one interface, summed over all CPUs.
#[derive(Clone, Debug)]
pub struct InterfaceCounters {
    /// The name that it was given with.
    pub interface: String,
    /// Since the programs were loaded, on whatever has had the name.
    pub counters: Counters,
}

impl Datapath {
    /// Creates maps and programs with `settings`. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// Where capabilities are missing, or the kernel refuses a map.
    pub fn load(settings: &Settings) -> Result<Self, DatapathError> {
        let place = PrivatePins::new().map_or(Place::Nowhere, Place::Private);
        Self::load_at(settings, place, None)
    }

    /// Gives it a name that no other process has while this one runs: filters in clsact that one with
    /// this name had when it was killed are taken off, and the next of this name knows those of this
    /// one, unless it is pinned. To be called before it is attached to anything.
    ///
    /// # Errors
    ///
    /// Where such a filter cannot be taken off.
    pub fn take_name(&mut self, name: &InstanceName) -> Result<(), DatapathError> {
        let mark = Mark::of_name(name);
        if self.mark == Mark::None {
            self.mark = mark;
        }
        for (interface, hook) in left::remove_marked(mark)? {
            warn!(
                "{interface}: {} was left by a process of this name that was killed: detached",
                hook.as_str()
            );
        }
        Ok(())
    }

    fn load_at(
        settings: &Settings,
        place: Place,
        secret: Option<u64>,
    ) -> Result<Self, DatapathError> {
        let (mut ebpf, configuration) = load::load(settings, &place.maps(), secret)?;
        let tables = Arc::new(Tables::take(&mut ebpf)?);
        Ok(Self {
            ebpf,
            settings: settings.clone(),
            configuration,
            named: Vec::new(),
            mark: place.pins().map_or(Mark::None, Pins::mark),
            place,
            left: Vec::new(),
            took_over: None,
            since: Timestamp::now(),
            began: clock::since_boot(),
            tables,
        })
    }

    /// Attaches them to both directions of an interface of the calling thread's network
    /// namespace.
    ///
    /// # Errors
    ///
    /// Where the interface cannot be served as the settings ask; then nothing is attached
    /// to it.
    pub fn attach(&mut self, interface: &str) -> Result<Attachment, DatapathError> {
        let is_known = |named: &Named| named.name == interface;
        match self.serve(interface) {
            Ok(served) => {
                let known = self.named.iter().position(is_known);
                let place = known.map_or_else(
                    || {
                        let named = self.remembered(interface, Some(&served))?;
                        self.named.push(named);
                        Ok(self.named.len() - 1)
                    },
                    Ok,
                )?;
                let attachment = self.named[place].set(served);
                // It is served, whatever becomes of the notes on it.
                self.remember().unwrap_or_else(|error| warn!("{error}"));
                Ok(attachment)
            }
            Err(error) => {
                if let Some(named) = self.named.iter_mut().find(|named| is_known(named)) {
                    let is_there = !matches!(error, DatapathError::NoInterface(_));
                    named.trouble = is_there.then(|| error.to_string());
                }
                Err(error)
            }
        }
    }

    fn serve(&mut self, name: &str) -> Result<Served, DatapathError> {
        let interface = Interface::find(name)?;
        if self
            .served()
            .any(|served| served.interface.index == interface.index)
        {
            return Err(DatapathError::Twice(interface.name));
        }
        if let Some(served) = self.adopt(name, &interface)? {
            return Ok(served);
        }
        // Before the programs see its first packet.
        let entry = self.claim_entry(name, &interface)?;
        let known_by = (self.place.pins(), self.mark);
        let attached = Links::attach(&mut self.ebpf, &interface, &self.settings, known_by);
        // Another may have got the name meanwhile, and some of the programs.
        let still = match Interface::find(name) {
            Ok(now) if now.index == interface.index => Ok(()),
            Ok(_) => Err(DatapathError::NoInterface(name.to_owned())),
            Err(error) => Err(error),
        };
        let failure = match (attached, still) {
            (Ok(links), Ok(())) => {
                return Ok(Served {
                    interface,
                    entry,
                    links,
                    was_there: false,
                });
            }
            (Err(error), Ok(())) | (_, Err(error)) => error,
        };
        // What went wrong first is what has to be said.
        drop(self.tables.set_owner(entry, 0));
        Err(failure)
    }

    /// What it was asked to do.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was fixed in the programs when they were loaded.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What is attached where.
    #[must_use]
    pub fn attachments(&self) -> Vec<Attachment> {
        self.named.iter().filter_map(Named::attachment).collect()
    }

    /// Reads the counters of every interface.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give them.
    pub fn counters(&self) -> Result<Vec<InterfaceCounters>, DatapathError> {
        self.named
            .iter()
            .map(|named| {
                let mut counters = named.before;
                if let Some(served) = &named.served {
                    counters += self.tables.counters(served.entry)?;
                }
                Ok(InterfaceCounters {
                    interface: named.name.clone(),
                    counters,
                })
            })
            .collect()
    }

    /// Reads what was counted of packets on interfaces that are not served: nothing, unless
    /// something else runs the programs, or an interface lost its entry.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give it.
    pub fn unserved_counters(&self) -> Result<Counters, DatapathError> {
        self.tables.counters(UNSERVED)
    }

    /// The maps that are read while the programs run: without this, so that nobody waits for a long
    /// reading.
    #[must_use]
    pub fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    /// The name that the served interface with this index was given with.
    #[must_use]
    pub fn name_of(&self, index: u32) -> Option<&str> {
        let mut named = self.named.iter();
        let named = named.find(|named| {
            let served = named.served.as_ref();
            served.is_some_and(|served| served.interface.index == index)
        });
        named.map(|named| named.name.as_str())
    }

    /// The object with its programs and its other maps.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Detaches everything.
    ///
    /// # Errors
    ///
    /// The first thing that could not be taken off; everything is tried.
    pub fn detach(&mut self) -> Result<(), DatapathError> {
        let mut first = Ok(());
        for Served {
            interface, links, ..
        } in self.named.drain(..).filter_map(|named| named.served)
        {
            if let Err(error) = links.detach()
                && first.is_ok()
            {
                first = Err(DatapathError::Detach {
                    interface: interface.name,
                    error,
                });
            }
        }
        if !uses_tcx(self.settings.tc_mode) {
            // Those that it lost sight of when they could not be taken off.
            first = first.and(left::remove_marked(self.mark).map(drop));
        }
        first.and(self.place.pins().map_or(Ok(()), Pins::remove_all))
    }

    fn served(&self) -> impl Iterator<Item = &Served> {
        self.named.iter().filter_map(|named| named.served.as_ref())
    }

    /// Takes the first free entry of those that the programs look at, and begins to count there
    /// anew; or goes on with the one of an earlier process, which served the same.
    fn claim_entry(&mut self, name: &str, interface: &Interface) -> Result<u32, DatapathError> {
        let probes = (0..INTERFACE_PROBES)
            .map(|probe| interface.index.wrapping_add(probe) % MOST_INTERFACES)
            .filter(|&entry| entry != UNSERVED);
        let kept = self.left_place(name, interface).map(|place| place.entry);
        let is_kept = |entry| kept == Some(entry);
        for entry in probes.clone().filter(|&entry| !is_kept(entry)) {
            // Of an earlier process, which served it by another name.
            if self.tables.is_owner(entry, interface.index)? {
                self.tables.set_owner(entry, 0)?;
            }
        }
        if let Some(entry) = kept
            && self.tables.is_owner(entry, interface.index)?
        {
            return Ok(entry);
        }
        let taken = |entry| {
            self.served().any(|served| served.entry == entry)
                || self.left.iter().any(|left| left.has_entry(entry))
        };
        let entry = probes.clone().find(|&entry| !taken(entry));
        let entry =
            entry.ok_or_else(|| DatapathError::TooManyInterfaces(interface.name.clone()))?;
        self.tables.clear(entry)?;
        self.tables.set_owner(entry, interface.index)?;
        Ok(entry)
    }
}

impl Place {
    /// Where each shared map is; none where they are nowhere.
    fn maps(&self) -> Vec<(&'static str, PathBuf)> {
        let path = |name| match self {
            Self::Pinned(pins) => Some((name, pins.map(name))),
            Self::Private(pins) => Some((name, pins.map(name))),
            Self::Nowhere => None,
        };
        SHARED.into_iter().filter_map(path).collect()
    }

    fn pins(&self) -> Option<&Pins> {
        match self {
            Self::Pinned(pins) => Some(pins),
            Self::Private(_) | Self::Nowhere => None,
        }
    }
}

impl Named {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            served: None,
            before: Counters::default(),
            losses: 0,
            trouble: None,
        }
    }

    fn set(&mut self, served: Served) -> Attachment {
        self.trouble = None;
        served_as(&self.name, self.served.insert(served))
    }

    fn attachment(&self) -> Option<Attachment> {
        self.served
            .as_ref()
            .map(|served| served_as(&self.name, served))
    }
}

fn served_as(name: &str, served: &Served) -> Attachment {
    Attachment {
        interface: name.to_owned(),
        index: served.interface.index,
        condition: served.interface.condition,
        attached: served.links.attached(),
        note: served.links.note.clone(),
    }
}
