//! The container of the recipe, in the pod of the manifests, on a gateway of the lab.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use filter_user::lab::{namespace::Namespace, topology::WAN};
use serde_json::Value;

use crate::{
    checkout,
    instance::{
        bpffs::BpfFileSystem,
        cure::{CONNECTIONS, resets},
        hooks, output, sample, tool, wait_until,
        wiring::Network,
    },
    manifests::{of_kind, rendered},
    pod::Pods,
};

/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF`.
const THREE: u64 = 1 << 12 | 1 << 38 | 1 << 39;

/// The manifests of a kustomization, with an interface of the lab.
fn manifests(kustomization: &str) -> (Value, Value) {
    let manifests = rendered(&checkout(kustomization));
    let mut config_map = of_kind(&manifests, "ConfigMap");
    let text = config_map["data"]["lastack.toml"].as_str().unwrap();
    let text = text.replace("\"eth0\"", &format!("\"{WAN}\""));
    config_map["data"]["lastack.toml"] = text.into();
    (of_kind(&manifests, "DaemonSet"), config_map)
}

fn container(daemon_set: &Value) -> &Value {
    &daemon_set["spec"]["template"]["spec"]["containers"][0]
}

/// Whether a probe succeeds from the node's network, where kubelets ask.
fn succeeds(gateway: &Namespace, daemon_set: &Value, probe: &str) -> bool {
    let container = container(daemon_set);
    let asked = &container[probe]["httpGet"];
    let port = container["ports"].as_array().unwrap();
    let port = port.iter().find(|port| port["name"] == asked["port"]);
    let url = format!(
        "http://{}:{}{}",
        asked["host"].as_str().unwrap(),
        port.unwrap()["containerPort"],
        asked["path"].as_str().unwrap()
    );
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "20", &url]);
    output(gateway, curl).status.success()
}

fn dropped(gateway: &Namespace) -> u64 {
    let metrics = ["--silent", "--fail", "http://127.0.0.1:9433/metrics"];
    let metrics = tool(gateway, "curl", &metrics);
    let labels = format!("{{action=\"dropped\",iface=\"{WAN}\",kind=\"spurious\"}}");
    sample(&metrics, &format!("lastack_spurious_acks_total{labels}"))
}

/// Takes off what a pod has left, as somebody on the node does.
fn lastack_detach(gateway: &Namespace, pins: &Path) {
    let program = env!("CARGO_BIN_EXE_lastack");
    let pins = pins.to_string_lossy();
    tool(gateway, program, &["detach", "--pin-dir", &pins]);
}

/// What the kernel says of the container's process.
fn assert_confined(pods: &Pods<'_>) {
    let status = pods.told("status");
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let status: HashMap<_, _> = lines.collect();
    let set = |name: &str| u64::from_str_radix(status[name], 16).unwrap();
    assert_eq!((set("CapBnd"), set("CapPrm")), (THREE, THREE));
    assert_eq!((set("CapEff"), set("CapInh"), set("CapAmb")), (0, 0, 0));
    assert_eq!((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"));
    let mounts = pods.told("mountinfo");
    let root = mounts.lines().find_map(|mount| {
        let mut words = mount.split(' ').skip(4);
        (words.next() == Some("/")).then(|| words.next().unwrap())
    });
    assert!(root.unwrap().starts_with("ro,"), "{mounts}");
}

#[test]
fn a_pod_of_the_daemon_set_cures_outlives_its_replacement_and_detaches() {
    let (daemon_set, config_map) = manifests("fleet/kubernetes/base");
    let file_system = BpfFileSystem::new();
    let pins = file_system.path().join("lastack");
    let mut network = Network::new();
    let mut client = network.client();
    assert_eq!(resets(&mut client), u64::from(CONNECTIONS), "the fault");
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    let pods = Pods::new(gateway, &file_system);
    pods.build();
    let ready = || {
        wait_until("the pod is ready", || {
            succeeds(gateway, &daemon_set, "readinessProbe")
        });
        assert!(succeeds(gateway, &daemon_set, "livenessProbe"));
    };

    // A kubelet makes the directory with this mode.
    fs::create_dir(&pins).unwrap();
    pods.play(&daemon_set, &config_map, &pins);
    ready();
    assert_confined(&pods);
    assert_eq!(resets(&mut client), 0, "{}", pods.log());
    assert_eq!(dropped(gateway), u64::from(CONNECTIONS));

    // Its programs go on without it, and the next pod takes them over with what they have counted.
    pods.remove();
    assert_eq!(resets(&mut client), 0);
    pods.play(&daemon_set, &config_map, &pins);
    ready();
    assert_eq!(dropped(gateway), 2 * u64::from(CONNECTIONS));

    // What a kubelet runs before it ends a pod of this component.
    let (detaching, _) = manifests("fleet/kubernetes/overlays/operator");
    let command = &container(&detaching)["lifecycle"]["preStop"]["exec"]["command"];
    let command = command.as_array().unwrap().iter();
    let command: Vec<_> = command.map(|word| word.as_str().unwrap()).collect();
    let said = pods.execute(&command);
    assert!(said.contains("detached from wan0"), "{said}");
    assert_eq!(hooks(gateway, WAN), before);
    assert_eq!(file_system.list("lastack"), [""; 0]);
}

#[test]
fn a_pod_that_cannot_take_over_comes_up_by_the_component_that_begins_anew() {
    let (daemon_set, config_map) = manifests("fleet/kubernetes/base");
    let (anew, larger) = manifests("fleet/kubernetes/overlays/larger");
    let file_system = BpfFileSystem::new();
    let pins = file_system.path().join("lastack");
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let pods = Pods::new(gateway, &file_system);
    pods.build();
    let ready = || {
        wait_until("the pod is ready", || {
            succeeds(gateway, &daemon_set, "readinessProbe")
        });
    };
    fs::create_dir(&pins).unwrap();
    pods.play(&daemon_set, &config_map, &pins);
    ready();
    pods.remove();

    // The tables that are left are smaller; a kubelet would start it again and again.
    let mut stuck = anew.clone();
    let pod = stuck["spec"]["template"]["spec"].as_object_mut().unwrap();
    pod.remove("initContainers").unwrap();
    pods.play(&stuck, &larger, &pins);
    wait_until("the pod refuses them", || {
        pods.log()
            .contains("max-flows is 65536 and cannot become 262144")
    });
    wait_until("the pod ends", || pods.has_ended());
    pods.remove();

    pods.play(&anew, &larger, &pins);
    ready();
    assert_eq!(dropped(gateway), 0, "counted from the beginning");
    assert_eq!(resets(&mut client), 0, "{}", pods.log());
    let status = pods.execute(&["lastack", "status", "--output", "json"]);
    assert!(status.contains("\"flows_capacity\":262144"), "{status}");
    pods.remove();

    // A node on which nothing is left is none that it stops at.
    lastack_detach(gateway, &pins);
    assert_eq!(file_system.list("lastack"), [""; 0]);
    pods.play(&anew, &larger, &pins);
    ready();
}

#[test]
fn a_killed_test_leaves_neither_container_nor_files_nor_mounts() {
    let test = "container::a_pod_of_the_daemon_set_cures_outlives_its_replacement_and_detaches";
    let mut killed = Command::new(std::env::current_exe().unwrap());
    killed
        .args(["--exact", test])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut killed = killed.spawn().unwrap();
    let id = killed.id();
    let name = format!("/lastack-test-files-{id}-");
    let has_conmon = || {
        let lines = command_lines();
        let mut with = lines.iter().filter(|line| line.contains(&name));
        with.any(|line| line.contains("conmon"))
    };
    wait_until("a container starts", has_conmon);
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_until("its processes end", || {
        !command_lines().iter().any(|line| line.contains(&name))
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for name in [name, format!("/lastack-test-{id}-")] {
        assert!(!mounts.contains(&name), "{mounts}");
        let files = fs::read_dir(std::env::temp_dir()).unwrap();
        let mut paths = files.map(|file| file.unwrap().path().display().to_string());
        assert_eq!(paths.find(|path| path.contains(&name)), None);
    }
}

/// Of all processes of the machine.
fn command_lines() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap();
    let lines = processes.filter_map(|it| fs::read(it.unwrap().path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}
