//! A pod as podman plays it: without an engine, a registry or a cluster, and with a store of its own.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use filter_user::lab::namespace::Namespace;
use serde_json::{Value, json};

use crate::{
    checkout,
    instance::{output, traffic::Directory},
    run,
};

/// What podman calls the container: the pod and the container in it.
const CONTAINER: &str = "lastack-lastack";
/// runc knows cgroups of both versions side by side. The limits are those that everybody may set.
const SETTINGS: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
"#;

/// Pods, and images to make them of.
pub(crate) struct Pods<'a> {
    namespace: &'a Namespace,
    directory: Directory,
    played: RefCell<Vec<String>>,
}

impl<'a> Pods<'a> {
    /// Their network is that of the namespace, as if it were the node's.
    pub(crate) fn new(namespace: &'a Namespace) -> Self {
        let pods = Self {
            namespace,
            directory: Directory::new(),
            played: RefCell::default(),
        };
        fs::write(pods.path("containers.conf"), SETTINGS).unwrap();
        fs::write(pods.path("seccomp.json"), seccomp_profile()).unwrap();
        pods
    }

    /// Builds the image `lastack` by the recipe, of a tree as `cargo xtask package` makes it.
    pub(crate) fn build(&self) {
        let tree = self.path("tree");
        let documents = tree.join("usr/share/doc/lastack");
        fs::create_dir_all(&documents).unwrap();
        fs::copy(checkout("LICENSE-MIT"), documents.join("copyright")).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_lastack"));
        put(program, &tree.join("usr/bin/lastack"));
        self.build_by(&checkout("fleet/container/Containerfile"), &tree);
        // The program of a package is linked statically, this one is not.
        let libraries = self.path("libraries");
        for library in libraries_of(program) {
            put(
                &library,
                &libraries.join(library.strip_prefix("/").unwrap()),
            );
        }
        let recipe = self.path("recipe");
        fs::write(&recipe, "FROM localhost/lastack\nCOPY / /\n").unwrap();
        self.build_by(&recipe, &libraries);
    }

    fn build_by(&self, recipe: &Path, context: &Path) {
        let (recipe, context) = (recipe.display().to_string(), context.display().to_string());
        let build = [
            "build", "--quiet", "--tag", "lastack", "--file", &recipe, &context,
        ];
        self.podman(&build).unwrap();
    }

    /// Starts the pod of a DaemonSet, with what it mounts of the node taken from `pins`.
    pub(crate) fn play(&self, daemon_set: &Value, config_map: &Value, pins: &Path) {
        let manifests = self.path("pod.yaml");
        let pod = pod(daemon_set, pins);
        fs::write(&manifests, format!("{config_map}\n---\n{pod}\n")).unwrap();
        let (manifests, profiles) = (manifests.display(), self.directory.0.display());
        let profiles = format!("--seccomp-profile-root={profiles}");
        let played = self.podman(&["kube", "play", &profiles, &manifests.to_string()]);
        // Also of one whose container does not start.
        let said = played.as_ref().unwrap_or_else(|said| said);
        let id = said.lines().skip_while(|line| *line != "Pod:").nth(1);
        self.played.borrow_mut().extend(id.map(str::to_owned));
        played.unwrap();
    }

    /// Ends and removes the pod, as a kubelet does.
    pub(crate) fn remove(&self) {
        let manifests = self.path("pod.yaml").display().to_string();
        self.podman(&["kube", "down", &manifests]).unwrap();
    }

    /// Runs a command in the container that may end it, and itself with it; gives what either said.
    pub(crate) fn execute(&self, command: &[&str]) -> String {
        let said = self.podman(&[&["exec", CONTAINER], command].concat());
        said.unwrap_or_else(|said| said)
    }

    /// The process of the container, or 0.
    pub(crate) fn process(&self) -> u32 {
        let format = "--format={{.State.Pid}}";
        let id = self.podman(&["inspect", format, CONTAINER]).unwrap();
        id.trim().parse().unwrap()
    }

    /// What the container has said.
    pub(crate) fn log(&self) -> String {
        // On standard error, as the container did.
        let output = output(self.namespace, self.command(&["logs", CONTAINER]));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn podman(&self, arguments: &[&str]) -> Result<String, String> {
        let output = output(self.namespace, self.command(arguments));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!("podman {arguments:?}: {said}{error}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut podman = Command::new("podman");
        for (option, place) in [
            ("--root", "store"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            podman.arg(option).arg(self.path(place));
        }
        podman
            .args(["--storage-driver", "vfs"])
            .args(arguments)
            .env("CONTAINERS_CONF", self.path("containers.conf"));
        podman
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }
}

impl Drop for Pods<'_> {
    fn drop(&mut self) {
        let removed = self.podman(&["pod", "rm", "--all", "--force", "--time=0"]);
        if let Err(error) = removed {
            eprintln!("{error}");
        }
        fs::remove_dir("/run/runc").ok();
        // It leaves what it has made for them in the kernel's tree, if that has cgroups of both versions.
        let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
        for controller in controllers.flatten() {
            let parent = controller.path().join("libpod_parent");
            let played = self.played.borrow();
            for name in played.iter().map(String::as_str).chain(["conmon", ""]) {
                // Not what somebody else's pods are in.
                fs::remove_dir(parent.join(name)).ok();
            }
        }
    }
}

/// The pod that a DaemonSet has on each node, but for what this podman does not take: named ports and
/// probes of a pod on the host's network, and `RuntimeDefault` for what it is here.
fn pod(daemon_set: &Value, pins: &Path) -> Value {
    let mut pod = daemon_set["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("lastack");
    let profile = json!({"seccomp.security.alpha.kubernetes.io/pod": "localhost/seccomp.json"});
    pod["metadata"]["annotations"] = profile;
    // Nobody starts again what ends in a pod that is being removed.
    pod["spec"]["restartPolicy"] = json!("Never");
    let container = &mut pod["spec"]["containers"][0];
    for key in ["ports", "livenessProbe", "readinessProbe", "lifecycle"] {
        container.as_object_mut().unwrap().remove(key);
    }
    // Not even a busy machine's client misses it.
    let window = json!({"name": "LASTACK_WINDOW", "value": "10s"});
    container["env"].as_array_mut().unwrap().push(window);
    for volume in pod["spec"]["volumes"].as_array_mut().unwrap() {
        if let Some(host_path) = volume.get_mut("hostPath") {
            host_path["path"] = json!(pins);
        }
    }
    pod
}

/// podman's default, which in Debian 12 is older than the rule that those of containerd and Docker have
/// had since 2022: who has `CAP_BPF` may call bpf.
fn seccomp_profile() -> String {
    let text = fs::read_to_string("/usr/share/containers/seccomp.json").unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    let rules = profile["syscalls"].as_array_mut().unwrap();
    for rule in rules
        .iter_mut()
        .filter(|rule| rule["action"] != "SCMP_ACT_ALLOW")
    {
        let names = rule["names"].as_array_mut().unwrap();
        names.retain(|name| name != "bpf");
    }
    rules.retain(|rule| rule["names"] != json!([]));
    rules.push(json!({
        "names": ["bpf"],
        "action": "SCMP_ACT_ALLOW",
        "args": [],
        "includes": {"caps": ["CAP_BPF"]},
        "excludes": {},
    }));
    profile.to_string()
}

/// The libraries that a program is linked with, and what loads them.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let text = run(Command::new("ldd").arg(program)).unwrap();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

fn put(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}
