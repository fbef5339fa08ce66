//! The machine that the package is installed on: a container with Debian's systemd as its first
//! process. All that it writes is in memory.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{self, Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use filter_user::lab::namespace::Namespace;

use crate::{
    debian,
    instance::{wait_until, wiring},
    made,
};

/// Gives nspawn a control group, a `/run` and a BPF file system of its own; it would share the host's
/// with all others. A killed nspawn leaves its container at work: somebody outside sees standard input end
/// with this process, and ends both.
const LAUNCH: &str = "
mkdir \"$1\"
exec 3<&0 </dev/null
{
    cat
    echo 1 > \"$1/cgroup.kill\"
    sleep 1
    find \"$1\" -depth -type d -exec rmdir {} ';'
} <&3 3<&- >/dev/null 2>&1 &
exec 3<&-
echo $$ > \"$1/cgroup.procs\"
shift
exec unshare --mount --propagation private sh -euc '
mount -t tmpfs -o mode=755 tmpfs /run
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /run/bpf
mount -t bpf -o mode=700 bpf /run/bpf
exec \"$@\"' sh \"$@\"
";

/// What the unit's capabilities and system calls need from who contains them.
const NSPAWN: [&str; 12] = [
    "systemd-nspawn",
    "--quiet",
    "--volatile=overlay",
    "--register=no",
    "--keep-unit",
    "--link-journal=no",
    "--resolv-conf=off",
    "--timezone=off",
    "--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON",
    "--system-call-filter=bpf perf_event_open",
    "--bind=/run/bpf:/sys/fs/bpf",
    "--console=pipe",
];

/// A Debian in the network of a gateway.
pub(crate) struct Machine {
    nspawn: Child,
    /// Its first process, as this machine numbers it.
    init: u32,
    cgroup: PathBuf,
    log: PathBuf,
}

impl Machine {
    /// Boots it by systemd. The packages are in `/mnt/1` and `/mnt/2`.
    pub(crate) fn boot(gateway: &Namespace) -> Self {
        let machine = Self::start(gateway, &["--boot"]);
        wait_until("systemd boots", || {
            let state = machine.run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            assert_ne!(state, "degraded", "{}", machine.said());
            state == "running"
        });
        machine
    }

    /// The same without systemd at work, as in a chroot.
    pub(crate) fn without_systemd(gateway: &Namespace) -> Self {
        let machine = Self::start(gateway, &["--as-pid2", "sleep", "infinity"]);
        wait_until("the container is there", || {
            machine.run("true").status.success()
        });
        machine
    }

    fn start(gateway: &Namespace, how: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastack-test-{}-{number}", process::id());
        let root = debian::root();
        let cgroup = own_cgroup().join(&name);
        let log = std::env::temp_dir().join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let mut nspawn = Command::new("setpriv");
        nspawn
            .args(["--pdeathsig", "KILL", "sh", "-euc", LAUNCH, "sh"])
            .arg(&cgroup)
            .args(NSPAWN)
            .arg(format!("--machine={name}"))
            .arg(format!("--directory={}", root.display()))
            .arg(format!(
                "--network-namespace-path={}",
                wiring::path(gateway)
            ));
        for number in [1, 2] {
            let packages = made::revision(number).display();
            nspawn.arg(format!("--bind-ro={packages}:/mnt/{number}"));
        }
        for program in ["prometheus", "promtool"] {
            nspawn.arg(format!("--bind-ro=/usr/bin/{program}"));
        }
        nspawn
            .args(how)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let mut machine = Self {
            nspawn: nspawn.spawn().unwrap(),
            init: 0,
            cgroup,
            log,
        };
        wait_until("the container starts", || {
            machine.init = machine.first_process().unwrap_or(0);
            machine.init != 0
        });
        machine
    }

    /// nspawn's child that is the first process of another namespace.
    fn first_process(&mut self) -> Option<u32> {
        let ended = self.nspawn.try_wait().unwrap();
        assert!(ended.is_none(), "{}", self.said());
        let id = self.nspawn.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().find_map(|child| {
            let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
            let numbers = status
                .lines()
                .find_map(|line| line.strip_prefix("NSpid:"))?;
            let is_first = numbers.split_whitespace().last() == Some("1");
            let has_started = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (is_first && !has_started.starts_with("(sd-")).then(|| child.parse().unwrap())
        })
    }

    /// What it has said on its console.
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a script in it.
    pub(crate) fn run(&self, script: &str) -> Output {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .args(["--target", &self.init.to_string()])
            .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"])
            .args([
                "env",
                "-i",
                "HOME=/root",
                "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["sh", "-euc", script])
            .stdin(Stdio::null());
        nsenter.output().unwrap()
    }

    /// Runs a script that succeeds; gives all that it said.
    #[track_caller]
    pub(crate) fn ok(&self, script: &str) -> String {
        let output = self.run(script);
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        let status = output.status;
        let log = || self.run("journalctl --no-pager --lines 40").stdout;
        assert!(
            status.success(),
            "{script}: {status}: {stdout}{stderr}\n{}",
            String::from_utf8_lossy(&log())
        );
        format!("{stdout}{stderr}")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        fs::write(self.cgroup.join("cgroup.kill"), "1").ok();
        self.nspawn.kill().ok();
        self.nspawn.wait().ok();
        fs::remove_file(&self.log).ok();
        for _ in 0..100 {
            if remove(&self.cgroup).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Removes control groups; their files go with them.
fn remove(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    fs::remove_dir(cgroup)
}

/// The control group of this process, in the hierarchy that systemd knows best.
fn own_cgroup() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let mount = mount.and_then(|line| line.split(' ').nth(4)).unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    Path::new(mount).join(own.unwrap())
}
