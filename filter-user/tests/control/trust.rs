//! Who may ask, and who is believed.

#![expect(
    unsafe_code,
    reason = "only the system call itself changes one thread's user"
)]

use std::{
    fs::{self, File},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    process::{Child, Command, Stdio},
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::{libc, sys::signal::Signal};

use super::{
    WITHOUT_METRICS, assert_fails,
    instance::{
        Instance, bpffs::BpfFileSystem, cure, file::OwnFile, hooks, lastack, output, run,
        wiring::Network,
    },
    json, say,
};

const STRANGER: u32 = 65_534;

/// The command as another user starts it, from a place where he may read it.
fn as_stranger(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(env!("CARGO_BIN_EXE_lastack")).args(arguments);
    command
}

/// Listens by an instance's name as another user.
pub(super) fn impostor(namespace: &Namespace, name: &'static str) -> UnixListener {
    namespace.run(move || {
        let address = SocketAddr::from_abstract_name(format!("lastack/{name}")).unwrap();
        become_user(STRANGER).unwrap();
        let listener = UnixListener::bind_addr(&address);
        become_user(0).unwrap();
        listener.unwrap()
    })
}

/// Changes the effective user of the calling thread alone, which the wrapper of the C library
/// does not.
fn become_user(user: u32) -> io::Result<()> {
    let keep = -1_i64;
    // SAFETY: the call takes three numbers and touches no memory.
    match unsafe { libc::syscall(libc::SYS_setresuid, keep, i64::from(user), keep) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn another_user_is_refused() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let options = [&WITHOUT_METRICS[..], &["--instance", "default"]].concat();
    let instance = Instance::start(gateway, &[WAN], &options);
    for command in ["status", "flows", "hosts", "detach"] {
        let words = ["refuses", "answers root"];
        assert_fails(gateway, as_stranger(&[command]), &words);
    }
    let before = hooks(gateway, WAN);
    assert!(before.iter().any(|line| line.contains("lastack_egress")));
    assert_eq!(json(gateway, &["status"])["pid"], instance.id());
}

#[test]
fn a_stranger_who_holds_the_name_is_not_believed_and_keeps_nobody_from_being_cured() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let _impostor = impostor(gateway, "default");
    let words = ["user 65534", "neither root nor you", "not asked"];
    // Nor is it taken for none.
    assert_fails(gateway, lastack(&["status"]), &words);
    let named = lastack(&["status", "--instance", "default"]);
    assert_fails(gateway, named, &words);

    let mut command = lastack(&["run", "--iface", WAN, "--instance", "default"]);
    command
        .args(WITHOUT_METRICS)
        .args(["--window", "10s", "--interval", "100ms"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = gateway.spawn(command).unwrap();
    let mut counters = io::BufReader::new(child.stdout.take().unwrap());
    io::BufRead::read_line(&mut counters, &mut String::new()).unwrap();
    let outcomes = cure::run(&mut client);
    assert_eq!(outcomes.iter().map(|it| it.seen.resets).sum::<u64>(), 0);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    io::copy(&mut counters, &mut io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("user 65534 holds the name default"), "{log}");
}

#[test]
fn filters_that_nobody_will_know_after_a_kill_are_told_of_at_the_start() {
    let topology = Topology::new().unwrap();
    let _impostor = impostor(&topology.gateway, "default");
    let log_of = |options: &[&str]| {
        let mut command = run(&[WAN], &[&WITHOUT_METRICS, options].concat());
        command.args(["--instance", "default"]);
        let log = OwnFile::new("");
        command.stderr(File::create(log.as_str()).unwrap());
        let instance = Instance::spawn(&topology.gateway, command).attached_to(&[WAN]);
        assert!(instance.stop(Signal::SIGTERM).0.success());
        fs::read_to_string(log.as_str()).unwrap()
    };
    let words = "nothing knows its filters in clsact";
    let clsact = log_of(&["--tc-mode", "clsact"]);
    assert!(clsact.contains(words), "{clsact}");
    let links = log_of(&[]);
    assert!(!links.contains(words), "{links}");
}

#[test]
fn a_stranger_who_holds_the_name_keeps_nobody_from_taking_off_and_does_not_let_two_have_the_same_pins()
 {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    let file_system = BpfFileSystem::new();
    let place = ["--pin-dir", file_system.path().to_str().unwrap()];
    let _impostor = impostor(gateway, "default");
    let options = [&WITHOUT_METRICS, &place[..], &["--pin"]].concat();
    let first = Instance::start(gateway, &[WAN], &options);
    let directory = file_system.path().join("default");
    let busy = format!(
        "another process works with what is pinned in {}",
        directory.display()
    );
    let detach = || lastack(&[&["detach"], &place[..]].concat());
    // One that does not refuse ends, and with another status.
    let mut second = Command::new("timeout");
    second.args(["20", env!("CARGO_BIN_EXE_lastack"), "run", "--iface", WAN]);
    second.args(&options);
    for command in [second, detach()] {
        let output = output(gateway, command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&busy), "{said}");
    }
    assert_ne!(hooks(gateway, WAN), before);
    drop(first.stop(Signal::SIGKILL));
    let detached = output(gateway, detach());
    let said = String::from_utf8(detached.stderr).unwrap();
    assert!(detached.status.success(), "{said}");
    assert!(said.contains("user 65534 holds the name default"), "{said}");
    assert_eq!(hooks(gateway, WAN), before);
    assert!(!directory.exists());
}

#[test]
fn root_asks_an_instance_of_another_user_that_has_its_capabilities() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let before = hooks(gateway, WAN);
    let instance = Instance::spawn(gateway, as_service()).attached_to(&[WAN]);
    assert_eq!(json(gateway, &["status"])["pid"], instance.id());
    // Its name is taken.
    let words = ["called service runs here already"];
    assert_fails(gateway, run(&["lo"], &SERVICE), &words);
    let said = say(gateway, &["detach"]);
    assert!(said.contains("service: detached from wan0"), "{said}");
    let (status, _) = instance.end();
    assert!(status.success(), "{status}");
    assert_eq!(hooks(gateway, WAN), before);
}

const SERVICE: [&str; 4] = ["--metrics-addr", "off", "--instance", "service"];

/// `lastack run` as a service manager starts it with a user and capabilities.
fn as_service() -> Command {
    const CAPABILITIES: &str = "+bpf,+net_admin,+perfmon";
    let run = run(&[WAN], &SERVICE);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES]);
    command
        .arg("--")
        .arg(run.get_program())
        .args(run.get_args());
    command.env("RUST_LOG", "warn");
    command
}

#[test]
fn capabilities_in_a_user_namespace_of_its_own_make_no_instance() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.args(["unshare", "--user", "--map-current-user", "--keep-caps"]);
    command.args(["systemd-socket-activate", "--listen", "@lastack/default"]);
    command.args(["sleep", "1000"]).stderr(Stdio::piped());
    let mut impostor = Impostor(gateway.spawn(command).unwrap());
    let mut log = io::BufReader::new(impostor.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Listening on") {
        line.clear();
        assert!(io::BufRead::read_line(&mut log, &mut line).unwrap() > 0);
    }
    let process = fs::read_to_string(format!("/proc/{}/status", impostor.0.id())).unwrap();
    let has_capabilities = |line: &str| line.starts_with("CapPrm:") && line.contains("1f");
    assert!(process.lines().any(has_capabilities), "{process}");
    let words = ["user 65534", "neither root nor you", "not asked"];
    assert_fails(gateway, lastack(&["status"]), &words);
}

struct Impostor(Child);

impl Drop for Impostor {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_directory_that_may_not_be_read_is_not_taken_for_an_empty_one() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let file_system = BpfFileSystem::new();
    let place = file_system.path().to_str().unwrap();
    let cannot = format!("cannot read {place}: Permission denied");
    let words = ["no instance", &cannot, "run as root"];
    for named in [&[][..], &["--instance", "default"]] {
        let arguments = [&["status", "--pin-dir", place], named].concat();
        assert_fails(gateway, as_stranger(&arguments), &words);
    }
}
