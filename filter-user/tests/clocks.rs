//! Somebody sets the wall clock while programs are at work. That is the whole machine's, so this test
//! is ignored on one that is not its own, and `cargo xtask vm` runs it. Needs root.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use filter_user::lab::{client::Client, topology::WAN};
use nix::{
    sys::signal::Signal,
    time::{ClockId, clock_settime},
};
use serde_json::Value;

use instance::{
    Instance,
    bpffs::BpfFileSystem,
    cure::{self, CONNECTIONS},
    hooks, lastack, output,
    wiring::Network,
};

const NAME: [&str; 2] = ["--instance", "clocks"];
/// Only the guest of `cargo xtask vm` has it.
const GUEST: &str = "/run/guest";
/// What times in the output lack: their last digits are milliseconds, and a client's are jiffies.
const SLACK: Duration = Duration::from_millis(100);
/// As much as a flow lives at the most.
const LONGEST: Duration = Duration::from_hours(1);

/// The wall clock, which goes right again in the end.
struct WallClock {
    start: (SystemTime, Instant),
}

impl WallClock {
    fn take() -> Self {
        let is_guest = Path::new(GUEST).exists();
        assert!(is_guest, "it sets the machine's clock: cargo xtask vm");
        Self {
            start: (SystemTime::now(), Instant::now()),
        }
    }

    fn set(time: SystemTime) {
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        clock_settime(ClockId::CLOCK_REALTIME, time.into()).unwrap();
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        let (wall, then) = self.start;
        Self::set(wall + then.elapsed());
    }
}

fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Something that has just happened.
#[track_caller]
fn assert_is_between(time: &Value, from: SystemTime, to: SystemTime) {
    let instant = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
    let is_so = instant + SLACK >= from && instant <= to + SLACK;
    assert!(is_so, "{time} is not from {from:?} to {to:?}");
}

/// The network, and who is asked what happened there.
struct Asked {
    network: Network,
    client: Client,
    file_system: BpfFileSystem,
    start: Instant,
    /// What it was last.
    age: f64,
    runs: u64,
}

impl Asked {
    fn new() -> Self {
        let mut network = Network::new();
        let client = network.client();
        Self {
            network,
            client,
            file_system: BpfFileSystem::new(),
            start: Instant::now(),
            age: 0.0,
            runs: 0,
        }
    }

    fn begin(&self, options: &[&str]) -> Instance {
        let directory = ["--pin-dir", self.file_system.path().to_str().unwrap()];
        let options = [&NAME, &directory, &["--metrics-addr", "off"], options].concat();
        Instance::start(&self.network.topology.gateway, &[WAN], &options)
    }

    fn say(&self, arguments: &[&str]) -> String {
        let mut command = lastack(arguments);
        command.args(NAME).arg("--pin-dir");
        command.arg(self.file_system.path());
        let output = output(&self.network.topology.gateway, command);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.say(&[command, "--output", "json"])).unwrap()
    }

    /// The first that `lastack watch` prints.
    fn snapshot(&self) -> Value {
        let mut command = lastack(&["watch", "--output", "json", "--pin-dir"]);
        command.arg(self.file_system.path()).args(NAME);
        command.stdout(Stdio::piped());
        let mut child = self.network.topology.gateway.spawn(command).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The client is cured, and all that is told is so.
    fn assert_right(&mut self) {
        let from = SystemTime::now();
        for outcome in cure::run(&mut self.client) {
            let is_cured = outcome.seen.resets == 0 && !outcome.read_error;
            assert!(is_cured && outcome.intact, "{outcome:?}");
        }
        self.runs += 1;
        let status = self.json("status");
        self.assert_status(&status);
        let text = self.say(&["status"]);
        let heading = text.lines().next().unwrap();
        assert!(!heading.contains("day"), "{heading}");

        let flows = self.json("flows");
        let flows = flows["flows"].as_array().unwrap();
        assert!(flows.len() >= CONNECTIONS.into(), "{flows:?}");
        for flow in flows {
            let longest = self.start.elapsed().as_secs_f64();
            let idle = seconds(&flow["idle_seconds"]);
            assert!((0.0..=longest).contains(&idle), "{flow}");
            let left = seconds(&flow["expires_in_seconds"]);
            assert!((0.0..=LONGEST.as_secs_f64()).contains(&left), "{flow}");
        }

        self.assert_hosts(&self.json("hosts"), from);
        let text = self.say(&["hosts"]);
        assert!(text.contains("s ago") && !text.contains("day"), "{text}");

        let asked = SystemTime::now();
        let snapshot = self.snapshot();
        assert_is_between(&snapshot["time"], asked, SystemTime::now());
        self.assert_status(&snapshot["status"]);
        self.assert_hosts(&snapshot["hosts"], from);
    }

    fn assert_status(&mut self, status: &Value) {
        let interface = &status["interfaces"][0];
        let dropped = self.runs * u64::from(CONNECTIONS);
        assert_eq!(interface["spurious_acks_dropped"], dropped, "{status}");
        let age = seconds(&status["age_seconds"]);
        let ages = self.age..=self.start.elapsed().as_secs_f64();
        assert!(ages.contains(&age), "{age} is not in {ages:?}");
        self.age = age;
    }

    fn assert_hosts(&self, hosts: &Value, from: SystemTime) {
        // Its IPv4 and its IPv6 address.
        assert_eq!(hosts["total"], 2, "{hosts}");
        for host in hosts["hosts"].as_array().unwrap() {
            let acks = self.runs * u64::from(CONNECTIONS / 2);
            assert_eq!(host["spurious_acks"], acks, "{host}");
            assert_is_between(&host["last_seen"], from, SystemTime::now());
        }
    }

    /// All is right after the clock was set back by an hour, and then forward by a day. `told` sees
    /// to what came in between the two times.
    fn assert_right_at_any_time(&mut self, told: impl Fn(SystemTime, SystemTime)) {
        let now = SystemTime::now();
        for time in [
            now.checked_sub(Duration::from_hours(1)),
            now.checked_add(Duration::from_hours(23)),
        ] {
            WallClock::set(time.unwrap());
            let from = SystemTime::now();
            self.assert_right();
            told(from, SystemTime::now());
        }
    }
}

#[test]
#[ignore = "needs a clock that may be set: cargo xtask vm"]
fn a_running_instance_minds_no_clock_that_is_set_back_or_forward() {
    let _clock = WallClock::take();
    let mut asked = Asked::new();
    let instance = asked.begin(&["--events"]);
    asked.assert_right_at_any_time(|from, to| {
        let mut drops = 0;
        while drops < CONNECTIONS {
            let event = instance.event();
            assert_eq!(event["type"], "event", "{event}");
            assert_is_between(&event["time"], from, to);
            drops += u16::from(event["reason"] == "spurious_ack_dropped");
        }
    });
    let (status, rest) = instance.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    assert_eq!(rest.last().unwrap()["type"], "detached");
}

#[test]
#[ignore = "needs a clock that may be set: cargo xtask vm"]
fn what_is_pinned_minds_no_clock_that_is_set_back_or_forward() {
    let _clock = WallClock::take();
    let mut asked = Asked::new();
    let (status, _) = asked.begin(&["--pin"]).stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    asked.assert_right_at_any_time(|_, _| {});
    asked.say(&["detach"]);
    let hooks = hooks(&asked.network.topology.gateway, WAN);
    assert!(
        !hooks.iter().any(|hook| hook.contains("lastack")),
        "{hooks:?}"
    );
}
