//! An instance that is pinned and has no process.

use std::{fs, path::Path};

use aya::programs::Link as _;
use log::warn;

use super::{
    DatapathError, Hook,
    clsact::{self, Clsact},
    error::kernel_answer,
    interface::Interface,
    pins::Pins,
    record::{self, Record, WasServed},
};
use crate::instance::InstanceName;

/// Takes everything off that an instance without a process has left; gives which hooks of which
/// interfaces. Whatever layout it has.
///
/// # Errors
///
/// Where something stays. Then the rest is still pinned, and this can be tried again.
pub fn detach(pins: &Pins) -> Result<Vec<(String, Hook)>, DatapathError> {
    let mut done = Vec::new();
    let name = |index| Interface::name_of(index).unwrap_or_else(|| format!("interface {index}"));
    match Record::read(pins) {
        Ok(Some(record)) if record.namespace != record::namespace()? => {
            return Err(DatapathError::OtherNamespace(pins.directory().to_owned()));
        }
        Ok(Some(record)) => {
            let served = record.interfaces.iter();
            for place in served.filter_map(|interface| interface.served.as_ref()) {
                for hook in remove_filters(place)? {
                    done.push((name(place.index), hook));
                }
            }
        }
        Ok(None) => {}
        Err(error) => warn!("{error}; filters in clsact qdiscs, if it had any, stay"),
    }
    for (hook, index) in pins.links()? {
        pins.remove_link(hook, index)?;
        done.push((name(index), hook));
    }
    pins.remove_all()?;
    Ok(done)
}

/// Removes what is in clsact.
fn remove_filters(place: &WasServed) -> Result<Vec<Hook>, DatapathError> {
    let Some(name) = Interface::name_of(place.index) else {
        return Ok(Vec::new());
    };
    let interface = Interface::find(&name)?;
    let mut removed = Vec::new();
    for filter in &place.filters {
        let failed = |error| DatapathError::Detach {
            interface: name.clone(),
            error,
        };
        // Another's may have its number by now.
        if clsact::has(&interface, filter.hook.side(), filter.program_id).map_err(failed)? {
            let link = filter.link(&interface).map_err(failed)?;
            link.detach().map_err(kernel_answer).map_err(failed)?;
            removed.push(filter.hook);
        }
    }
    if place.made_clsact
        && let Err(error) = Clsact::of_before(&interface).remove()
    {
        return Err(DatapathError::Detach {
            interface: name,
            error,
        });
    }
    Ok(removed)
}

/// The instances that are pinned below a directory, by name; none where there is no such directory.
#[must_use]
pub fn names(directory: &Path) -> Vec<InstanceName> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut names: Vec<_> = entries
        .filter_map(|entry| name(entry.ok()?))
        .filter(|name: &InstanceName| Pins::new(directory, name).holds_instance())
        .collect();
    names.sort();
    names
}
