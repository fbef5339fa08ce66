//! Other programs in the place of those that are there: with other settings, or of another
//! process, over the same tables.

use std::{mem, time::Duration};

use aya::maps::MapData;
use log::warn;

use super::{
    Datapath, DatapathError, Interface, Named, Place, Served,
    attach::Links,
    clock::since_boot,
    left, load,
    pins::Pins,
    record::{self, LAYOUT, Record, Remembered, WasServed},
};
use crate::{counters::Counters, report::Timestamp, settings::Settings};

/// What to do where tables are in the way of a setting.
const RESTART: &str = "restart to change it";
const DETACH_FIRST: &str = "`lastack detach` first, and start again";

impl Datapath {
    /// The same as [`load`](Self::load), but pinned: links and tables stay when this process ends,
    /// and what an earlier one left there is taken over, interface by interface, as they are
    /// [attached](Self::attach) to. [`settle`](Self::settle) removes what then is left.
    ///
    /// # Errors
    ///
    /// Where nothing can be pinned, or what is there cannot be taken over; that is left as it is.
    pub fn load_pinned(settings: &Settings, mut pins: Pins) -> Result<Self, DatapathError> {
        pins.prepare()?;
        let Some(left) = to_take_over(settings, &pins)? else {
            let fresh = Self::load_at(settings, Place::Pinned(pins.clone()), None);
            let fresh = fresh.and_then(|datapath| datapath.remember().map(|()| datapath));
            // What went wrong first is what has to be said.
            return fresh.inspect_err(|_| drop(pins.remove_all()));
        };
        let mut datapath = Self::load_at(settings, Place::Pinned(pins), Some(left.secret))?;
        datapath.left = left.interfaces;
        datapath.took_over = Some(left.version);
        Ok(datapath)
    }

    /// Whether [`load_pinned`](Self::load_pinned) could begin there, without changing anything: the
    /// version of what it would take over, if there is something.
    ///
    /// # Errors
    ///
    /// With what it would fail of.
    pub fn foresee(settings: &Settings, pins: &Pins) -> Result<Option<String>, DatapathError> {
        if !pins.could_be_prepared()? {
            return Ok(None);
        }
        let left = to_take_over(settings, pins)?;
        Ok(left.map(|left| left.version))
    }

    /// Takes off what an earlier process left on interfaces that are served no more. To be called
    /// when all interfaces have been named.
    ///
    /// # Errors
    ///
    /// Where that cannot be done.
    pub fn settle(&mut self) -> Result<(), DatapathError> {
        let left = mem::take(&mut self.left).into_iter();
        let places: Vec<_> = left.filter_map(|left| left.served).collect();
        for place in &places {
            self.tables.set_owner(place.entry, 0)?;
        }
        let Some(pins) = self.place.pins() else {
            return Ok(());
        };
        let is_served = |index| self.served().any(|served| served.interface.index == index);
        for (hook, index) in pins.links()? {
            if !is_served(index) {
                warn!(
                    "{} of interface {index} is served no more: detached",
                    hook.as_str()
                );
                pins.remove_link(hook, index)?;
            }
        }
        let made = |index| {
            places
                .iter()
                .any(|place| place.index == index && place.made_clsact)
        };
        for (name, hook) in
            left::remove_filters(pins.mark().handle(false), |index| !is_served(index), made)?
        {
            warn!("{} of {name} is served no more: detached", hook.as_str());
        }
        self.remember()
    }

    /// Puts programs with other settings in the place of those that are at work: hook by hook, each
    /// at once, over the same tables, so that no packet goes by unjudged and no flow is forgotten.
    ///
    /// # Errors
    ///
    /// Where a setting cannot change, or the kernel refuses the programs; then all is as before.
    pub fn reload(&mut self, settings: &Settings) -> Result<(), DatapathError> {
        compare(&self.settings, settings, RESTART)?;
        let maps = self.place.maps();
        if maps.is_empty() {
            return Err(DatapathError::CannotReplace);
        }
        let secret = Some(self.configuration.secret);
        let (mut ebpf, configuration) = load::load(settings, &maps, secret)?;
        for Served {
            interface, links, ..
        } in self.served()
        {
            links.prepare(&mut ebpf, interface)?;
        }
        self.settings = settings.clone();
        self.configuration = configuration;
        for served in self
            .named
            .iter_mut()
            .filter_map(|named| named.served.as_mut())
        {
            if !served.links.replace(&mut ebpf, &served.interface) {
                // Whoever looks after it finds that one of its hooks is missing.
                warn!(
                    "{}: not all programs could be replaced",
                    served.interface.name
                );
            }
        }
        self.ebpf = ebpf;
        self.remember().unwrap_or_else(|error| warn!("{error}"));
        Ok(())
    }

    /// Whether an earlier process left an instance at work there, for interfaces of this network
    /// namespace.
    ///
    /// # Errors
    ///
    /// With what is pinned there, if so.
    pub fn refuse_left_behind(pins: &Pins) -> Result<(), DatapathError> {
        let namespace = record::namespace()?;
        match Record::read(pins) {
            Ok(Some(left)) if left.namespace == namespace => {
                Err(DatapathError::LeftBehind(pins.directory().to_owned()))
            }
            // What cannot be read is no hindrance to whoever pins nothing.
            _ => Ok(()),
        }
    }

    /// Ends the service of this process and leaves what is pinned at work; detaches the rest.
    ///
    /// # Errors
    ///
    /// As [`detach`](Self::detach).
    pub fn leave(&mut self) -> Result<(), DatapathError> {
        if self.place.pins().is_none() {
            return self.detach();
        }
        self.remember()?;
        for served in self.named.drain(..).filter_map(|named| named.served) {
            served.links.leave();
        }
        Ok(())
    }

    /// Ends what did not get to be in service: takes off what this process has put on, and leaves
    /// what it had taken over.
    pub fn abandon(&mut self) {
        if self.took_over.is_none() {
            return self.detach().unwrap_or_else(|error| warn!("{error}"));
        }
        let named = self.named.iter().filter(|named| {
            let served = named.served.as_ref();
            served.is_some_and(|served| !served.was_there)
        });
        let new: Vec<_> = named.map(|named| named.name.clone()).collect();
        for name in new {
            self.release(&name);
        }
        self.leave().unwrap_or_else(|error| warn!("{error}"));
    }

    /// Where it is pinned, if it is.
    #[must_use]
    pub fn pins(&self) -> Option<&Pins> {
        self.place.pins()
    }

    /// The version of the lastack whose tables were taken over, if they were.
    #[must_use]
    pub fn took_over(&self) -> Option<&str> {
        self.took_over.as_deref()
    }

    /// When it began.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// How long ago that was, whatever the wall clock says.
    #[must_use]
    pub fn age(&self) -> Duration {
        since_boot().saturating_sub(self.began)
    }

    /// What is on `interface` from before, with programs of ours.
    pub(super) fn adopt(
        &mut self,
        name: &str,
        interface: &Interface,
    ) -> Result<Option<Served>, DatapathError> {
        let Some(pins) = self.place.pins() else {
            return Ok(None);
        };
        let place = left_place(&self.left, name, interface);
        let links = Links::adopt(&mut self.ebpf, interface, &self.settings, pins, place)?;
        Ok(place.zip(links).map(|(place, links)| Served {
            interface: interface.clone(),
            entry: place.entry,
            links,
            was_there: true,
        }))
    }

    /// Where an earlier process served `interface` by this name.
    pub(super) fn left_place(&self, name: &str, interface: &Interface) -> Option<&WasServed> {
        left_place(&self.left, name, interface)
    }

    /// An interface that is to be served, with what is known of it from before.
    /// `served`: where it is served now, if it is.
    pub(super) fn remembered(
        &mut self,
        name: &str,
        served: Option<&Served>,
    ) -> Result<Named, DatapathError> {
        let mut named = Named::new(name);
        let Some(at) = self.left.iter().position(|left| left.name == name) else {
            return Ok(named);
        };
        let left = self.left.remove(at);
        named.losses = left.losses;
        named.before = Counters::from_names(&left.before, left.settled_before);
        if let Some(place) = left.served {
            // Else its counters go on where they were.
            if served.is_none_or(|served| served.entry != place.entry) {
                named.before += self.tables.counters(place.entry)?;
                self.tables.set_owner(place.entry, 0)?;
            }
        }
        Ok(named)
    }

    /// Writes down what is served, if it is pinned.
    pub(super) fn remember(&self) -> Result<(), DatapathError> {
        let Some(pins) = self.place.pins() else {
            return Ok(());
        };
        let interfaces = self.named.iter().map(Named::remember);
        Record {
            layout: LAYOUT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            began: Some(self.began),
            namespace: record::namespace()?,
            secret: self.configuration.secret,
            settings: self.settings.clone(),
            // What was not taken over yet must not be lost if this process ends now.
            interfaces: interfaces.chain(self.left.iter().cloned()).collect(),
        }
        .write(pins)
    }
}

fn left_place<'l>(
    left: &'l [Remembered],
    name: &str,
    interface: &Interface,
) -> Option<&'l WasServed> {
    let left = left.iter().find(|left| left.name == name)?;
    left.served
        .as_ref()
        .filter(|place| place.index == interface.index)
}

impl Named {
    fn remember(&self) -> Remembered {
        let served = self.served.as_ref();
        Remembered {
            name: self.name.clone(),
            losses: self.losses,
            before: record::named(&self.before),
            settled_before: self.before.settled(),
            note: served.and_then(|served| served.links.note.clone()),
            trouble: self.trouble.clone(),
            served: served.map(|served| served.links.place(&served.interface, served.entry)),
        }
    }
}

/// What is pinned there, if there is something; an error where programs with these settings cannot take
/// it over.
fn to_take_over(settings: &Settings, pins: &Pins) -> Result<Option<Record>, DatapathError> {
    let Some(left) = Record::read(pins)? else {
        return Ok(None);
    };
    if left.namespace != record::namespace()? {
        return Err(DatapathError::OtherNamespace(pins.directory().to_owned()));
    }
    compare(&left.settings, settings, DETACH_FIRST)?;
    compare_sizes(pins, settings)?;
    Ok(Some(left))
}

/// Whether what is pinned is as large as programs with these settings think that it is.
fn compare_sizes(pins: &Pins, settings: &Settings) -> Result<(), DatapathError> {
    for (map, ours) in load::sizes(settings) {
        let info = MapData::from_pin(pins.map(map)).and_then(|data| data.info());
        let now = info.map_err(|error| DatapathError::Map { map, error })?;
        let now = now.max_entries();
        if now != ours {
            return Err(DatapathError::Size {
                directory: pins.directory().to_owned(),
                map,
                now,
                ours,
            });
        }
    }
    Ok(())
}

/// Whether programs with `new` can use tables of programs with `old`: flows are by client and
/// server, which the role tells, and the tables have their size.
fn compare(old: &Settings, new: &Settings, remedy: &'static str) -> Result<(), DatapathError> {
    let names = |settings: &Settings| serde_json::to_value(settings).unwrap_or_default();
    let (old, new) = (names(old), names(new));
    for option in ["role", "closer", "max-flows"] {
        if old[option] != new[option] {
            let text = |value: &serde_json::Value| value.to_string().replace('"', "");
            return Err(DatapathError::Fixed {
                option,
                now: text(&old[option]),
                asked: text(&new[option]),
                remedy,
            });
        }
    }
    Ok(())
}
