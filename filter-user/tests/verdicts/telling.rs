//! What the programs tell: events, and nothing where nobody asks.

use std::{
    thread::sleep,
    time::{Duration, SystemTime},
};

use aya::maps::MapInfo;
use filter_common::{
    Direction, EventRecord, Flags, FlowKey, Mode, Reason, Segment, SeqNum,
    Verdict::{self, Drop, Pass},
    record::MOST_EVENTS,
    segment::words,
};
use filter_user::{
    datapath::Events,
    report,
    settings::{LogDecisions, Role, Settings},
};

use crate::{
    frames::{Frame, Ip, V4, V6},
    kernel::{Kernel, Program},
    row::{CLIENT_FIN, FC, FS, LAST_ACK, RESET, SERVER_FIN, segment},
};

/// What sees the client's segments, and what the server's.
const PAIRS: [(Role, Program, Program); 8] = [
    (Role::Wan, Program::Egress, Program::Xdp),
    (Role::Wan, Program::Egress, Program::XdpMultiBuffer),
    (Role::Wan, Program::Egress, Program::Ingress),
    (Role::Wan, Program::EgressIp, Program::IngressIp),
    (Role::Lan, Program::Xdp, Program::Egress),
    (Role::Lan, Program::XdpMultiBuffer, Program::Egress),
    (Role::Lan, Program::Ingress, Program::Egress),
    (Role::Lan, Program::IngressIp, Program::EgressIp),
];

/// A connection of which each side's segments go through one program.
struct Connection<'k> {
    kernel: &'k mut Kernel,
    programs: (Program, Program),
    ip: Ip,
}

impl Connection<'_> {
    fn send(&mut self, direction: Direction, segment: Segment) -> Verdict {
        let program = match direction {
            Direction::FromClient => self.programs.0,
            Direction::FromServer => self.programs.1,
        };
        let frame = Frame::new(direction, self.ip.clone(), segment);
        let octets = match program {
            Program::IngressIp | Program::EgressIp => frame.datagram(),
            Program::Xdp | Program::XdpMultiBuffer | Program::Ingress | Program::Egress => {
                frame.octets()
            }
        };
        self.kernel.run(program, &octets)
    }

    fn close(&mut self) {
        for (direction, segment) in [
            (Direction::FromClient, CLIENT_FIN),
            (Direction::FromServer, SERVER_FIN),
            (Direction::FromClient, LAST_ACK),
        ] {
            assert_eq!(self.send(direction, segment), Pass);
        }
    }
}

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings {
        window: Duration::from_mins(10),
        max_flows: 1024,
        events: true,
        ..Settings::default()
    };
    change(&mut settings);
    settings
}

fn key(ip: &Ip) -> FlowKey {
    let (client, server) = match *ip {
        Ip::V4 { client, server, .. } => (client.into(), server.into()),
        Ip::V6 { client, server, .. } => (client.into(), server.into()),
    };
    FlowKey {
        client: words(client),
        server: words(server),
        ports: 0xc000_0050_u32.to_be(),
    }
}

fn records(events: &mut Events) -> Vec<EventRecord> {
    std::iter::from_fn(|| events.next()).collect()
}

/// The last frame of a close, what comes behind it, and the reasons for which that is told.
type Told = (Mode, bool, &'static [(Direction, Segment, Verdict, Reason)]);

const KEEPALIVE: Segment = segment(Flags::ACK, SeqNum(FC.0 - 1), FS);
const OTHER_RESET: Segment = segment(Flags::RST, SeqNum(FS.0 - 7), SeqNum(0));

const TOLD: [Told; 3] = [
    (
        Mode::Enforce,
        false,
        &[
            (
                Direction::FromClient,
                LAST_ACK,
                Drop,
                Reason::SpuriousAckDropped,
            ),
            (
                Direction::FromClient,
                KEEPALIVE,
                Drop,
                Reason::SpuriousAckDropped,
            ),
            (Direction::FromServer, RESET, Pass, Reason::ResetAfterClose),
            (Direction::FromServer, OTHER_RESET, Pass, Reason::ResetOther),
        ],
    ),
    (
        Mode::Enforce,
        true,
        &[
            (
                Direction::FromClient,
                LAST_ACK,
                Drop,
                Reason::SpuriousAckDropped,
            ),
            (
                Direction::FromServer,
                RESET,
                Drop,
                Reason::ResetAfterCloseSuppressed,
            ),
        ],
    ),
    (
        Mode::Monitor,
        true,
        &[
            (
                Direction::FromClient,
                LAST_ACK,
                Pass,
                Reason::SpuriousAckObserved,
            ),
            (
                Direction::FromServer,
                RESET,
                Pass,
                Reason::ResetAfterSpuriousAck,
            ),
        ],
    ),
];

#[test]
fn each_drop_and_each_reset_has_its_record_by_each_program() {
    for (role, client, server) in PAIRS {
        if !client.is_there() || !server.is_there() {
            continue;
        }
        for (mode, rst_guard, told) in TOLD {
            for ip in [V4, V6] {
                let mut kernel = Kernel::load(&settings(|settings| {
                    settings.role = role;
                    settings.mode = mode;
                    settings.rst_guard = rst_guard;
                }));
                let mut events = kernel.events().expect("they were asked for");
                let before = SystemTime::now();
                let mut connection = Connection {
                    kernel: &mut kernel,
                    programs: (client, server),
                    ip: ip.clone(),
                };
                connection.close();
                for &(direction, segment, verdict, _) in told {
                    assert_eq!(connection.send(direction, segment), verdict);
                }
                let at = format!("{} and {}, {mode:?}", client.name(), server.name());
                let records = records(&mut events);
                assert_eq!(records.len(), told.len(), "{at}: {records:?}");
                for (record, (_, segment, _, reason)) in records.iter().zip(told) {
                    assert_eq!(record.reason(), Some(*reason), "{at}");
                    assert_eq!(record.key, key(&ip), "{at}");
                    assert_eq!((record.seq, record.ack), (segment.seq, segment.ack), "{at}");
                    // Test runs are on the loopback interface.
                    assert_eq!(record.interface, 1, "{at}");
                }
                let slack = Duration::from_millis(100);
                for record in &records {
                    let event = report::Event::new(record, |_| None).unwrap();
                    let (earliest, latest) = (before - slack, SystemTime::now() + slack);
                    assert!(event.time.0 >= earliest && event.time.0 <= latest, "{at}");
                    assert_eq!(event.iface, "ifindex 1");
                }
                assert!(records.is_sorted_by_key(|record| record.time), "{at}");
                assert_eq!(kernel.tables().events_lost().unwrap(), 0, "{at}");
            }
        }
    }
}

/// Twice as many as fit: what a CPU may not report in a second, and what finds the buffer full.
#[test]
fn events_and_lost_ones_are_as_many_as_there_were() {
    const ROUNDS: u32 = 6;
    const EACH: u32 = 2000;
    // 256 KiB of records with a head of 8 octets.
    const ROOM: usize = (1 << 18) / (size_of::<EventRecord>() + 8);
    assert_eq!(u64::from(EACH), 2 * MOST_EVENTS);
    let mut kernel = Kernel::load(&settings(|_| {}));
    let mut events = kernel.events().expect("they were asked for");
    let mut connection = Connection {
        kernel: &mut kernel,
        programs: (Program::Egress, Program::Ingress),
        ip: V4,
    };
    connection.close();
    let reset = Frame::new(Direction::FromServer, V4, OTHER_RESET).octets();
    for _ in 0..ROUNDS {
        kernel.repeat(Program::Ingress, &reset, EACH);
        // Into another second.
        sleep(Duration::from_secs(1));
    }
    let all = u64::from(ROUNDS * EACH);
    assert_eq!(kernel.count(Reason::ResetOther), all);
    let lost = kernel.tables().events_lost().unwrap();
    let told = records(&mut events).len();
    assert_eq!(told, ROOM);
    assert_eq!(lost + told as u64, all);
    // There is room again.
    sleep(Duration::from_secs(1));
    kernel.repeat(Program::Ingress, &reset, 10);
    assert_eq!(records(&mut events).len(), 10);
    assert_eq!(kernel.tables().events_lost().unwrap(), lost);
}

#[test]
fn quiet_programs_refer_to_nothing_that_tells() {
    let maps = |settings: &Settings| {
        let mut kernel = Kernel::load(settings);
        let programs = Program::ALL.into_iter();
        let programs = programs.filter(|program| program.is_there());
        let maps = programs.map(|program| {
            let names = kernel.maps(program).into_iter();
            let name = |id| {
                MapInfo::from_id(id)
                    .unwrap()
                    .name_as_str()
                    .unwrap()
                    .to_owned()
            };
            names.map(name).collect::<Vec<_>>()
        });
        maps.collect::<Vec<_>>()
    };
    let telling = ["EVENTS", "EVENT_QUOTA", "AYA_LOGS"];
    for of_program in maps(&settings(|settings| settings.events = false)) {
        assert!(of_program.contains(&"FLOWS".to_owned()), "{of_program:?}");
        for name in telling {
            assert!(!of_program.contains(&name.to_owned()), "{of_program:?}");
        }
    }
    let all = settings(|settings| settings.log_decisions = LogDecisions::All);
    for of_program in maps(&all) {
        for name in telling {
            assert!(of_program.contains(&name.to_owned()), "{of_program:?}");
        }
    }
}

/// Not even as octets that are never run.
#[test]
fn the_quiet_object_has_no_maps_for_what_tells() {
    use object::{Object as _, ObjectSymbol as _};

    let has = |object: &[u8], name: &str| {
        let object = object::File::parse(object).unwrap();
        object.symbols().any(|symbol| symbol.name() == Ok(name))
    };
    for name in ["EVENTS", "AYA_LOGS"] {
        assert!(!has(filter_user::datapath::OBJECT, name), "{name}");
        assert!(has(filter_user::datapath::TELLING_OBJECT, name), "{name}");
    }
}
