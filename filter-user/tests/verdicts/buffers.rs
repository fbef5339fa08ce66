//! Frames whose headers are not all in the first buffer.

use std::thread;

use filter_common::{
    Direction, Reason,
    Verdict::{Drop, Pass},
};
use filter_user::{
    datapath::Datapath,
    settings::{Ingress, Role, Settings},
};

use crate::{
    frames::{TIMESTAMPS, V4, V6},
    kernel::{Kernel, Program},
    loopback::Loopback,
    row::{CLIENT_FIN, LAST_ACK, SERVER_FIN, Shape},
};

fn closes_and_drops(shape: &Shape, linear: usize) {
    let settings = Settings {
        role: Role::Lan,
        max_flows: 1024,
        ..Settings::default()
    };
    let mut kernel = Kernel::load(&settings);
    let client = |segment| shape.frame(Direction::FromClient, segment);
    let server = shape.frame(Direction::FromServer, SERVER_FIN);
    let split = |kernel: &mut Kernel, frame: &[u8]| {
        kernel.run_split(Program::XdpMultiBuffer, frame, linear)
    };
    assert_eq!(split(&mut kernel, &client(CLIENT_FIN)), Pass);
    assert_eq!(
        kernel.count(Reason::FlowCreated),
        1,
        "{linear} octets in the first buffer"
    );
    assert_eq!(kernel.run(Program::Egress, &server), Pass);
    assert_eq!(split(&mut kernel, &client(LAST_ACK)), Pass);
    assert_eq!(split(&mut kernel, &client(LAST_ACK)), Drop);
    assert_eq!(
        kernel.count(Reason::SpuriousAckDropped),
        1,
        "{linear} octets in the first buffer"
    );
}

#[test]
fn xdp_understands_headers_wherever_the_first_buffer_ends() {
    if !Program::XdpMultiBuffer.is_there() {
        return;
    }
    for ip in [V4, V6] {
        let bare = Shape {
            ip,
            ..Shape::default()
        };
        let headers = bare.frame(Direction::FromClient, LAST_ACK).len();
        // Nothing follows the TCP header: no octet may be taken for missing.
        closes_and_drops(&bare, 14);
        closes_and_drops(&bare, headers - 1);
        let options = Shape {
            tcp_options: TIMESTAMPS.to_vec(),
            ..bare
        };
        for linear in [
            14,
            15,
            20,
            33,
            34,
            35,
            53,
            54,
            55,
            headers - 1,
            headers,
            headers + 5,
        ] {
            closes_and_drops(&options, linear);
        }
    }
}

/// Each frame leaves by the interface and comes back on it, so that both hooks see it: as a
/// client's at the one, and as a server's of the mirrored flow at the other.
#[test]
fn tc_understands_headers_behind_the_first_buffer() {
    let in_namespace = || {
        let loopback = Loopback::in_new_namespace();
        let settings = Settings {
            ingress: Ingress::Tc,
            max_flows: 1024,
            ..Settings::default()
        };
        let mut datapath = Datapath::load(&settings).expect("these tests have to run as root");
        datapath
            .attach("lo")
            .expect("both hooks of the loopback interface");
        for ip in [V4, V6] {
            let shape = Shape {
                ip,
                tcp_options: TIMESTAMPS.to_vec(),
                ..Shape::default()
            };
            loopback.send_split(&shape.frame(Direction::FromClient, CLIENT_FIN));
            loopback.send_split(&shape.frame(Direction::FromServer, SERVER_FIN));
            loopback.send_split(&shape.frame(Direction::FromClient, LAST_ACK));
            loopback.send_split(&shape.frame(Direction::FromClient, LAST_ACK));
        }
        datapath
            .counters()
            .expect("counters can be read")
            .remove(0)
            .counters
    };
    let counters = thread::spawn(in_namespace).join().expect("no panic");
    let counted: Vec<_> = Reason::ALL
        .into_iter()
        .map(|reason| (reason.as_str(), counters.of(reason)))
        .filter(|&(_, count)| count != 0)
        .collect();
    let expected = [
        (Reason::FlowCreated, 4),
        (Reason::FirstAck, 2),
        (Reason::SpuriousAckDropped, 2),
        // The first ACK, mirrored, in a flow that its FIN made.
        (Reason::ServerData, 2),
        (Reason::ServerFin, 2),
    ]
    .map(|(reason, count)| (reason.as_str(), count));
    assert_eq!(counted, expected);
}
