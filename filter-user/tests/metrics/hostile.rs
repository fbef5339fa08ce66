//! Clients that are slow, many, or say too much.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use filter_user::lab::{namespace::Namespace, topology::WAN};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::Signal,
};

use crate::{
    descriptors,
    instance::{
        Instance,
        cure::{CONNECTIONS, resets},
        wait_until,
        wiring::Network,
    },
    scrape,
};

/// More than an instance may have with all the connections that it keeps.
const MOST_DESCRIPTORS: usize = 256 + 64;

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

fn connect() -> TcpStream {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, 9433)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// The calling thread's, so many at once.
fn connections(count: u32) -> Vec<TcpStream> {
    (0..count).map(|_| connect()).collect()
}

/// A thread in the gateway that does something again and again.
struct Attack {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    fn start(gateway: &Namespace, mut again: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU32::new(0));
        let (stopped, done) = (Arc::clone(&stop), Arc::clone(&rounds));
        let repeat = move || {
            while !stopped.load(Ordering::Relaxed) {
                again();
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        let thread = Some(gateway.run(move || thread::spawn(repeat)));
        Self {
            stop,
            rounds,
            thread,
        }
    }

    fn rounds(&self) -> u32 {
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the attack goes on");
    }
}

/// While clients do what `attack` does, scrapes succeed, counters are printed, and the client with
/// the fault is cured; afterwards nothing is left of them.
fn assert_withstands<A>(
    attack: impl FnOnce(&Namespace) -> A,
    is_felt: impl Fn(&A, &Instance) -> bool,
) {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let instance = Instance::start(gateway, &[WAN], &["--interval", "100ms"]);
    let before = descriptors(&instance);

    let attack = attack(gateway);
    wait_until("it feels the attack", || is_felt(&attack, &instance));
    let begun = SystemTime::now();
    for _ in 0..10 {
        scrape(gateway, None);
    }
    assert!(descriptors(&instance) < MOST_DESCRIPTORS);
    wait_until("counters are printed", || {
        let line = instance.line();
        let time = humantime::parse_rfc3339(line["time"].as_str().unwrap()).unwrap();
        line["type"] == "counters" && time > begun
    });
    assert_eq!(resets(&mut client), 0);
    drop(attack);
    wait_until("every connection is closed", || {
        descriptors(&instance) == before
    });

    let (status, lines) = instance.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    let last = lines.iter().rfind(|line| line["type"] == "counters");
    assert_eq!(last.unwrap()["spurious_acks_dropped"], CONNECTIONS);
}

/// Clients whose request never comes to its end, an octet now and then.
#[test]
fn three_hundred_clients_that_send_an_octet_now_and_then_hinder_nobody() {
    let slow = |gateway: &Namespace| {
        let mut clients = gateway.run(|| connections(300));
        let mut octets = "GET /metrics HTTP/1.1\r\n"
            .bytes()
            .chain("X: y\r\n".bytes().cycle());
        Attack::start(gateway, move || {
            let octet = octets.next().unwrap();
            // They who are thrown out stay out.
            clients.retain_mut(|client| client.write_all(&[octet]).is_ok());
            thread::sleep(Duration::from_millis(100));
        })
    };
    assert_withstands(slow, |_, instance| descriptors(instance) > 200);
}

#[test]
fn requests_with_a_mebibyte_of_header_hinder_nobody() {
    let huge = |gateway: &Namespace| {
        Attack::start(gateway, || {
            let mut client = connect();
            let header = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 20));
            let refused = client.write_all(header.as_bytes());
            let mut answer = String::new();
            // The server closes without reading on, so that the answer may get lost.
            match client.read_to_string(&mut answer) {
                Ok(_) => assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}"),
                Err(_) => drop(refused),
            }
        })
    };
    assert_withstands(huge, |attack, _| attack.rounds() > 2);
}

/// Silent ones, and such as ask and do not read.
#[test]
fn a_thousand_connections_at_once_hinder_nobody() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let enough = 4_096.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(enough), hard).unwrap();
    let many = |gateway: &Namespace| {
        gateway.run(|| {
            let mut clients = connections(1_000);
            for client in clients.iter_mut().step_by(2) {
                // Most have been thrown out already.
                client.write_all(REQUEST).ok();
            }
            clients
        })
    };
    assert_withstands(many, |_, instance| descriptors(instance) > 200);
}

#[test]
fn clients_that_hold_on_do_not_hold_up_the_end() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let instance = Instance::start(gateway, &[WAN], &[]);
    let clients = gateway.run(|| connections(100));
    wait_until("they are connected", || {
        descriptors(&instance) > clients.len()
    });
    let (status, lines) = instance.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    assert_eq!(lines.last().unwrap()["type"], "detached");
    for mut client in clients {
        let left = client.read(&mut [0]);
        assert!(!left.is_ok_and(|length| length > 0));
    }
}
