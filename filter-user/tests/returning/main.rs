//! `lastack run` on interfaces that vanish, return, change names, MTU or state. Needs root, ip,
//! tc, bpftool and curl.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "../instance/mod.rs"]
mod instance;
mod names;
mod presence;
mod removal;

use std::{process::Command, time::Duration};

use filter_user::lab::{
    client::{Client, Plan},
    namespace::Namespace,
    topology::Topology,
};
use serde_json::Value;

use instance::{
    Instance, hooks, sample, tool,
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
