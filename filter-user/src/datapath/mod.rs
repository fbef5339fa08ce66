//! The packet programs in the kernel: loaded, attached, read, detached.

mod attach;
pub(crate) mod clsact;
pub(crate) mod driver;
mod error;
mod interface;
mod load;
pub(crate) mod netlink;
mod scope;
mod verify;

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, PerCpuArray},
};
use filter_common::{
    Reason,
    policy::{Configuration, INTERFACE_PROBES, MOST_INTERFACES},
};

use self::attach::Links;
pub(crate) use self::{
    attach::uses_tcx,
    error::kernel_answer,
    interface::Interface,
    load::{is_realtime, missing_capabilities},
};
pub use self::{
    attach::{Attached, Hook},
    error::DatapathError,
    load::OBJECT,
};
use crate::{counters::Counters, settings::Settings};

/// The loaded programs and what they are attached to.
///
/// Dropping it detaches everything. If the process dies, the kernel does that; only a
/// clsact filter (as on kernels before 6.6) outlives it.
pub struct Datapath {
    ebpf: Ebpf,
    settings: Settings,
    configuration: Configuration,
    served: Vec<Served>,
    interfaces: Array<MapData, u32>,
    counters: PerCpuArray<MapData, [u64; Reason::COUNT]>,
}

struct Served {
    interface: Interface,
    /// Of the map of counters.
    entry: u32,
    links: Links,
}

/// What serves one interface.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The interface's name.
    pub interface: String,
    /// The programs, arriving packets first.
    pub attached: Vec<Attached>,
    /// Why the ingress hook is not a better one.
    pub note: Option<String>,
}

/// The counters of one interface, summed over all CPUs.
#[derive(Clone, Debug)]
pub struct InterfaceCounters {
    /// The interface's name.
    pub interface: String,
    /// Since the programs were loaded.
    pub counters: Counters,
}

impl Datapath {
    /// Creates maps and programs with `settings`. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// Where capabilities are missing, or the kernel refuses a map.
    pub fn load(settings: &Settings) -> Result<Self, DatapathError> {
        let (mut ebpf, configuration) = load::load(settings)?;
        let interfaces = take(&mut ebpf, "INTERFACES")?;
        let counters = take(&mut ebpf, "COUNTERS")?;
        Ok(Self {
            ebpf,
            settings: settings.clone(),
            configuration,
            served: Vec::new(),
            interfaces,
            counters,
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
        let interface = Interface::find(interface)?;
        if self
            .served
            .iter()
            .any(|served| served.interface.index == interface.index)
        {
            return Err(DatapathError::Twice(interface.name));
        }
        // Before the programs see its first packet.
        let entry = self.claim_entry(&interface)?;
        let links = match Links::attach(&mut self.ebpf, &interface, &self.settings) {
            Ok(links) => links,
            Err(error) => {
                // What went wrong first is what has to be said.
                drop(self.set_owner(entry, 0));
                return Err(error);
            }
        };
        self.served.push(Served {
            interface,
            entry,
            links,
        });
        Ok(self
            .served
            .last()
            .map_or_else(|| unreachable!(), Served::attachment))
    }

    /// What was fixed in the programs when they were loaded.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What is attached where.
    #[must_use]
    pub fn attachments(&self) -> Vec<Attachment> {
        self.served.iter().map(Served::attachment).collect()
    }

    /// Reads the counters of every interface.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give them.
    pub fn counters(&self) -> Result<Vec<InterfaceCounters>, DatapathError> {
        self.served
            .iter()
            .map(
                |Served {
                     interface, entry, ..
                 }| {
                    let counters = self.entry(*entry)?;
                    Ok(InterfaceCounters {
                        interface: interface.name.clone(),
                        counters,
                    })
                },
            )
            .collect()
    }

    /// Reads what was counted of packets on interfaces that are not served: nothing, unless
    /// something else runs the programs, or an interface lost its entry.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give it.
    pub fn unserved_counters(&self) -> Result<Counters, DatapathError> {
        self.entry(MOST_INTERFACES)
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
        } in self.served.drain(..)
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
        first
    }

    fn entry(&self, entry: u32) -> Result<Counters, DatapathError> {
        let mut sum = Counters::default();
        let values = self
            .counters
            .get(&entry, 0)
            .map_err(|error| DatapathError::Map {
                map: "COUNTERS",
                error,
            })?;
        for cpu in values.iter() {
            sum += Counters::from(*cpu);
        }
        Ok(sum)
    }

    /// Takes the first free entry of those that the programs look at.
    fn claim_entry(&mut self, interface: &Interface) -> Result<u32, DatapathError> {
        let taken = |entry| self.served.iter().any(|served| served.entry == entry);
        let entry = (0..INTERFACE_PROBES)
            .map(|probe| interface.index.wrapping_add(probe) % MOST_INTERFACES)
            .find(|&entry| !taken(entry))
            .ok_or_else(|| DatapathError::TooManyInterfaces(interface.name.clone()))?;
        self.set_owner(entry, interface.index)?;
        Ok(entry)
    }

    fn set_owner(&mut self, entry: u32, index: u32) -> Result<(), DatapathError> {
        self.interfaces
            .set(entry, index, 0)
            .map_err(|error| DatapathError::Map {
                map: "INTERFACES",
                error,
            })
    }
}

impl Served {
    fn attachment(&self) -> Attachment {
        Attachment {
            interface: self.interface.name.clone(),
            attached: self.links.attached.clone(),
            note: self.links.note.clone(),
        }
    }
}

fn take<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DatapathError> {
    ebpf.take_map(name)
        .and_then(|map| map.try_into().ok())
        .ok_or(DatapathError::Missing(name))
}
