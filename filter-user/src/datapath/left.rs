//! An instance that is pinned and has no process.

use std::{collections::BTreeSet, fs, io, path::Path};

use aya::{
    maps::{Map, MapData},
    programs::{
        TcAttachType,
        links::{FdLink, PinnedLink},
    },
};
use filter_common::Policy;
use log::debug;
use nix::net::if_::if_nameindex;

use super::{
    DatapathError, Hook, Query, Tables, clsact,
    interface::Interface,
    load,
    mark::Mark,
    pins::{Pins, check_place},
    record::{self, Record, Remembered},
};
use crate::{
    counters::Counters,
    instance::InstanceName,
    report::{self, HookStatus, InterfaceStatus},
};

/// Takes everything off that an instance without a process has left; gives which hooks of which
/// interfaces. Whatever layout it has.
///
/// # Errors
///
/// Where something stays. Then the rest is still pinned, and this can be tried again.
pub fn detach(pins: &Pins) -> Result<Vec<(String, Hook)>, DatapathError> {
    let name = |index| Interface::name_of(index).unwrap_or_else(|| format!("interface {index}"));
    let mut pins = pins.clone();
    pins.check()?;
    pins.lock()?;
    let record = match Record::read(&pins) {
        Ok(Some(record)) if record.namespace != record::namespace()? => {
            return Err(DatapathError::OtherNamespace(pins.directory().to_owned()));
        }
        Ok(record) => record,
        Err(error) => {
            debug!("{error}");
            None
        }
    };
    let mut done = Vec::new();
    for (hook, index) in pins.links()? {
        pins.remove_link(hook, index)?;
        done.push((name(index), hook));
    }
    let places = record.iter().flat_map(|record| &record.interfaces);
    let places: Vec<_> = places.filter_map(|left| left.served.as_ref()).collect();
    let made = |index| {
        places
            .iter()
            .any(|place| place.index == index && place.made_clsact)
    };
    done.extend(remove_filters(pins.mark().handle(false), |_| true, made)?);
    pins.remove_all()?;
    Ok(done)
}

/// Removes the filters with this mark that are in clsact and that no process knows: of an instance that
/// was killed, or could not take them off; gives which hooks of which interfaces.
pub(super) fn remove_marked(mark: Mark) -> Result<Vec<(String, Hook)>, DatapathError> {
    let mut removed = Vec::new();
    for (handle, made) in mark.handles() {
        removed.extend(remove_filters(handle, |_| true, |_| made)?);
    }
    Ok(removed)
}

/// The interfaces on which one with that name, which pins nothing, has left filters in clsact, as far
/// as can be told. Those of one that runs are among them.
pub(crate) fn killed_on(name: &InstanceName) -> Vec<String> {
    let mark = Mark::of_name(name);
    let mut with_clsact: Vec<_> = clsact::interfaces().into_iter().flatten().collect();
    with_clsact.sort_unstable();
    let has_filters = |index: &u32| {
        let mut handles = mark.handles();
        handles.any(|(handle, _)| clsact::marked(*index, handle).is_ok_and(|it| !it.is_empty()))
    };
    let with_filters = with_clsact.into_iter().filter(has_filters);
    with_filters.filter_map(Interface::name_of).collect()
}

/// Takes those off that one with that name has left, which must not run; gives the interfaces.
///
/// # Errors
///
/// Where something stays.
pub(crate) fn detach_killed(name: &InstanceName) -> Result<Vec<String>, DatapathError> {
    let removed = remove_marked(Mark::of_name(name))?.into_iter();
    let interfaces: BTreeSet<_> = removed.map(|(interface, _)| interface).collect();
    Ok(interfaces.into_iter().collect())
}

/// Takes off all of lastack's filters that are in clsact, whatever their mark; gives the interfaces. No
/// instance may run, nor any be pinned that is to go on.
///
/// # Errors
///
/// Where something stays.
pub(crate) fn detach_all_killed() -> Result<Vec<String>, DatapathError> {
    let mut interfaces = Vec::new();
    let with_clsact = clsact::interfaces().map_err(|error| DatapathError::System {
        what: "which interfaces have clsact",
        error,
    })?;
    for index in with_clsact {
        let Some(interface) = Interface::name_of(index) else {
            continue;
        };
        let failed = |error| DatapathError::Detach {
            interface: interface.clone(),
            error,
        };
        let filters = clsact::ours(index).map_err(failed)?;
        for filter in &filters {
            filter.remove(&interface).map_err(failed)?;
        }
        if filters.iter().any(|filter| Mark::tells_made(filter.handle)) {
            clsact::remove(index).map_err(failed)?;
        }
        if !filters.is_empty() {
            interfaces.push(interface);
        }
    }
    interfaces.sort();
    Ok(interfaces)
}

/// Removes the filters with this handle that are in clsact on interfaces for which `of` says so, and
/// the qdiscs that were `made` for them.
pub(super) fn remove_filters(
    mark: u32,
    of: impl Fn(u32) -> bool,
    made: impl Fn(u32) -> bool,
) -> Result<Vec<(String, Hook)>, DatapathError> {
    let with_clsact = clsact::interfaces().map_err(|error| DatapathError::System {
        what: "which interfaces have clsact",
        error,
    })?;
    let interfaces = if_nameindex().map_err(|error| DatapathError::System {
        what: "which interfaces there are",
        error: error.into(),
    })?;
    let mut removed = Vec::new();
    for interface in &interfaces {
        let (index, name) = (interface.index(), interface.name().to_string_lossy());
        if !with_clsact.contains(&index) || !of(index) {
            continue;
        }
        let failed = |error| DatapathError::Detach {
            interface: name.clone().into_owned(),
            error,
        };
        let filters = clsact::marked(index, mark).map_err(failed)?;
        for filter in &filters {
            filter.remove(&name).map_err(failed)?;
            let hook = Hook::of_filter(filter.side);
            removed.push((name.clone().into_owned(), hook));
        }
        if !filters.is_empty() && made(index) {
            clsact::remove(index).map_err(failed)?;
        }
    }
    Ok(removed)
}

/// One that has no process, or is thought to have none.
#[derive(Debug)]
pub struct Left {
    name: InstanceName,
    pins: Pins,
}

/// What is pinned below a directory.
#[derive(Debug, Default)]
pub struct Found {
    /// The instances that serve this network namespace, or may do so, by name.
    pub lefts: Vec<Left>,
    /// Those that are known to serve another one, by name.
    pub elsewhere: Vec<InstanceName>,
    /// Why the directory could not be searched, or one in it is not believed; none also where there
    /// is no such directory.
    pub unreadable: Option<io::Error>,
}

/// The instances that are pinned below a directory.
///
/// # Errors
///
/// Where it cannot be told which network namespace this is.
pub fn instances(directory: &Path) -> Result<Found, DatapathError> {
    let namespace = record::namespace()?;
    let mut found = Found::default();
    let believed = check_place(directory).map_err(|error| {
        if let DatapathError::Pins { error, .. } = error {
            error
        } else {
            io::Error::other(error)
        }
    });
    let entries = match believed.and_then(|()| fs::read_dir(directory)) {
        Ok(entries) => entries,
        Err(error) => {
            found.unreadable = Some(error).filter(|it| it.kind() != io::ErrorKind::NotFound);
            return Ok(found);
        }
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let names = entries.filter_map(|entry| name(entry.ok()?));
    for name in names {
        let pins = Pins::new(directory, &name);
        if let Err(error) = pins.check() {
            if pins.holds_instance() {
                found.unreadable.get_or_insert(io::Error::other(error));
            }
            continue;
        }
        match Record::read(&pins) {
            Ok(None) => {}
            Ok(Some(record)) if record.namespace != namespace => found.elsewhere.push(name),
            // What cannot be read has to be shown, and can be taken off.
            Ok(Some(_)) | Err(_) => found.lefts.push(Left { name, pins }),
        }
    }
    found.lefts.sort_by(|one, other| one.name.cmp(&other.name));
    found.elsewhere.sort();
    Ok(found)
}

/// What bounds the decisions of its programs.
pub(crate) fn policy(record: &Record) -> Result<Policy, DatapathError> {
    Ok(load::configuration(&record.settings, record.secret)?.policy())
}

impl Left {
    pub(crate) fn name(&self) -> &InstanceName {
        &self.name
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    pub(crate) fn directory(&self) -> &Path {
        self.pins.directory()
    }

    /// What it says of itself.
    pub(crate) fn record(&self) -> Result<Record, DatapathError> {
        Record::read(&self.pins)?.ok_or_else(|| DatapathError::NotOurs(self.directory().to_owned()))
    }

    /// Its tables.
    pub(crate) fn tables(&self) -> Result<Tables, DatapathError> {
        Tables::open(|map| {
            MapData::from_pin(self.pins.map(map))
                .and_then(Map::from_map_data)
                .map_err(|error| DatapathError::Map { map, error })
        })
    }

    /// Its closing flows.
    pub(crate) fn flows(&self, record: &Record) -> Result<Vec<report::Flow>, DatapathError> {
        let name = |index| {
            let mut served = record.interfaces.iter();
            let named = served.find(|interface| interface.index() == Some(index))?;
            Some(named.name.clone())
        };
        let everything = Query::default();
        self.tables()?.flows(&policy(record)?, &everything, name)
    }

    /// What is attached where, and what it counted.
    pub(crate) fn interfaces(
        &self,
        record: &Record,
        tables: &Tables,
    ) -> Result<Vec<InterfaceStatus>, DatapathError> {
        let links = self.pins.links()?;
        let interface = |remembered: &Remembered| {
            let mut counters = Counters::from_names(&remembered.before, remembered.settled_before);
            if let Some(place) = &remembered.served {
                counters += tables.counters(place.entry)?;
            }
            let hooks = self.hooks(&links, remembered);
            Ok(InterfaceStatus {
                iface: remembered.name.clone(),
                ifindex: remembered.index().filter(|_| !hooks.is_empty()),
                hooks,
                note: remembered.note.clone(),
                trouble: remembered.trouble.clone(),
                losses: remembered.losses,
                spurious_acks_dropped: counters.dropped_acks(),
                spurious_acks_observed: counters.observed_acks(),
                packets: counters.by_name(),
            })
        };
        record.interfaces.iter().map(interface).collect()
    }

    /// Arriving packets first.
    fn hooks(&self, links: &[(Hook, u32)], interface: &Remembered) -> Vec<HookStatus> {
        let Some(place) = &interface.served else {
            return Vec::new();
        };
        let links = links.iter().filter(|(_, index)| *index == place.index);
        let links = links.filter_map(|&(hook, index)| {
            let link = FdLink::from(PinnedLink::from_pin(self.pins.link(hook, index)).ok()?);
            Some((hook, link.info().ok()?.program_id()))
        });
        let filters =
            clsact::marked(place.index, self.pins.mark().handle(false)).unwrap_or_default();
        let filters = filters.into_iter();
        let filters = filters.map(|filter| (Hook::of_filter(filter.side), filter.program_id));
        let mut hooks: Vec<_> = links.chain(filters).collect();
        hooks.sort_by_key(|(hook, _)| hook.side() == TcAttachType::Egress);
        let hooks = hooks.into_iter().map(|(hook, program_id)| HookStatus {
            hook: hook.as_str().to_owned(),
            program_id,
        });
        hooks.collect()
    }
}
