//! What a pinned instance says of itself, for whoever takes it over or asks it.

#![expect(unsafe_code, reason = "what is in a BPF map is plain data")]

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt as _, time::Duration};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError},
};
use filter_common::Reason;
use serde::{Deserialize, Serialize};

use super::{DatapathError, clock::since_boot, error::pin_answer, pins::Pins};
use crate::{counters::Counters, report::Timestamp, settings::Settings};

/// The layout of what is pinned.
pub(crate) const LAYOUT: u32 = filter_common::layout::LAYOUT;

/// Octets of a record. 256 interfaces need a quarter of it.
const OCTETS: usize = 65_536;

/// The value of a map with one element, which the kernel replaces at once, so that nobody reads
/// half of an old one and half of a new one.
#[derive(Clone, Copy)]
#[repr(C)]
struct Page {
    length: u32,
    json: [u8; OCTETS - 4],
}

// SAFETY: repr(C), integers only, no padding.
unsafe impl Pod for Page {}

/// The record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of the maps. Read before anything else is.
    pub(crate) layout: u32,
    /// Of the lastack that wrote it.
    pub(crate) version: String,
    /// When that started.
    pub(crate) since: Timestamp,
    /// The same since the machine's boot, which a pin does not outlive; an older lastack wrote none.
    #[serde(default)]
    pub(crate) began: Option<Duration>,
    /// The network namespace whose interfaces are served: the number of its file.
    pub(crate) namespace: u64,
    /// Key of the programs' hash.
    pub(crate) secret: u64,
    pub(crate) settings: Settings,
    pub(crate) interfaces: Vec<Remembered>,
}

/// An interface that was to be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) name: String,
    pub(crate) losses: u64,
    /// What was counted on those that had the name before, by reason.
    pub(crate) before: BTreeMap<String, u64>,
    pub(crate) settled_before: u64,
    pub(crate) note: Option<String>,
    pub(crate) trouble: Option<String>,
    /// Where it was served.
    pub(crate) served: Option<WasServed>,
}

impl Remembered {
    /// The number of the interface, where it was served.
    pub(crate) fn index(&self) -> Option<u32> {
        self.served.as_ref().map(|place| place.index)
    }

    /// Whether it was counted there.
    pub(crate) fn has_entry(&self, entry: u32) -> bool {
        self.served
            .as_ref()
            .is_some_and(|place| place.entry == entry)
    }
}

/// Where an interface is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WasServed {
    /// Its number.
    pub(crate) index: u32,
    /// Of the map of counters.
    pub(crate) entry: u32,
    /// Whether a clsact qdisc was made for it. Filters in it are known by their handle.
    pub(crate) made_clsact: bool,
}

impl Record {
    /// Reads it. None where there is none.
    pub(crate) fn read(pins: &Pins) -> Result<Option<Self>, DatapathError> {
        if !pins.holds_instance() {
            return Ok(None);
        }
        pins.check()?;
        let strange = || DatapathError::NotOurs(pins.directory().to_owned());
        let map = open(pins)?;
        let page = map.get(&0, 0).map_err(failed)?;
        let length = usize::try_from(page.length).unwrap_or(usize::MAX);
        let json = page.json.get(..length).ok_or_else(strange)?;
        // The rest of another layout's record need not be what we know.
        let layout: Layout = serde_json::from_slice(json).map_err(|_| strange())?;
        if layout.layout != LAYOUT {
            return Err(DatapathError::Layout {
                directory: pins.directory().to_owned(),
                version: layout.version,
                theirs: layout.layout,
                ours: LAYOUT,
            });
        }
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|_| strange())
    }

    /// How long ago that lastack started, where it wrote so.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.began.map(|began| since_boot().saturating_sub(began))
    }

    /// Writes it, over one that is there.
    pub(crate) fn write(&self, pins: &Pins) -> Result<(), DatapathError> {
        let json = serde_json::to_vec(self).map_err(|error| pins.failed(error.into()))?;
        #[expect(
            clippy::large_stack_arrays,
            reason = "the map's type gives values by value"
        )]
        let mut page = Page {
            length: u32::try_from(json.len()).unwrap_or(u32::MAX),
            json: [0; OCTETS - 4],
        };
        let Some(room) = page.json.get_mut(..json.len()) else {
            let error = io::Error::other("the record of what is served became too long");
            return Err(pins.failed(error));
        };
        room.copy_from_slice(&json);
        if pins.holds_instance() {
            return open(pins)?.insert(0, page, 0).map_err(failed);
        }
        let mut map: HashMap<MapData, u32, Page> = HashMap::create(1, 0).map_err(failed)?;
        map.insert(0, page, 0).map_err(failed)?;
        map.pin(pins.record())
            .map_err(|error| pins.failed(pin_answer(error)))
    }
}

#[derive(Deserialize)]
struct Layout {
    layout: u32,
    version: String,
}

fn open(pins: &Pins) -> Result<HashMap<MapData, u32, Page>, DatapathError> {
    let data = MapData::from_pin(pins.record()).map_err(failed)?;
    HashMap::try_from(Map::HashMap(data))
        .map_err(|_| DatapathError::NotOurs(pins.directory().to_owned()))
}

fn failed(error: MapError) -> DatapathError {
    DatapathError::Map {
        map: "RECORD",
        error,
    }
}

/// The network namespace of this process, as a number that no other has as long as it lives.
pub(crate) fn namespace() -> Result<u64, DatapathError> {
    fs::metadata("/proc/thread-self/ns/net")
        .map(|file| file.ino())
        .map_err(|error| DatapathError::System {
            what: "which network namespace this is",
            error,
        })
}

/// Counters by the names of their reasons, without those that are 0.
pub(crate) fn named(counters: &Counters) -> BTreeMap<String, u64> {
    let counted = Reason::ALL
        .into_iter()
        .map(|reason| (reason.as_str().to_owned(), counters.of(reason)));
    counted.filter(|&(_, count)| count != 0).collect()
}
