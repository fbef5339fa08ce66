//! `lastack run` under load: its counters, its memory, its descriptors.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Serialize;

use super::super::{namespace::Namespace, topology::WAN};

/// Of `/metrics`; the namespace has nobody else on it.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9433);
/// How long a scrape may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two scrapes.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a start may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Idle lifetimes of flows that are closed, that are not, and of which one side is not seen; in
/// seconds.
const LIFETIMES: [u64; 3] = [5, 10, 5];
/// How much longer the table may have flows: their number is not counted at each scrape.
const FORGETTING: Duration = Duration::from_secs(20);
/// What the process may have more in the end than when it was warm: pages that its allocator
/// keeps, in bytes.
const GROWTH: u64 = 4 << 20;
/// And descriptors: connections that are not closed yet.
const MORE_DESCRIPTORS: usize = 4;

/// A running instance. Dropping it ends it.
pub(super) struct Lastack<'a> {
    child: Child,
    gateway: &'a Namespace,
}

impl<'a> Lastack<'a> {
    /// Starts it on [`WAN`]; when this returns it has attached.
    pub(super) fn start(binary: &Path, gateway: &'a Namespace) -> Result<Self> {
        let [closed, half_closed, one_sided] = LIFETIMES.map(|seconds| format!("{seconds}s"));
        let mut command = Command::new(binary);
        command
            .args(["run", "--iface", WAN, "--metrics-addr"])
            .arg(METRICS.to_string())
            .args(["--closed-timeout", &closed])
            .args(["--half-closed-timeout", &half_closed])
            .args(["--one-sided-timeout", &one_sided])
            // Not even a busy machine's client misses it.
            .args(["--window", "5s"])
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let lastack = Self {
            child: gateway.spawn(command)?,
            gateway,
        };
        let start = Instant::now();
        let served = format!("lastack_interface_served{{iface=\"{WAN}\"}}");
        while lastack
            .samples()
            .ok()
            .and_then(|all| all.get(&served).copied())
            != Some(1.0)
        {
            ensure!(
                start.elapsed() < DEADLINE,
                "lastack run has not attached within {DEADLINE:?}"
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(lastack)
    }

    /// What a scrape gives.
    fn samples(&self) -> Result<BTreeMap<String, f64>> {
        let page = self.gateway.run(scrape)?;
        let (header, body) = page.split_once("\r\n\r\n").context("no HTTP")?;
        ensure!(header.starts_with("HTTP/1.1 200"), "{header}");
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(samples.collect())
    }

    /// Bytes that it has in memory, and its open descriptors.
    fn size(&self) -> Result<(u64, usize)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mut lines = status.lines();
        let resident = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|size| size.trim().strip_suffix(" kB"));
        let resident: u64 = resident.context("lastack run has ended")?.parse()?;
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.child.id()))?;
        Ok((resident * 1024, descriptors.count()))
    }

    /// Ends it as a service manager does.
    pub(super) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "lastack run ended with {status}");
        Ok(())
    }
}

impl Drop for Lastack<'_> {
    fn drop(&mut self) {
        // Neither does anything to a process that has been waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What was seen of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Watched {
    /// Scrapes that were answered.
    pub scrapes: u64,
    /// The longest in milliseconds.
    pub slowest_scrape: u64,
    /// ACKs that it says it has dropped.
    pub dropped: u64,
    /// Those of them whose cause an earlier one had answered, by its word.
    pub redundant: u64,
    /// The most closing flows at once.
    pub most_flows: f64,
    /// Bytes in memory when it was warm, at the most, and in the end.
    pub resident: [u64; 3],
    /// Descriptors, likewise.
    pub descriptors: [usize; 3],
    /// What is not as it has to be.
    pub broken: Vec<String>,
}

impl Watched {
    /// Waits until the table is empty again, and takes the last figures.
    pub(super) fn settle(&mut self, lastack: &Lastack<'_>) -> Result<()> {
        let start = Instant::now();
        let longest = Duration::from_secs(LIFETIMES.iter().sum()) + FORGETTING;
        let samples = loop {
            let samples = lastack.samples()?;
            let flows = samples.get("lastack_flows").copied();
            if flows == Some(0.0) {
                break samples;
            }
            if start.elapsed() > longest {
                let left = flows.unwrap_or_default();
                let problem = format!("{left} flows are left {longest:?} after the last close");
                self.broken.push(problem);
                break samples;
            }
            thread::sleep(INTERVAL);
        };
        (self.dropped, self.redundant) = (0, 0);
        for (name, value) in &samples {
            if name.starts_with("lastack_spurious_acks_total{") && name.contains("\"dropped\"") {
                self.dropped += whole(*value);
                if name.contains("\"redundant\"") {
                    self.redundant += whole(*value);
                }
            }
            if name.starts_with("lastack_map_errors_total") && *value > 0.0 {
                self.broken.push(format!("{name} is {value}"));
            }
        }
        let (resident, descriptors) = lastack.size()?;
        self.resident[2] = resident;
        self.descriptors[2] = descriptors;
        let [warm, most, _] = self.resident;
        if most.max(resident) > warm + GROWTH {
            let problem = format!("it grew from {warm} to {} octets", most.max(resident));
            self.broken.push(problem);
        }
        let [warm, most, _] = self.descriptors;
        if most.max(descriptors) > warm + MORE_DESCRIPTORS {
            let problem = format!("it had {warm} descriptors and then {most}");
            self.broken.push(problem);
        }
        Ok(())
    }
}

/// Looks at an instance each second.
pub(super) struct Watch<'a> {
    lastack: &'a Lastack<'a>,
    warm_up: Duration,
    over: AtomicBool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(lastack: &'a Lastack<'a>, warm_up: Duration) -> Self {
        Self {
            lastack,
            warm_up,
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Goes on until it is stopped.
    pub(super) fn run(&self) -> Result<Watched> {
        let start = Instant::now();
        let mut watched = Watched::default();
        let mut before = BTreeMap::new();
        while !self.over.load(Ordering::Relaxed) {
            let scrape = Instant::now();
            match self.lastack.samples() {
                Ok(now) => {
                    watched.note(&before, &now);
                    before = now;
                }
                Err(error) => watched.broken.push(format!("a scrape: {error:#}")),
            }
            let took = u64::try_from(scrape.elapsed().as_millis())?;
            watched.slowest_scrape = watched.slowest_scrape.max(took);
            let (resident, descriptors) = self.lastack.size()?;
            if start.elapsed() <= self.warm_up || watched.resident[0] == 0 {
                watched.resident[0] = watched.resident[0].max(resident);
                watched.descriptors[0] = watched.descriptors[0].max(descriptors);
            }
            watched.resident[1] = watched.resident[1].max(resident);
            watched.descriptors[1] = watched.descriptors[1].max(descriptors);
            thread::sleep(INTERVAL);
        }
        Ok(watched)
    }
}

impl Watched {
    fn note(&mut self, before: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) {
        self.scrapes += 1;
        let flows = now.get("lastack_flows").copied().unwrap_or_default();
        self.most_flows = self.most_flows.max(flows);
        for (name, was) in before {
            let is_counter = name.split('{').next().unwrap_or(name).ends_with("_total");
            let is = now.get(name).copied().unwrap_or_default();
            if is_counter && is < *was {
                self.broken.push(format!("{name} went from {was} to {is}"));
            }
        }
    }
}

fn scrape() -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&METRICS, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lastack\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// Of a counter.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that fits"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}
