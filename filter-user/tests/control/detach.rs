//! `lastack detach`.

use filter_user::lab::topology::{Topology, WAN};
use serde_json::json;

use super::{
    WITHOUT_METRICS,
    instance::{Instance, bpffs::BpfFileSystem, hooks, wiring::ip},
    json, say,
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
