//! Each combination of settings is a program of its own to the kernel's verifier.

use filter_common::{
    Direction, Mode, Reason,
    Verdict::{Drop, Pass},
};
use filter_user::settings::{Closer, LogDecisions, Role, Settings};

use crate::{
    kernel::{Kernel, Program},
    row::{CLIENT_FIN, LAST_ACK, RESET, SERVER_FIN, Shape},
};

#[test]
fn the_kernel_takes_all_programs_with_all_settings() {
    for role in [Role::Wan, Role::Lan] {
        for mode in [Mode::Enforce, Mode::Monitor] {
            for (closer, rst_guard) in [
                (Closer::Client, false),
                (Closer::Client, true),
                (Closer::Either, true),
            ] {
                for log_decisions in [LogDecisions::Off, LogDecisions::All] {
                    let settings = Settings {
                        role,
                        mode,
                        closer,
                        rst_guard,
                        events: log_decisions != LogDecisions::Off,
                        log_decisions,
                        clients: vec!["10.0.0.0/8".parse().unwrap()],
                        ports: vec![80],
                        max_flows: 1024,
                        ..Settings::default()
                    };
                    let mut kernel = Kernel::load(&settings);
                    let programs = Program::ALL.into_iter();
                    for program in programs.filter(|program| program.is_there()) {
                        kernel.verify(program);
                    }
                }
            }
        }
    }
}

/// Logging costs nothing when it is off, so it is another program when it is on.
#[test]
fn programs_that_log_decide_the_same() {
    for (client, server) in [
        (Program::Egress, Program::Xdp),
        (Program::Egress, Program::XdpMultiBuffer),
        (Program::Egress, Program::Ingress),
        (Program::Xdp, Program::Egress),
        (Program::XdpMultiBuffer, Program::Egress),
        (Program::Ingress, Program::Egress),
    ] {
        if !client.is_there() || !server.is_there() {
            continue;
        }
        let role = if client == Program::Egress {
            Role::Wan
        } else {
            Role::Lan
        };
        let settings = Settings {
            role,
            rst_guard: true,
            log_decisions: LogDecisions::All,
            max_flows: 1024,
            ..Settings::default()
        };
        let mut kernel = Kernel::load(&settings);
        let shape = Shape::default();
        for (program, direction, segment, verdict) in [
            (client, Direction::FromClient, CLIENT_FIN, Pass),
            (server, Direction::FromServer, SERVER_FIN, Pass),
            (client, Direction::FromClient, LAST_ACK, Pass),
            (client, Direction::FromClient, LAST_ACK, Drop),
            (server, Direction::FromServer, RESET, Drop),
        ] {
            let frame = shape.frame(direction, segment);
            assert_eq!(kernel.run(program, &frame), verdict, "{}", program.name());
        }
        assert_eq!(kernel.count(Reason::SpuriousAckDropped), 1);
        assert_eq!(kernel.count(Reason::ResetAfterCloseSuppressed), 1);
    }
}
