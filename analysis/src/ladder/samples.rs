//! Ladders for the tests of both drawings.

use std::time::Duration;

use filter_common::{Direction, Flags};

use super::{Emphasis, Ladder, Step};

pub(super) const ACK: Flags = Flags::ACK;
pub(super) const PSH_ACK: Flags = Flags::PSH.with(Flags::ACK);
const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);
const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);

use Direction::{FromClient, FromServer};

/// An ordinary step; the time in microseconds.
pub(super) fn step(
    frame: u64,
    at: u64,
    direction: Direction,
    flags: Flags,
    (seq, ack): (u32, u32),
    payload: u32,
) -> Step {
    Step {
        frame: Some(frame),
        at: Duration::from_micros(at),
        direction,
        flags,
        seq,
        ack: flags.any(Flags::ACK).then_some(ack),
        payload,
        note: None,
        emphasis: Emphasis::None,
        arrives: true,
        is_close: false,
    }
}

/// The KB's connection.
pub(super) fn fault() -> Ladder {
    let mut steps = vec![
        step(1, 0, FromClient, Flags::SYN, (0, 0), 0),
        step(2, 312, FromServer, SYN_ACK, (0, 1), 0),
        step(3, 502, FromClient, ACK, (1, 1), 0),
        step(4, 530, FromClient, PSH_ACK, (1, 1), 12),
        step(5, 811, FromServer, ACK, (1, 13), 0),
        step(6, 845, FromClient, FIN_ACK, (13, 1), 0),
    ];
    for number in 0..23 {
        let seq = 1 + 1448 * number;
        let at = 900 + 50 * u64::from(number);
        let frame = 7 + 2 * u64::from(number);
        steps.push(step(frame, at, FromServer, ACK, (seq, 14), 1448));
        let ack = step(frame + 1, at + 20, FromClient, ACK, (14, seq + 1448), 0);
        steps.push(ack);
    }
    steps.extend([
        step(53, 2_100, FromServer, FIN_ACK, (33_305, 14), 0),
        step(54, 2_150, FromClient, ACK, (14, 33_306), 0),
        step(55, 202_301, FromClient, ACK, (14, 33_306), 0),
        step(56, 202_377, FromServer, Flags::RST, (33_306, 0), 0),
    ]);
    for step in &mut steps {
        step.is_close = step.flags.any(Flags::FIN) || step.frame >= Some(54);
    }
    let [.., fault, reset] = &mut steps[..] else {
        unreachable!("there are some");
    };
    fault.note = Some("spurious: nothing was said since frame 54".to_owned());
    fault.emphasis = Emphasis::Fault;
    reset.note = Some("drawn by frame 55, 0.076 ms after it".to_owned());
    reset.emphasis = Emphasis::Reset;
    Ladder {
        title: "Finding 1: 192.0.2.10 sends a spurious ACK and is reset".to_owned(),
        client: "192.0.2.10:20000".parse().unwrap(),
        server: "203.0.113.2:80".parse().unwrap(),
        steps,
    }
}

/// The same, cured, and with a segment of the server that did not arrive.
pub(super) fn cure() -> Ladder {
    let mut ladder = fault();
    ladder.title = "The same with the filter".to_owned();
    ladder.steps.pop();
    let [.., fin, _, fault] = &mut ladder.steps[..] else {
        unreachable!("there are some");
    };
    fin.arrives = false;
    fin.note = Some("lost on the way".to_owned());
    fault.arrives = false;
    fault.note = Some("spurious: dropped by the filter".to_owned());
    ladder
}

/// Everything as long as it can be, and foreign.
pub(super) fn extreme() -> Ladder {
    let long = |frame, direction, flags| {
        let numbers = (u32::MAX, u32::MAX - 1);
        let mut step = step(
            frame,
            86_400_000_000 * 9,
            direction,
            flags,
            numbers,
            u32::MAX,
        );
        step.is_close = true;
        step
    };
    let mut steps = vec![
        long(9_999_998, FromClient, Flags::from_header(0x1ff)),
        long(9_999_999, FromServer, FIN_ACK.with(Flags::PSH)),
        long(9_999_999, FromServer, ACK),
        long(10_000_000, FromClient, ACK),
    ];
    steps[2].arrives = false;
    steps[3].arrives = false;
    for step in &mut steps {
        step.note = Some(
            "a note of many words, which has no room in one line </svg> & \x1b[2J therefore is broken into some"
                .to_owned(),
        );
    }
    Ladder {
        title: format!("<b>&\"'\x1b[31m]]>\n{}", "x".repeat(100)),
        client: "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
            .parse()
            .unwrap(),
        server: "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535"
            .parse()
            .unwrap(),
        steps,
    }
}
