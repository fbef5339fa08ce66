//! `lastack run` on a gateway with real traffic. Needs root, and nginx, curl, iperf3,
//! bpftool and tc.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use filter_user::lab::{
    client::{Client, Plan},
    namespace::Namespace,
    server::{self, Server},
    topology::{LAN, SERVER_V4, SERVER_V6, Topology, WAN},
};
use nix::sys::signal::Signal;

use instance::{
    Instance, hooks, sample, tool,
    traffic::{self, Servers},
    wait_until,
};

const CONNECTIONS: u16 = 24;
const METRICS: &str = "http://127.0.0.1:9433/metrics";

fn faulty(connections: u16) -> Plan {
    Plan {
        connections,
        spurious_ack_after: Some(Duration::from_millis(200)),
        response: 16_384,
        reading: Duration::from_millis(400),
        timeout: Duration::from_secs(30),
    }
}

fn scrape(gateway: &Namespace) -> String {
    tool(
        gateway,
        "curl",
        &["--silent", "--show-error", "--fail", METRICS],
    )
}

/// Lets the client with the fault work through a gateway that is served as `options` say.
fn protected(options: &[&str]) -> (u64, u64, String, Vec<serde_json::Value>) {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    let before = hooks(&topology.gateway, WAN);
    let instance = Instance::start(&topology.gateway, &[WAN], options);
    let outcomes = client.run(&faulty(CONNECTIONS), &mut |_| {}).unwrap();
    let metrics = scrape(&topology.gateway);
    let (status, lines) = instance.stop(Signal::SIGINT);
    assert!(status.success(), "{status}");
    assert_eq!(hooks(&topology.gateway, WAN), before);
    let sent = outcomes
        .iter()
        .map(|outcome| outcome.seen.spurious_acks)
        .sum();
    let resets = outcomes.iter().map(|outcome| outcome.seen.resets).sum();
    (sent, resets, metrics, lines)
}

fn assert_cured(options: &[&str]) {
    let (sent, resets, metrics, lines) = protected(options);
    assert_eq!(sent, u64::from(CONNECTIONS));
    assert_eq!(resets, 0);
    let spurious = |action: &str, kind: &str| {
        let name = format!(
            "lastack_spurious_acks_total{{action=\"{action}\",iface=\"{WAN}\",kind=\"{kind}\"}}"
        );
        sample(&metrics, &name)
    };
    assert_eq!(spurious("dropped", "spurious"), sent);
    assert_eq!(spurious("dropped", "redundant"), 0);
    assert_eq!(spurious("observed", "spurious"), 0);
    assert_eq!(sample(&metrics, "lastack_flows_closed_total"), sent);
    let last = lines
        .iter()
        .rfind(|line| line["type"] == "counters")
        .unwrap();
    assert_eq!(last["spurious_acks_dropped"], sent);
    assert_eq!(lines.last().unwrap()["type"], "detached");
}

#[test]
fn metrics_count_as_many_drops_as_the_client_sent_spurious_acks() {
    assert_cured(&[]);
}

#[test]
fn tc_ingress_cures_as_xdp_does() {
    assert_cured(&["--ingress", "tc"]);
}

#[test]
fn generic_xdp_cures_as_native_does() {
    assert_cured(&["--ingress", "xdp", "--xdp-mode", "generic"]);
}

#[test]
fn clsact_cures_as_tcx_does() {
    assert_cured(&["--ingress", "tc", "--tc-mode", "clsact"]);
}

/// The client has addresses of both families, and half of its connections are of each.
#[test]
fn only_clients_and_ports_in_scope_are_cured() {
    let resets = |options: &[&str]| {
        let (sent, resets, ..) = protected(options);
        assert_eq!(sent, u64::from(CONNECTIONS));
        resets
    };
    let port = server::PORT.to_string();
    assert_eq!(
        resets(&["--client", "10.0.0.0/24"]),
        u64::from(CONNECTIONS / 2)
    );
    assert_eq!(
        resets(&["--client", "10.0.0.2,fd00::/16", "--port", &port]),
        0
    );
    assert_eq!(resets(&["--port", "1"]), u64::from(CONNECTIONS));
}

#[test]
fn monitor_mode_counts_and_passes() {
    let (sent, resets, metrics, _) = protected(&["--mode", "monitor"]);
    assert_eq!(
        (sent, resets),
        (u64::from(CONNECTIONS), u64::from(CONNECTIONS))
    );
    let observed = format!(
        "lastack_spurious_acks_total{{action=\"observed\",iface=\"{WAN}\",kind=\"spurious\"}}"
    );
    assert_eq!(sample(&metrics, &observed), sent);
    let resets = format!(
        "lastack_resets_total{{action=\"passed\",cause=\"after_spurious_ack\",iface=\"{WAN}\"}}"
    );
    assert_eq!(sample(&metrics, &resets), sent);
}

#[test]
fn a_gateway_in_the_lan_role_cures_on_the_clients_side() {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    let instance = Instance::start(&topology.gateway, &[LAN], &["--role", "lan"]);
    let outcomes = client.run(&faulty(CONNECTIONS), &mut |_| {}).unwrap();
    let metrics = scrape(&topology.gateway);
    drop(instance);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.seen.resets == 0 && !outcome.read_error)
    );
    let dropped =
        "lastack_spurious_acks_total{action=\"dropped\",iface=\"lan0\",kind=\"spurious\"}";
    assert_eq!(sample(&metrics, dropped), u64::from(CONNECTIONS));
}

#[test]
fn a_packet_that_goes_through_two_served_interfaces_is_judged_as_one() {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    for command in [
        "link add br0 type bridge",
        "address flush dev wan0",
        "link set wan0 master br0",
        "link set br0 up",
        "address add 203.0.113.1/24 dev br0",
        "-6 address add 2001:db8::1/64 dev br0 nodad",
    ] {
        tool(
            &topology.gateway,
            "ip",
            &command.split(' ').collect::<Vec<_>>(),
        );
    }
    let instance = Instance::start(&topology.gateway, &["br0", WAN], &[]);
    let outcomes = client.run(&faulty(CONNECTIONS), &mut |_| {}).unwrap();
    let metrics = scrape(&topology.gateway);
    drop(instance);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.seen.resets == 0 && !outcome.read_error)
    );
    let count = |interface: &str, family: &str| {
        sample(
            &metrics,
            &family.replace("IF", &format!("iface=\"{interface}\"")),
        )
    };
    // Each FIN is seen twice, too, so that the spurious ACKs pass for redundant ones.
    let dropped = |interface: &str| {
        ["spurious", "redundant"]
            .map(|kind| {
                format!("lastack_spurious_acks_total{{action=\"dropped\",IF,kind=\"{kind}\"}}")
            })
            .map(|family| count(interface, &family))
            .iter()
            .sum::<u64>()
    };
    assert_eq!(dropped("br0"), u64::from(CONNECTIONS), "{metrics}");
    assert_eq!(dropped(WAN), 0, "{metrics}");
    // Not one answer was dropped on its second interface, or the server would have asked again.
    assert_eq!(
        count(WAN, "lastack_passed_total{IF,reason=\"other_link\"}"),
        u64::from(CONNECTIONS)
    );
    assert_eq!(
        count("br0", "lastack_elicited_acks_total{IF}"),
        0,
        "{metrics}"
    );
}

#[test]
fn decisions_are_logged_from_the_kernel_if_asked_for() {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    let mut command = instance::lastack(&["run", "--iface", WAN, "--log-decisions"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = topology.gateway.spawn(command).unwrap();
    wait_until("metrics are served", || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", METRICS]);
        instance::output(&topology.gateway, curl).status.success()
    });
    let outcomes = client.run(&faulty(2), &mut |_| {}).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let mut log = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut log).unwrap();
    assert!(child.wait().unwrap().success(), "{log}");
    for reason in [
        "flow_created",
        "server_fin",
        "first_ack",
        "spurious_ack_dropped",
    ] {
        let lines = log
            .lines()
            .filter(|line| line.ends_with(&format!(": {reason}")));
        assert_eq!(lines.count(), 2, "{reason} in:\n{log}");
    }
    // The client's address is IPv4 in one of the two and IPv6 in the other.
    for outcome in outcomes {
        let server: SocketAddr = match outcome.client {
            SocketAddr::V4(_) => (SERVER_V4, server::PORT).into(),
            SocketAddr::V6(_) => (SERVER_V6, server::PORT).into(),
        };
        let client = outcome.client;
        for (segment, end) in [
            (
                format!(" {WAN}: {client} > {server} flags ["),
                ": flow_created",
            ),
            (
                format!(" {WAN}: {server} > {client} flags ["),
                ": server_fin",
            ),
            (
                format!(" {WAN}: {client} > {server} flags [.] "),
                ": spurious_ack_dropped",
            ),
        ] {
            let is_it = |line: &&str| line.contains(&segment) && line.ends_with(end);
            assert_eq!(
                log.lines().filter(is_it).count(),
                1,
                "{segment}{end}:\n{log}"
            );
        }
        let fin = format!(" {WAN}: {server} > {client} flags [F");
        assert!(log.contains(&fin), "{fin} in:\n{log}");
    }
}

#[test]
fn nginx_curl_and_iperf3_lose_nothing_through_a_served_gateway() {
    let mut topology = Topology::new().unwrap();
    let host = topology.add_host().unwrap();
    let servers = Servers::start(&topology.server);
    // Both sides at once, in both directions, over both families.
    let interfaces = [WAN, &host.gateway_interface];
    let served = (&topology.gateway, &interfaces[..], &[][..]);
    traffic::assert_unharmed(served, (&servers, &host.namespace));
}
