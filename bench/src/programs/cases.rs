//! Every path that is measured. A new one is a line here.

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpNumber, PacketBuilder};
use filter_common::{Direction, Flags, Mode, Reason, Segment, SeqNum, Verdict, segment::Options};
use filter_user::settings::{Role, Settings};
use ipnet::IpNet;

use super::{
    frames::{Extension, Frame, Ip, TIMESTAMPS, V4, V6, v6},
    kernel::Program,
    reference::Step,
};

/// Octets of an Ethernet frame, without its check sequence, at the least.
const SHORTEST_FRAME: usize = 60;
const DATA: u32 = 1000;

/// Nanoseconds above the empty program that a path is to take at most.
pub(super) const TARGET_V4: f64 = 6.0;
pub(super) const TARGET_V6: f64 = 10.0;
const TARGET_NOT_TCP: f64 = 2.0;
const TARGET_DROP: f64 = 60.0;
pub(super) const TARGET_FIN: f64 = 250.0;

/// Follows the client's FIN.
const FC: SeqNum = SeqNum(1001);
/// Follows the server's FIN.
const FS: SeqNum = SeqNum(2001);
const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);

pub(super) const CLIENT_FIN: Segment = segment(FIN_ACK, FC.0 - 1, FS.0 - 1);
pub(super) const SERVER_FIN: Segment = segment(FIN_ACK, FS.0 - 1, FC.0);
pub(super) const LAST_ACK: Segment = segment(Flags::ACK, FC.0, FS.0);
const RESET: Segment = segment(Flags::RST, FS.0, 0);
const DATA_SEGMENT: Segment = Segment {
    payload: DATA,
    ..segment(Flags::ACK.with(Flags::PSH), 1, 1)
};
/// The close, as far as it is to have come.
const HALF_CLOSED: &[Segment] = &[CLIENT_FIN];
const CLOSED: &[Segment] = &[CLIENT_FIN, SERVER_FIN, LAST_ACK];

const fn segment(flags: Flags, seq: u32, ack: u32) -> Segment {
    Segment {
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        flags,
        payload: 0,
        options: Options::Plain,
    }
}

/// How a case's runs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// The same frame again and again.
    Same,
    /// Each run another flow's.
    Stepped(Step),
    /// The same, from an empty table on.
    SteppedFromEmpty(Step),
    /// The same, over as many flows, which are the same ones in each round.
    Revisited { step: Step, flows: u32 },
    /// The same few flows in turn, which are put back before their budgets are spent.
    Restored(Step),
}

/// What goes before, of the same connection or of each of a circle.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) direction: Direction,
    pub(super) frame: Vec<u8>,
    pub(super) circle: Step,
}

/// One path of one program.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) path: &'static str,
    pub(super) program: Program,
    pub(super) frame: Vec<u8>,
    pub(super) style: Style,
    pub(super) before: Vec<Before>,
    /// What each run is to be counted as; nothing where it is not to be counted.
    pub(super) reasons: &'static [Reason],
    pub(super) verdict: Verdict,
    pub(super) target: Option<f64>,
}

/// Cases of one loaded instance.
pub(super) struct Setup {
    pub(super) name: &'static str,
    pub(super) settings: Settings,
    /// Closing flows that are in the table before.
    pub(super) flows: u32,
    /// Whether it shows what these flows cost.
    pub(super) is_fill: bool,
    pub(super) cases: Vec<Case>,
}

/// Settings under which a flow lives as long as a measurement takes; no path depends on it.
pub(super) fn settings() -> Settings {
    use std::time::Duration;
    Settings {
        window: Duration::from_hours(1),
        one_sided_timeout: Duration::from_hours(1),
        closed_timeout: Duration::from_hours(1),
        budget: u8::MAX,
        ..Settings::default()
    }
}

/// Every path, by instance.
pub(super) fn setups() -> Vec<Setup> {
    let wan = Settings { ..settings() };
    let lan = Settings {
        role: Role::Lan,
        ..settings()
    };
    let monitor = Settings {
        mode: Mode::Monitor,
        ..settings()
    };
    let guard = Settings {
        rst_guard: true,
        ..settings()
    };
    // Nobody in particular: what is measured pays for the question, not for the answer.
    let scoped = Settings {
        clients: vec![IpNet::default()],
        ports: vec![80],
        ..settings()
    };
    let mut setups = vec![
        Setup {
            name: "default",
            cases: default_cases(&wan),
            settings: wan.clone(),
            flows: 0,
            is_fill: false,
        },
        Setup {
            name: "default",
            cases: vec![fin(
                "client's FIN, new flow, table has room",
                V4,
                Style::SteppedFromEmpty,
            )],
            settings: wan.clone(),
            flows: 0,
            is_fill: false,
        },
        Setup {
            name: "default",
            cases: vec![
                fin("client's FIN, new flow, table full", V4, Style::Stepped),
                fin(
                    "client's FIN, new flow, table full, IPv6",
                    V6,
                    Style::Stepped,
                ),
            ],
            settings: wan,
            flows: 0,
            is_fill: false,
        },
        Setup {
            name: "monitor",
            cases: [
                ordinary("pure ACK", &V4, TARGET_V4, &monitor),
                vec![spurious(
                    "spurious ACK, observed",
                    V4,
                    &[],
                    &monitor,
                    Program::Egress,
                )],
            ]
            .concat(),
            settings: monitor,
            flows: 0,
            is_fill: false,
        },
        Setup {
            name: "rst-guard",
            cases: [
                ordinary("pure ACK", &V4, TARGET_V4, &guard),
                suppressed_resets(),
            ]
            .concat(),
            settings: guard,
            flows: 0,
            is_fill: false,
        },
        Setup {
            name: "scope",
            cases: ordinary("pure ACK", &V4, TARGET_V4, &scoped),
            settings: scoped,
            flows: 0,
            is_fill: false,
        },
        Setup {
            name: "role lan",
            cases: lan_cases(&lan),
            settings: lan,
            flows: 0,
            is_fill: false,
        },
    ];
    for (max_flows, flows) in FILLS {
        setups.push(filled(max_flows, flows));
    }
    setups
}

/// What the table has room for, and what is in it.
const FILLS: [(u32, u32); 7] = [
    (DEFAULT, 0),
    (DEFAULT, 1_000),
    (DEFAULT, 64_000),
    (LARGEST, 0),
    (LARGEST, 1_000),
    (LARGEST, 64_000),
    (LARGEST, 1_000_000),
];

/// The default of `--max-flows`.
pub(super) const DEFAULT: u32 = 1 << 16;
/// Room for the most flows that are measured.
pub(super) const LARGEST: u32 = 1 << 20;

const EACH_OF_256: &str = "pure ACK, 256 flows in turn";
const EACH_OF_256_V6: &str = "pure ACK, 256 flows in turn, IPv6";
const EACH_OF_ALL: &str = "pure ACK, each of another flow";
const EACH_OF_ALL_V6: &str = "pure ACK, each of another flow, IPv6";

/// Ordinary packets beside closing flows.
fn filled(max_flows: u32, flows: u32) -> Setup {
    let settings = Settings {
        max_flows,
        ..settings()
    };
    let mut cases = Vec::new();
    // The target with a million flows is twice the one without.
    let allowance = if flows == 1_000_000 { 2.0 } else { 1.0 };
    for (path, ip, step, target) in [
        (
            EACH_OF_256,
            V4,
            Step::in_a_circle as fn(u16) -> Step,
            TARGET_V4,
        ),
        (EACH_OF_256_V6, V6, Step::in_a_circle, TARGET_V6),
        (EACH_OF_ALL, V4, Step::through_all, TARGET_V4),
        (EACH_OF_ALL_V6, V6, Step::through_all, TARGET_V6),
    ] {
        for program in [Program::XdpMultiBuffer, Program::Egress] {
            let direction = program.direction(settings.role);
            let word = match direction {
                Direction::FromClient => client_word(&ip),
                Direction::FromServer => server_word(&ip),
            };
            cases.push(Case {
                path,
                program,
                frame: octets(direction, ip.clone(), segment(Flags::ACK, 1, 1)),
                style: Style::Stepped(step(word)),
                before: Vec::new(),
                reasons: &[],
                verdict: Verdict::Pass,
                target: Some(target * allowance),
            });
        }
    }
    let is_full = flows > max_flows / 16 * 15;
    if flows > 0 && !is_full {
        cases.push(Case {
            path: "spurious ACK, each of another flow",
            program: Program::Egress,
            frame: filling(Direction::FromClient, LAST_ACK),
            style: Style::Revisited {
                step: Step::through_all(client_word(&V4)),
                flows,
            },
            before: Vec::new(),
            reasons: &[Reason::SpuriousAckDropped],
            verdict: Verdict::Drop,
            target: Some(TARGET_DROP),
        });
    }
    Setup {
        name: "default",
        settings,
        flows,
        is_fill: true,
        cases,
    }
}

/// A frame of the first of the flows that fill a table: none that is measured as an ordinary one.
pub(super) fn filling(direction: Direction, segment: Segment) -> Vec<u8> {
    let frame = Frame {
        client_port: 60_000,
        ..Frame::new(direction, V4, segment)
    };
    padded(frame.octets())
}

fn default_cases(settings: &Settings) -> Vec<Case> {
    let hop_by_hop = Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, 0);
    let destination = Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, 0);
    let of = |path, target, frame: &dyn Fn(Direction) -> Frame| {
        uncounted(path, target, settings, &|direction| {
            padded(frame(direction).octets())
        })
    };
    let ack =
        |ip: Ip| move |direction| Frame::new(direction, ip.clone(), segment(Flags::ACK, 1, 1));
    let timestamps = |direction| Frame {
        tcp_options: TIMESTAMPS.to_vec(),
        ..ack(V4)(direction)
    };
    let tagged = |tags: &[EtherType]| {
        let tags = tags.to_vec();
        move |direction| Frame {
            tags: tags.clone(),
            ..ack(V4)(direction)
        }
    };
    let tag = EtherType::VLAN_TAGGED_FRAME;
    let provider = EtherType::PROVIDER_BRIDGING;
    let mut cases = [
        of("pure ACK", TARGET_V4, &ack(V4)),
        of("1000 octets", TARGET_V4, &|direction| {
            Frame::new(direction, V4, DATA_SEGMENT)
        }),
        of("pure ACK, Timestamps", TARGET_V4, &timestamps),
        of("pure ACK, 1 VLAN tag", TARGET_V4, &tagged(&[tag])),
        of(
            "pure ACK, 2 VLAN tags",
            TARGET_V4,
            &tagged(&[provider, tag]),
        ),
        of("pure ACK, IPv6", TARGET_V6, &ack(V6)),
        of("1000 octets, IPv6", TARGET_V6, &|direction| {
            Frame::new(direction, V6, DATA_SEGMENT)
        }),
        of(
            "pure ACK, IPv6, 1 extension header",
            TARGET_V6,
            &ack(v6(&[hop_by_hop])),
        ),
        of(
            "pure ACK, IPv6, 2 extension headers",
            TARGET_V6,
            &ack(v6(&[hop_by_hop, destination])),
        ),
        uncounted("UDP", TARGET_NOT_TCP, settings, &|_| udp()),
        uncounted("ARP", TARGET_NOT_TCP, settings, &|_| arp()),
    ]
    .concat();
    for (path, ip, options) in [
        ("spurious ACK, dropped", V4, &[][..]),
        ("spurious ACK, dropped, Timestamps", V4, &TIMESTAMPS[..]),
        ("spurious ACK, dropped, IPv6", V6, &[]),
    ] {
        cases.push(spurious(path, ip, options, settings, Program::Egress));
    }
    let closing = Connection {
        ip: V4,
        client_port: 50_003,
        options: &[],
    };
    cases.extend(Program::ARRIVING.map(|program| Case {
        path: "server's FIN",
        program,
        frame: closing.frame(Direction::FromServer, SERVER_FIN),
        style: Style::Same,
        before: closing.frames(HALF_CLOSED),
        // All but the first are repetitions, which take the same way.
        reasons: &[Reason::ServerFin, Reason::ServerElicits],
        verdict: Verdict::Pass,
        target: None,
    }));
    cases
}

fn lan_cases(settings: &Settings) -> Vec<Case> {
    let mut cases = ordinary("pure ACK", &V4, TARGET_V4, settings);
    cases.extend(ordinary("pure ACK, IPv6", &V6, TARGET_V6, settings));
    for program in Program::ARRIVING {
        cases.push(spurious(
            "spurious ACK, dropped",
            V4,
            &[],
            settings,
            program,
        ));
    }
    cases
}

/// A pure ACK of a flow that is not closing, by every program.
fn ordinary(path: &'static str, ip: &Ip, target: f64, settings: &Settings) -> Vec<Case> {
    uncounted(path, target, settings, &|direction| {
        octets(direction, ip.clone(), segment(Flags::ACK, 1, 1))
    })
}

/// What passes without being counted, by every program.
fn uncounted(
    path: &'static str,
    target: f64,
    settings: &Settings,
    frame: &dyn Fn(Direction) -> Vec<u8>,
) -> Vec<Case> {
    let case = |program: Program| Case {
        path,
        program,
        frame: frame(program.direction(settings.role)),
        style: Style::Same,
        before: Vec::new(),
        reasons: &[],
        verdict: Verdict::Pass,
        target: Some(target),
    };
    Program::ALL.map(case).into()
}

/// R1, on a connection of its own.
fn spurious(
    path: &'static str,
    ip: Ip,
    options: &[u8],
    settings: &Settings,
    program: Program,
) -> Case {
    let connection = Connection {
        ip,
        client_port: 50_000 + u16::from(!options.is_empty()),
        options,
    };
    let frame = connection.frame(Direction::FromClient, LAST_ACK);
    let enforces = settings.mode == Mode::Enforce;
    Case {
        path,
        program,
        style: Style::Restored(Step::in_a_circle(client_word(&connection.ip))),
        frame,
        before: connection.frames(CLOSED),
        reasons: if enforces {
            &[Reason::SpuriousAckDropped]
        } else {
            &[Reason::SpuriousAckObserved]
        },
        verdict: if enforces {
            Verdict::Drop
        } else {
            Verdict::Pass
        },
        target: Some(TARGET_DROP),
    }
}

fn suppressed_resets() -> Vec<Case> {
    let connection = Connection {
        ip: V4,
        client_port: 50_002,
        options: &[],
    };
    let case = |program| Case {
        path: "server's reset, suppressed",
        program,
        frame: connection.frame(Direction::FromServer, RESET),
        style: Style::Same,
        before: connection.frames(CLOSED),
        reasons: &[Reason::ResetAfterCloseSuppressed],
        verdict: Verdict::Drop,
        target: Some(TARGET_DROP),
    };
    Program::ARRIVING.map(case).into()
}

fn fin(path: &'static str, ip: Ip, style: impl FnOnce(Step) -> Style) -> Case {
    Case {
        path,
        program: Program::Egress,
        style: style(Step::through_all(client_word(&ip))),
        frame: octets(Direction::FromClient, ip, CLIENT_FIN),
        before: Vec::new(),
        reasons: &[Reason::FlowCreated],
        verdict: Verdict::Pass,
        target: Some(TARGET_FIN),
    }
}

/// Where the client's address ends in its frames, less a word.
pub(super) const fn client_word(ip: &Ip) -> u16 {
    match ip {
        Ip::V4 { .. } => 14 + 12,
        Ip::V6 { .. } => 14 + 8 + 12,
    }
}

/// The same in the server's frames.
pub(super) const fn server_word(ip: &Ip) -> u16 {
    match ip {
        Ip::V4 { .. } => 14 + 16,
        Ip::V6 { .. } => 14 + 24 + 12,
    }
}

/// A frame of a connection that every case shares.
pub(super) fn octets(direction: Direction, ip: Ip, segment: Segment) -> Vec<u8> {
    padded(Frame::new(direction, ip, segment).octets())
}

/// A connection of which a case takes the close.
struct Connection<'a> {
    ip: Ip,
    client_port: u16,
    options: &'a [u8],
}

impl Connection<'_> {
    fn frame(&self, direction: Direction, segment: Segment) -> Vec<u8> {
        let frame = Frame {
            client_port: self.client_port,
            tcp_options: self.options.to_vec(),
            ..Frame::new(direction, self.ip.clone(), segment)
        };
        padded(frame.octets())
    }

    fn frames(&self, segments: &[Segment]) -> Vec<Before> {
        segments
            .iter()
            .map(|&segment| {
                let (direction, word) = if segment == SERVER_FIN {
                    (Direction::FromServer, server_word(&self.ip))
                } else {
                    (Direction::FromClient, client_word(&self.ip))
                };
                Before {
                    direction,
                    frame: self.frame(direction, segment),
                    circle: Step::in_a_circle(word),
                }
            })
            .collect()
    }
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(SHORTEST_FRAME), 0);
    frame
}

fn udp() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64)
        .udp(40_000, 53)
        .write(&mut frame, &[0; 40])
        .unwrap_or_else(|error| unreachable!("a vector takes all: {error}"));
    frame
}

fn arp() -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &[2, 0, 0, 0, 0, 1],
        &[192, 0, 2, 1],
        &[0; 6],
        &[192, 0, 2, 2],
    )
    .unwrap_or_else(|error| unreachable!("addresses of one length each: {error}"));
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6])
        .arp(packet)
        .write(&mut frame)
        .unwrap_or_else(|error| unreachable!("a vector takes all: {error}"));
    padded(frame)
}
