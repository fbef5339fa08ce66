//! What the packet programs keep and count, for those who read it.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use filter_common::{
    Flow, FlowKey, HostRecord, Phase, Policy, Reason, Tallies, Ticks, record::EventQuota,
    segment::address,
};
use ipnet::IpNet;

use super::{DatapathError, batch::for_each, clock::Clock};
use crate::{
    counters::Counters,
    report::{self, Timestamp},
};

/// The maps that outlive the programs of one load. Programs that are loaded later refer to the
/// same ones, so this keeps them open.
///
/// Everything here can be read while the programs run, and by several readers at once.
pub struct Tables {
    flows: Map,
    hosts: Map,
    counters: Mutex<PerCpuArray<MapData, Tallies>>,
    interfaces: Mutex<Array<MapData, u32>>,
    event_quota: PerCpuArray<MapData, EventQuota>,
    clock: Clock,
}

/// Which flows are asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only those of clients in it.
    pub client: Option<IpNet>,
    /// No more than so many.
    pub limit: Option<usize>,
}

impl Tables {
    /// Their names in the object.
    pub const NAMES: [&'static str; 5] =
        ["FLOWS", "HOSTS", "COUNTERS", "INTERFACES", "EVENT_QUOTA"];

    /// Takes them out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Self::open(|name| ebpf.take_map(name).ok_or(DatapathError::Missing(name)))
    }

    /// Opens each of [`NAMES`](Self::NAMES) with `open`, wherever it is.
    ///
    /// # Errors
    ///
    /// Those of `open`; and where a map has another type or other sizes than this build's, or there
    /// is no [`Clock`].
    pub fn open(
        mut open: impl FnMut(&'static str) -> Result<Map, DatapathError>,
    ) -> Result<Self, DatapathError> {
        let [flows, hosts, counters, interfaces, quota] = Self::NAMES;
        Ok(Self {
            flows: {
                let map = open(flows)?;
                HashMap::<_, FlowKey, Flow>::try_from(&map).map_err(wrong(flows))?;
                map
            },
            hosts: {
                let map = open(hosts)?;
                PerCpuHashMap::<_, [u32; 4], HostRecord>::try_from(&map).map_err(wrong(hosts))?;
                map
            },
            counters: Mutex::new(open(counters)?.try_into().map_err(wrong(counters))?),
            interfaces: Mutex::new(open(interfaces)?.try_into().map_err(wrong(interfaces))?),
            event_quota: open(quota)?.try_into().map_err(wrong(quota))?,
            clock: Clock::load()?,
        })
    }

    /// One flow's entry in the table.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give it.
    pub fn raw_flow(&self, key: &FlowKey) -> Result<Option<Flow>, DatapathError> {
        let flows = HashMap::<_, FlowKey, Flow>::try_from(&self.flows).map_err(wrong("FLOWS"))?;
        match flows.get(key, 0) {
            Ok(flow) => Ok(Some(flow)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(wrong("FLOWS")(error)),
        }
    }

    /// The flow table as it is.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give it.
    pub fn raw_flows(&self) -> Result<Vec<(FlowKey, Flow)>, DatapathError> {
        let mut flows = Vec::new();
        self.for_each_flow(|key, flow| flows.push((*key, *flow)))?;
        Ok(flows)
    }

    /// Flows that are not over, the most recently touched first. `policy` is the one that the
    /// programs have; `name` gives the name of an interface by its index.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give them.
    pub fn flows(
        &self,
        policy: &Policy,
        query: &Query,
        name: impl Fn(u32) -> Option<String>,
    ) -> Result<Vec<report::Flow>, DatapathError> {
        let mut found = Vec::new();
        let now = self.clock.now()?;
        self.for_each_flow(|key, flow| {
            let is_asked_for = query
                .client
                .is_none_or(|prefix| prefix.contains(&key.client_address()));
            if is_asked_for && !flow.is_expired(now, policy) {
                found.push((now.since(flow.touched()), *key, *flow));
            }
        })?;
        let order = |(idle, key, _): &(Ticks, FlowKey, Flow)| {
            (*idle, key.client_address(), key.ports, key.server_address())
        };
        if let Some(limit) = query.limit
            && limit < found.len()
        {
            found.select_nth_unstable_by_key(limit, order);
            found.truncate(limit);
        }
        found.sort_unstable_by_key(order);
        let names = self.link_names(name)?;
        let flows = found.into_iter().map(|(idle, key, flow)| {
            let left = Ticks(flow.lifetime(policy).0.saturating_sub(idle.0));
            report::Flow {
                client: key.client_address(),
                client_port: key.client_port(),
                server: key.server_address(),
                server_port: key.server_port(),
                state: state(flow.phase()).to_owned(),
                idle_seconds: self.clock.span(idle).as_secs_f64(),
                expires_in_seconds: self.clock.span(left).as_secs_f64(),
                drops: flow.client.drops,
                iface: names.get(usize::from(flow.client.link)).cloned().flatten(),
            }
        });
        Ok(flows.collect())
    }

    /// How many flows there are that are not over.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give them.
    pub fn count_flows(&self, policy: &Policy) -> Result<u64, DatapathError> {
        let now = self.clock.now()?;
        let mut count = 0;
        self.for_each_flow(|_, flow| count += u64::from(!flow.is_expired(now, policy)))?;
        // While a full table is turned over, more are met than there are at once.
        let room = data(&self.flows, "FLOWS")?.info().map_err(wrong("FLOWS"))?;
        Ok(count.min(room.max_entries().into()))
    }

    /// Clients with the fault, the worst first.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give them.
    pub fn hosts(&self, limit: Option<usize>) -> Result<Vec<report::Host>, DatapathError> {
        let (now, wall) = (self.clock.now()?, SystemTime::now());
        let mut hosts = Vec::new();
        for_each(data(&self.hosts, "HOSTS")?, cpus()?, |client, of_cpus| {
            hosts.push((address(client), sum(of_cpus)));
        })
        .map_err(unreadable("HOSTS"))?;
        hosts.sort_unstable_by_key(|(client, host): &(IpAddr, HostRecord)| {
            let worst = (host.spurious_acks, host.resets, host.redundant_acks);
            (std::cmp::Reverse(worst), *client)
        });
        hosts.truncate(limit.unwrap_or(usize::MAX));
        let hosts = hosts.into_iter().map(|(client, host)| {
            let age = self.clock.span(Ticks(now.0.saturating_sub(host.last.0)));
            report::Host {
                client,
                spurious_acks: host.spurious_acks,
                redundant_acks: host.redundant_acks,
                resets: host.resets,
                last_seen: Timestamp(wall.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)),
            }
        });
        Ok(hosts.collect())
    }

    /// Events that were not reported: over the quota, or without room in the buffer.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn events_lost(&self) -> Result<u64, DatapathError> {
        let quotas = self.event_quota.get(&0, 0).map_err(wrong("EVENT_QUOTA"))?;
        Ok(quotas.iter().map(|quota| quota.lost).sum())
    }

    /// What was counted at one entry, summed over all CPUs.
    pub(super) fn counters(&self, entry: u32) -> Result<Counters, DatapathError> {
        let mut sum = Counters::default();
        let counters = lock(&self.counters);
        let values = counters.get(&entry, 0).map_err(wrong("COUNTERS"))?;
        for cpu in values.iter() {
            sum += Counters::from(*cpu);
        }
        Ok(sum)
    }

    /// Begins anew to count at one entry, which no interface must have.
    pub(super) fn clear(&self, entry: u32) -> Result<(), DatapathError> {
        let nothing: Tallies = [0; Reason::COUNT + 1];
        PerCpuValues::try_from(vec![nothing; cpus()?])
            .map_err(MapError::IoError)
            .and_then(|values| lock(&self.counters).set(entry, values, 0))
            .map_err(wrong("COUNTERS"))
    }

    /// Whether the programs count packets of the interface with this index at this entry.
    pub(super) fn is_owner(&self, entry: u32, index: u32) -> Result<bool, DatapathError> {
        let owner = lock(&self.interfaces).get(&entry, 0);
        owner
            .map(|owner| owner == index)
            .map_err(wrong("INTERFACES"))
    }

    /// Has the programs count packets of the interface with this index at this entry; with 0, of
    /// none.
    pub(super) fn set_owner(&self, entry: u32, index: u32) -> Result<(), DatapathError> {
        let mut interfaces = lock(&self.interfaces);
        interfaces.set(entry, index, 0).map_err(wrong("INTERFACES"))
    }

    fn for_each_flow(&self, mut see: impl FnMut(&FlowKey, &Flow)) -> Result<(), DatapathError> {
        for_each(data(&self.flows, "FLOWS")?, 1, |key, flows| {
            for flow in flows {
                see(key, flow);
            }
        })
        .map_err(unreadable("FLOWS"))
    }

    /// The name of the interface at each entry, which is what a flow keeps of it.
    fn link_names(
        &self,
        name: impl Fn(u32) -> Option<String>,
    ) -> Result<Vec<Option<String>>, DatapathError> {
        lock(&self.interfaces)
            .iter()
            .map(|index| match index.map_err(wrong("INTERFACES"))? {
                0 => Ok(None),
                index => Ok(name(index)),
            })
            .collect()
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of every CPU that there may be, as the kernel keeps them.
fn cpus() -> Result<usize, DatapathError> {
    nr_cpus().map_err(|(_, error)| DatapathError::System {
        what: "the number of CPUs",
        error,
    })
}

fn sum(of_cpus: &[HostRecord]) -> HostRecord {
    of_cpus
        .iter()
        .fold(HostRecord::default(), |sum, host| HostRecord {
            spurious_acks: sum.spurious_acks + host.spurious_acks,
            redundant_acks: sum.redundant_acks + host.redundant_acks,
            resets: sum.resets + host.resets,
            last: sum.last.max(host.last),
        })
}

const fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::HalfClosed => "half_closed",
        Phase::LastAck => "last_ack",
        Phase::Closed => "closed",
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other is one of these")]
fn data<'m>(map: &'m Map, name: &'static str) -> Result<&'m MapData, DatapathError> {
    match map {
        Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data) => Ok(data),
        _ => Err(DatapathError::Missing(name)),
    }
}

fn wrong(map: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |error| DatapathError::Map { map, error }
}

fn unreadable(map: &'static str) -> impl Fn(std::io::Error) -> DatapathError {
    move |error| DatapathError::Map {
        map,
        error: MapError::IoError(error),
    }
}
