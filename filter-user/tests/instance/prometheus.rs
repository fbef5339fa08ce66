//! A real Prometheus.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use filter_user::lab::namespace::Namespace;
use serde_json::Value;

use super::{output, traffic::Directory};

const API: &str = "http://127.0.0.1:9090/api/v1";
const CONFIGURATION: &str = "
global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }
rule_files: [RULES]
scrape_configs:
  - job_name: lastack
    static_configs: [{ targets: ['127.0.0.1:9433'] }]
";

/// A Prometheus in the gateway that scrapes the instance there.
pub(crate) struct Prometheus<'a> {
    gateway: &'a Namespace,
    child: Child,
    _directory: Directory,
}

impl<'a> Prometheus<'a> {
    /// Starts it with these rules.
    pub(crate) fn start(gateway: &'a Namespace, rules: &[&str]) -> Self {
        let directory = Directory::new();
        let path = |name| directory.0.join(name).display().to_string();
        let configuration = CONFIGURATION.replace("RULES", &rules.join(", "));
        fs::write(path("configuration"), configuration).unwrap();
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
    pub(crate) fn ask(&self, what: &str, parameter: &str) -> Option<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--get", "--data-urlencode", parameter])
            .arg(format!("{API}/{what}"));
        let answer = output(self.gateway, curl);
        let answer: Value = serde_json::from_slice(&answer.stdout).ok()?;
        assert_eq!(answer["status"], "success", "{answer}");
        Some(answer["data"].clone())
    }

    /// The one number that a PromQL expression comes to now.
    pub(crate) fn query(&self, expression: &str) -> Option<String> {
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
