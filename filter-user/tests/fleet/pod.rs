//! A pod as podman plays it: without an engine, a registry or a cluster, and with a store of its own.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use filter_user::lab::namespace::Namespace;
use serde_json::{Value, json};

use crate::{
    checkout,
    instance::{bpffs::BpfFileSystem, output, traffic::Directory, wait_until},
    run,
};

/// Podman at work in namespaces of processes and mounts of its own, and somebody outside, of another group
/// of processes, who sees standard input end with this process: then all in there ends, and goes.
const KEEP: &str = r#"
files=$1 pins=$2
unshare --mount --pid --fork --kill-child --mount-proc sh -euc '
mount -t tmpfs tmpfs /run
touch "$1/kept"
exec catatonit sleep infinity' sh "$files" >/dev/null 2>&1 &
echo $!
exec >/dev/null 2>&1
cat
kill -KILL $(cat /proc/$!/task/$!/children)
wait
# Where cgroups of both versions are side by side, it leaves what it has made for pods. Not what somebody
# else's pods are in.
made=$(cat "$files/played"; find "$files/store" -name config.json -exec grep -o 'libpod_parent/[^/"]*' {} +)
for pod in $made; do
    find /sys/fs/cgroup/*/libpod_parent/"${pod##*/}" -depth -type d -exec rmdir {} ';'
done
rmdir /sys/fs/cgroup/*/libpod_parent/conmon
rmdir /sys/fs/cgroup/*/libpod_parent
umount --lazy "$pins"
rmdir "$pins"
rm -rf "$files"
"#;

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
    keeper: Child,
    /// The process whose children are in the namespaces.
    inside: u32,
}

impl<'a> Pods<'a> {
    /// Their network is that of the namespace, as if it were the node's. With them goes the BPF file system.
    pub(crate) fn new(namespace: &'a Namespace, file_system: &BpfFileSystem) -> Self {
        let directory = Directory::new();
        fs::write(directory.0.join("containers.conf"), SETTINGS).unwrap();
        fs::write(directory.0.join("seccomp.json"), seccomp_profile()).unwrap();
        fs::write(directory.0.join("played"), "").unwrap();
        let mut keeper = Command::new("setsid");
        keeper
            .args(["sh", "-uc", KEEP, "sh"])
            .args([&directory.0, file_system.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut keeper = keeper.spawn().unwrap();
        let mut inside = String::new();
        let stdout = keeper.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut inside).unwrap();
        let pods = Self {
            namespace,
            directory,
            keeper,
            inside: inside.trim().parse().unwrap(),
        };
        wait_until("the namespaces are there", || pods.path("kept").exists());
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
        let file = OpenOptions::new().append(true).open(self.path("played"));
        writeln!(file.unwrap(), "{}", id.unwrap_or_default()).unwrap();
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

    /// Whether the container's process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.process() == "0"
    }

    fn process(&self) -> String {
        let format = "--format={{.State.Pid}}";
        let id = self.podman(&["inspect", format, CONTAINER]).unwrap();
        id.trim().to_owned()
    }

    /// What the kernel says of the container's process in a file of /proc.
    pub(crate) fn told(&self, file: &str) -> String {
        let mut cat = self.inside("cat");
        cat.arg(format!("/proc/{}/{file}", self.process()));
        String::from_utf8(output(self.namespace, cat).stdout).unwrap()
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
        let mut podman = self.inside("podman");
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

    /// A program in the namespaces that end with this process.
    fn inside(&self, program: &str) -> Command {
        let namespaces = format!("/proc/{}/ns", self.inside);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount={namespaces}/mnt"))
            .arg(format!("--pid={namespaces}/pid_for_children"))
            .arg(program);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }
}

impl Drop for Pods<'_> {
    fn drop(&mut self) {
        // Closes its standard input first.
        self.keeper.wait().ok();
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
