//! From exec of `lastack run` to the first packet that it counts.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use filter_common::Direction;
use filter_user::lab::topology::{ClientPort, SERVER_V4, Topology, WAN};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    cases::CLIENT_FIN,
    frames::{Frame, Ip},
};
use crate::statistics::Summary;

/// Milliseconds.
const TARGET: f64 = 100.0;
/// How often the counters are looked at, and how often a packet is sent at the most.
const GRANULARITY: Duration = Duration::from_millis(1);
/// How long a start may take before this gives up.
const DEADLINE: Duration = Duration::from_secs(20);
/// The gateway's Ethernet address towards the client.
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Start {
    /// From exec to the line that says so.
    pub(super) attached: Summary,
    /// From exec to the first line of counters that is not all zeros.
    pub(super) counted: Summary,
    pub(super) target: f64,
    pub(super) met: bool,
}

/// Starts it so many times on a gateway through which clients' FINs go all the time.
pub(super) fn start(lastack: &Path, runs: u32) -> Result<Start> {
    let mut topology = Topology::new()?;
    let client = topology.add_client()?;
    let stop = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        scope.spawn(|| send(&client, &stop));
        let times: Result<Vec<_>> = (0..runs).map(|_| run(lastack, &topology)).collect();
        stop.store(true, Ordering::Relaxed);
        times
    })?;
    let none = "nothing was measured";
    let counted = Summary::of(times.iter().map(|&(_, counted)| counted)).context(none)?;
    Ok(Start {
        attached: Summary::of(times.iter().map(|&(attached, _)| attached)).context(none)?,
        counted,
        target: TARGET,
        met: counted.median <= TARGET,
    })
}

fn send(client: &ClientPort, stop: &AtomicBool) {
    let ip = Ip::V4 {
        client: client.subnet.neighbour_v4,
        server: SERVER_V4,
        options: 0,
        fragment: (0, false),
    };
    let mut frame = Frame::new(Direction::FromClient, ip, CLIENT_FIN).octets();
    frame[..6].copy_from_slice(&GATEWAY);
    frame[6..12].copy_from_slice(&client.hardware_address);
    while !stop.load(Ordering::Relaxed) {
        // A full queue is emptied by the next time.
        (&client.card).write_all(&frame).ok();
        thread::sleep(GRANULARITY / 10);
    }
}

/// An instance that does not outlive its measurement.
struct Instance(Child);

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Milliseconds until it was attached, and until it had counted.
fn run(lastack: &Path, topology: &Topology) -> Result<(f64, f64)> {
    let mut command = Command::new(lastack);
    command
        .args(["run", "--iface", WAN, "--output", "json", "--interval"])
        .arg(format!("{}ms", GRANULARITY.as_millis()))
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let started = Instant::now();
    let mut instance = Instance(topology.gateway.spawn(command)?);
    let stdout = instance.0.stdout.take().context("it was piped")?;
    let mut attached = None;
    for line in BufReader::new(stdout).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let passed = started.elapsed();
        ensure!(passed < DEADLINE, "no packet was counted for {DEADLINE:?}");
        let packets = line["packets"].as_object();
        if line["type"] == "attached" {
            attached = Some(passed);
        } else if packets.is_some_and(|packets| packets.values().any(|count| *count != 0)) {
            let pid = Pid::from_raw(instance.0.id().try_into()?);
            kill(pid, Signal::SIGTERM)?;
            instance.0.wait()?;
            let attached = attached.context("it counted before it had attached")?;
            return Ok((milliseconds(attached), milliseconds(passed)));
        }
    }
    bail!("{} ended before it had counted a packet", lastack.display())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
