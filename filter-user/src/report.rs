//! What an instance tells of itself, over its control socket or read from what it has pinned.
//!
//! This is also what `--output json` prints: names are a contract, fields may be added.

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::instance::InstanceName;

/// An instant, in JSON as RFC 3339 with milliseconds, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(pub SystemTime);

impl Timestamp {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(SystemTime::now())
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl From<Timestamp> for String {
    fn from(instant: Timestamp) -> Self {
        instant.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = humantime::TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        humantime::parse_rfc3339(&text).map(Self)
    }
}

/// What `lastack status` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub instance: InstanceName,
    /// The process that serves it; none where only pinned programs are at work.
    pub pid: Option<u32>,
    /// The version of lastack that loaded the programs.
    pub version: String,
    /// When the process started, or when what is pinned was last written.
    pub since: Timestamp,
    /// How long ago that was, in seconds, by a clock that nobody sets; none by an older lastack.
    #[serde(default)]
    pub age_seconds: Option<f64>,
    /// Where it is pinned, if it is.
    pub pinned: Option<PathBuf>,
    /// What it was asked to do, by option.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Every interface that it is to serve.
    pub interfaces: Vec<InterfaceStatus>,
    /// Closing flows now; none where that was not counted.
    pub flows: Option<u64>,
    /// How many flows the table has room for.
    pub flows_capacity: u64,
    /// Events that were not reported: too many at once, or nobody took them.
    pub events_lost: u64,
}

impl Status {
    /// How long ago it started, or what is pinned was last written. `now`: where it does not say
    /// so.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        let said = self.age_seconds.map(Duration::try_from_secs_f64);
        let by_wall_clock = || now.duration_since(self.since.0).unwrap_or_default();
        said.and_then(Result::ok).unwrap_or_else(by_wall_clock)
    }
}

/// One interface of [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// The name that it was given with.
    pub iface: String,
    /// The kernel's number of it, where it is served.
    pub ifindex: Option<u32>,
    /// The programs on it, arriving packets first; none where it is not served.
    pub hooks: Vec<HookStatus>,
    /// Why the ingress hook is not a better one.
    pub note: Option<String>,
    /// Why it is not served, where more is known than that it is not there.
    pub trouble: Option<String>,
    /// How often it was lost.
    pub losses: u64,
    /// Pure ACKs that nothing had asked for and that were dropped.
    pub spurious_acks_dropped: u64,
    /// The same in monitor mode, passed.
    pub spurious_acks_observed: u64,
    /// Packets by reason, of all reasons that are counted.
    pub packets: std::collections::BTreeMap<String, u64>,
}

/// One program on one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Such as `tcx-egress`.
    pub hook: String,
    /// The kernel's number of the program.
    pub program_id: u32,
}

/// What `lastack flows` shows, a line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The client's address.
    pub client: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// The server's address.
    pub server: IpAddr,
    /// Its port.
    pub server_port: u16,
    /// `half_closed`, `last_ack` or `closed`.
    pub state: String,
    /// Since a segment last touched it, in seconds.
    pub idle_seconds: f64,
    /// Until it is forgotten, if nothing touches it, in seconds.
    pub expires_in_seconds: f64,
    /// Segments of it that were dropped; in monitor mode those that would have been, and were
    /// passed.
    pub drops: u8,
    /// The interface by which its last answer went, or on which its FIN was seen.
    pub iface: Option<String>,
}

/// What `lastack hosts` shows, a line each: a client with the fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The client's address.
    pub client: IpAddr,
    /// ACKs that nothing had asked for; dropped, or observed in monitor mode.
    pub spurious_acks: u64,
    /// ACKs whose cause an earlier one had answered already, likewise: no defect of the client.
    pub redundant_acks: u64,
    /// Resets that servers sent after ACKs of it which nothing had asked for, let through or
    /// suppressed. Counted apart from the ACKs: where those are 0, they came later than the window.
    pub resets: u64,
    /// When any of it was last counted.
    pub last_seen: Timestamp,
}

/// One drop or one reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// The name that the interface was given with, or `ifindex N` where it has none.
    pub iface: String,
    /// The client's address.
    pub client: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// The server's address.
    pub server: IpAddr,
    /// Its port.
    pub server_port: u16,
    /// SEG.SEQ of the segment.
    pub seq: u32,
    /// SEG.ACK of the segment.
    pub ack: u32,
    /// The name of the [`Reason`](filter_common::Reason).
    pub reason: String,
}

/// What `lastack flows` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flows {
    /// Those that were last touched first, no more than were asked for.
    pub flows: Vec<Flow>,
    /// How many there are of those that were asked for.
    pub total: u64,
}

/// What `lastack hosts` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// The worst first, no more than were asked for.
    pub hosts: Vec<Host>,
    /// How many are known.
    pub total: u64,
}

/// What `lastack detach` has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// Whose programs they were.
    pub instance: InstanceName,
    /// The process that ends; none where there was none.
    pub pid: Option<u32>,
    /// The interfaces from which programs were taken.
    pub interfaces: Vec<String>,
    /// Where it was pinned and is no more.
    pub unpinned: Option<PathBuf>,
}

/// What `lastack detach --all` has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllDetached {
    /// Those that ran, and those that were pinned.
    pub instances: Vec<Detached>,
    /// Where others had left filters in clsact that were killed, under whatever name.
    pub left: Vec<String>,
}

/// What `lastack watch` shows, once each interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken.
    pub time: Timestamp,
    /// All of the instance.
    pub status: Status,
    /// The worst clients.
    pub hosts: Hosts,
    /// What happened since the last one, oldest first; empty where events are off.
    pub events: Vec<Event>,
    /// Events since the last one that are left out here.
    pub events_skipped: u64,
}
