//! A gateway with a server, a host and the client with the fault, and what they do.

use std::{
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::{
    super::{
        client::Client,
        namespace::Namespace,
        server::Server,
        topology::{Host, SERVER_V4, SERVER_V6, Topology, WAN},
    },
    traffic::{self, HTTP, Traffic},
};

/// What a page of nginx is made of.
pub(super) const PAGE: &[u8] = &[b'p'; 4096];
const IPERF: u16 = 5201;
/// How long the servers may take to listen.
const DEADLINE: Duration = Duration::from_secs(20);
/// Ordinary programs of each kind, each of which uses one connection at a time.
const HOSTS: usize = 2;

/// Counts segments that the gateway forwards to the server.
const FORWARDED: &str = "
    add table inet soak
    add counter inet soak segments
    add chain inet soak way { type filter hook forward priority 300; }
    add rule inet soak way oifname wan0 meta l4proto tcp counter name segments";
/// Counts those that the server receives.
const RECEIVED: &str = "
    add table inet soak
    add counter inet soak segments
    add chain inet soak way { type filter hook prerouting priority raw; }
    add rule inet soak way iifname server0 meta l4proto tcp counter name segments";

/// A gateway and everybody around it.
pub(super) struct Site {
    // They end before their namespaces.
    _programs: Programs,
    _server: Server,
    pub(super) topology: Topology,
    host: Host,
    client: Mutex<Option<Client>>,
}

impl Site {
    pub(super) fn new() -> Result<Self> {
        let mut topology = Topology::new()?;
        let host = topology.add_host()?;
        let client = Client::new(topology.add_client()?)?;
        nft(&topology.gateway, FORWARDED)?;
        nft(&topology.server, RECEIVED)?;
        // XDP has the other end of a veth pair send single frames, and its own gather them. That is
        // the device's; wires carry single frames anyway.
        let single = ["-K", "server0", "tso", "off", "gso", "off"];
        output(&topology.server, "ethtool", &single)?;
        output(&topology.gateway, "ethtool", &["-K", WAN, "gro", "on"])?;
        Ok(Self {
            _programs: Programs::start(&topology.server)?,
            _server: Server::start(&topology.server)?,
            topology,
            host,
            client: Some(client).into(),
        })
    }

    /// Has everybody but the streams begin.
    pub(super) fn begin(&self) -> Result<Running> {
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let mut client = self
            .client
            .lock()
            .map_err(|_| anyhow!("a thread of the soak panicked"))?
            .take()
            .context("the client works once")?;
        let until = Arc::clone(&over);
        threads.push(thread::spawn(move || traffic::faulty(&mut client, &until)));
        for _ in 0..HOSTS {
            for work in [traffic::half_closing, traffic::ordinary] {
                let until = Arc::clone(&over);
                // A thread starts in the namespace of the thread that starts it.
                let thread = move || thread::spawn(move || Ok(work(&until)));
                threads.push(self.host.namespace.run(thread));
            }
        }
        Ok(Running { over, threads })
    }

    /// Streams both ways at once; over IPv4 and IPv6 by turns.
    pub(super) fn stream(&self, number: usize, time: Duration) -> Result<f64> {
        let server = if number.is_multiple_of(2) {
            SERVER_V4.to_string()
        } else {
            SERVER_V6.to_string()
        };
        let seconds = time.as_secs().max(1).to_string();
        let mut iperf = Command::new("iperf3");
        iperf
            .args(["--client", &server, "--bidir", "--json", "--time", &seconds])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let output = self.host.namespace.spawn(iperf)?.wait_with_output()?;
        let report: Value = serde_json::from_slice(&output.stdout).context("iperf3")?;
        ensure!(output.status.success(), "iperf3: {}", report["error"]);
        let rate = |sum: &str| {
            let rate = report["end"][sum]["bits_per_second"].as_f64();
            rate.with_context(|| format!("iperf3 gives no {sum}"))
        };
        Ok(rate("sum_received")? + rate("sum_received_bidir_reverse")?)
    }

    /// Segments that the gateway has forwarded to the server, and that did not reach it.
    pub(super) fn kept(&self) -> Result<u64> {
        let forwarded = counted(&self.topology.gateway)?;
        let received = counted(&self.topology.server)?;
        let lost = queue_losses(&self.topology.server)?;
        let kept = forwarded.checked_sub(received + lost);
        kept.with_context(|| format!("{forwarded} forwarded, {received} received, {lost} lost"))
    }

    /// Frames that XDP has dropped.
    pub(super) fn dropped_by_xdp(&self) -> Result<u64> {
        let counts = output(&self.topology.gateway, "ethtool", &["-S", WAN])?;
        let of_queues = counts.lines().filter_map(|line| {
            let (name, count) = line.trim().split_once(": ")?;
            name.ends_with("_xdp_drops").then(|| count.parse::<u64>())
        });
        Ok(of_queues.sum::<Result<_, _>>()?)
    }
}

/// Everybody at work. Dropping it has everybody end.
pub(super) struct Running {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Traffic>>>,
}

impl Running {
    /// Has everybody end what he has begun.
    pub(super) fn finish(mut self) -> Result<Traffic> {
        self.over.store(true, Ordering::Relaxed);
        let mut sum = Traffic::default();
        for thread in self.threads.drain(..) {
            let traffic = thread.join();
            sum += traffic.map_err(|_| anyhow!("a thread of the soak panicked"))??;
        }
        Ok(sum)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// nginx and iperf3. Dropping them ends them.
struct Programs {
    programs: Vec<Child>,
    directory: PathBuf,
}

impl Programs {
    fn start(server: &Namespace) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("lastack-soak-{}-{number}", process::id()));
        fs::create_dir(&directory).context("could not make a directory for nginx")?;
        let mut programs = Self {
            programs: Vec::new(),
            directory,
        };
        let directory = &programs.directory;
        fs::write(directory.join("page"), PAGE)?;
        let configuration = directory.join("conf");
        fs::write(
            &configuration,
            format!(
                "daemon off; master_process off; pid {0}/pid; error_log {0}/error; events {{}}
                 http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b;
                         fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;
                         server {{ listen {HTTP}; listen [::]:{HTTP}; root {0}; }} }}",
                directory.display()
            ),
        )?;
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(configuration).stderr(Stdio::null());
        let mut iperf = Command::new("iperf3");
        iperf.arg("--server").stdout(Stdio::null());
        for program in [nginx, iperf] {
            programs.programs.push(server.spawn(program)?);
        }
        let start = Instant::now();
        for port in [HTTP, IPERF] {
            while !is_listening(server, port)? {
                if start.elapsed() > DEADLINE {
                    bail!("nothing listens on port {port} (are nginx and iperf3 installed?)");
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(programs)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // Neither does anything to one that has ended.
            program.kill().ok();
            program.wait().ok();
        }
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn is_listening(namespace: &Namespace, port: u16) -> Result<bool> {
    // Local address, remote address, state (TCP_LISTEN).
    let wanted = format!(":{port:04X} 00000000000000000000000000000000:0000 0A");
    let sockets = namespace.run(|| fs::read_to_string("/proc/thread-self/net/tcp6"))?;
    Ok(sockets.contains(&wanted))
}

fn nft(namespace: &Namespace, rules: &str) -> Result<()> {
    let mut nft = Command::new("nft");
    nft.args(["--file", "-"]).stdin(Stdio::piped());
    let mut nft = namespace.spawn(nft)?;
    let mut input = nft.stdin.take().context("nft has no input")?;
    input.write_all(rules.as_bytes())?;
    drop(input);
    let status = nft.wait()?;
    ensure!(status.success(), "nft: {status}");
    Ok(())
}

fn counted(namespace: &Namespace) -> Result<u64> {
    let list = ["--json", "list", "counter", "inet", "soak", "segments"];
    let json: Value = serde_json::from_str(&output(namespace, "nft", &list)?)?;
    let packets = json["nftables"][1]["counter"]["packets"].as_u64();
    packets.context("nft counts nothing")
}

/// Frames that came to the server's interface and that its queue did not take.
fn queue_losses(server: &Namespace) -> Result<u64> {
    let interfaces = server.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
    let mut lines = interfaces.lines();
    let line = lines.find_map(|line| line.trim().strip_prefix("server0:"));
    // Octets, packets, errors, dropped.
    let dropped = line.and_then(|line| line.split_whitespace().nth(3));
    Ok(dropped.context("there is no server0")?.parse()?)
}

fn output(namespace: &Namespace, program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let output = namespace.spawn(command)?.wait_with_output()?;
    ensure!(output.status.success(), "{program}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
