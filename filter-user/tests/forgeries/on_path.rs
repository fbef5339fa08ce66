//! Somebody who sees all numbers, and is faster than the client: the harm that he can do.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
    time::{Duration, Instant},
};

use filter_common::Reason;
use filter_user::{
    lab::{
        last_ack::{Seen, Watch},
        server::retransmissions,
        topology::SERVER_V4,
    },
    settings::Settings,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, SockProtocol, send, setsockopt, sockopt},
    unistd::read,
};

use super::{
    Scene,
    download::{Download, Fins},
    forger::{CLIENT_ACK, Forger, Numbers, ORDINARY_TTL, SERVER_FIN, TTL, open},
    instance::{
        tool, wait_until,
        wiring::{features, ip},
    },
    patient,
};

/// The server's retransmission timer, at the least: longer than the forger takes.
const RTO_MIN: &str = "400ms";
/// Of a FIN that the forger lets the client have.
const DELIVERED: u8 = 50;
/// In an IPv6 frame.
const HOP_LIMIT: usize = 14 + 7;
const FLAGS: usize = 14 + 40 + 13;

/// In the kernel's table of sockets.
const FIN_WAIT_2: &str = "05";

/// What the end of a connection came to.
struct End {
    /// Client's ACKs that were dropped.
    drops: u64,
    /// How often the server had to repeat its FIN.
    repeated: u64,
    last_ack: Seen,
}

/// A download over IPv6. At its end the client gets each FIN of the server when the forger has
/// acknowledged it, and so much later.
fn outrun(settings: Settings, lead: Duration) -> End {
    let scene = Scene::new(settings);
    let (topology, host) = (&scene.topology, &scene.host);
    let quick = format!("-6 route replace default via 2001:db8::1 rto_min {RTO_MIN}");
    ip(&topology.server, &[&quick]);
    // What is delivered by hand needs its checksum.
    features(&topology.server, "server0", "tx off");
    let forwarded = ORDINARY_TTL - 1;
    let hold =
        format!("add rule inet forged first ip6 hoplimit {forwarded} tcp flags & fin == fin drop");
    tool(&host.namespace, "nft", &[&hold]);
    let watch = Watch::start(&topology.server).unwrap();
    let wire = open(&host.namespace, "eth0", Some(SockProtocol::EthAll));
    // Room for the whole download.
    setsockopt(&wire, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    let to_client = open(&topology.gateway, &host.gateway_interface, None);
    let answers = || {
        let counters = scene.counters();
        counters.of(Reason::FirstAck) + counters.of(Reason::ElicitedAck)
    };
    let before = retransmissions(&topology.server).unwrap();
    let download = Download::start(host, false, 1 << 20);
    let numbers = download.numbers;
    let mut forger = Forger::new(topology, host, download.client, download.server);
    let application = thread::spawn(|| download.finish());
    let start = Instant::now();
    while !application.is_finished() || watch.open() > 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
        let mut waiting = [PollFd::new(wire.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::from(50_u8)).unwrap() == 0 {
            continue;
        }
        let mut frame = [0; 2048];
        let length = read(&wire, &mut frame).unwrap();
        if frame[HOP_LIMIT] != forwarded || frame[FLAGS] & 1 == 0 {
            continue;
        }
        let answered = answers();
        forger.send_one(CLIENT_ACK, numbers, TTL);
        wait_until("the forged ACK passes", || answers() > answered);
        thread::sleep(lead);
        frame[HOP_LIMIT] = DELIVERED;
        send(to_client.as_raw_fd(), &frame[..length], MsgFlags::empty()).unwrap();
    }
    application.join().unwrap();
    End {
        drops: scene.counters().dropped_acks(),
        repeated: retransmissions(&topology.server).unwrap() - before,
        last_ack: watch.finish().unwrap(),
    }
}

#[test]
fn who_knows_all_numbers_prolongs_last_ack_by_no_more_drops_than_the_budget() {
    for budget in [1, 3] {
        let settings = Settings {
            budget,
            ..patient()
        };
        let end = outrun(settings, Duration::ZERO);
        println!(
            "budget {budget}: {} ACKs dropped, the FIN repeated {} times, LAST-ACK {:?}",
            end.drops, end.repeated, end.last_ack.residences
        );
        assert!((1..=budget.into()).contains(&end.drops), "{}", end.drops);
        assert_eq!(end.last_ack.left, 0);
    }
}

#[test]
fn nothing_is_dropped_later_than_the_window_behind_a_forged_ack() {
    let window = Duration::from_millis(100);
    let settings = Settings {
        window,
        ..patient()
    };
    let end = outrun(settings, window * 2);
    assert_eq!(end.drops, 0);
    assert_eq!(end.last_ack.left, 0);
}

/// How a read ends in a client that has half-closed, when the server has forgotten the connection
/// without a word. The client's keepalive asks each second, and gives up after six times.
fn end_of_a_read(budget: u8, closed_timeout: Duration, is_forged: bool) -> ErrorKind {
    let scene = Scene::new(Settings {
        rst_guard: true,
        budget,
        closed_timeout,
        ..patient()
    });
    let (topology, host) = (&scene.topology, &scene.host);
    let listen = || TcpListener::bind((SERVER_V4, 0)).unwrap();
    let listener = topology.server.run(listen);
    let server = listener.local_addr().unwrap();
    let mut fins = Fins::start(&host.namespace, true);
    let connect = move || TcpStream::connect(server).unwrap();
    let mut client = host.namespace.run(connect);
    let (mut accepted, _) = listener.accept().unwrap();
    client.write_all(b"?").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    accepted.read_to_end(&mut Vec::new()).unwrap();
    let Numbers {
        client: end,
        server: next,
    } = fins.numbers(0);
    let numbers = Numbers {
        client: end,
        // It sends no FIN.
        server: next.wrapping_sub(1),
    };
    wait_until("the client's FIN is acknowledged", || {
        let sockets = || fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let sockets = host.namespace.run(sockets);
        let mut states = sockets.lines().map(|line| line.split_whitespace().nth(3));
        states.any(|state| state == Some(FIN_WAIT_2))
    });
    // It is closed without a segment.
    setsockopt(&accepted, sockopt::TcpRepair, &1).unwrap();
    drop(accepted);
    let mut forger = Forger::new(topology, host, client.local_addr().unwrap(), server);
    if is_forged {
        forger.send_one(SERVER_FIN, numbers, TTL);
        forger.send_one(CLIENT_ACK, numbers, TTL);
        let closed = || scene.counters().of(Reason::FirstAck) == 1;
        wait_until("the filter takes it for closed", closed);
    }
    setsockopt(&client, sockopt::KeepAlive, &true).unwrap();
    setsockopt(&client, sockopt::TcpKeepIdle, &1).unwrap();
    setsockopt(&client, sockopt::TcpKeepInterval, &1).unwrap();
    setsockopt(&client, sockopt::TcpKeepCount, &6).unwrap();
    client.read(&mut [0]).unwrap_err().kind()
}

#[test]
fn with_the_reset_guard_he_hides_a_reset_until_the_lifetime_ends_which_acks_that_pass_prolong() {
    let seconds = Duration::from_secs;
    let (reset, given_up) = (ErrorKind::ConnectionReset, ErrorKind::TimedOut);
    assert_eq!(end_of_a_read(3, seconds(60), false), reset);
    // The client's ACKs are dropped until then.
    assert_eq!(end_of_a_read(3, seconds(2), true), reset);
    // But for the first they pass.
    assert_eq!(end_of_a_read(1, seconds(4), true), given_up);
}
