//! `lastack check` in namespaces. Needs root, ip, tc, nft, bpftool, setpriv and unshare.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::process::{Command, Output};

use aya::{
    Ebpf, EbpfLoader,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{NlOptions, TcAttachOptions},
    },
};
use filter_user::{
    datapath::OBJECT,
    lab::{
        namespace::Namespace,
        topology::{Topology, WAN},
    },
};
use nix::sys::signal::Signal;
use serde_json::Value;

use instance::{Instance, hooks, lastack, output, tool, wait_until};

/// What a check printed, and how it ended.
struct Checked {
    status: i32,
    checks: Vec<Value>,
    stderr: String,
}

impl Checked {
    /// The one finding of a check, of an interface or of the machine.
    #[track_caller]
    fn of(&self, interface: Option<&str>, name: &str) -> &Value {
        let mut found = self.checks.iter().filter(|check| {
            check["iface"].as_str() == interface && check["name"].as_str() == Some(name)
        });
        let first = found.next();
        let first = first.unwrap_or_else(|| panic!("no {name} in {:#?}", self.checks));
        assert!(found.next().is_none(), "{name} twice in {:#?}", self.checks);
        first
    }

    /// That it is a warning or an error with these words in what is so, and these in the remedy.
    #[track_caller]
    fn assert(&self, interface: Option<&str>, name: &str, status: &str, says: &str, remedy: &str) {
        let found = self.of(interface, name);
        assert_eq!(found["status"], status, "{found:#}");
        let (message, advice) = (&found["message"], &found["remedy"]);
        assert!(message.as_str().unwrap().contains(says), "{found:#}");
        assert!(advice.as_str().unwrap().contains(remedy), "{found:#}");
    }

    /// That these are all that is not ok, and that the exit status is theirs.
    #[track_caller]
    fn assert_troubles(&self, names: &[&str]) {
        let troubles = self.checks.iter().filter(|check| check["status"] != "ok");
        let found: Vec<_> = troubles
            .map(|check| check["name"].as_str().unwrap())
            .collect();
        assert_eq!(found, names, "{:#?}", self.checks);
        let errors = self
            .checks
            .iter()
            .filter(|check| check["status"] == "error");
        let errors = errors.count();
        assert_eq!(self.status, i32::from(errors > 0));
        let lines: Vec<_> = self.stderr.lines().collect();
        if errors == 0 {
            assert!(lines.is_empty(), "{lines:?}");
        } else {
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(
                lines[0].starts_with(&format!("lastack: {errors} of ")),
                "{lines:?}"
            );
        }
    }
}

fn check(namespace: &Namespace, options: &[&str]) -> Checked {
    let mut command = lastack(&["check", "--output", "json"]);
    command.args(options);
    checked(namespace, command)
}

/// Runs a check, which must leave what is on the hooks as it is.
fn checked(namespace: &Namespace, command: Command) -> Checked {
    let before = hooks(namespace, WAN);
    let Output {
        status,
        stdout,
        stderr,
    } = output(namespace, command);
    assert_eq!(hooks(namespace, WAN), before, "it left something");
    let stdout = String::from_utf8(stdout).unwrap();
    let mut report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["ok"], status.success());
    let Value::Array(checks) = report["checks"].take() else {
        panic!("no checks in {stdout}");
    };
    Checked {
        status: status.code().unwrap(),
        checks,
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Our programs under names of somebody else's, loaded with the settings that they were built
/// with, which let everything pass.
fn foreign() -> Ebpf {
    const OURS: &[u8] = b"lastack_";
    let mut object = OBJECT.to_vec();
    for at in 0..object.len() - OURS.len() {
        if object[at..].starts_with(OURS) {
            object[at..at + OURS.len()].copy_from_slice(b"foreign_");
        }
    }
    EbpfLoader::new().btf(None).load(&object).unwrap()
}

/// Puts somebody's XDP program on an interface.
fn put_foreign_xdp(namespace: &Namespace, interface: &'static str) -> Ebpf {
    namespace.run(move || {
        let mut ebpf = foreign();
        let program: &mut Xdp = ebpf
            .program_mut("foreign_xdp_mb")
            .unwrap()
            .try_into()
            .unwrap();
        program.load().unwrap();
        program.attach(interface, XdpMode::Driver).unwrap();
        ebpf
    })
}

/// Puts somebody's TC programs on both sides of an interface.
fn put_foreign_tc(
    namespace: &Namespace,
    interface: &'static str,
    options: fn() -> TcAttachOptions,
) -> Ebpf {
    namespace.run(move || {
        let mut ebpf = foreign();
        for (name, side) in [
            ("foreign_ingress", TcAttachType::Ingress),
            ("foreign_egress", TcAttachType::Egress),
        ] {
            let program = ebpf.program_mut(name).unwrap();
            let program: &mut SchedClassifier = program.try_into().unwrap();
            program.load().unwrap();
            program
                .attach_with_options(interface, side, options())
                .unwrap();
        }
        ebpf
    })
}

/// Makes a second interface `wan1` that is up and leads to 198.51.100.0/24.
fn add_second_uplink(gateway: &Namespace) {
    for command in [
        "link add wan1 type veth peer name peer1",
        "link set peer1 up",
        "link set wan1 up",
        "address add 198.51.100.1/24 dev wan1",
    ] {
        tool(gateway, "ip", &command.split(' ').collect::<Vec<_>>());
    }
}

/// The first word of a line, which is a hook.
fn hook(checked: &Checked, interface: &str, side: &str) -> String {
    let message = checked.of(Some(interface), side)["message"]
        .as_str()
        .unwrap();
    let end = message.find([',', ' ', ':']).unwrap_or(message.len());
    message[..end].to_owned()
}

#[test]
fn a_good_machine_is_ok_throughout() {
    let topology = Topology::new().unwrap();
    let checked = check(&topology.gateway, &["--iface", WAN]);
    checked.assert_troubles(&[]);
    for name in [
        "kernel",
        "preemption",
        "capabilities",
        "programs",
        "jit",
        "btf",
        "bpffs",
        "routes",
        "redirects",
    ] {
        checked.of(None, name);
    }
    for name in [
        "interface",
        "ingress",
        "egress",
        "lro",
        "hardware",
        "flowtable",
    ] {
        checked.of(Some(WAN), name);
    }
    let interface = &checked.of(Some(WAN), "interface")["message"];
    assert_eq!(interface, "Ethernet, driver veth, MTU 1500");
}

#[test]
fn the_hooks_that_it_names_are_those_that_run_takes() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    tool(
        gateway,
        "ip",
        &["tuntap", "add", "dev", "tun9", "mode", "tun"],
    );
    for (interface, options) in [
        (WAN, &[][..]),
        (WAN, &["--ingress", "tc"]),
        (WAN, &["--ingress", "tc", "--tc-mode", "clsact"]),
        (WAN, &["--xdp-mode", "generic"]),
        (WAN, &["--tc-mode", "clsact"]),
        ("tun9", &[]),
        ("tun9", &["--tc-mode", "clsact"]),
        ("lo", &[]),
    ] {
        let arguments = [&["--iface", interface], options].concat();
        let checked = check(gateway, &arguments);
        let named = ["ingress", "egress"].map(|side| hook(&checked, interface, side));
        let options = [&["--metrics-addr", "off"], options].concat();
        let instance = Instance::start(gateway, &[interface], &options);
        assert_eq!(instance.hooks(), named, "{interface} {options:?}");
        assert!(instance.stop(Signal::SIGINT).0.success());
    }
}

#[test]
fn text_says_the_same_as_json() {
    let topology = Topology::new().unwrap();
    let options = ["--iface", WAN, "--iface", "nope0"];
    let json = check(&topology.gateway, &options);
    let mut command = lastack(&["check"]);
    command.args(options);
    let output = output(&topology.gateway, command);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let expected: Vec<_> = json
        .checks
        .iter()
        .map(|check| {
            let word = |name: &str| check[name].as_str().unwrap_or("machine");
            let remedy = check["remedy"].as_str();
            let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
            let (status, message) = (word("status"), word("message"));
            let (iface, name) = (word("iface"), word("name"));
            words(&format!("{status} {iface} {name} {message}{remedy}"))
        })
        .collect();
    let found: Vec<_> = text.lines().map(words).collect();
    assert_eq!(found, expected);
    // In columns, and not coloured where no terminal is.
    let start = |name: &str| text.lines().find_map(|line| line.find(name));
    assert_eq!(start(" egress "), start(" kernel "));
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn an_interface_that_is_not_there_is_an_error_and_the_others_are_looked_at() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let checked = check(gateway, &["--iface", "nope0", "--iface", WAN]);
    checked.assert_troubles(&["interface"]);
    checked.assert(Some("nope0"), "interface", "error", "nope0", "ip link");
    assert_eq!(checked.of(Some(WAN), "ingress")["status"], "ok");

    let twice = check(gateway, &["--iface", WAN, "--iface", WAN]);
    assert_eq!(twice.status, 1);
    let errors: Vec<_> = twice
        .checks
        .iter()
        .filter(|check| check["status"] == "error")
        .map(|check| check["message"].as_str().unwrap())
        .collect();
    assert_eq!(errors, ["wan0 is named twice"]);
}

#[test]
fn an_interface_that_is_down_is_a_warning_and_no_error() {
    let topology = Topology::new().unwrap();
    tool(&topology.gateway, "ip", &["link", "set", WAN, "down"]);
    let checked = check(&topology.gateway, &["--iface", WAN]);
    checked.assert_troubles(&["interface"]);
    checked.assert(
        Some(WAN),
        "interface",
        "warning",
        "down",
        "ip link set wan0 up",
    );
}

#[test]
fn an_interface_without_an_ethernet_header_takes_no_xdp() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    tool(
        gateway,
        "ip",
        &["tuntap", "add", "dev", "tun9", "mode", "tun"],
    );
    tool(gateway, "ip", &["link", "set", "tun9", "up"]);
    let checked = check(gateway, &["--iface", "tun9"]);
    // Nobody holds its other end.
    checked.assert_troubles(&["interface"]);
    let interface = checked.of(Some("tun9"), "interface")["message"]
        .as_str()
        .unwrap();
    assert!(interface.contains("bare IP, driver tun"), "{interface}");
    let xdp = check(gateway, &["--iface", "tun9", "--ingress", "xdp"]);
    xdp.assert_troubles(&["interface", "ingress"]);
    xdp.assert(Some("tun9"), "ingress", "error", "Ethernet", "--ingress tc");
}

#[test]
fn somebody_s_xdp_program_is_named_wherever_it_is() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let _program = put_foreign_xdp(gateway, WAN);
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["ingress"]);
    checked.assert(Some(WAN), "ingress", "warning", "foreign_xdp_mb", "xdp off");
    assert_eq!(hook(&checked, WAN, "ingress"), "tcx-ingress");

    let xdp = check(gateway, &["--iface", WAN, "--ingress", "xdp"]);
    xdp.assert_troubles(&["ingress"]);
    xdp.assert(
        Some(WAN),
        "ingress",
        "error",
        "XDP program already",
        "--ingress tc",
    );

    add_second_uplink(gateway);
    let elsewhere = check(gateway, &["--iface", "wan1"]);
    elsewhere.assert_troubles(&["redirects"]);
    elsewhere.assert(None, "redirects", "warning", "foreign_xdp_mb", "pass TCP");
}

#[test]
fn somebody_s_tc_programs_matter_where_they_come_before_ours() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let tcx = || TcAttachOptions::TcxOrder(LinkOrder::default());
    let program = put_foreign_tc(gateway, WAN, tcx);
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["egress"]);
    checked.assert(Some(WAN), "egress", "warning", "foreign_egress", "TCX_NEXT");
    drop(program);

    let clsact = ["qdisc", "add", "dev", WAN, "clsact"];
    tool(gateway, "tc", &clsact);
    let filter = || TcAttachOptions::Netlink(NlOptions::default());
    let program = put_foreign_tc(gateway, WAN, filter);
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
    let behind = check(gateway, &["--iface", WAN, "--tc-mode", "clsact"]);
    behind.assert_troubles(&["egress"]);
    behind.assert(
        Some(WAN),
        "egress",
        "warning",
        "foreign_egress",
        "TC_ACT_UNSPEC",
    );
    drop(program);

    tool(gateway, "tc", &["qdisc", "del", "dev", WAN, "clsact"]);
    tool(gateway, "tc", &["qdisc", "add", "dev", WAN, "ingress"]);
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
    let blocked = check(gateway, &["--iface", WAN, "--tc-mode", "clsact"]);
    blocked.assert_troubles(&["egress"]);
    blocked.assert(
        Some(WAN),
        "egress",
        "error",
        "ingress qdisc",
        "tc qdisc del dev wan0 ingress",
    );
}

#[test]
fn another_lastack_is_found_running_and_killed() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let options = ["--metrics-addr", "off"];
    let running = Instance::start(gateway, &[WAN], &options);
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["instance"]);
    checked.assert(
        Some(WAN),
        "instance",
        "warning",
        "lastack_egress",
        "stop that one",
    );
    assert!(running.stop(Signal::SIGINT).0.success());
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);

    let options = [&options[..], &["--ingress", "tc", "--tc-mode", "clsact"]].concat();
    let killed = Instance::start(gateway, &[WAN], &options);
    assert!(!killed.stop(Signal::SIGKILL).0.success());
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["instance"]);
    let remedy = "tc qdisc del dev wan0 clsact";
    checked.assert(Some(WAN), "instance", "warning", "lastack_ingress", remedy);
    let (program, arguments) = remedy.split_once(' ').unwrap();
    tool(gateway, program, &arguments.split(' ').collect::<Vec<_>>());
    wait_until("nothing is left", || {
        check(gateway, &["--iface", WAN]).status == 0
    });
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
}

#[test]
fn without_capabilities_these_are_the_error_and_what_does_not_show_is_a_warning() {
    let topology = Topology::new().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    command.arg(env!("CARGO_BIN_EXE_lastack"));
    command.args(["check", "--output", "json", "--iface", WAN]);
    let checked = checked(&topology.gateway, command);
    checked.assert_troubles(&["capabilities", "programs", "jit", "egress", "flowtable"]);
    checked.assert(
        None,
        "capabilities",
        "error",
        "CAP_BPF, CAP_NET_ADMIN",
        "run as root",
    );
    checked.assert(None, "programs", "warning", "not tried", "check as root");
    checked.assert(
        Some(WAN),
        "flowtable",
        "warning",
        "without root",
        "check as root",
    );
    assert_eq!(checked.of(Some(WAN), "ingress")["status"], "ok");
}

/// A file system over `/sys/kernel` plays such a kernel.
#[test]
fn a_real_time_kernel_is_an_error() {
    let topology = Topology::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_lastack");
    let script = format!(
        "mount -t tmpfs none /sys/kernel && echo 1 > /sys/kernel/realtime && \
         exec {binary} check --output json --iface {WAN}"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let checked = checked(&topology.gateway, command);
    // Loading them is refused for the same reason.
    checked.assert_troubles(&["preemption", "programs", "jit"]);
    checked.assert(
        None,
        "preemption",
        "error",
        "PREEMPT_RT",
        "boot another kernel",
    );
}

#[test]
fn uplinks_that_share_packets_are_to_be_served_all() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_second_uplink(gateway);
    let shared = "route add default nexthop via 203.0.113.2 dev wan0 \
                  nexthop via 198.51.100.2 dev wan1";
    tool(
        gateway,
        "ip",
        &shared.split_whitespace().collect::<Vec<_>>(),
    );
    let one = check(gateway, &["--iface", WAN]);
    one.assert_troubles(&["routes"]);
    let both = "--iface wan0 --iface wan1";
    one.assert(None, "routes", "warning", "shared with wan1", both);
    check(gateway, &["--iface", WAN, "--iface", "wan1"]).assert_troubles(&[]);

    // Those that it takes by itself.
    let by_itself = check(gateway, &[]);
    by_itself.assert_troubles(&[]);
    for interface in [WAN, "wan1"] {
        by_itself.of(Some(interface), "interface");
    }

    tool(gateway, "ip", &["route", "del", "default"]);
    tool(gateway, "ip", &["route", "add", "default", "dev", WAN]);
    let rule = ["rule", "add", "from", "10.0.1.0/24", "table", "100"];
    let route = ["route", "add", "default", "dev", "wan1", "table", "100"];
    tool(gateway, "ip", &route);
    // A table that no rule names is no way.
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
    tool(gateway, "ip", &rule);
    let ruled = check(gateway, &["--iface", WAN]);
    ruled.assert_troubles(&["routes"]);
    ruled.assert(
        None,
        "routes",
        "warning",
        "rules send some packets by wan1",
        both,
    );
    tool(gateway, "ip", &["rule", "del", "table", "100"]);

    let spare = [
        "-6", "route", "add", "default", "dev", "wan1", "metric", "9",
    ];
    tool(gateway, "ip", &spare);
    let other_family = check(gateway, &["--iface", WAN]);
    other_family.assert_troubles(&["routes"]);
    other_family.assert(None, "routes", "warning", "wan1, too", both);
}

#[test]
fn a_default_route_tells_which_way_the_servers_are() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let nowhere = check(gateway, &[]);
    nowhere.assert_troubles(&["interface"]);
    nowhere.assert(None, "interface", "warning", "none was named", "--iface");
    tool(gateway, "ip", &["route", "add", "default", "dev", WAN]);
    let lan = check(gateway, &["--iface", WAN, "--role", "lan"]);
    lan.assert_troubles(&["routes"]);
    lan.assert(None, "routes", "warning", WAN, "--role wan");
}

#[test]
fn the_port_of_a_bridge_carries_what_is_routed_to_the_bridge() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    for command in [
        "link add br0 type bridge",
        "link set wan0 master br0",
        "link set br0 up",
        "route add default dev br0",
    ] {
        tool(gateway, "ip", &command.split(' ').collect::<Vec<_>>());
    }
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&[]);
    let port = checked.of(Some(WAN), "port")["message"].as_str().unwrap();
    assert!(port.starts_with("of bridge br0"), "{port}");
    let routes = &checked.of(None, "routes")["message"];
    assert_eq!(routes, "all default routes lead by served interfaces");
}

/// A kernel without flowtables refuses to make one, and has none to show; no virtual interface
/// takes one into hardware.
#[test]
fn a_flowtable_in_software_is_named_and_is_no_trouble() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    tool(gateway, "nft", &["add", "table", "inet", "gate"]);
    let mut nft = Command::new("nft");
    nft.args(["add", "flowtable", "inet", "gate", "fast"]);
    nft.arg("{ hook ingress priority 0; devices = { wan0 }; }");
    let made = output(gateway, nft).status.success();
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&[]);
    let message = &checked.of(Some(WAN), "flowtable")["message"];
    if made {
        assert_eq!(
            message,
            "gate fast, in software: both hooks see its packets"
        );
    } else {
        assert_eq!(message, "none has it");
    }
}

#[test]
fn contradicting_options_are_wrong_usage() {
    let topology = Topology::new().unwrap();
    let options = ["check", "--ingress", "tc", "--xdp-mode", "native"];
    let refused = output(&topology.gateway, lastack(&options));
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("lastack check"), "{stderr}");
}
