//! Wrong use is one line and leaves nothing behind. Needs root, bpftool, tc and setpriv.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::process::{Command, Output};

use filter_user::lab::topology::{Topology, WAN};
use nix::sys::signal::Signal;

use instance::{Instance, hooks, lastack, output, tool, wait_until};

/// Runs the command in a gateway's namespace, where it must fail and change nothing.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "its callers make one for each call"
)]
fn assert_refused(topology: &Topology, command: Command, status: i32, says: &[&str]) {
    let before = hooks(&topology.gateway, WAN);
    let Output {
        status: exit,
        stdout,
        stderr,
    } = output(&topology.gateway, within_time(&command));
    let stderr = String::from_utf8(stderr).unwrap();
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(exit.code(), Some(status), "{stderr}");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    if status == 1 {
        assert_eq!(lines.len(), 1, "{stderr}");
    }
    for word in says {
        assert!(lines[0].contains(word), "no {word} in: {stderr}");
    }
    assert_eq!(hooks(&topology.gateway, WAN), before);
}

/// The same command, but one that goes on instead of refusing ends, and with another status.
fn within_time(command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited.arg("20").arg(command.get_program());
    limited.args(command.get_args());
    limited
}

fn run(options: &[&str]) -> Command {
    let mut command = lastack(&["run", "--metrics-addr", "off"]);
    command.args(options);
    command
}

#[test]
fn an_unknown_interface_is_named_and_nothing_stays_on_the_others() {
    let topology = Topology::new().unwrap();
    assert_refused(
        &topology,
        run(&["--iface", "nope0"]),
        1,
        &["nope0", "ip link"],
    );
    assert_refused(
        &topology,
        run(&["--iface", WAN, "--iface", "nope0"]),
        1,
        &["nope0"],
    );
    assert_refused(
        &topology,
        run(&["--iface", WAN, "--iface", WAN]),
        1,
        &[WAN, "twice"],
    );
}

#[test]
fn another_name_of_a_served_interface_is_no_other_interface() {
    let topology = Topology::new().unwrap();
    let altname = ["link", "property", "add", "dev", WAN, "altname", "uplink"];
    tool(&topology.gateway, "ip", &altname);
    let tc = ["--ingress", "tc", "--tc-mode", "clsact"];
    let mut command = run(&["--iface", WAN, "--iface", "uplink"]);
    command.args(tc);
    assert_refused(&topology, command, 1, &[WAN, "twice"]);
}

#[test]
fn xdp_on_an_interface_without_an_ethernet_header_is_refused() {
    let topology = Topology::new().unwrap();
    tool(
        &topology.gateway,
        "ip",
        &["tuntap", "add", "dev", "tun9", "mode", "tun"],
    );
    assert_refused(
        &topology,
        run(&["--iface", "tun9", "--ingress", "xdp"]),
        1,
        &["tun9", "Ethernet", "--ingress tc"],
    );
}

#[test]
fn native_xdp_that_a_driver_has_not_is_refused_by_the_driver_s_name() {
    let topology = Topology::new().unwrap();
    for (interface, driver, options) in [
        ("br9", "bridge", "type bridge"),
        ("mv9", "macvlan", "link wan0 type macvlan"),
        ("vx9", "vxlan", "type vxlan id 9 dstport 4789"),
    ] {
        let mut add = vec!["link", "add", interface];
        add.extend(options.split(' '));
        tool(&topology.gateway, "ip", &add);
        let native = ["--iface", interface, "--xdp-mode", "native"];
        let driver = format!("(driver {driver})");
        let says = [interface, &driver, "native mode", "--ingress tc"];
        assert_refused(&topology, run(&native), 1, &says);
        assert_refused(
            &topology,
            run(&[&native[..], &["--ingress", "xdp"]].concat()),
            1,
            &says,
        );
    }
}

#[test]
fn an_interface_that_vanished_is_no_error_at_the_end() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    for tc_mode in ["tcx", "clsact"] {
        tool(
            gateway,
            "ip",
            &[
                "link", "add", "gone0", "type", "veth", "peer", "name", "gone1",
            ],
        );
        let options = ["--metrics-addr", "off", "--tc-mode", tc_mode];
        let instance = Instance::start(gateway, &["gone0"], &options);
        tool(gateway, "ip", &["link", "del", "gone0"]);
        let (status, _) = instance.stop(Signal::SIGINT);
        assert!(status.success(), "{tc_mode}: {status}");
    }
}

#[test]
fn without_capabilities_it_says_which() {
    let topology = Topology::new().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    command.arg(env!("CARGO_BIN_EXE_lastack"));
    command.args(["run", "--metrics-addr", "off", "--iface", WAN]);
    assert_refused(&topology, command, 1, &["CAP_BPF", "CAP_NET_ADMIN", "root"]);
}

/// A file system over `/sys/kernel` plays such a kernel.
#[test]
fn a_real_time_kernel_is_refused() {
    let topology = Topology::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_lastack");
    let script = format!(
        "mount -t tmpfs none /sys/kernel && echo 1 > /sys/kernel/realtime && exec {binary} run --iface {WAN}"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    assert_refused(&topology, command, 1, &["PREEMPT_RT"]);
}

#[test]
fn values_out_of_range_are_wrong_usage() {
    let topology = Topology::new().unwrap();
    for (option, value) in [
        ("--iface", ""),
        ("--iface", "wan 0"),
        ("--iface", "wan/0"),
        ("--iface", &"w".repeat(128)),
        ("--window", "0ms"),
        ("--window", "500"),
        ("--budget", "0"),
        ("--budget", "256"),
        ("--max-flows", "0"),
        ("--closed-timeout", "0s"),
        ("--one-sided-timeout", "999ms"),
        ("--role", "dmz"),
        ("--client", "10.0.0.0/33"),
        ("--client", "lan"),
        ("--port", "0"),
        ("--port", "65536"),
        ("--metrics-addr", "9433"),
        ("--interval", "0s"),
    ] {
        // An interface may come later, but not one with a name that none can have.
        let command = lastack(&["run", "--wait", "--iface", WAN, option, value]);
        assert_refused(&topology, command, 2, &[option, value]);
    }
    assert_refused(&topology, run(&[]), 2, &["required"]);
    let pointless = ["--iface", WAN, "--ingress", "tc", "--xdp-mode", "native"];
    assert_refused(
        &topology,
        run(&pointless),
        2,
        &["--xdp-mode", "--ingress tc"],
    );
}

#[test]
fn a_metrics_port_in_use_is_named_and_nothing_is_attached() {
    let topology = Topology::new().unwrap();
    let taken = topology
        .gateway
        .run(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let command = lastack(&["run", "--iface", WAN, "--metrics-addr", &address]);
    assert_refused(&topology, command, 1, &[&address, "--metrics-addr"]);
}

#[test]
fn xdp_that_is_taken_is_an_error_if_asked_for_and_else_leaves_tc() {
    let topology = Topology::new().unwrap();
    let first = Instance::start(&topology.gateway, &[WAN], &["--metrics-addr", "off"]);
    let xdp = ["--iface", WAN, "--ingress", "xdp"];
    assert_refused(
        &topology,
        run(&xdp),
        1,
        &[WAN, "XDP program already", "--ingress tc"],
    );
    let second = Instance::start(&topology.gateway, &[WAN], &["--metrics-addr", "off"]);
    let both = hooks(&topology.gateway, WAN);
    let ours = |name: &str| both.iter().filter(|line| line.contains(name)).count();
    assert_eq!(ours("lastack_ingress"), 1, "{both:?}");
    assert_eq!(ours("lastack_egress"), 2, "{both:?}");
    assert!(second.stop(Signal::SIGINT).0.success());
    assert!(first.stop(Signal::SIGINT).0.success());
}

#[test]
fn a_signal_or_a_kill_leaves_nothing_attached() {
    let topology = Topology::new().unwrap();
    let before = hooks(&topology.gateway, WAN);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let instance = Instance::start(&topology.gateway, &[WAN], &["--metrics-addr", "off"]);
        let during = hooks(&topology.gateway, WAN);
        assert!(
            during.iter().any(|line| line.contains("lastack_egress")),
            "{during:?}"
        );
        assert!(
            during.iter().any(|line| line.contains("driver")),
            "{during:?}"
        );
        let (status, _) = instance.stop(signal);
        assert_eq!(
            status.success(),
            signal != Signal::SIGKILL,
            "{signal}: {status}"
        );
        // The kernel detaches in the background.
        wait_until(signal.as_str(), || hooks(&topology.gateway, WAN) == before);
    }
}

#[test]
fn a_terminal_that_goes_away_leaves_no_clsact_filter() {
    let topology = Topology::new().unwrap();
    let before = hooks(&topology.gateway, WAN);
    let options = [
        "--metrics-addr",
        "off",
        "--ingress",
        "tc",
        "--tc-mode",
        "clsact",
    ];
    for signal in [Signal::SIGHUP, Signal::SIGQUIT] {
        let instance = Instance::start(&topology.gateway, &[WAN], &options);
        assert!(instance.stop(signal).0.success(), "{signal}");
        assert_eq!(hooks(&topology.gateway, WAN), before, "{signal}");
    }
}

#[test]
fn a_clsact_qdisc_is_removed_only_if_we_made_it_and_nobody_else_uses_it() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let options = [
        "--metrics-addr",
        "off",
        "--ingress",
        "tc",
        "--tc-mode",
        "clsact",
    ];
    let qdiscs = || tool(gateway, "tc", &["qdisc", "show", "dev", WAN]);

    let ours = Instance::start(gateway, &[WAN], &options);
    assert!(qdiscs().contains("clsact"));
    assert!(ours.stop(Signal::SIGINT).0.success());
    assert!(!qdiscs().contains("clsact"), "ours stayed");

    let maker = Instance::start(gateway, &[WAN], &options);
    let user = Instance::start(gateway, &[WAN], &options);
    assert!(maker.stop(Signal::SIGINT).0.success());
    assert!(
        qdiscs().contains("clsact"),
        "removed under somebody's filter"
    );
    let left = tool(gateway, "tc", &["filter", "show", "dev", WAN, "ingress"]);
    assert_eq!(left.matches("direct-action").count(), 1, "{left}");
    assert!(user.stop(Signal::SIGINT).0.success());
    tool(gateway, "tc", &["qdisc", "del", "dev", WAN, "clsact"]);

    tool(gateway, "tc", &["qdisc", "add", "dev", WAN, "clsact"]);
    let theirs = Instance::start(gateway, &[WAN], &options);
    assert!(theirs.stop(Signal::SIGINT).0.success());
    assert!(qdiscs().contains("clsact"), "theirs was removed");
    let left = tool(gateway, "tc", &["filter", "show", "dev", WAN, "egress"]);
    assert!(left.is_empty(), "{left}");
}
