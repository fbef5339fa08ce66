//! The capabilities that it needs, and those that it has while it runs.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::sys::signal::Signal;

use crate::{
    UPLINK, add_uplink,
    directory::Directory,
    instance::{
        Instance, bpffs::BpfFileSystem, cure, file::OwnFile, hooks, run, sample, tool,
        wiring::Network,
    },
    remove_uplink, unit,
};

/// CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON in the kernel's numbers.
const THREE: u64 = 1 << 39 | 1 << 12 | 1 << 38;
const CLSACT: [&str; 4] = ["--ingress", "tc", "--tc-mode", "clsact"];

/// A copy of the program that everybody may run, and how it is run.
pub(crate) struct Limited {
    directory: Directory,
    setpriv: Vec<String>,
}

impl Limited {
    /// As the unit does it: root, of whose capabilities only those of the unit can be had.
    pub(crate) fn root() -> Self {
        let only = capabilities();
        Self::new(&[("--bounding-set", &only), ("--inh-caps", "-all")])
    }

    /// Another user, who is given the same.
    fn user() -> Self {
        Self::user_with(&capabilities())
    }

    /// Another user, who is given these.
    fn user_with(only: &str) -> Self {
        Self::new(&[
            ("--reuid", "65534"),
            ("--regid", "65534"),
            ("--groups", "65534"),
            ("--bounding-set", only),
            ("--inh-caps", only),
            ("--ambient-caps", only),
        ])
    }

    fn new(options: &[(&str, &str)]) -> Self {
        let directory = Directory::new();
        fs::set_permissions(&*directory, PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_lastack"), directory.join("lastack")).unwrap();
        let mut setpriv = vec!["--no-new-privs".to_owned()];
        for (option, value) in options {
            setpriv.extend([(*option).to_owned(), (*value).to_owned()]);
        }
        Self { directory, setpriv }
    }

    pub(crate) fn run(&self, interfaces: &[&str], options: &[&str]) -> Command {
        let command = run(interfaces, options);
        let mut limited = Command::new("setpriv");
        limited
            .args(&self.setpriv)
            .arg(self.directory.join("lastack"))
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                limited.env(name, value);
            }
        }
        limited
    }
}

/// Those of the unit, as setpriv has them.
fn capabilities() -> String {
    let [capabilities] = unit::setting("CapabilityBoundingSet")[..] else {
        panic!("one set");
    };
    let names = capabilities.split(' ');
    let names = names.map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase());
    format!("-all,+{}", names.collect::<Vec<_>>().join(",+"))
}

/// What the kernel says of each thread of a process.
fn threads(pid: u32) -> Vec<HashMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let lines = status.lines().filter_map(|line| line.split_once(":\t"));
        let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
        lines.collect()
    };
    tasks.map(|task| status(task.unwrap())).collect()
}

#[track_caller]
fn assert_lowered(instance: &Instance) {
    let threads = threads(instance.id());
    assert!(!threads.is_empty());
    for thread in threads {
        let set = |name: &str| u64::from_str_radix(&thread[name], 16).unwrap();
        assert_eq!(set("CapEff"), 0, "{thread:?}");
        assert_eq!(set("CapPrm"), THREE, "{thread:?}");
        assert_eq!(set("CapBnd"), THREE, "{thread:?}");
        assert_eq!(set("CapInh") | set("CapAmb"), 0, "{thread:?}");
        assert_eq!(thread["NoNewPrivs"], "1", "{thread:?}");
    }
}

fn served(gateway: &Namespace) -> u64 {
    let name = format!("lastack_interface_served{{iface=\"{UPLINK}\"}}");
    sample(&metrics(gateway), &name)
}

fn metrics(gateway: &Namespace) -> String {
    let url = "http://127.0.0.1:9433/metrics";
    tool(
        gateway,
        "curl",
        &["--silent", "--show-error", "--fail", url],
    )
}

/// The next thing that it says of the interface that comes and goes, past what it says of links.
#[track_caller]
fn assert_event(instance: &Instance, kind: &str) {
    loop {
        let event = instance.event();
        if event["type"] != "link" {
            assert_eq!(
                (&event["type"], &event["iface"]),
                (&kind.into(), &UPLINK.into())
            );
            return;
        }
    }
}

#[test]
fn having_attached_it_keeps_three_capabilities_and_uses_them_only_to_attach_again_and_detach() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    for options in [&[][..], &CLSACT] {
        add_uplink(gateway);
        let before = hooks(gateway, WAN);
        let instance = Instance::start(gateway, &[WAN, UPLINK], options);
        // Says that it attached before it gives them up, and serves metrics afterwards.
        assert_eq!(served(gateway), 1);
        assert_lowered(&instance);
        remove_uplink(gateway);
        assert_event(&instance, "lost");
        assert_eq!(served(gateway), 0);
        add_uplink(gateway);
        assert_event(&instance, "attached");
        assert_eq!(served(gateway), 1);
        assert_lowered(&instance);
        assert!(instance.stop(Signal::SIGTERM).0.success());
        assert_eq!(hooks(gateway, WAN), before);
        remove_uplink(gateway);
    }
}

/// What `run` gives for interfaces and options cures, attaches again to what returns, and detaches.
pub(crate) fn assert_works(run: impl FnOnce(&[&str], &[&str]) -> Command, options: &[&str]) {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    add_uplink(gateway);
    let instance = Instance::spawn(gateway, run(&[WAN, UPLINK], options));
    let instance = instance.attached_to(&[WAN, UPLINK]);
    remove_uplink(gateway);
    assert_event(&instance, "lost");
    add_uplink(gateway);
    assert_event(&instance, "attached");
    assert_eq!(served(gateway), 1);
    assert_lowered(&instance);
    cure::assert_cured_by(instance, &mut client);
    remove_uplink(gateway);
    if !options.contains(&"--pin") {
        assert_eq!(hooks(gateway, WAN), before);
    }
}

fn assert_limited_works(limited: &Limited, options: &[&str]) {
    assert_works(
        |interfaces, options| limited.run(interfaces, options),
        options,
    );
}

#[test]
fn root_with_three_capabilities_serves_by_xdp_and_tcx() {
    assert_limited_works(&Limited::root(), &[]);
}

#[test]
fn root_with_three_capabilities_serves_by_clsact() {
    assert_limited_works(&Limited::root(), &CLSACT);
}

#[test]
fn another_user_with_three_capabilities_serves_by_xdp_and_tcx() {
    assert_limited_works(&Limited::user(), &[]);
}

#[test]
fn another_user_with_three_capabilities_serves_by_clsact() {
    assert_limited_works(&Limited::user(), &CLSACT);
}

#[test]
fn each_of_the_three_that_is_missing_is_named_in_one_line_and_nothing_is_attached() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    let three = ["bpf", "net_admin", "perfmon"];
    for missing in three {
        let others: Vec<_> = three.into_iter().filter(|it| *it != missing).collect();
        let limited = Limited::user_with(&format!("-all,+{}", others.join(",+")));
        let mut command = limited.run(&[WAN], &["--metrics-addr", "off"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let output = gateway.spawn(command).unwrap().wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        let named = |name: &str| log.contains(&format!("CAP_{}", name.to_uppercase()));
        assert!(named(missing) && !others.into_iter().any(named), "{log}");
        assert_eq!(hooks(gateway, WAN), before);
    }
}

/// Has an instance with these rights read other options; gives what it says of that.
fn reloaded(limited: &Limited, options: &[&str]) -> serde_json::Value {
    let topology = Topology::new().unwrap();
    let file = OwnFile::new("mode = \"monitor\"\n");
    fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).unwrap();
    let options = [&["--config", file.as_str()], options].concat();
    let instance = Instance::spawn(&topology.gateway, limited.run(&[WAN], &options));
    let instance = instance.attached_to(&[WAN]);
    file.write("mode = \"enforce\"\n");
    instance.signal(Signal::SIGHUP);
    let event = instance.event();
    // Answered by the thread that reloads, so when it has.
    metrics(&topology.gateway);
    assert_lowered(&instance);
    event
}

#[test]
fn with_three_capabilities_settings_change_where_tables_are_pinned_and_else_it_says_so() {
    let file_system = BpfFileSystem::new();
    let pin = ["--pin", "--pin-dir", file_system.path().to_str().unwrap()];
    let event = reloaded(&Limited::root(), &pin);
    assert_eq!(event["changes"]["mode"]["new"], "enforce", "{event}");
    for limited in [Limited::root(), Limited::user()] {
        let event = reloaded(&limited, &[]);
        assert_eq!(event["type"], "reload_failed", "{event}");
        let error = event["error"].as_str().unwrap();
        assert!(error.contains("`--pin`"), "{error}");
    }
}
