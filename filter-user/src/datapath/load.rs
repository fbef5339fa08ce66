//! Makes maps and programs of the embedded object.

use std::{fs, io, path::PathBuf, time::Duration};

use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use caps::{CapSet, Capability};
use filter_common::{
    Closer, Mode, Ticks,
    expiry::{self, SLOTS_PER_LINE},
    policy::{Configuration, MOST_INTERFACES},
    record::MOST_HOSTS,
    segment::words,
};
use log::{Level, debug, log_enabled};
use nix::sys::resource::{Resource, setrlimit};

use super::{DatapathError, clock::tick, kernel, scope};
use crate::settings::{LogDecisions, Role, Settings};

/// The packet programs as an object file, built from filter-ebpf: those that tell nobody.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lastack-ebpf"));

/// The same with events and the log of decisions; of either, only what settings ask for is left
/// when they are loaded.
pub static TELLING_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lastack-ebpf-telling"));

/// Octets of the ring buffers of events and of the log: the least, or enough for what one CPU may
/// report in three seconds.
const SMALLEST_BUFFER: u32 = 4096;
const EVENT_BUFFER: u32 = 1 << 18;

/// Slots of the expiry array for each flow: with a full table one ordinary packet in five finds
/// its slot taken, and one in forty taken by several flows, so that it asks the table.
const SLOTS_PER_FLOW: u32 = 4;
/// 64 MiB of slots.
const MOST_SLOTS: u32 = 1 << 24;

/// Creates the maps, or takes those that are pinned at their paths in `shared`, and makes the programs
/// ready to be loaded. Gives with them what was fixed in them.
///
/// `secret` is that of the programs which used these maps before.
pub(super) fn load(
    settings: &Settings,
    shared: &[(&'static str, PathBuf)],
    secret: Option<u64>,
) -> Result<(Ebpf, Configuration), DatapathError> {
    check_capabilities()?;
    kernel::check_floor()?;
    check_preemption()?;
    // Older kernels account maps to this limit.
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, u64::MAX, u64::MAX) {
        debug!("RLIMIT_MEMLOCK stays as it is: {error}");
    }
    let secret = secret.map_or_else(draw, Ok)?;
    let configuration = configuration(settings, secret)?;
    let mut loader = EbpfLoader::new();
    for (name, path) in shared {
        loader.map_pin_path(name, path);
    }
    for (name, entries) in sizes(settings) {
        loader.map_max_entries(name, entries);
    }
    let mut ebpf = loader
        // The programs touch no kernel structure that could have moved, so they do not need the
        // kernel's type information.
        .btf(None)
        .verifier_log_level(log_level())
        .override_global("CONFIGURATION", &configuration, true)
        .map_max_entries("CLIENTS", scope::clients(settings))
        .map_max_entries("PORTS", scope::ports(settings))
        .map_max_entries("HOSTS", MOST_HOSTS)
        .map_max_entries("EVENTS", event_buffer(settings))
        .load(object(settings))
        .map_err(kernel::not_loaded)?;
    scope::fill(&mut ebpf, settings)?;
    Ok((ebpf, configuration))
}

/// How many elements the shared maps have whose sizes the programs rely on.
pub(super) fn sizes(settings: &Settings) -> [(&'static str, u32); 3] {
    [
        ("FLOWS", settings.max_flows),
        ("EXPIRY", slots(settings.max_flows) / SLOTS_PER_LINE),
        ("INTERFACES", MOST_INTERFACES),
    ]
}

/// The programs that the settings need.
pub(super) fn object(settings: &Settings) -> &'static [u8] {
    if settings.events || settings.log_decisions != LogDecisions::Off {
        TELLING_OBJECT
    } else {
        OBJECT
    }
}

fn event_buffer(settings: &Settings) -> u32 {
    if settings.events {
        EVENT_BUFFER
    } else {
        SMALLEST_BUFFER
    }
}

/// The verifier's trace of a program that it refuses is megabytes of text, so it is asked for
/// only where it will be shown. Its last lines are figures.
fn log_level() -> VerifierLogLevel {
    if log_enabled!(Level::Debug) {
        VerifierLogLevel::DEBUG | VerifierLogLevel::STATS
    } else {
        VerifierLogLevel::STATS
    }
}

/// The capabilities that loading and attaching need and that the calling thread lacks.
pub(crate) fn missing_capabilities() -> Vec<Capability> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true);
    // CAP_SYS_ADMIN holds what was split off it.
    let bpf = |capability| has(capability) || has(Capability::CAP_SYS_ADMIN);
    [
        (Capability::CAP_BPF, bpf(Capability::CAP_BPF)),
        (Capability::CAP_NET_ADMIN, has(Capability::CAP_NET_ADMIN)),
        (Capability::CAP_PERFMON, bpf(Capability::CAP_PERFMON)),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(capability, _)| capability)
    .collect()
}

fn check_capabilities() -> Result<(), DatapathError> {
    let missing = missing_capabilities();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(DatapathError::missing(&missing))
    }
}

fn check_preemption() -> Result<(), DatapathError> {
    if is_realtime() {
        Err(DatapathError::Realtime)
    } else {
        Ok(())
    }
}

/// The programs keep a packet's facts in per-CPU maps. With PREEMPT_RT a packet can interrupt
/// another at the same hook of the same CPU, and one would be judged by the other's facts:
/// <https://git.kernel.org/torvalds/c/3253cb49cbad4772389d6ef55be75db1f97da910>
pub(crate) fn is_realtime() -> bool {
    fs::read_to_string("/sys/kernel/realtime").is_ok_and(|realtime| realtime.trim() == "1")
}

fn slots(max_flows: u32) -> u32 {
    max_flows
        .saturating_mul(SLOTS_PER_FLOW)
        .clamp(1024, MOST_SLOTS)
        .next_power_of_two()
}

/// A key that no stranger knows.
fn draw() -> Result<u64, DatapathError> {
    let mut secret = [0; 8];
    getrandom::fill(&mut secret).map_err(|error| DatapathError::System {
        what: "a random number",
        error: io::Error::other(error.to_string()),
    })?;
    Ok(u64::from_ne_bytes(secret))
}

/// What is fixed in programs with these settings.
pub(super) fn configuration(
    settings: &Settings,
    secret: u64,
) -> Result<Configuration, DatapathError> {
    let slots = slots(settings.max_flows);
    let tick = tick()?;
    // What nobody has answered is not worth more than what somebody has.
    let one_sided = settings.one_sided_timeout.min(settings.half_closed_timeout);
    let (log_decisions, log_client) = match settings.log_decisions {
        LogDecisions::Off => (0, [0; 4]),
        LogDecisions::All => (1, [0; 4]),
        LogDecisions::Client(client) => (2, words(client)),
    };
    Ok(Configuration {
        secret,
        window: ticks(settings.window, tick),
        half_closed_lifetime: lifetime(settings.half_closed_timeout, tick),
        one_sided_lifetime: lifetime(one_sided, tick),
        closed_lifetime: lifetime(settings.closed_timeout, tick),
        slot_mask: slots - 1,
        budget: settings.budget,
        lan: u8::from(settings.role == Role::Lan),
        enforce: u8::from(settings.mode == Mode::Enforce),
        rst_guard: u8::from(settings.rst_guard),
        log_decisions,
        scoped_clients: u8::from(!settings.clients.is_empty()),
        scoped_ports: u8::from(!settings.ports.is_empty()),
        either: u8::from(settings.closer == Closer::Either),
        events: u8::from(settings.events),
        reserved: [0; 3],
        log_client,
    })
}

/// At least one, since the clock may advance right behind the first packet.
fn ticks(duration: Duration, tick: Duration) -> Ticks {
    let ticks = duration.as_nanos().div_ceil(tick.as_nanos().max(1)).max(1);
    Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
}

fn lifetime(duration: Duration, tick: Duration) -> Ticks {
    ticks(duration, tick).min(expiry::LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_ticks_and_never_none() {
        let tick = Duration::from_millis(4);
        assert_eq!(ticks(Duration::from_millis(500), tick), Ticks(125));
        assert_eq!(ticks(Duration::from_millis(501), tick), Ticks(126));
        assert_eq!(ticks(Duration::from_nanos(1), tick), Ticks(1));
    }

    #[test]
    fn slots_are_a_power_of_two_within_bounds() {
        assert_eq!(slots(1), 1024);
        assert_eq!(slots(65_536), 1 << 18);
        assert_eq!(slots(100_000), 1 << 19);
        assert_eq!(slots(u32::MAX), MOST_SLOTS);
    }
}
