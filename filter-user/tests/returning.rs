//! `lastack run` on interfaces that vanish, return, change names, MTU or state. Needs root, ip,
//! tc, bpftool and curl.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use filter_user::lab::{
    client::{Client, Plan},
    namespace::Namespace,
    server::Server,
    topology::{Topology, WAN},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use instance::{
    Instance, hooks, output, sample, tool, wait_until,
    wiring::{self, path},
};

const CONNECTIONS: u16 = 8;
/// The interface that comes and goes.
const UPLINK: &str = "up0";
/// Far less than what passes until it looks unasked.
const AT_ONCE: Duration = Duration::from_secs(1);
const WITHOUT_METRICS: [&str; 2] = ["--metrics-addr", "off"];

fn ip(namespace: &Namespace, command: &str) {
    wiring::ip(namespace, &[command]);
}

/// Makes a pair of interfaces in the gateway.
fn add_pair(gateway: &Namespace, name: &str) {
    ip(
        gateway,
        &format!("link add {name} type veth peer name {name}p"),
    );
    ip(gateway, &format!("link set {name}p up"));
    ip(gateway, &format!("link set {name} up"));
}

/// Connects gateway and server by another link, [`UPLINK`] of the gateway with this number, and
/// sends all between client and server that way.
fn add_uplink(topology: &Topology, index: u64) {
    let Topology {
        gateway, server, ..
    } = topology;
    let peer = format!("peer name up1 netns {}", path(server));
    ip(
        gateway,
        &format!("link add {UPLINK} index {index} type veth {peer}"),
    );
    for (namespace, interface, host) in [(gateway, UPLINK, 1), (server, "up1", 2)] {
        ip(namespace, &format!("link set {interface} up"));
        ip(
            namespace,
            &format!("address add 198.18.0.{host}/24 dev {interface}"),
        );
        ip(
            namespace,
            &format!("-6 address add fd18::{host}/64 dev {interface} nodad"),
        );
    }
    ip(gateway, "route replace 203.0.113.2/32 via 198.18.0.2");
    ip(gateway, "-6 route replace 2001:db8::2/128 via fd18::2");
    ip(server, "route replace 10.0.0.0/24 via 198.18.0.1");
    ip(server, "-6 route replace fd00::/64 via fd18::1");
}

/// The client with the fault works, and none of its connections is reset.
fn assert_cured(client: &mut Client) {
    let plan = Plan {
        connections: CONNECTIONS,
        spurious_ack_after: Some(Duration::from_millis(200)),
        response: 16_384,
        reading: Duration::from_millis(400),
        timeout: Duration::from_secs(30),
    };
    let outcomes = client.run(&plan, &mut |_| {}).unwrap();
    for outcome in &outcomes {
        assert!(outcome.intact && !outcome.read_error, "{outcome:?}");
        assert_eq!(outcome.seen.resets, 0);
        assert_eq!(outcome.seen.spurious_acks, 1);
    }
}

fn get(gateway: &Namespace, page: &str) -> String {
    let url = format!("http://127.0.0.1:9433/{page}");
    let status = ["--write-out", "%{http_code}"];
    let mut arguments = vec!["--silent", "--show-error", &url];
    arguments.extend(status);
    tool(gateway, "curl", &arguments)
}

/// What Prometheus is told, in which no counter must ever go back.
#[derive(Default)]
struct Scrapes(String);

impl Scrapes {
    fn next(&mut self, gateway: &Namespace) -> &str {
        let now = get(gateway, "metrics");
        for line in self.0.lines().filter(|line| line.contains("_total{")) {
            let (name, before) = line.rsplit_once(' ').unwrap();
            assert!(
                sample(&now, name) >= before.parse().unwrap(),
                "{line} in {now}"
            );
        }
        self.0 = now;
        &self.0
    }

    fn dropped(&mut self, gateway: &Namespace, interface: &str) -> u64 {
        let name = format!(
            "lastack_spurious_acks_total{{action=\"dropped\",iface=\"{interface}\",kind=\"spurious\"}}"
        );
        sample(self.next(gateway), &name)
    }

    fn served(&mut self, gateway: &Namespace, interface: &str) -> u64 {
        let name = format!("lastack_interface_served{{iface=\"{interface}\"}}");
        sample(self.next(gateway), &name)
    }
}

/// `lastack run` that ends early rather than that the test waits for ever.
fn limited_run() -> Command {
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_lastack"), "run"]);
    command
}

#[track_caller]
fn assert_event(instance: &Instance, kind: &str, interface: &str) -> Value {
    let event = instance.event();
    assert_eq!(
        (&event["type"], &event["iface"]),
        (&kind.into(), &interface.into()),
        "{event}"
    );
    event
}

/// The same, and the reason.
#[track_caller]
fn assert_lost(instance: &Instance, interface: &str, reason: &str) -> Value {
    let event = assert_event(instance, "lost", interface);
    assert_eq!(event["reason"], reason, "{event}");
    event
}

/// The next attachment, past what is said of the link's state.
#[track_caller]
fn assert_attached(instance: &Instance, interface: &str) -> Value {
    loop {
        let event = instance.event();
        if event["type"] != "link" {
            assert_eq!(
                (&event["type"], &event["iface"]),
                (&"attached".into(), &interface.into()),
                "{event}"
            );
            return event;
        }
    }
}

fn hook_names(attached: &Value) -> Vec<&str> {
    let hooks = attached["hooks"].as_array().unwrap().iter();
    hooks.map(|hook| hook["hook"].as_str().unwrap()).collect()
}

fn index(namespace: &Namespace, interface: &str) -> u64 {
    let links = tool(namespace, "ip", &["-json", "link", "show", interface]);
    let links: Value = serde_json::from_str(&links).unwrap();
    links[0]["ifindex"].as_u64().unwrap()
}

/// Whether any of our programs is on an interface.
fn is_served(namespace: &Namespace, interface: &'static str) -> bool {
    let hooks = hooks(namespace, interface);
    hooks
        .iter()
        .any(|line| line.contains("lastack") || line.contains(interface) && line.contains("driver"))
}

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

/// The reason of the next loss, past what is said of the link's state.
fn lost_after_link_events(instance: &Instance) -> String {
    loop {
        let event = instance.event();
        if event["type"] != "link" {
            assert_eq!(event["type"], "lost", "{event}");
            return event["reason"].as_str().unwrap().to_owned();
        }
    }
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

/// The number of the interface, the priority and the handle of the filter: all as they were.
#[test]
fn a_filter_of_somebody_else_in_the_place_of_ours_stays() {
    const THEIRS: &str =
        "filter add dev up0 egress prio 65000 handle 1 protocol all bpf bytecode 1,6_0_0_0";
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_pair(gateway, UPLINK);
    let options = ["--metrics-addr", "off", "--tc-mode", "clsact"];
    let instance = Instance::start(gateway, &[UPLINK], &options);
    let filters = || tool(gateway, "tc", &["filter", "show", "dev", UPLINK, "egress"]);
    let ours = filters();
    assert!(
        ours.contains("pref 65000") && ours.contains("handle 0x1 "),
        "{ours}"
    );

    instance.signal(Signal::SIGSTOP);
    let elsewhere = path(&topology.server);
    ip(gateway, &format!("link set up0 netns {elsewhere}"));
    let back = path(gateway);
    ip(&topology.server, &format!("link set up0 netns {back}"));
    for command in ["qdisc add dev up0 clsact", THEIRS] {
        let command = command.split(' ').map(|word| word.replace('_', " "));
        let command: Vec<_> = command.collect();
        tool(
            gateway,
            "tc",
            &command.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
    let theirs = filters();
    assert!(theirs.contains("handle 0x1 "), "{theirs}");
    instance.signal(Signal::SIGCONT);
    assert_lost(&instance, UPLINK, "removed");
    assert_attached(&instance, UPLINK);
    assert!(
        filters().contains("handle 0x1 not_in_hw bytecode"),
        "{}",
        filters()
    );
    assert!(instance.stop(Signal::SIGINT).0.success());
    assert_eq!(filters(), theirs);
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
