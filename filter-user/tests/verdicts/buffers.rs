//! Frames whose headers are not all in the first buffer.

use filter_common::{
    Direction, Reason,
    Verdict::{Drop, Pass},
};
use filter_user::settings::{Role, Settings};

use crate::{
    frames::{Ip, TIMESTAMPS, V4, V6},
    kernel::{Kernel, Program},
    row::{CLIENT_FIN, LAST_ACK, SERVER_FIN, Shape},
};

fn closes_and_drops(ip: &Ip, linear: usize) {
    let settings = Settings {
        role: Role::Lan,
        max_flows: 1024,
        ..Settings::default()
    };
    let mut kernel = Kernel::load(&settings);
    let shape = Shape {
        ip: ip.clone(),
        tcp_options: TIMESTAMPS.to_vec(),
        ..Shape::default()
    };
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
    for ip in [V4, V6] {
        let headers = Shape {
            ip: ip.clone(),
            ..Shape::default()
        }
        .frame(Direction::FromClient, LAST_ACK)
        .len();
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
            closes_and_drops(&ip, linear);
        }
    }
}
