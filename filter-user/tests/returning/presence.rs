//! Interfaces that vanish, come, and change.

use std::time::Instant;

use filter_user::lab::{
    client::Client,
    namespace::Namespace,
    server::Server,
    topology::{Topology, WAN},
};
use nix::sys::signal::Signal;

use super::{
    AT_ONCE, CONNECTIONS, Scrapes, UPLINK, WITHOUT_METRICS, add_pair, add_uplink, assert_attached,
    assert_cured, assert_event, assert_lost, get, hook_names, index, ip, is_served, limited_run,
};
use crate::instance::{Instance, hooks, output, sample, tool, wait_until};

/// An interface vanishes while another is served. It returns with another number, and later
/// with the first.
fn assert_served_when_it_returns(options: &[&str]) {
    let expected = u64::from(CONNECTIONS);
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    add_uplink(&topology, 1000);
    let gateway = &topology.gateway;
    let before = [hooks(gateway, WAN), hooks(gateway, UPLINK)];
    let instance = Instance::start(gateway, &[WAN, UPLINK], options);
    let mut scrapes = Scrapes::default();
    assert_cured(&mut client);
    assert_eq!(scrapes.dropped(gateway, UPLINK), expected);

    for (round, number) in [(1, 1001), (2, 1000)] {
        // Without it, the routes are those by WAN.
        ip(gateway, &format!("link del {UPLINK}"));
        ip(
            &topology.server,
            "route replace 10.0.0.0/24 via 203.0.113.1",
        );
        ip(
            &topology.server,
            "-6 route replace fd00::/64 via 2001:db8::1",
        );
        while instance.event()["type"] != "lost" {}
        assert_eq!(scrapes.served(gateway, UPLINK), 0);
        assert!(
            !scrapes
                .0
                .contains(&format!("iface=\"{UPLINK}\",program_id"))
        );
        assert_eq!(get(gateway, "healthz"), "ok\n200");
        let readiness = get(gateway, "readyz");
        assert!(
            readiness.starts_with("up0: ") && readiness.ends_with("503"),
            "{readiness}"
        );
        assert_cured(&mut client);
        assert_eq!(scrapes.dropped(gateway, WAN), round * expected);
        assert_eq!(scrapes.dropped(gateway, UPLINK), round * expected);

        let start = Instant::now();
        add_uplink(&topology, number);
        let attached = assert_attached(&instance, UPLINK);
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        assert_eq!(attached["ifindex"], number);
        assert_eq!(get(gateway, "readyz"), "ok\n200");
        assert_cured(&mut client);
        assert_eq!(scrapes.dropped(gateway, UPLINK), (round + 1) * expected);
        assert_eq!(scrapes.dropped(gateway, WAN), round * expected);
        assert_eq!(scrapes.served(gateway, UPLINK), 1);
    }
    let losses = format!("lastack_interface_losses_total{{iface=\"{UPLINK}\"}}");
    assert_eq!(sample(&scrapes.0, &losses), 2);
    assert!(instance.stop(Signal::SIGTERM).0.success());
    assert_eq!([hooks(gateway, WAN), hooks(gateway, UPLINK)], before);
}

#[test]
fn an_interface_that_vanished_is_served_when_it_returns_and_the_others_meanwhile() {
    assert_served_when_it_returns(&[]);
}

#[test]
fn with_clsact_an_interface_is_served_when_it_returns() {
    assert_served_when_it_returns(&["--ingress", "tc", "--tc-mode", "clsact"]);
}

#[test]
fn an_interface_that_is_not_there_yet_is_waited_for_if_asked() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let options = ["--wait", "--metrics-addr", "off"];
    let instance = Instance::launch(gateway, &[UPLINK, WAN], &options);
    assert_event(&instance, "attached", WAN);
    assert_event(&instance, "waiting", UPLINK);
    add_pair(gateway, UPLINK);
    let attached = assert_attached(&instance, UPLINK);
    assert_eq!(attached["ifindex"], index(gateway, UPLINK));
    assert!(is_served(gateway, UPLINK));
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert!(!is_served(gateway, UPLINK));
}

#[test]
fn a_signal_while_nothing_is_there_ends_in_good_order() {
    let topology = Topology::new().unwrap();
    let options = ["--wait", "--metrics-addr", "off"];
    let instance = Instance::launch(&topology.gateway, &[UPLINK, "up8"], &options);
    assert_event(&instance, "waiting", UPLINK);
    assert_event(&instance, "waiting", "up8");
    let (status, lines) = instance.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    assert_eq!(lines.last().unwrap()["type"], "detached");
    let mut twice = limited_run();
    twice.args(["--iface", UPLINK, "--iface", UPLINK]);
    twice.args(options);
    let twice = output(&topology.gateway, twice);
    assert_eq!(twice.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("up0 is named twice"));
}

#[test]
fn a_change_of_state_or_mtu_is_told_and_takes_nothing_off() {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    add_uplink(&topology, 1000);
    let gateway = &topology.gateway;
    let instance = Instance::start(gateway, &[UPLINK], &[]);
    let mut scrapes = Scrapes::default();
    let attached = |metrics: &str| {
        let attached = metrics
            .lines()
            .filter(|line| line.starts_with("lastack_attached"));
        attached.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = attached(scrapes.next(gateway));
    assert_eq!(before.len(), 2);

    ip(gateway, "link set up0 mtu 1400");
    let mtu = assert_event(&instance, "link", UPLINK);
    assert_eq!((&mtu["mtu"], &mtu["state"]), (&1400.into(), &"up".into()));
    ip(&topology.server, "link set up1 down");
    assert_eq!(
        assert_event(&instance, "link", UPLINK)["state"],
        "no_carrier"
    );
    ip(gateway, "link set up0 down");
    assert_eq!(assert_event(&instance, "link", UPLINK)["state"], "down");
    assert_eq!(attached(scrapes.next(gateway)), before);
    assert_eq!(scrapes.served(gateway, UPLINK), 1);

    ip(gateway, "link del up0");
    assert_lost(&instance, UPLINK, "vanished");
    add_uplink(&topology, 1000);
    assert_attached(&instance, UPLINK);
    ip(gateway, "link set up0 down");
    ip(gateway, "link set up0 up");
    assert_cured_after_flap(&topology, &mut client);
    assert_eq!(scrapes.dropped(gateway, UPLINK), u64::from(CONNECTIONS));
}

/// Setting an interface down took its routes and its IPv6 addresses.
fn assert_cured_after_flap(topology: &Topology, client: &mut Client) {
    let gateway = &topology.gateway;
    ip(gateway, "-6 address replace fd18::1/64 dev up0 nodad");
    ip(gateway, "route replace 203.0.113.2/32 via 198.18.0.2");
    ip(gateway, "-6 route replace 2001:db8::2/128 via fd18::2");
    assert_cured(client);
}

/// More changes than the kernel keeps messages of, while nobody reads them.
#[test]
fn after_a_storm_of_changes_what_is_there_is_served() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let options = ["--wait", "--metrics-addr", "off"];
    let instance = Instance::launch(gateway, &[UPLINK, "up7"], &options);
    assert_event(&instance, "waiting", UPLINK);
    assert_event(&instance, "waiting", "up7");
    // Faster than it looks.
    for _ in 0..8 {
        add_pair(gateway, UPLINK);
        ip(gateway, "link del up0");
    }
    instance.signal(Signal::SIGSTOP);
    let mut batch = String::new();
    for _ in 0..100 {
        batch += "link add up0 type veth peer name up0p\nlink set up0 up\nlink set up0p up\nlink del up0\n";
    }
    batch += "link add up0 type veth peer name up0p\nlink add up7 type veth peer name up7p\n";
    let file = std::env::temp_dir().join(format!("lastack-storm-{}", std::process::id()));
    std::fs::write(&file, batch).unwrap();
    tool(gateway, "ip", &["-batch", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert!(overrun(gateway), "the storm is too weak");
    instance.signal(Signal::SIGCONT);
    wait_until("both are served", || {
        is_served(gateway, UPLINK) && is_served(gateway, "up7")
    });
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert!(!is_served(gateway, UPLINK) && !is_served(gateway, "up7"));
}

/// Whether a netlink socket of the namespace has lost messages.
fn overrun(namespace: &Namespace) -> bool {
    const DROPS: usize = 8;
    let sockets = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/netlink"));
    let sockets = sockets.unwrap();
    let drops = sockets.lines().skip(1).map(|line| {
        line.split_whitespace()
            .nth(DROPS)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    });
    drops.sum::<u64>() > 0
}

#[test]
fn an_interface_of_another_kind_gets_the_hooks_of_its_kind() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_pair(gateway, UPLINK);
    let instance = Instance::start(gateway, &[UPLINK], &WITHOUT_METRICS);
    assert_eq!(instance.hooks(), ["xdp-native", "tcx-egress"]);
    ip(gateway, "link del up0");
    assert_lost(&instance, UPLINK, "vanished");
    ip(gateway, "tuntap add dev up0 mode tun");
    let attached = assert_attached(&instance, UPLINK);
    assert_eq!(hook_names(&attached), ["tcx-ingress", "tcx-egress"]);
    let there = hooks(gateway, UPLINK);
    assert!(
        there
            .iter()
            .any(|line| line.contains(r#"Some("lastack_egress_")"#)),
        "{there:?}"
    );
    ip(gateway, "link del up0");
    assert_lost(&instance, UPLINK, "vanished");
    add_pair(gateway, UPLINK);
    let attached = assert_attached(&instance, UPLINK);
    assert_eq!(hook_names(&attached), ["xdp-native", "tcx-egress"]);
    assert!(instance.stop(Signal::SIGINT).0.success());
}
