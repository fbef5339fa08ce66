//! What an instance that pinned nothing has left in clsact, when it was killed.

use filter_user::lab::topology::{Topology, WAN};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    WITHOUT_METRICS, assert_fails,
    instance::{Instance, hooks, lastack},
    json, say,
    trust::impostor,
};

const CLSACT: [&str; 4] = ["--ingress", "tc", "--tc-mode", "clsact"];

/// Leaves the filters of one with that name.
fn kill(topology: &Topology, name: &str) {
    let options = [&WITHOUT_METRICS[..], &CLSACT, &["--instance", name]].concat();
    let instance = Instance::start(&topology.gateway, &[WAN], &options);
    drop(instance.stop(Signal::SIGKILL));
}

#[test]
fn filters_of_a_killed_instance_are_told_of_and_taken_off_by_name() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    let left = format!("was killed and has left filters in clsact on {WAN}");
    for name in ["default", "other"] {
        kill(&topology, name);
        let named = [&["--instance", name][..], &[]];
        // Without a name it is the one that `lastack run` has without one.
        let choices = if name == "default" {
            &named[..]
        } else {
            &named[..1]
        };
        for choice in choices {
            let status = lastack(&[&["status"], *choice].concat());
            assert_fails(gateway, status, &["no instance", &left, "`lastack detach"]);
        }
        let another = lastack(&["detach", "--instance", "another"]);
        assert_fails(
            gateway,
            another,
            &["no instance called another", "start one"],
        );
        assert_ne!(hooks(gateway, WAN), before);
        let said = say(gateway, &[&["detach"], choices[choices.len() - 1]].concat());
        let done = format!(
            "{name}: detached from {WAN}; a process that was killed had left filters there\n"
        );
        assert_eq!(said, done);
        assert_eq!(hooks(gateway, WAN), before);
        let again = lastack(&["detach", "--instance", name]);
        assert_fails(gateway, again, &["no instance", "start one"]);
    }
    kill(&topology, "default");
    let said = json(gateway, &["detach"]);
    assert_eq!(said["interfaces"], json!([WAN]));
    assert_eq!(
        (&said["pid"], &said["unpinned"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(hooks(gateway, WAN), before);
}

#[test]
fn filters_of_a_name_that_a_process_has_stay() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    kill(&topology, "default");
    let left = hooks(gateway, WAN);
    assert_ne!(left, before);
    let holder = impostor(gateway, "default");
    for named in [&["detach"][..], &["detach", "--instance", "default"]] {
        assert_fails(gateway, lastack(named), &["not known to be an instance"]);
        assert_eq!(hooks(gateway, WAN), left);
    }
    drop(holder);
    say(gateway, &["detach"]);
    assert_eq!(hooks(gateway, WAN), before);
}
