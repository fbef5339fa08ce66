//! A host that has half-closed its connection and reads a long response, no faster than told.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use filter_user::lab::{
    namespace::Namespace,
    server::{PORT, Request},
    topology::{Host, SERVER_V4, SERVER_V6},
};

use super::{
    forger::{Numbers, ORDINARY_TTL},
    instance::wait_until,
};

/// Of a host: small, so that the server is not done long before the application.
pub(crate) const RECEIVE_BUFFERS: &str = "4096 131072 262144";

/// A download under way.
pub(crate) struct Download {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) numbers: Numbers,
    request: Request,
    allowed: Arc<AtomicU64>,
    thread: JoinHandle<std::io::Result<Vec<u8>>>,
}

impl Download {
    /// Asks for so many bytes, half-closes, and returns when the first of them has arrived.
    pub(crate) fn start(host: &Host, is_ipv4: bool, length: u32) -> Self {
        let server = if is_ipv4 {
            SocketAddr::from((SERVER_V4, PORT))
        } else {
            SocketAddr::from((SERVER_V6, PORT))
        };
        let request = Request {
            seed: fastrand::u64(..),
            length,
        };
        let mut fins = Fins::start(&host.namespace, is_ipv4);
        let allowed = Arc::new(AtomicU64::new(1));
        let (report, half_closed) = mpsc::channel();
        let may = Arc::clone(&allowed);
        // A thread starts in the namespace of the thread that starts it.
        let thread = host.namespace.run(move || {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(server)?;
                let client = stream.local_addr()?;
                stream.write_all(&request.encode())?;
                stream.shutdown(Shutdown::Write)?;
                let mut response = vec![0];
                stream.read_exact(&mut response)?;
                report.send(client).unwrap();
                read(stream, response, &may)
            })
        });
        let Ok(client) = half_closed.recv() else {
            panic!("the download does not begin: {:?}", thread.join());
        };
        let numbers = fins.numbers(length);
        Self {
            client,
            server,
            numbers,
            request,
            allowed,
            thread,
        }
    }

    /// Lets the application read as far as this share of the response.
    pub(crate) fn allow(&self, part: u64, whole: u64) {
        let length = u64::from(self.request.length);
        let allowed = length * part.min(whole) / whole;
        // Never the whole: that is the end's.
        let allowed = allowed.clamp(1, length - 1);
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// Lets the application read to the end; it gets what the server was to send.
    pub(crate) fn finish(self) {
        assert!(!self.thread.is_finished(), "the download ended early");
        self.allowed.store(u64::MAX, Ordering::Relaxed);
        wait_until("the download ends", || self.thread.is_finished());
        let response = self.thread.join().unwrap().unwrap();
        assert_eq!(response.len(), self.request.length as usize);
        assert!(response == self.request.response(), "other bytes");
    }
}

fn read(mut stream: TcpStream, mut response: Vec<u8>, may: &AtomicU64) -> std::io::Result<Vec<u8>> {
    let mut piece = vec![0; 1 << 16];
    loop {
        let allowed = may.load(Ordering::Relaxed);
        let length = allowed.saturating_sub(response.len() as u64);
        if length == 0 {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let length = length.min(piece.len());
        let length = stream.read(&mut piece[..length])?;
        if length == 0 {
            return Ok(response);
        }
        response.extend(&piece[..length]);
    }
}

/// tcpdump, for the FINs that a host sends.
pub(crate) struct Fins {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Fins {
    pub(crate) fn start(namespace: &Namespace, is_ipv4: bool) -> Self {
        let filter = if is_ipv4 {
            format!("ip[8] = {ORDINARY_TTL} and tcp[13] & 1 != 0")
        } else {
            format!("ip6[7] = {ORDINARY_TTL} and ip6[6] = 6 and ip6[53] & 1 != 0")
        };
        let mut command = Command::new("tcpdump");
        command
            .args("-lnntS --immediate-mode -i eth0".split(' '))
            .arg(filter)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = namespace.spawn(command).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "tcpdump ended");
        }
        child.stderr = Some(stderr.into_inner());
        Self { child, stdout }
    }

    /// What follows the FINs of a connection whose client has asked for so many bytes, and has
    /// acknowledged none of them yet.
    pub(crate) fn numbers(&mut self, length: u32) -> Numbers {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let number = |name: &str| -> u32 {
            let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("{line}"));
            let number = rest.split(',').next().unwrap();
            number.rsplit(':').next().unwrap().parse().unwrap()
        };
        Numbers {
            client: number(" seq ").wrapping_add(1),
            server: number(" ack ").wrapping_add(length).wrapping_add(1),
        }
    }
}

impl Drop for Fins {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
