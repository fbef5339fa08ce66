//! `lastack run --pin`: what stays when the process ends, and who takes it over. Needs root,
//! bpftool, tc and curl.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::maps::{HashMap, Map, MapData};
use filter_user::lab::{
    client::{Client, Outcome, Plan},
    topology::{LAN, Topology, WAN},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use instance::{
    Instance,
    bpffs::BpfFileSystem,
    expected::has_tcx,
    hooks, lastack, output, run, tool,
    wiring::{Network, ip},
};

const CONNECTIONS: u16 = 16;

fn faulty(connections: u16) -> Plan {
    Plan {
        connections,
        spurious_ack_after: Some(Duration::from_millis(200)),
        response: 16_384,
        reading: Duration::from_millis(400),
        timeout: Duration::from_secs(30),
    }
}

/// The lab's network and a place to pin in.
struct Pinned {
    file_system: BpfFileSystem,
    network: Network,
}

impl Pinned {
    fn new() -> Self {
        Self {
            file_system: BpfFileSystem::new(),
            network: Network::new(),
        }
    }

    fn topology(&self) -> &Topology {
        &self.network.topology
    }

    /// Options that pin, and `more`.
    fn options(&self, more: &[&str]) -> Vec<String> {
        let directory = self.file_system.path().to_str().unwrap();
        let pin = ["--pin", "--pin-dir", directory];
        pin.iter().chain(more).map(ToString::to_string).collect()
    }

    fn start(&self, interfaces: &[&str], more: &[&str]) -> Instance {
        let options = self.options(more);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        Instance::start(&self.topology().gateway, interfaces, &options)
    }

    /// A start that must fail, with one line; nothing on the hooks and nothing pinned changes.
    #[track_caller]
    fn assert_refused(&self, arguments: &[&str], says: &[&str]) {
        let state = || {
            (
                hooks(&self.topology().gateway, WAN),
                self.file_system.list("default"),
            )
        };
        let before = state();
        let mut command = lastack(&["run", "--metrics-addr", "off"]);
        command.args(arguments);
        let output = output(&self.topology().gateway, command);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for word in says {
            assert!(stderr.contains(word), "no {word} in: {stderr}");
        }
        assert_eq!(state(), before);
    }
}

/// The numbers of the programs that an instance said it had attached.
fn programs(instance: &Instance) -> Vec<u64> {
    let hooks = instance.attached.iter();
    let hooks = hooks.flat_map(|line| line["hooks"].as_array().unwrap());
    hooks
        .map(|hook| hook["program_id"].as_u64().unwrap())
        .collect()
}

fn sent(outcomes: &[Outcome]) -> u64 {
    outcomes
        .iter()
        .map(|outcome| outcome.seen.spurious_acks)
        .sum()
}

#[track_caller]
fn assert_all_cured(outcomes: &[Outcome]) {
    for outcome in outcomes {
        let is_cured = outcome.seen.resets == 0 && !outcome.read_error;
        assert!(is_cured && outcome.intact, "{outcome:?}");
    }
}

/// What the instance has counted at last on an interface.
fn last<'l>(lines: &'l [Value], interface: &str) -> &'l Value {
    let is_last = |line: &&Value| line["type"] == "counters" && line["iface"] == interface;
    lines.iter().rfind(is_last).unwrap()
}

fn work(client: &mut Client) -> Vec<Outcome> {
    client.run(&faulty(CONNECTIONS), &mut |_| {}).unwrap()
}

#[test]
fn without_pin_a_killed_process_leaves_nothing() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    let instance = Instance::start(gateway, &[WAN], &[]);
    assert_ne!(hooks(gateway, WAN), before);
    drop(instance.stop(Signal::SIGKILL));
    // Of clsact only --pin has somebody know who comes after.
    if has_tcx() {
        instance::wait_until("the kernel detaches", || hooks(gateway, WAN) == before);
    }
}

fn goes_on(options: &[&str], signal: Signal) {
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    let instance = pinned.start(&[WAN], options);
    let first = work(&mut client);
    drop(instance.stop(signal));
    let second = work(&mut client);
    let instance = pinned.start(&[WAN], options);
    let third = work(&mut client);
    let outcomes = [first, second, third].concat();
    assert_all_cured(&outcomes);
    assert_eq!(sent(&outcomes), 3 * u64::from(CONNECTIONS));
    let (status, lines) = instance.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    assert_eq!(lines.last().unwrap()["type"], "left");
    assert_eq!(last(&lines, WAN)["spurious_acks_dropped"], sent(&outcomes));
}

#[test]
fn pinned_programs_go_on_without_a_killed_process_and_the_next_counts_on() {
    goes_on(&[], Signal::SIGKILL);
}

#[test]
fn pinned_programs_go_on_behind_a_process_that_ends() {
    goes_on(&["--ingress", "tc"], Signal::SIGTERM);
}

#[test]
fn filters_in_clsact_go_on_too() {
    goes_on(&CLSACT, Signal::SIGTERM);
}

/// The closes of both families are remembered for minutes, so all of them are still there.
#[test]
fn a_takeover_says_once_what_it_goes_on_with() {
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    let first = pinned.start(&[WAN], &[]);
    work(&mut client);
    let (_, lines) = first.stop(Signal::SIGTERM);
    let is_takeover = |line: &&Value| line["type"] == "taken_over";
    assert_eq!(lines.iter().find(is_takeover), None);
    let (_, lines) = pinned.start(&[WAN], &[]).stop(Signal::SIGTERM);
    let takeovers: Vec<_> = lines.iter().filter(is_takeover).collect();
    let [takeover] = takeovers[..] else {
        panic!("{lines:?}");
    };
    let directory = pinned.file_system.path().join("default");
    assert_eq!(takeover["flows"], CONNECTIONS);
    assert_eq!(takeover["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(takeover["dir"], directory.to_str().unwrap());
}

/// With closes on their way all the time: what one process saw of them the next has to know.
fn upgraded_under_load(options: &[&str]) {
    const UPGRADES: usize = 6;
    let plan = Plan {
        // Longer than an upgrade takes.
        spurious_ack_after: Some(Duration::from_secs(1)),
        reading: Duration::from_millis(1500),
        ..faulty(48)
    };
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    let mut instance = pinned.start(&[WAN], options);
    let mut seen = vec![programs(&instance)];
    let done = AtomicBool::new(false);
    let (outcomes, instance) = thread::scope(|scope| {
        let working = scope.spawn(|| {
            let mut outcomes = Vec::new();
            while !done.load(Ordering::Relaxed) {
                outcomes.extend(client.run(&plan, &mut |_| {}).unwrap());
            }
            outcomes
        });
        for signal in [Signal::SIGTERM, Signal::SIGKILL].repeat(UPGRADES / 2) {
            thread::sleep(Duration::from_millis(500));
            drop(instance.stop(signal));
            instance = pinned.start(&[WAN], options);
            seen.push(programs(&instance));
        }
        done.store(true, Ordering::Relaxed);
        (working.join().unwrap(), instance)
    });
    let (_, lines) = instance.stop(Signal::SIGTERM);
    assert_all_cured(&outcomes);
    assert!(sent(&outcomes) > 48, "the client went on");
    let counted = last(&lines, WAN);
    assert_eq!(counted["spurious_acks_dropped"], sent(&outcomes));
    // Nobody had to ask again: not one ACK was dropped that was needed.
    assert_eq!(counted["packets"]["elicited"], 0);
    // Other programs each time, on both hooks.
    let mut all = seen.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 2 * (UPGRADES + 1), "{seen:?}");
}

#[test]
fn an_upgrade_under_load_lets_no_spurious_ack_through() {
    upgraded_under_load(&[]);
}

#[test]
fn an_upgrade_of_clsact_filters_under_load_lets_no_spurious_ack_through() {
    upgraded_under_load(&CLSACT);
}

#[test]
fn what_cannot_be_taken_over_is_refused_in_one_line_and_goes_on() {
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    let directory = pinned.file_system.path().to_str().unwrap();
    drop(pinned.start(&[WAN], &[]).stop(Signal::SIGTERM));
    let pin = ["--pin", "--pin-dir", directory, "--iface", WAN];
    let refused = |more: &[&str], says: &[&str]| {
        pinned.assert_refused(&[&pin[..], more].concat(), says);
    };
    refused(
        &["--role", "lan"],
        &["role", "wan", "lan", "lastack detach"],
    );
    refused(&["--closer", "either"], &["closer", "either"]);
    refused(&["--max-flows", "1000"], &["max-flows", "65536", "1000"]);
    pinned.assert_refused(
        &["--pin-dir", directory, "--iface", WAN],
        &[directory, "--pin", "lastack detach"],
    );
    // Nothing is served of an interface that is not there, and the others go on as they were.
    refused(&["--iface", "nope0"], &["nope0"]);
    assert_all_cured(&work(&mut client));
}

/// Whatever the mask is that new files get.
#[test]
fn what_is_pinned_is_its_owners_alone() {
    let pinned = Pinned::new();
    let some = pinned.file_system.path().join("some");
    let directory = some.join("where");
    let pin = ["--pin", "--pin-dir", directory.to_str().unwrap()];
    let run = run(&[WAN], &pin);
    let mut unmasked = Command::new("sh");
    unmasked
        .args(["-c", "umask 0 && exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args());
    let instance = Instance::spawn(&pinned.topology().gateway, unmasked).attached_to(&[WAN]);
    let mut files = 0;
    let mut paths = vec![some];
    while let Some(path) = paths.pop() {
        let there = path.metadata().unwrap();
        let mode = there.permissions().mode() & 0o7777;
        let expected = if there.is_dir() { 0o700 } else { 0o600 };
        let shown = path.display();
        assert_eq!(mode, expected, "{shown}: {mode:o}, not {expected:o}");
        assert_eq!(there.uid(), 0, "{shown}");
        if there.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            files += 1;
        }
    }
    assert!(files > 5, "{files} are pinned");
    assert!(instance.stop(Signal::SIGTERM).0.success());
}

#[test]
fn pins_need_a_bpf_file_system() {
    let pinned = Pinned::new();
    pinned.assert_refused(
        &["--pin", "--pin-dir", "/dev/shm/lastack", "--iface", WAN],
        &["/dev/shm/lastack", "mount -t bpf", "--pin-dir"],
    );
    assert!(!fs::exists("/dev/shm/lastack").unwrap());
}

#[test]
fn what_is_pinned_for_another_network_namespace_is_refused() {
    let pinned = Pinned::new();
    drop(pinned.start(&[WAN], &[]).stop(Signal::SIGTERM));
    let directory = pinned.file_system.path().to_str().unwrap();
    let other = Topology::new().unwrap();
    let mut command = lastack(&["run", "--iface", WAN, "--pin", "--pin-dir", directory]);
    command.args(["--metrics-addr", "off"]);
    let output = output(&other.gateway, command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("--instance"), "{stderr}");
}

#[test]
fn a_failed_first_start_leaves_nothing_pinned() {
    let pinned = Pinned::new();
    let directory = pinned.file_system.path().to_str().unwrap();
    pinned.assert_refused(
        &[
            "--pin",
            "--pin-dir",
            directory,
            "--iface",
            WAN,
            "--iface",
            "nope0",
        ],
        &["nope0"],
    );
    let names = pinned.file_system.list("");
    assert!(!names.iter().any(|name| name == "default"), "{names:?}");
}

/// An interface is served, then it is not, then it is again.
fn let_go(options: &[&str]) {
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    let gateway = &pinned.topology().gateway;
    let of_wan = || {
        let mut hooks = hooks(gateway, WAN);
        hooks.retain(|hook| !hook.contains(LAN));
        hooks
    };
    let before = of_wan();
    drop(pinned.start(&[WAN, LAN], options).stop(Signal::SIGTERM));
    let served = of_wan();
    drop(pinned.start(&[LAN], options).stop(Signal::SIGTERM));
    assert_eq!(of_wan(), before);
    let instance = pinned.start(&[WAN], options);
    assert_eq!(of_wan().len(), served.len());
    assert_eq!(filters(&pinned, WAN), filters_of(options));
    let outcomes = work(&mut client);
    let (_, lines) = instance.stop(Signal::SIGTERM);
    assert_all_cured(&outcomes);
    assert_eq!(last(&lines, WAN)["packets"]["elicited"], 0);
    assert_eq!(
        last(&lines, WAN)["packets"]["first_ack"],
        outcomes.len(),
        "the first ACK was not taken for a repetition of itself"
    );
}

const CLSACT: [&str; 4] = ["--ingress", "tc", "--tc-mode", "clsact"];

/// How many filters of ours are in the clsact qdisc of an interface, arriving and leaving.
fn filters(pinned: &Pinned, interface: &str) -> [usize; 2] {
    ["ingress", "egress"].map(|side| {
        let show = ["filter", "show", "dev", interface, side];
        let shown = tool(&pinned.topology().gateway, "tc", &show);
        let ours = |line: &&str| line.contains(" handle ") && line.contains("lastack_");
        shown.lines().filter(ours).count()
    })
}

fn filters_of(options: &[&str]) -> [usize; 2] {
    let is_clsact = options.contains(&"clsact");
    // Without TCX what leaves is filtered there in any case.
    [is_clsact, is_clsact || !has_tcx()].map(usize::from)
}

#[test]
fn an_interface_that_is_named_no_more_is_let_go_of() {
    let_go(&[]);
}

#[test]
fn filters_of_an_interface_that_is_named_no_more_are_taken_off() {
    let_go(&CLSACT);
}

#[test]
fn filters_that_a_killed_process_had_no_time_to_note_do_not_stay_beside_others() {
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    drop(pinned.start(&[WAN], &CLSACT).stop(Signal::SIGKILL));
    rewrite_record(&pinned, |json| {
        let mut record: Value = serde_json::from_str(json).unwrap();
        record["interfaces"] = serde_json::json!([]);
        record.to_string()
    });
    let instance = pinned.start(&[WAN], &CLSACT);
    assert_eq!(filters(&pinned, WAN), [1, 1]);
    let outcomes = work(&mut client);
    let (_, lines) = instance.stop(Signal::SIGTERM);
    assert_all_cured(&outcomes);
    assert_eq!(last(&lines, WAN)["spurious_acks_dropped"], sent(&outcomes));
}

#[test]
fn an_interface_that_was_renamed_while_nobody_looked_is_served_once_by_its_new_name() {
    for options in [&[][..], &CLSACT] {
        let pinned = Pinned::new();
        let gateway = &pinned.topology().gateway;
        ip(gateway, &["link add spare0 type veth peer name spare1"]);
        drop(pinned.start(&["spare0"], options).stop(Signal::SIGTERM));
        ip(gateway, &["link set spare0 name other0"]);
        let instance = pinned.start(&["other0"], options);
        assert_eq!(instance.hooks().len(), 2);
        assert_eq!(filters(&pinned, "other0"), filters_of(options));
        drop(instance.stop(Signal::SIGTERM));
    }
}

#[test]
fn hooks_that_are_not_asked_for_any_more_are_changed() {
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    let mut outcomes = Vec::new();
    let mut lines = Vec::new();
    for (options, expected) in [
        (&[][..], instance::expected::xdp()),
        (&["--ingress", "tc"], instance::expected::tc()),
        (&["--ingress", "xdp"], instance::expected::xdp()),
    ] {
        let instance = pinned.start(&[WAN], options);
        assert_eq!(instance.hooks(), expected);
        outcomes.extend(work(&mut client));
        (_, lines) = instance.stop(Signal::SIGTERM);
    }
    assert_all_cured(&outcomes);
    assert_eq!(last(&lines, WAN)["spurious_acks_dropped"], sent(&outcomes));
}

#[test]
fn an_interface_that_was_replaced_while_nobody_looked_is_served_again() {
    let pinned = Pinned::new();
    let gateway = &pinned.topology().gateway;
    let make = "link add spare0 type veth peer name spare1";
    ip(gateway, &[make]);
    let interfaces = [WAN, "spare0"];
    drop(pinned.start(&interfaces, &[]).stop(Signal::SIGTERM));
    ip(gateway, &["link del spare0", make]);
    let instance = pinned.start(&interfaces, &[]);
    assert_eq!(instance.hooks().len(), 4);
    let names = pinned.file_system.list("default");
    let links = names
        .iter()
        .filter(|name| name.starts_with(char::is_lowercase));
    let of_each = if has_tcx() { 2 } else { 1 };
    assert_eq!(links.count(), 2 * of_each, "{names:?}");
    drop(instance.stop(Signal::SIGTERM));
}

/// Writes over the record of what is pinned, as another version of lastack might have left it.
fn rewrite_record(pinned: &Pinned, change: impl Fn(&str) -> String) {
    const OCTETS: usize = 65_536;
    let path = pinned.file_system.path().join("default/RECORD");
    let data = Map::HashMap(MapData::from_pin(path).unwrap());
    let mut map: HashMap<_, u32, [u8; OCTETS]> = HashMap::try_from(data).unwrap();
    let mut page = map.get(&0, 0).unwrap();
    let length = u32::from_ne_bytes(page[..4].try_into().unwrap()) as usize;
    let json = change(str::from_utf8(&page[4..4 + length]).unwrap());
    page[..4].copy_from_slice(&u32::try_from(json.len()).unwrap().to_ne_bytes());
    page[4..4 + json.len()].copy_from_slice(json.as_bytes());
    map.insert(0, page, 0).unwrap();
}

#[test]
fn what_another_layout_has_left_is_refused_in_one_line_and_goes_on() {
    let mut pinned = Pinned::new();
    let mut client = pinned.network.client();
    drop(pinned.start(&[WAN], &[]).stop(Signal::SIGTERM));
    let directory = pinned.file_system.path().to_str().unwrap();
    let pin = ["--pin", "--pin-dir", directory, "--iface", WAN];
    rewrite_record(&pinned, |_| {
        r#"{"layout":4000000000,"version":"9.8.7","what":"nobody knows"}"#.to_owned()
    });
    pinned.assert_refused(&pin, &[directory, "9.8.7", "4000000000", "lastack detach"]);
    rewrite_record(&pinned, |_| "nonsense".to_owned());
    pinned.assert_refused(&pin, &[directory, "bpftool net"]);
    assert_all_cured(&work(&mut client));
}
