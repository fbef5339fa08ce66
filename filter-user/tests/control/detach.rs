//! `lastack detach`.

use filter_user::lab::topology::{Topology, WAN};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    WITHOUT_METRICS,
    instance::{Instance, bpffs::BpfFileSystem, hooks, lastack, output, wiring::ip},
    json, say,
    trust::impostor,
};

#[test]
fn detach_returns_when_everything_is_off_and_ends_the_instance() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    let clsact = ["--ingress", "tc", "--tc-mode", "clsact"];
    for options in [&[][..], &clsact] {
        let options = [&WITHOUT_METRICS, &["--instance", "default"], options].concat();
        let instance = Instance::start(gateway, &[WAN], &options);
        assert_ne!(hooks(gateway, WAN), before);
        let pid = instance.id();
        let said = say(gateway, &["detach"]);
        assert_eq!(hooks(gateway, WAN), before);
        assert_eq!(
            said,
            format!("default: detached from {WAN}; process {pid} ends\n")
        );
        let (status, lines) = instance.end();
        assert!(status.success(), "{status}");
        assert_eq!(lines.last().unwrap()["type"], "detached");
    }
}

/// So many that an answer before the end would come before the end.
#[test]
fn detach_names_each_interface_that_it_has_left() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let names: Vec<_> = (0..12).map(|number| format!("p{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for name in &names {
        ip(
            gateway,
            &[&format!("link add {name} type veth peer name {name}x")],
        );
    }
    let options = [&WITHOUT_METRICS[..], &["--instance", "named"]].concat();
    let before = hooks(gateway, "p11");
    let instance = Instance::start(gateway, &names, &options);
    let said = json(gateway, &["detach", "--instance", "named"]);
    assert_eq!(hooks(gateway, "p11"), before);
    assert_eq!(said["instance"], "named");
    assert_eq!(said["interfaces"], json!(names));
    assert_eq!(said["pid"], instance.id());
    assert!(instance.end().0.success());
}

#[test]
fn detach_leaves_nothing_pinned() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    let file_system = BpfFileSystem::new();
    let place = ["--pin-dir", file_system.path().to_str().unwrap()];
    let options = [&WITHOUT_METRICS, &place[..], &["--pin"]].concat();
    let instance = Instance::start(gateway, &[WAN], &options);
    let directory = file_system.path().join("default");
    assert!(!file_system.list("default").is_empty());
    let status = json(gateway, &["status"]);
    assert_eq!(status["pinned"], json!(directory));
    let said = json(gateway, &[&["detach"], &place[..]].concat());
    assert_eq!(said["unpinned"], json!(directory));
    assert_eq!(hooks(gateway, WAN), before);
    assert!(!directory.exists());
    let (status, lines) = instance.end();
    assert!(status.success(), "{status}");
    assert_eq!(lines.last().unwrap()["type"], "detached");
}

/// A second interface.
const OTHER: &str = "other0";
const CLSACT: [&str; 5] = ["--ingress", "tc", "--tc-mode", "clsact", "--instance"];

#[test]
fn detach_of_all_takes_off_what_runs_what_is_pinned_and_what_was_killed() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    ip(gateway, &["link add other0 type veth peer name other1"]);
    let attached = || [WAN, OTHER].map(|interface| hooks(gateway, interface));
    let before = attached();
    let file_system = BpfFileSystem::new();
    let place = ["--pin-dir", file_system.path().to_str().unwrap()];
    let all = [&["detach", "--all"], &place[..]].concat();
    let start = |interface, name, options: &[&str]| {
        let options = [&WITHOUT_METRICS[..], options, &CLSACT, &[name]].concat();
        Instance::start(gateway, &[interface], &options)
    };
    let pin = [&place[..], &["--pin"]].concat();
    assert_eq!(say(gateway, &all), "");
    for (interface, name, options) in [(WAN, "pinned", &pin[..]), (OTHER, "killed", &[])] {
        drop(start(interface, name, options).stop(Signal::SIGKILL));
    }
    let elsewhere = BpfFileSystem::new();
    let pin_elsewhere = ["--pin-dir", elsewhere.path().to_str().unwrap(), "--pin"];
    let running = [
        start(OTHER, "running", &[]),
        start(WAN, "elsewhere", &pin_elsewhere),
    ];
    let said = json(gateway, &all);
    assert_eq!(attached(), before, "{said}");
    assert_eq!(said["left"], json!([OTHER]));
    let names = said["instances"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|instance| instance["instance"].clone()).collect();
    assert_eq!(names, ["elsewhere", "running", "pinned"]);
    assert!(file_system.list("pinned").is_empty());
    assert!(elsewhere.list("elsewhere").is_empty());
    for instance in running {
        assert!(instance.end().0.success());
    }
    let nothing = json!({"instances": [], "left": []});
    assert_eq!(json(gateway, &all), nothing);
    let one = lastack(&[&all[..], &["--instance", "running"]].concat());
    let code = output(gateway, one).status.code();
    assert_eq!(code, Some(2));
}

#[test]
fn detach_of_all_leaves_filters_that_may_be_of_one_who_does_not_answer() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    let start = |name| {
        let options = [&WITHOUT_METRICS[..], &CLSACT, &[name]].concat();
        Instance::start(gateway, &[WAN], &options)
    };
    drop(start("killed").stop(Signal::SIGKILL));
    let left = hooks(gateway, WAN);
    let other = start("other");
    let holder = impostor(gateway, "held");
    let all = ["detach", "--all"];
    let said = output(gateway, lastack(&all));
    let errors = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(1), "{errors}");
    assert!(errors.contains("not known to be an instance"), "{errors}");
    assert!(other.end().0.success());
    assert_eq!(hooks(gateway, WAN), left);
    drop(holder);
    let said = json(gateway, &all);
    assert_eq!(said["left"], json!([WAN]));
    assert_eq!(said["instances"], Value::Array(Vec::new()));
    assert_eq!(hooks(gateway, WAN), before);
}
