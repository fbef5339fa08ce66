//! Interfaces that change names, and what the log says.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use filter_user::lab::topology::Topology;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    UPLINK, WITHOUT_METRICS, add_pair, assert_attached, assert_lost, index, ip, is_served,
    limited_run, lost_after_link_events,
};
use crate::instance::Instance;

#[test]
fn whoever_has_the_name_is_served() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_pair(gateway, UPLINK);
    let instance = Instance::start(gateway, &[UPLINK], &WITHOUT_METRICS);
    let first = index(gateway, UPLINK);
    ip(gateway, "link set up0p name up9p");
    ip(gateway, "link set up0 name up9");
    let lost = assert_lost(&instance, UPLINK, "renamed");
    assert_eq!(lost["name"], "up9");
    assert!(!is_served(gateway, "up9"));

    add_pair(gateway, UPLINK);
    let attached = assert_attached(&instance, UPLINK);
    assert_ne!(attached["ifindex"], first);
    assert!(is_served(gateway, UPLINK) && !is_served(gateway, "up9"));

    ip(gateway, "link del up0");
    assert_eq!(lost_after_link_events(&instance), "vanished");
    ip(gateway, "link set up9 name up0");
    assert_eq!(assert_attached(&instance, UPLINK)["ifindex"], first);
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert!(!is_served(gateway, UPLINK));
}

#[test]
fn people_read_in_the_log_what_becomes_of_an_interface() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let mut command = limited_run();
    command.args(["--wait", "--iface", UPLINK]);
    command.args(WITHOUT_METRICS);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = gateway.spawn(command).unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut expect = |said: &str| {
        let line = log.next().unwrap().unwrap();
        assert!(line.ends_with(said), "{line}");
    };
    expect("up0: not there yet; attaching when it comes");
    ip(gateway, "link add up0 type veth peer name up0p");
    expect("up0: attached to xdp-native and tcx-egress");
    ip(gateway, "link set up0 mtu 1400");
    expect("up0: its MTU is 1400 octets, after 1500");
    ip(gateway, "link set up0 up");
    expect("up0: up, but without a carrier");
    ip(gateway, "link set up0p up");
    expect("up0: up");
    ip(gateway, "link set up0 down");
    expect("up0: down");
    ip(gateway, "link set up0 name up9");
    expect("up0: is called up9 now and served no more; attaching to the next that has its name");
    ip(gateway, "link set up9 name up0");
    expect("up0: attached to xdp-native and tcx-egress");
    ip(gateway, "link del up0");
    expect("up0: vanished; attaching again when it returns");
    // It hands the signal on.
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    expect("SIGTERM: detaching");
    child.wait().unwrap();
}

#[test]
fn two_served_interfaces_that_change_names_are_both_served() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    for name in ["left0", "right0"] {
        add_pair(gateway, name);
    }
    let before = ["left0", "right0"].map(|name| index(gateway, name));
    let instance = Instance::start(gateway, &["left0", "right0"], &WITHOUT_METRICS);
    // So that it sees no state between.
    instance.signal(Signal::SIGSTOP);
    for (from, to) in [("left0", "other"), ("right0", "left0"), ("other", "right0")] {
        ip(gateway, &format!("link set {from} name {to}"));
    }
    instance.signal(Signal::SIGCONT);
    for name in ["left0", "right0"] {
        assert_lost(&instance, name, "renamed");
    }
    assert_eq!(assert_attached(&instance, "left0")["ifindex"], before[1]);
    assert_eq!(assert_attached(&instance, "right0")["ifindex"], before[0]);
    assert!(instance.stop(Signal::SIGINT).0.success());
}
