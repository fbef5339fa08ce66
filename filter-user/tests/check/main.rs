//! `lastack check` in namespaces. Needs root, ip, tc, nft, bpftool, setpriv and unshare.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "../instance/mod.rs"]
mod instance;
mod interfaces;
mod machine;
mod modules;
mod neighbours;
mod place;
mod routes;

use std::process::{Command, Output};

use filter_user::lab::{namespace::Namespace, topology::WAN};
use serde_json::Value;

use instance::{hooks, lastack, output, tool};

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
