//! What the programs report: drops and resets.

#![expect(unsafe_code, reason = "records of the kernel's ring buffer are octets")]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, SystemTime},
};

use aya::maps::{Map, MapData, RingBuf};
use filter_common::{EventRecord, Reason};
use nix::time::{ClockId, clock_gettime};

use super::{Datapath, DatapathError};
use crate::report::{self, Timestamp};

const MAP: &str = "EVENTS";

/// The ring buffer of one load of programs, for one reader. Its descriptor is readable when there
/// are records.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Datapath {
    /// Takes the ring buffer of the programs that are loaded; none where they report nothing, or
    /// where it was taken before.
    ///
    /// # Errors
    ///
    /// Where it cannot be mapped into memory.
    pub fn take_events(&mut self) -> Result<Option<Events>, DatapathError> {
        if !self.settings.events {
            return Ok(None);
        }
        self.ebpf.take_map(MAP).map(Events::open).transpose()
    }
}

impl Events {
    /// Reads a ring buffer, wherever it was opened.
    ///
    /// # Errors
    ///
    /// Where it is no ring buffer, or cannot be mapped into memory.
    pub fn open(map: Map) -> Result<Self, DatapathError> {
        let ring = map
            .try_into()
            .map_err(|error| DatapathError::Map { map: MAP, error })?;
        Ok(Self { ring })
    }

    /// The next record, if there is one.
    #[expect(clippy::should_implement_trait, reason = "more may follow a none")]
    pub fn next(&mut self) -> Option<EventRecord> {
        loop {
            let item = self.ring.next()?;
            // Whoever made a record of another size is not of this build.
            if let Ok(octets) = <&[u8; size_of::<EventRecord>()]>::try_from(&*item) {
                // SAFETY: integers only, of which every pattern is one.
                return Some(unsafe { octets.as_ptr().cast::<EventRecord>().read_unaligned() });
            }
        }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl report::Event {
    /// Tells a record that was just read; `name` gives the name of an interface by its index.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell the time.
    pub fn new(record: &EventRecord, name: impl FnOnce(u32) -> Option<String>) -> io::Result<Self> {
        let EventRecord {
            time,
            key,
            seq,
            ack,
            interface,
            ..
        } = record;
        let reason = record.reason().map_or("unknown", Reason::as_str);
        Ok(Self {
            time: Timestamp(wall_clock(Duration::from_nanos(*time))?),
            iface: name(*interface).unwrap_or_else(|| format!("ifindex {interface}")),
            client: key.client_address(),
            client_port: key.client_port(),
            server: key.server_address(),
            server_port: key.server_port(),
            seq: seq.0,
            ack: ack.0,
            reason: reason.to_owned(),
        })
    }

    /// The client's address and port.
    #[must_use]
    pub fn client_socket(&self) -> SocketAddr {
        (self.client, self.client_port).into()
    }

    /// The server's address and port.
    #[must_use]
    pub fn server_socket(&self) -> SocketAddr {
        (self.server, self.server_port).into()
    }
}

/// What the wall clock says of a recent instant of the monotonic one: seen from now, so that it is
/// right though somebody has set the wall clock since the start.
fn wall_clock(instant: Duration) -> io::Result<SystemTime> {
    let monotonic = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    let wall = SystemTime::now();
    let past = wall.checked_sub(monotonic.saturating_sub(instant));
    let instant = past.and_then(|past| past.checked_add(instant.saturating_sub(monotonic)));
    Ok(instant.unwrap_or(wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_of_the_monotonic_clock_is_one_of_the_wall_clock() {
        let before = SystemTime::now();
        let instant = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        let after = SystemTime::now();
        // What passes between the two readings of clocks is the error.
        let slack = Duration::from_millis(200);
        let past = instant.checked_sub(Duration::from_secs(5)).unwrap();
        let past = wall_clock(past).unwrap() + Duration::from_secs(5);
        for told in [wall_clock(instant).unwrap(), past] {
            assert!(told + slack >= before && told <= after + slack);
        }
    }
}
