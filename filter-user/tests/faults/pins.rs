//! Places to pin in that are wrong, and who may look into those that are right.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
    process::Command,
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};

use super::{
    instance::{
        self, Instance, bpffs::BpfFileSystem, hooks, lastack, output, tool, traffic::Directory,
    },
    stage::{PINNED, Stage},
};

fn pinning(directory: &Path) -> Command {
    let mut command = instance::run(&[WAN], &["--pin", "--metrics-addr", "off"]);
    command.arg("--pin-dir").arg(directory);
    command
}

/// It fails with one line that has these words, and changes nothing.
#[track_caller]
fn assert_refused(gateway: &Namespace, command: &Command, words: &[&str]) {
    let before = hooks(gateway, WAN);
    // One that does not refuse ends, and with another status.
    let mut patience = Command::new("timeout");
    patience.arg("20");
    let output = output(gateway, super::stage::wrapped(patience, command));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "no {word} in: {said}");
    }
    assert_eq!(hooks(gateway, WAN), before);
}

fn asking(question: &str, directory: &Path) -> Command {
    let mut command = lastack(&[question, "--pin-dir"]);
    command.arg(directory);
    command
}

/// Neither a start nor a question nor `detach` believes or changes what is there.
#[track_caller]
fn assert_not_believed(gateway: &Namespace, directory: &Path, words: &[&str]) {
    assert_refused(gateway, &pinning(directory), words);
    for question in ["status", "detach"] {
        assert_refused(gateway, &asking(question, directory), words);
    }
}

/// As `/sys/fs/bpf` is where it was mounted without a mode.
fn shared_file_system() -> BpfFileSystem {
    let file_system = BpfFileSystem::new();
    fs::set_permissions(file_system.path(), Permissions::from_mode(0o1777)).unwrap();
    file_system
}

#[test]
fn what_another_user_made_is_neither_believed_nor_removed() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let file_system = shared_file_system();
    let victim = Directory::new();
    let files = ["RECORD", "FLOWS", "important"].map(|name| victim.0.join(name));
    for file in &files {
        fs::write(file, "").unwrap();
    }
    let parent = file_system.path().join("lastack");
    let directory = parent.join("default");
    fs::create_dir(&parent).unwrap();
    symlink(&victim.0, &directory).unwrap();
    let name = parent.to_str().unwrap();
    let remedy = format!("rm -r {name}");
    for (owner, mode) in [(65_534, 0o755), (0, 0o777), (0, 0o775)] {
        chown(&parent, Some(owner), None).unwrap();
        fs::set_permissions(&parent, Permissions::from_mode(mode)).unwrap();
        let user = format!("user {owner} ");
        let mode = format!("mode {mode:o}");
        let words = [name, &user, &mode, &remedy, "-o mode=700"];
        assert_not_believed(gateway, &parent, &words);
    }
    fs::set_permissions(&parent, Permissions::from_mode(0o755)).unwrap();
    let words = [directory.to_str().unwrap(), "symbolic link"];
    assert_not_believed(gateway, &parent, &words);
    let link = file_system.path().join("link");
    symlink(&parent, &link).unwrap();
    let words = [link.to_str().unwrap(), "symbolic link"];
    assert_not_believed(gateway, &link, &words);
    for file in &files {
        assert!(file.exists(), "{}", file.display());
    }
    assert!(directory.is_symlink());
}

#[test]
fn a_shared_mount_point_that_is_root_s_is_pinned_below() {
    let topology = Topology::new().unwrap();
    let file_system = shared_file_system();
    for directory in [file_system.path(), &file_system.path().join("lastack")] {
        let instance = Instance::spawn(&topology.gateway, pinning(directory)).attached_to(&[WAN]);
        assert!(instance.stop(Signal::SIGTERM).0.success());
        let detached = output(&topology.gateway, asking("detach", directory));
        assert!(detached.status.success(), "{detached:?}");
    }
}

fn pin_map_of_another(path: &Path) {
    let path = path.to_str().unwrap();
    let map = [
        "map", "create", path, "type", "array", "key", "4", "value", "4",
    ];
    let map = [&map[..], &["entries", "1", "name", "other"]].concat();
    let topology = Topology::new().unwrap();
    tool(&topology.gateway, "bpftool", &map);
}

#[test]
fn pins_of_another_tool_stay() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let file_system = BpfFileSystem::new();
    let directory = file_system.path().join("default");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    let other = directory.join("theirs");
    pin_map_of_another(&other);
    let name = directory.to_str().unwrap();
    let words = [name, "theirs", "--pin-dir"];
    assert_refused(gateway, &pinning(file_system.path()), &words);
    assert_eq!(file_system.list("default"), ["theirs"]);
    // One that came later is no hindrance to taking off what is ours.
    fs::remove_file(&other).unwrap();
    let before = hooks(gateway, WAN);
    let command = pinning(file_system.path());
    let instance = Instance::spawn(gateway, command).attached_to(&[WAN]);
    assert!(instance.stop(Signal::SIGTERM).0.success());
    pin_map_of_another(&other);
    let detached = output(gateway, asking("detach", file_system.path()));
    let said = String::from_utf8(detached.stderr).unwrap();
    assert_eq!(detached.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in ["everything is off", name, "theirs"] {
        assert!(said.contains(word), "no {word} in: {said}");
    }
    assert_eq!(hooks(gateway, WAN), before);
    assert_eq!(file_system.list("default"), ["theirs"]);
}

#[test]
fn a_directory_that_others_may_change_is_not_pinned_in() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let file_system = BpfFileSystem::new();
    let directory = file_system.path().join("default");
    fs::create_dir(&directory).unwrap();
    let name = directory.to_str().unwrap();
    for (owner, mode) in [(0, 0o777), (0, 0o720), (0, 0o705), (65_534, 0o700)] {
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        chown(&directory, Some(owner), None).unwrap();
        let user = format!("user {owner} ");
        let mode = format!("mode {mode:o}");
        let command = pinning(file_system.path());
        assert_refused(gateway, &command, &[name, &user, &mode, "chmod 700"]);
    }
    fs::set_permissions(&directory, Permissions::from_mode(0o750)).unwrap();
    chown(&directory, Some(0), None).unwrap();
    let command = pinning(file_system.path());
    let instance = Instance::spawn(gateway, command).attached_to(&[WAN]);
    assert!(instance.stop(Signal::SIGTERM).0.success());
}

#[test]
fn a_file_system_that_cannot_be_written_to_is_named() {
    let topology = Topology::new().unwrap();
    let file_system = BpfFileSystem::new();
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(
        None::<&str>,
        file_system.path(),
        None::<&str>,
        flags,
        None::<&str>,
    )
    .unwrap();
    let name = file_system.path().to_str().unwrap();
    let words = [name, "Read-only file system", "mount it again"];
    assert_refused(&topology.gateway, &pinning(file_system.path()), &words);
}

/// Links lose their interfaces, and what is pinned is nobody's any more.
#[test]
fn what_a_destroyed_network_namespace_left_is_said_how_to_remove_and_then_the_next_start_works() {
    let file_system = BpfFileSystem::new();
    let first = Topology::new().unwrap();
    let command = pinning(file_system.path());
    let instance = Instance::spawn(&first.gateway, command).attached_to(&[WAN]);
    assert!(instance.stop(Signal::SIGTERM).0.success());
    let mut stage = Stage::new(PINNED);
    // In this order, so that the namespaces have different numbers.
    drop(first);
    let directory = file_system.path().join("default");
    let words = [directory.to_str().unwrap(), "--instance", "is gone"];
    assert_refused(stage.gateway(), &pinning(file_system.path()), &words);
    fs::remove_dir_all(&directory).unwrap();
    let command = pinning(file_system.path());
    let instance = Instance::spawn(stage.gateway(), command).attached_to(&[WAN]);
    stage.assert_cured();
    assert!(instance.stop(Signal::SIGTERM).0.success());
}
