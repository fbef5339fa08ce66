//! Ordinary traffic of ordinary programs: nginx and curl, iperf3.

use std::{
    fs,
    net::IpAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{SERVER_V4, SERVER_V6},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Instance, tool, wait_until};

/// How often the file that is fetched repeats 251 octets: 25 MB.
const REPETITIONS: usize = 100_000;
/// What iperf3 sends in each direction.
const STREAM: &str = "64M";

const HTTP: u16 = 80;
const IPERF: u16 = 5201;

/// nginx and iperf3 in the server's namespace.
pub(crate) struct Servers {
    programs: [Child; 2],
    directory: Directory,
    content: Vec<u8>,
}

impl Servers {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let directory = Directory::new();
        let content = (0..=250).collect::<Vec<u8>>().repeat(REPETITIONS);
        fs::write(directory.0.join("file"), &content).unwrap();
        let configuration = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error; events {{}}
             http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b;
                     fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;
                     server {{ listen 80; listen [::]:80; root {0}; }} }}",
            directory.0.display()
        );
        fs::write(directory.0.join("conf"), configuration).unwrap();
        let mut nginx = Command::new("nginx");
        nginx
            .arg("-c")
            .arg(directory.0.join("conf"))
            .stderr(Stdio::null());
        let mut iperf = Command::new("iperf3");
        iperf.arg("--server").stdout(Stdio::null());
        let programs = [nginx, iperf].map(|program| namespace.spawn(program).unwrap());
        for port in [HTTP, IPERF] {
            wait_until("the servers listen", || is_listening(namespace, port));
        }
        Self {
            programs,
            directory,
            content,
        }
    }

    /// A host fetches a file and streams both ways, over both families; all comes as it was sent.
    pub(crate) fn assert_used_by(&self, host: &Namespace) {
        for address in [IpAddr::from(SERVER_V4), SERVER_V6.into()] {
            self.assert_fetched(host, address);
            let address = address.to_string();
            for direction in [&[][..], &["--reverse"]] {
                let mut arguments = vec!["--client", &address, "--bytes", STREAM, "--json"];
                arguments.extend(direction);
                let report = tool(host, "iperf3", &arguments);
                let report: Value = serde_json::from_str(&report).unwrap();
                let received = report["end"]["sum_received"]["bytes"].as_u64();
                assert!(received >= Some(32 << 20), "{report}");
            }
        }
    }

    fn assert_fetched(&self, host: &Namespace, address: IpAddr) {
        let fetched = self.directory.0.join("fetched");
        let url = match address {
            IpAddr::V4(address) => format!("http://{address}/file"),
            IpAddr::V6(address) => format!("http://[{address}]/file"),
        };
        let options = "--silent --show-error --fail --globoff --max-time 20 --output";
        let mut arguments: Vec<_> = options.split_whitespace().collect();
        arguments.extend([fetched.to_str().unwrap(), &url]);
        tool(host, "curl", &arguments);
        assert!(
            fs::read(&fetched).unwrap() == self.content,
            "{url} came with other content"
        );
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for program in &mut self.programs {
            program.kill().ok();
            program.wait().ok();
        }
    }
}

/// Serves `interfaces` of `gateway` while `host` uses the servers: not one packet is dropped.
pub(crate) fn assert_unharmed(
    (gateway, interfaces, options): (&Namespace, &[&str], &[&str]),
    (servers, host): (&Servers, &Namespace),
) {
    let instance = Instance::start(gateway, interfaces, options);
    servers.assert_used_by(host);
    let (status, lines) = instance.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    let counters = || lines.iter().filter(|line| line["type"] == "counters");
    assert!(counters().count() >= interfaces.len());
    let closes = counters().filter_map(|counters| counters["packets"]["flow_created"].as_u64());
    assert_ne!(closes.sum::<u64>(), 0, "it saw nothing");
    for counters in counters() {
        assert_eq!(counters["spurious_acks_dropped"], 0, "{counters}");
        for reason in [
            "reset_after_spurious_ack_suppressed",
            "reset_after_close_suppressed",
        ] {
            assert_eq!(counters["packets"][reason], 0, "{counters}");
        }
    }
}

fn is_listening(namespace: &Namespace, port: u16) -> bool {
    // Local address, remote address, state (TCP_LISTEN).
    let wanted = format!(":{port:04X} 00000000000000000000000000000000:0000 0A");
    let sockets = namespace.run(|| fs::read_to_string("/proc/thread-self/net/tcp6"));
    sockets.unwrap().contains(&wanted)
}

/// A directory for temporary files that is removed in the end.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastack-test-files-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
