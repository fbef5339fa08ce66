//! A real Prometheus.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use filter_user::lab::{namespace::Namespace, topology::WAN};
use serde_json::Value;

use crate::instance::{
    Instance,
    cure::{CONNECTIONS, resets},
    output,
    traffic::Directory,
    wait_until,
    wiring::Network,
};

const API: &str = "http://127.0.0.1:9090/api/v1";
const CONFIGURATION: &str = "
global: { scrape_interval: 500ms, scrape_timeout: 500ms }
scrape_configs:
  - job_name: lastack
    static_configs: [{ targets: ['127.0.0.1:9433'] }]
";

/// A Prometheus in the gateway that scrapes the instance there.
struct Prometheus<'a> {
    gateway: &'a Namespace,
    child: Child,
    _directory: Directory,
}

impl<'a> Prometheus<'a> {
    fn start(gateway: &'a Namespace) -> Self {
        let directory = Directory::new();
        let path = |name| directory.0.join(name).display().to_string();
        fs::write(path("configuration"), CONFIGURATION).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", path("configuration")))
            .arg(format!("--storage.tsdb.path={}", path("data")))
            .arg("--web.listen-address=127.0.0.1:9090")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            gateway,
            child: gateway.spawn(command).unwrap(),
            _directory: directory,
        }
    }

    /// What it answers; none as long as it does not.
    fn ask(&self, what: &str, parameter: &str) -> Option<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--get", "--data-urlencode", parameter])
            .arg(format!("{API}/{what}"));
        let answer = output(self.gateway, curl);
        let answer: Value = serde_json::from_slice(&answer.stdout).ok()?;
        assert_eq!(answer["status"], "success", "{answer}");
        Some(answer["data"].clone())
    }

    /// The one number that a PromQL expression comes to now.
    fn query(&self, expression: &str) -> Option<String> {
        let data = self.ask("query", &format!("query={expression}"))?;
        let number = data["result"].get(0)?["value"][1].as_str();
        number.map(str::to_owned)
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn prometheus_takes_open_metrics_and_knows_how_many_acks_were_dropped() {
    let mut network = Network::new();
    let mut client = network.client();
    let _instance = Instance::start(&network.topology.gateway, &[WAN], &[]);
    let prometheus = Prometheus::start(&network.topology.gateway);
    wait_until("Prometheus scrapes", || {
        prometheus.query("up{job='lastack'}").as_deref() == Some("1")
    });
    assert_eq!(resets(&mut client), 0);
    let expected = CONNECTIONS.to_string();
    for expression in [
        "sum(lastack_spurious_acks_total{action='dropped',iface='wan0'})",
        "lastack_flows_closed_total",
    ] {
        wait_until(expression, || {
            prometheus.query(expression) == Some(expected.clone())
        });
    }
    // Only in OpenMetrics is a counter called that.
    let metadata = prometheus.ask("targets/metadata", "metric=lastack_spurious_acks");
    let metadata = metadata.unwrap();
    assert_eq!(metadata[0]["type"], "counter", "{metadata}");
}
