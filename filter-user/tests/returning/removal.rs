//! Programs that are taken off, and hooks that are taken.

use std::{
    thread,
    time::{Duration, Instant},
};

use filter_user::lab::{namespace::Namespace, topology::Topology};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    AT_ONCE, UPLINK, WITHOUT_METRICS, add_pair, assert_attached, assert_event, assert_lost,
    hook_names, ip, is_served, lost_after_link_events, path,
};
use crate::instance::{Instance, hooks, tool, wait_until};

#[test]
fn an_interface_in_another_namespace_is_not_served_until_it_is_back() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    for tc_mode in ["tcx", "clsact"] {
        add_pair(gateway, UPLINK);
        let options = ["--metrics-addr", "off", "--tc-mode", tc_mode];
        let instance = Instance::start(gateway, &[UPLINK], &options);
        let elsewhere = path(&topology.server);
        ip(gateway, &format!("link set up0 netns {elsewhere}"));
        assert_eq!(lost_after_link_events(&instance), "vanished");
        assert!(!is_served(&topology.server, UPLINK), "{tc_mode}");
        let back = path(gateway);
        ip(&topology.server, &format!("link set up0 netns {back}"));
        assert_attached(&instance, UPLINK);
        assert!(is_served(gateway, UPLINK), "{tc_mode}");

        // There and back while it does not look: it has the same number.
        instance.signal(Signal::SIGSTOP);
        ip(gateway, &format!("link set up0 netns {elsewhere}"));
        ip(&topology.server, &format!("link set up0 netns {back}"));
        instance.signal(Signal::SIGCONT);
        wait_until(tc_mode, || egress_is_served(gateway));
        assert!(instance.stop(Signal::SIGINT).0.success());
        assert!(!is_served(gateway, UPLINK), "{tc_mode}");
        ip(gateway, "link del up0");
    }
}

fn egress_is_served(gateway: &Namespace) -> bool {
    let filters = tool(gateway, "tc", &["filter", "show", "dev", UPLINK, "egress"]);
    let hooks = hooks(gateway, UPLINK);
    filters.contains("lastack_egress") || hooks.iter().any(|line| line.contains("tcx Egress"))
}

#[test]
fn programs_that_somebody_took_off_are_attached_again() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_pair(gateway, UPLINK);
    let instance = Instance::start(
        gateway,
        &[UPLINK],
        &["--metrics-addr", "off", "--tc-mode", "clsact"],
    );
    assert_eq!(instance.hooks(), ["xdp-native", "clsact-egress"]);
    for command in ["qdisc del dev up0 clsact", "filter del dev up0 egress"] {
        // It has come to rest, and looks only because of this change.
        thread::sleep(Duration::from_millis(500));
        tool(gateway, "tc", &command.split(' ').collect::<Vec<_>>());
        let start = Instant::now();
        assert_lost(&instance, UPLINK, "removed");
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        assert_attached(&instance, UPLINK);
        assert!(egress_is_served(gateway));
    }
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert!(!is_served(gateway, UPLINK));

    let instance = Instance::start(gateway, &[UPLINK], &WITHOUT_METRICS);
    let mut attached = instance.attached[0].clone();
    for hook in [1, 0] {
        // Nobody is told of that, so that it is found on the next round.
        thread::sleep(Duration::from_millis(500));
        let program = &attached["hooks"][hook]["program_id"];
        let links = tool(gateway, "bpftool", &["--json", "link"]);
        let links: Value = serde_json::from_str(&links).unwrap();
        let mut links = links.as_array().unwrap().iter();
        let link = links.find(|link| link["prog_id"] == *program).unwrap();
        let link = link["id"].to_string();
        tool(gateway, "bpftool", &["link", "detach", "id", &link]);
        assert_lost(&instance, UPLINK, "removed");
        attached = assert_attached(&instance, UPLINK);
        assert_eq!(hook_names(&attached), ["xdp-native", "tcx-egress"]);
    }
    assert!(instance.stop(Signal::SIGINT).0.success());
}

/// Puts somebody else's filter where ours is: with its priority and its handle.
fn add_their_filter(gateway: &Namespace, interface: &str) -> String {
    tool(gateway, "tc", &["qdisc", "add", "dev", interface, "clsact"]);
    let mut filter = vec!["filter", "add", "dev", interface, "egress", "prio", "65000"];
    filter.extend([
        "handle",
        "1",
        "protocol",
        "all",
        "bpf",
        "bytecode",
        "1,6 0 0 0",
    ]);
    tool(gateway, "tc", &filter);
    filters(gateway, interface)
}

fn filters(gateway: &Namespace, interface: &str) -> String {
    tool(
        gateway,
        "tc",
        &["filter", "show", "dev", interface, "egress"],
    )
}

/// The number of the interface, the priority and the handle of the filter: all as they were.
#[test]
fn a_filter_of_somebody_else_in_the_place_of_ours_stays() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_pair(gateway, UPLINK);
    let options = ["--metrics-addr", "off", "--tc-mode", "clsact"];
    let instance = Instance::start(gateway, &[UPLINK], &options);
    let ours = filters(gateway, UPLINK);
    assert!(ours.contains("pref 65000"), "{ours}");

    instance.signal(Signal::SIGSTOP);
    let elsewhere = path(&topology.server);
    ip(gateway, &format!("link set up0 netns {elsewhere}"));
    let back = path(gateway);
    ip(&topology.server, &format!("link set up0 netns {back}"));
    let theirs = add_their_filter(gateway, UPLINK);
    instance.signal(Signal::SIGCONT);
    assert_lost(&instance, UPLINK, "removed");
    assert_attached(&instance, UPLINK);
    let both = filters(gateway, UPLINK);
    assert!(both.contains("handle 0x1 not_in_hw bytecode"), "{both}");
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert_eq!(filters(gateway, UPLINK), theirs);
}

#[test]
fn an_interface_that_got_the_number_of_a_vanished_one_is_left_alone() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    ip(gateway, "link add up0 index 1000 type veth peer name up0p");
    let options = ["--metrics-addr", "off", "--tc-mode", "clsact"];
    let instance = Instance::start(gateway, &[UPLINK], &options);
    instance.signal(Signal::SIGSTOP);
    ip(gateway, "link del up0");
    ip(gateway, "link add up5 index 1000 type veth peer name up5p");
    let theirs = add_their_filter(gateway, "up5");
    instance.signal(Signal::SIGCONT);
    assert_lost(&instance, UPLINK, "vanished");
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert_eq!(filters(gateway, "up5"), theirs);
}

#[test]
fn what_cannot_be_attached_is_told_once_and_tried_until_it_can() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_pair(gateway, UPLINK);
    let ours = ["--ingress", "xdp", "--metrics-addr", "off"];
    let instance = Instance::start(gateway, &[UPLINK], &ours);
    instance.signal(Signal::SIGSTOP);
    ip(gateway, "link del up0");
    add_pair(gateway, UPLINK);
    let other = Instance::start(gateway, &[UPLINK], &WITHOUT_METRICS);
    instance.signal(Signal::SIGCONT);
    assert_lost(&instance, UPLINK, "replaced");
    let failed = assert_event(&instance, "failed", UPLINK);
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("XDP program already"),
        "{failed}"
    );
    // Some attempts, of which nothing is said.
    thread::sleep(Duration::from_secs(4));
    assert!(other.stop(Signal::SIGINT).0.success());
    assert_event(&instance, "attached", UPLINK);
    assert!(instance.stop(Signal::SIGINT).0.success());
}

/// Where `auto` found the driver's hook free, and on its return somebody has taken it.
#[test]
fn an_interface_that_returns_with_another_xdp_program_is_served_by_tc() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_pair(gateway, UPLINK);
    let instance = Instance::start(gateway, &[UPLINK], &WITHOUT_METRICS);
    instance.signal(Signal::SIGSTOP);
    ip(gateway, "link del up0");
    add_pair(gateway, UPLINK);
    let other = Instance::start(gateway, &[UPLINK], &WITHOUT_METRICS);
    instance.signal(Signal::SIGCONT);
    assert_lost(&instance, UPLINK, "replaced");
    let attached = assert_attached(&instance, UPLINK);
    assert_eq!(hook_names(&attached), ["tcx-ingress", "tcx-egress"]);
    assert!(other.stop(Signal::SIGINT).0.success());
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert!(!is_served(gateway, UPLINK));
}
