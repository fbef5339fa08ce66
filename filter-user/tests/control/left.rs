//! An instance that is pinned and whose process is gone answers as it did before.

use filter_user::{
    control,
    lab::{client::Client, topology::WAN},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    assert_fails,
    instance::{Instance, bpffs::BpfFileSystem, cure, hooks, lastack, wiring::Network},
    json, say,
};

struct Left {
    network: Network,
    file_system: BpfFileSystem,
    client: Client,
    before: Vec<String>,
}

impl Left {
    /// One that was killed when it had cured its client.
    fn new(options: &[&str]) -> (Self, Value) {
        let mut network = Network::new();
        let client = network.client();
        let before = hooks(&network.topology.gateway, WAN);
        let mut left = Self {
            network,
            file_system: BpfFileSystem::new(),
            client,
            before,
        };
        let place = left.place();
        let pin = ["--pin", "--pin-dir", &place, "--instance", "left"];
        let gateway = &left.network.topology.gateway;
        let instance = Instance::start(gateway, &[WAN], &[&pin, options].concat());
        cure::run(&mut left.client);
        let status = left.json(&["status"]);
        assert_eq!(status["pid"], instance.id());
        drop(instance.stop(Signal::SIGKILL));
        (left, status)
    }

    fn place(&self) -> String {
        self.file_system.path().to_str().unwrap().to_owned()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let place = self.place();
        let arguments = [arguments, &["--pin-dir", &place]].concat();
        json(&self.network.topology.gateway, &arguments)
    }
}

fn answers(options: &[&str]) {
    let (mut left, running) = Left::new(options);
    let mut status = left.json(&["status"]);
    assert_eq!(status["pid"], Value::Null);
    let ages = [&status, &running].map(|status| status["age_seconds"].as_f64().unwrap());
    assert!(ages[0] >= ages[1], "it goes on: {ages:?}");
    for differs in ["pid", "age_seconds"] {
        status[differs] = running[differs].clone();
    }
    assert_eq!(status, running);
    assert_eq!(left.json(&["flows"])["total"], cure::CONNECTIONS);
    let flow = &left.json(&["flows", "--limit", "1"])["flows"][0];
    assert_eq!(
        (&flow["iface"], &flow["state"]),
        (&WAN.into(), &"closed".into())
    );
    let hosts = left.json(&["hosts"]);
    assert_eq!(hosts["total"], 2, "one by IPv4, one by IPv6: {hosts}");
    assert_eq!(hosts["hosts"][0]["spurious_acks"], cure::CONNECTIONS / 2);
    // It goes on counting.
    cure::run(&mut left.client);
    let status = left.json(&["status"]);
    let dropped = &status["interfaces"][0]["spurious_acks_dropped"];
    assert_eq!(*dropped, 2 * cure::CONNECTIONS);

    let gateway = &left.network.topology.gateway;
    let text = say(gateway, &["status", "--pin-dir", &left.place()]);
    assert!(text.contains("left: "), "{text}");
    let directory = left.file_system.path().to_owned();
    let looked = gateway.run(move || control::choose(None, &directory));
    let mut found_before = looked.unwrap();
    let said = left.json(&["detach"]);
    assert_eq!(said["interfaces"], serde_json::json!([WAN]));
    assert_eq!(hooks(gateway, WAN), left.before);
    assert!(left.file_system.list("left").is_empty());
    // Whoever found it while it was taken off is not told that its pins cannot be read.
    let error = found_before.status().unwrap_err().to_string();
    assert!(error.contains("has just been taken off"), "{error}");
    let mut again = lastack(&["detach"]);
    again.args(["--pin-dir", &left.place()]);
    assert_fails(gateway, again, &["no instance"]);
}

#[test]
fn what_is_left_of_a_killed_instance_answers_and_can_be_detached() {
    answers(&[]);
}

#[test]
fn what_is_left_in_clsact_answers_and_can_be_detached() {
    answers(&["--ingress", "tc", "--tc-mode", "clsact"]);
}
