//! Instances beside each other, and interfaces that go.

use std::{fs, thread, time::Duration};

use filter_user::lab::{
    client::Client,
    topology::{Topology, WAN},
};
use nix::sys::signal::Signal;

use super::{
    instance::{
        Instance,
        bpffs::BpfFileSystem,
        cure::{self, CONNECTIONS},
        hooks, lastack, output, wait_until,
        wiring::{Network, connect},
    },
    stage::of_ours,
};

const WITHOUT_METRICS: [&str; 2] = ["--metrics-addr", "off"];
const CLSACT: [&str; 4] = ["--ingress", "tc", "--tc-mode", "clsact"];

fn named(network: &Network, name: &str, more: &[&str]) -> Instance {
    let options = [&WITHOUT_METRICS[..], &["--instance", name], more].concat();
    Instance::start(&network.topology.gateway, &[WAN], &options)
}

fn assert_cured(client: &mut Client) {
    let outcomes = cure::run(client);
    assert_eq!(outcomes.len(), usize::from(CONNECTIONS));
    for outcome in outcomes {
        let is_cured = outcome.seen.resets == 0 && !outcome.read_error;
        assert!(is_cured && outcome.intact, "{outcome:?}");
    }
}

#[test]
fn two_instances_on_one_interface_cure_and_one_goes_without_the_other() {
    for options in [&[][..], &CLSACT] {
        let mut network = Network::new();
        let mut client = network.client();
        let first = named(&network, "first", options);
        let second = named(&network, "second", options);
        let gateway = &network.topology.gateway;
        assert_eq!(of_ours(&hooks(gateway, WAN)), [2, 2]);
        assert_cured(&mut client);
        let detached = output(gateway, lastack(&["detach", "--instance", "first"]));
        assert!(detached.status.success(), "{detached:?}");
        assert!(first.end().0.success());
        assert_eq!(of_ours(&hooks(gateway, WAN)), [1, 1]);
        assert_cured(&mut client);
        assert!(second.stop(Signal::SIGTERM).0.success());
        assert_eq!(of_ours(&hooks(gateway, WAN)), [0, 0]);
    }
}

#[test]
fn the_next_of_a_killed_instance_s_name_removes_its_filters_and_nobody_else_s() {
    let mut network = Network::new();
    let mut client = network.client();
    let killed = named(&network, "first", &CLSACT);
    let other = named(&network, "second", &CLSACT);
    drop(killed.stop(Signal::SIGKILL));
    let on = |network: &Network| of_ours(&hooks(&network.topology.gateway, WAN));
    assert_eq!(on(&network), [2, 2]);
    // Also where it attaches otherwise.
    let next = named(&network, "first", &[]);
    assert_eq!(on(&network), [2, 2]);
    assert!(other.stop(Signal::SIGTERM).0.success());
    assert_eq!(on(&network), [1, 1]);
    assert_cured(&mut client);
    assert!(next.stop(Signal::SIGTERM).0.success());
    assert_eq!(on(&network), [0, 0]);
}

#[test]
fn the_next_of_a_killed_instance_s_name_removes_its_filters_also_where_it_is_pinned() {
    let mut network = Network::new();
    let mut client = network.client();
    let file_system = BpfFileSystem::new();
    let before = hooks(&network.topology.gateway, WAN);
    drop(named(&network, "first", &CLSACT).stop(Signal::SIGKILL));
    let place = ["--pin-dir", file_system.path().to_str().unwrap(), "--pin"];
    for options in [&CLSACT[..], &[]] {
        let next = named(&network, "first", &[&place, options].concat());
        assert_eq!(of_ours(&hooks(&network.topology.gateway, WAN)), [1, 1]);
        assert_cured(&mut client);
        let gateway = &network.topology.gateway;
        let detach = lastack(&["detach", "--instance", "first"]);
        assert!(output(gateway, detach).status.success());
        assert!(next.end().0.success());
        assert_eq!(hooks(gateway, WAN), before);
        drop(named(&network, "first", &CLSACT).stop(Signal::SIGKILL));
    }
}

/// Clock ticks that a process has used: fields 14 and 15 of proc(5)'s stat, behind a name in
/// parentheses.
fn ticks_of(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    ticks(11) + ticks(12)
}

#[test]
fn an_instance_whose_interface_went_with_the_namespace_of_its_peer_waits_and_does_not_spin() {
    let topology = Topology::new().unwrap();
    let other = Topology::new().unwrap();
    let gateway = &topology.gateway;
    connect((gateway, "peer0"), (&other.gateway, "peer1"));
    let options = [&WITHOUT_METRICS[..], &["--interval", "1h"]].concat();
    let instance = Instance::start(gateway, &["peer0"], &options);
    drop(other);
    let lost = instance.event();
    assert_eq!(lost["type"], "lost", "{lost}");
    let before = ticks_of(instance.id());
    thread::sleep(Duration::from_secs(1));
    let used = ticks_of(instance.id()) - before;
    assert!(used < 20, "it used {used} ticks of a second");
    assert!(instance.stop(Signal::SIGTERM).0.success());
    wait_until("nothing is left", || {
        !hooks(gateway, WAN)
            .iter()
            .any(|hook| hook.contains("lastack_"))
    });
}
