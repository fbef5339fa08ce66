//! What is read of the programs' tables while they run.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant, SystemTime},
};

use filter_common::{
    Direction, Mode, Segment,
    Verdict::{self, Drop, Pass},
};
use filter_user::{
    datapath::Query,
    settings::{Role, Settings},
};

use crate::{
    frames::{Frame, Ip, V4, V6},
    kernel::{Kernel, Program},
    row::{CLIENT_FIN, LAST_ACK, RESET, SERVER_FIN, SYN},
};

/// Jiffies are of 1 to 10 ms, and two are rounded.
const A_FEW_JIFFIES: Duration = Duration::from_millis(40);

fn settings() -> Settings {
    Settings {
        window: Duration::from_mins(10),
        max_flows: 1024,
        ..Settings::default()
    }
}

fn send(kernel: &mut Kernel, ip: &Ip, port: u16, segment: Segment) -> Verdict {
    let (program, direction) = if [SERVER_FIN, RESET].contains(&segment) {
        (Program::Ingress, Direction::FromServer)
    } else {
        (Program::Egress, Direction::FromClient)
    };
    let frame = Frame {
        client_port: port,
        ..Frame::new(direction, ip.clone(), segment)
    };
    kernel.run(program, &frame.octets())
}

fn close(kernel: &mut Kernel, ip: &Ip, port: u16) {
    for segment in [CLIENT_FIN, SERVER_FIN, LAST_ACK] {
        assert_eq!(send(kernel, ip, port, segment), Pass);
    }
}

fn client(ip: &Ip) -> IpAddr {
    match *ip {
        Ip::V4 { client, .. } => client.into(),
        Ip::V6 { client, .. } => client.into(),
    }
}

#[test]
fn flows_are_told_with_state_and_drops_the_last_one_first() {
    let mut kernel = Kernel::load(&settings());
    send(&mut kernel, &V4, 1, CLIENT_FIN);
    sleep(A_FEW_JIFFIES);
    send(&mut kernel, &V4, 2, CLIENT_FIN);
    send(&mut kernel, &V4, 2, SERVER_FIN);
    sleep(A_FEW_JIFFIES);
    close(&mut kernel, &V6, 3);
    assert_eq!(send(&mut kernel, &V6, 3, LAST_ACK), Drop);
    let policy = kernel.configuration().policy();
    let tables = kernel.tables();
    let all = tables.flows(&policy, &Query::default(), |_| None).unwrap();
    let told: Vec<_> = all
        .iter()
        .map(|flow| (flow.client, flow.client_port, &*flow.state, flow.drops))
        .collect();
    let expected = [
        (client(&V6), 3, "closed", 1),
        (client(&V4), 2, "last_ack", 0),
        (client(&V4), 1, "half_closed", 0),
    ];
    assert_eq!(told, expected);
    assert!(all.iter().all(|flow| flow.server_port == 80));
    assert_eq!(tables.count_flows(&policy).unwrap(), 3);

    let limited = Query {
        limit: Some(2),
        ..Query::default()
    };
    let limited = tables.flows(&policy, &limited, |_| None).unwrap();
    assert_eq!(
        limited
            .iter()
            .map(|flow| flow.client_port)
            .collect::<Vec<_>>(),
        [3, 2]
    );
    let of_v4 = Query {
        client: Some("192.0.2.0/24".parse().unwrap()),
        limit: Some(1),
    };
    let of_v4 = tables.flows(&policy, &of_v4, |_| None).unwrap();
    assert_eq!(
        of_v4
            .iter()
            .map(|flow| flow.client_port)
            .collect::<Vec<_>>(),
        [2]
    );
    let nobodys = Query {
        client: Some("192.0.2.2/32".parse().unwrap()),
        ..Query::default()
    };
    assert!(
        tables
            .flows(&policy, &nobodys, |_| None)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_flow_is_as_old_as_it_is() {
    let mut kernel = Kernel::load(&settings());
    kernel.verify(Program::Egress);
    let before = Instant::now();
    send(&mut kernel, &V4, 1, CLIENT_FIN);
    let touched = Instant::now();
    sleep(Duration::from_millis(700));
    let least = touched.elapsed();
    let policy = kernel.configuration().policy();
    let tables = kernel.tables();
    let flows = tables.flows(&policy, &Query::default(), |_| None).unwrap();
    let most = before.elapsed();
    let idle = Duration::from_secs_f64(flows[0].idle_seconds);
    assert!(idle + A_FEW_JIFFIES >= least, "{idle:?} for {least:?}");
    assert!(idle <= most + A_FEW_JIFFIES, "{idle:?} for {most:?}");
    let whole = Duration::from_secs_f64(flows[0].idle_seconds + flows[0].expires_in_seconds);
    // As long as nobody has answered.
    let lifetime = settings().one_sided_timeout;
    assert!(
        whole >= lifetime && whole <= lifetime + A_FEW_JIFFIES,
        "{whole:?}"
    );
}

#[test]
fn a_flow_that_is_over_is_told_no_more() {
    let mut kernel = Kernel::load(&Settings {
        half_closed_timeout: Duration::from_millis(200),
        ..settings()
    });
    send(&mut kernel, &V4, 1, CLIENT_FIN);
    sleep(Duration::from_millis(200) + A_FEW_JIFFIES);
    let policy = kernel.configuration().policy();
    let tables = kernel.tables();
    assert_eq!(tables.raw_flows().unwrap().len(), 1);
    assert_eq!(tables.count_flows(&policy).unwrap(), 0);
    let flows = tables.flows(&policy, &Query::default(), |_| None).unwrap();
    assert!(flows.is_empty());
}

/// The kernel begins anew with the first key where it is asked for the one behind a key that is
/// gone.
#[test]
fn flows_are_counted_to_an_end_while_they_come_and_go() {
    const FLOWS: u16 = 500;
    const LASTING: u16 = 100;
    let mut kernel = Kernel::load(&settings());
    for port in 1..=FLOWS {
        send(&mut kernel, &V4, port, CLIENT_FIN);
    }
    let policy = kernel.configuration().policy();
    let tables = kernel.tables();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for port in LASTING + 1..=FLOWS {
                    send(&mut kernel, &V4, port, SYN);
                    send(&mut kernel, &V4, port, CLIENT_FIN);
                }
            }
        });
        for _ in 0..200 {
            let count = tables.count_flows(&policy).unwrap();
            assert!(
                (u64::from(LASTING)..=u64::from(FLOWS)).contains(&count),
                "{count}"
            );
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(tables.count_flows(&policy).unwrap(), u64::from(FLOWS));
}

#[test]
fn clients_with_the_fault_are_told_the_worst_first() {
    let mut kernel = Kernel::load(&settings());
    let before = SystemTime::now();
    close(&mut kernel, &V4, 1);
    assert_eq!(send(&mut kernel, &V4, 1, LAST_ACK), Drop);
    // The same client by another connection, and another one that is worse.
    close(&mut kernel, &V4, 2);
    // Two copies of the FIN, of which one answer makes the second redundant.
    send(&mut kernel, &V4, 2, SERVER_FIN);
    send(&mut kernel, &V4, 2, SERVER_FIN);
    assert_eq!(send(&mut kernel, &V4, 2, LAST_ACK), Pass);
    assert_eq!(send(&mut kernel, &V4, 2, LAST_ACK), Drop);
    for port in [3, 4] {
        close(&mut kernel, &V6, port);
        assert_eq!(send(&mut kernel, &V6, port, LAST_ACK), Drop);
    }
    // No fault: a correct close, and a reset that no spurious ACK drew.
    close(&mut kernel, &V6, 5);
    assert_eq!(send(&mut kernel, &V6, 5, RESET), Pass);
    let tables = kernel.tables();
    let hosts = tables.hosts(None).unwrap();
    let told: Vec<_> = hosts
        .iter()
        .map(|host| {
            (
                host.client,
                host.spurious_acks,
                host.redundant_acks,
                host.resets,
            )
        })
        .collect();
    assert_eq!(told, [(client(&V6), 2, 0, 0), (client(&V4), 1, 1, 0)]);
    let worst = tables.hosts(Some(1)).unwrap();
    assert_eq!(
        worst.iter().map(|host| host.client).collect::<Vec<_>>(),
        [client(&V6)]
    );
    for host in hosts {
        let seen = host.last_seen.0;
        assert!(seen + A_FEW_JIFFIES >= before && seen <= SystemTime::now() + A_FEW_JIFFIES);
    }
}

#[test]
fn a_client_s_resets_are_counted_by_each_program_whether_passed_or_suppressed() {
    for (role, client_side, server_side) in [
        (Role::Wan, Program::Egress, Program::Xdp),
        (Role::Wan, Program::Egress, Program::XdpMultiBuffer),
        (Role::Wan, Program::Egress, Program::Ingress),
        (Role::Lan, Program::Xdp, Program::Egress),
        (Role::Lan, Program::XdpMultiBuffer, Program::Egress),
        (Role::Lan, Program::Ingress, Program::Egress),
    ] {
        if !client_side.is_there() || !server_side.is_there() {
            continue;
        }
        for mode in [Mode::Monitor, Mode::Enforce] {
            let mut kernel = Kernel::load(&Settings {
                role,
                mode,
                rst_guard: true,
                budget: 1,
                ..settings()
            });
            let mut run = |direction, segment| {
                let program = match direction {
                    Direction::FromClient => client_side,
                    Direction::FromServer => server_side,
                };
                kernel.run(program, &Frame::new(direction, V4, segment).octets())
            };
            run(Direction::FromClient, CLIENT_FIN);
            run(Direction::FromServer, SERVER_FIN);
            run(Direction::FromClient, LAST_ACK);
            // The first is dropped or observed, and the second is beyond the budget and draws it.
            run(Direction::FromClient, LAST_ACK);
            run(Direction::FromClient, LAST_ACK);
            let verdict = run(Direction::FromServer, RESET);
            assert_eq!(verdict == Drop, mode == Mode::Enforce);
            let hosts = kernel.tables().hosts(None).unwrap();
            assert_eq!(hosts.len(), 1);
            assert_eq!((hosts[0].spurious_acks, hosts[0].resets), (1, 1));
        }
    }
}
