//! What an instance answers is what the client with the fault did.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    process::{Output, Stdio},
};

use filter_user::lab::{
    client::Outcome,
    namespace::Namespace,
    server,
    topology::{LAN, SERVER_V4, SERVER_V6, Topology, WAN},
};
use serde_json::{Value, json};

use super::{
    WITHOUT_METRICS,
    instance::{Instance, cure, lastack, wiring::Network},
    json, say,
};

/// The gateway, where an instance called `default` has just cured the client.
struct Cured {
    network: Network,
    instance: Instance,
    outcomes: Vec<Outcome>,
}

impl Cured {
    fn new(options: &[&str]) -> Self {
        let mut network = Network::new();
        let mut client = network.client();
        let options = [&WITHOUT_METRICS, &["--instance", "default"], options].concat();
        let instance = Instance::start(&network.topology.gateway, &[WAN], &options);
        let outcomes = cure::run(&mut client);
        Self {
            network,
            instance,
            outcomes,
        }
    }

    fn say(&self, arguments: &[&str]) -> String {
        say(&self.network.topology.gateway, arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        json(&self.network.topology.gateway, arguments)
    }

    fn spurious(&self) -> u64 {
        let sent = self.outcomes.iter().map(|it| it.seen.spurious_acks);
        sent.sum()
    }

    /// The client's ends, and how many spurious ACKs each has sent.
    fn ends(&self) -> BTreeMap<SocketAddr, u64> {
        let ends = self.outcomes.iter();
        ends.map(|it| (it.client, it.seen.spurious_acks)).collect()
    }
}

/// Runs a command whose output nobody reads.
fn say_to_nobody(namespace: &Namespace, arguments: &[&str]) -> Output {
    let mut command = lastack(arguments);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).stderr(Stdio::piped());
    namespace
        .spawn(command)
        .unwrap()
        .wait_with_output()
        .unwrap()
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let _instance = Instance::start(gateway, &[WAN], &WITHOUT_METRICS);
    for command in [
        &["status"][..],
        &["flows"],
        &["hosts"],
        &["hosts", "--output", "json"],
        // It would go on.
        &["watch", "--output", "json"],
        &["man"],
        &["completions", "bash"],
        &["detach"],
    ] {
        let said = say_to_nobody(gateway, command);
        let errors = String::from_utf8(said.stderr).unwrap();
        let is_quiet = said.status.success() && errors.is_empty();
        assert!(is_quiet, "{command:?}: {}: {errors}", said.status);
    }
}

#[test]
fn what_monitor_mode_passes_is_not_called_a_drop() {
    let cured = Cured::new(&["--mode", "monitor"]);
    let text = cured.say(&["flows"]);
    assert!(
        text.lines().next().unwrap().contains("would drop"),
        "{text}"
    );
    let first = &cured.json(&["flows"])["flows"][0];
    assert!(first["drops"].as_u64().is_some(), "{first}");
}

#[test]
fn status_tells_what_is_attached_and_what_was_counted() {
    let cured = Cured::new(&["--budget", "7", "--client", "10.0.0.0/8,fd00::/8"]);
    let sent = cured.spurious();
    assert!(sent >= u64::from(cure::CONNECTIONS), "{sent}");
    let status = cured.json(&["status"]);
    assert_eq!(status["instance"], "default");
    assert_eq!(status["pid"], cured.instance.id());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pinned"], Value::Null);
    assert_eq!(status["flows"], cure::CONNECTIONS);
    assert_eq!(status["flows_capacity"], 65_536);
    assert_eq!(status["events_lost"], 0);
    for (option, value) in [
        ("mode", json!("enforce")),
        ("role", json!("wan")),
        ("closer", json!("client")),
        ("window", json!("10s")),
        ("budget", json!(7)),
        ("client", json!(["10.0.0.0/8", "fd00::/8"])),
        ("rst-guard", json!(false)),
    ] {
        assert_eq!(status["settings"][option], value, "{option}");
    }
    let interface = &status["interfaces"][0];
    assert_eq!(interface["iface"], WAN);
    assert_eq!(interface["hooks"], cured.instance.attached[0]["hooks"]);
    assert_eq!(interface["ifindex"], cured.instance.attached[0]["ifindex"]);
    assert_eq!(interface["spurious_acks_dropped"], sent);
    assert_eq!(interface["packets"]["first_ack"], cure::CONNECTIONS);
    assert_eq!(status["interfaces"].as_array().unwrap().len(), 1);

    let text = cured.say(&["status"]);
    let process = format!("process {}", cured.instance.id());
    let drops = format!("spurious ACKs dropped {sent}, observed 0");
    let hook = &interface["hooks"][0];
    let hook = format!(
        "{} (program {})",
        hook["hook"].as_str().unwrap(),
        hook["program_id"]
    );
    for words in [
        "default: runs for",
        &process,
        "enforce, role wan",
        "client 10.0.0.0/8,fd00::/8",
        "16 of 65536",
        &hook,
        &drops,
    ] {
        assert!(text.contains(words), "no {words} in:\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn flows_are_the_connections_of_the_client() {
    let cured = Cured::new(&[]);
    let ends = cured.ends();
    let flows = cured.json(&["flows"]);
    assert_eq!(flows["total"], cure::CONNECTIONS);
    let flows = flows["flows"].as_array().unwrap();
    assert_eq!(flows.len(), usize::from(cure::CONNECTIONS));
    let mut seen = BTreeMap::new();
    for flow in flows {
        let address = flow["client"].as_str().unwrap().parse().unwrap();
        let port = flow["client_port"].as_u64().unwrap().try_into().unwrap();
        let client = SocketAddr::new(address, port);
        seen.insert(client, flow["drops"].as_u64().unwrap());
        let server = if client.is_ipv4() {
            SERVER_V4.to_string()
        } else {
            SERVER_V6.to_string()
        };
        assert_eq!(flow["server"], server, "{flow}");
        assert_eq!(flow["server_port"], server::PORT, "{flow}");
        assert_eq!(flow["state"], "closed", "{flow}");
        assert_eq!(flow["iface"], WAN, "{flow}");
        let expires = flow["expires_in_seconds"].as_f64().unwrap();
        assert!(expires > 120.0 && expires <= 240.5, "{flow}");
        let idle = flow["idle_seconds"].as_f64().unwrap();
        assert!((0.0..120.0).contains(&idle), "{flow}");
    }
    assert_eq!(seen, ends);

    let text = cured.say(&["flows", "--limit", "3"]);
    assert_eq!(text.lines().count(), 1 + 3 + 1, "{text}");
    assert!(text.starts_with("client "), "{text}");
    assert!(text.ends_with("13 more; --limit N shows them\n"), "{text}");

    for clients in ["10.0.0.0/8", "10.0.0.2,192.0.2.0/24"] {
        let one = cured.json(&["flows", "--client", clients, "--limit", "1"]);
        assert_eq!(one["total"], cure::CONNECTIONS / 2, "{clients}");
        assert_eq!(one["flows"].as_array().unwrap().len(), 1);
    }
    assert_eq!(
        cured.say(&["flows", "--client", "192.0.2.1"]),
        "no closing connections\n"
    );
}

#[test]
fn hosts_are_the_clients_with_the_fault() {
    let cured = Cured::new(&[]);
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for (client, spurious) in cured.ends() {
        *sent.entry(client.ip().to_string()).or_default() += spurious;
    }
    let hosts = cured.json(&["hosts"]);
    assert_eq!(hosts["total"], 2);
    let hosts = hosts["hosts"].as_array().unwrap();
    let seen = hosts.iter().map(|host| {
        assert_eq!(host["resets"], 0, "{host}");
        let client = host["client"].as_str().unwrap().to_owned();
        let acks = ["spurious_acks", "redundant_acks"].map(|acks| host[acks].as_u64().unwrap());
        (client, acks.iter().sum())
    });
    assert_eq!(seen.collect::<BTreeMap<_, u64>>(), sent);

    let text = cured.say(&["hosts", "--limit", "1"]);
    assert!(text.starts_with("client "), "{text}");
    assert!(text.ends_with("1 more; --limit N shows them\n"), "{text}");
    let count = sent.values().next().unwrap().to_string();
    let line = text.lines().nth(1).unwrap();
    assert!(line.split_whitespace().any(|word| word == count), "{text}");
}

#[test]
fn an_instance_that_has_seen_nothing_says_so() {
    let mut network = Network::new();
    let _client = network.client();
    let gateway = &network.topology.gateway;
    let options = [&WITHOUT_METRICS[..], &["--wait", "--role", "lan"]].concat();
    let instance = Instance::launch(gateway, &[LAN, "later0"], &options);
    assert_eq!(instance.event()["type"], "attached");
    assert_eq!(instance.event()["type"], "waiting");
    assert_eq!(say(gateway, &["flows"]), "no closing connections\n");
    assert_eq!(
        say(gateway, &["hosts"]),
        "no client has sent a spurious ACK\n"
    );
    let status = json(gateway, &["status"]);
    assert_eq!(status["interfaces"][1]["iface"], "later0");
    assert_eq!(status["interfaces"][1]["hooks"], json!([]));
    let text = say(gateway, &["status"]);
    assert!(
        text.contains("later0  NOT SERVED: there is no such interface"),
        "{text}"
    );
}

#[test]
fn without_a_terminal_watch_prints_objects_until_the_instance_ends() {
    let cured = Cured::new(&[]);
    let gateway = &cured.network.topology.gateway;
    let mut command = lastack(&["watch", "--output", "json", "--interval", "200ms"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = gateway.spawn(command).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let snapshot: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let interface = &snapshot["status"]["interfaces"][0];
        assert_eq!(interface["spurious_acks_dropped"], cured.spurious());
        assert_eq!(snapshot["hosts"]["total"], 2);
    }
    drop(cured.instance);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("the instance default has ended"),
        "{errors}"
    );
    drop(lines);
}

#[test]
fn watch_without_a_terminal_is_refused() {
    let network = Network::new();
    super::assert_fails(
        &network.topology.gateway,
        lastack(&["watch"]),
        &["needs a terminal", "--output json"],
    );
}
