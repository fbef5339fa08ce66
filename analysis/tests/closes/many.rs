//! Many connections: what is counted of whom, and what is kept.

use std::{net::SocketAddr, time::Duration};

use analysis::{
    Filter, Options, Selection,
    capture::{LinkType, Packet},
    report::Report,
};
use filter_common::Closer;

use crate::tape::{ACK, Client, FIN, RST, SYN, Server, Tape, options, shot};

fn faulty(client: &str) -> Tape {
    let mut tape = Tape::between(client, "192.0.2.1:80");
    tape.open().fins().ack(10.0).ack(210.0);
    tape
}

/// Three clients: one with two resets, one with two findings and none, a correct one.
fn three() -> Tape {
    let mut harmed = faulty("10.0.0.3:1000");
    harmed.reset(211.0);
    let mut harmed_again = faulty("10.0.0.3:1001");
    harmed_again.reset(211.0);
    let mut correct = Tape::between("10.0.0.1:1000", "192.0.2.1:80");
    correct.open().fins().ack(10.0);
    let mut all = faulty("10.0.0.2:1000");
    all.then(&faulty("10.0.0.2:1001"))
        .then(&correct)
        .then(&harmed)
        .then(&harmed_again);
    all
}

#[test]
fn hosts_are_listed_worst_first() {
    let report = three().analyze().report;
    let hosts: Vec<_> = report
        .hosts
        .iter()
        .map(|host| {
            let counts = (host.connections, host.spurious_acks, host.resets);
            (host.client.to_string(), counts)
        })
        .collect();
    assert_eq!(
        hosts,
        [
            ("10.0.0.3".to_owned(), (2, 2, 2)),
            ("10.0.0.2".to_owned(), (2, 2, 0)),
        ]
    );
    assert_eq!((report.connections, report.closed), (5, 5));
}

#[test]
fn findings_beyond_what_is_kept_are_counted() {
    let few = Options {
        most_findings: 1,
        ..options()
    };
    let analysis = three().analyze_with(&few);
    let Report {
        findings,
        findings_left_out,
        spurious_acks,
        resets_after_spurious_ack,
        hosts,
        ..
    } = analysis.report;
    assert_eq!((findings.len(), findings_left_out), (1, 3));
    assert_eq!((spurious_acks, resets_after_spurious_ack), (4, 2));
    assert_eq!(hosts[0].resets, 2);
    assert_eq!(analysis.spans.len(), 1);
}

/// Neither time does its SYN tell: nothing of the handshake is there, or there was a RST before.
#[test]
fn connections_that_use_a_port_again_without_syn_are_counted_each() {
    let reset = shot(Client, 212.0, RST, 102, 0, 0);
    for (skipped, between) in [(3, None), (1, None), (3, Some(reset))] {
        let mut tape = faulty("10.0.0.2:1025");
        tape.reset(211.0);
        if let Some(between) = &between {
            tape.shoot(between);
        }
        let mut second = Tape::v4();
        second.initial = [5_000_000, 9_000_000];
        second.ids = Some([300, 20_000]);
        second.open().skip(skipped).fins().ack(10.0).ack(210.0);
        let analysis = tape.then(&second).analyze();
        let report = analysis.report;
        assert_eq!((report.connections, report.closed), (2, 2));
        assert_eq!(report.hosts[0].connections, 2);
        let [first, second] = &analysis.spans[..] else {
            panic!("{:?}", analysis.spans)
        };
        assert!(first.last < second.first);
    }
}

#[test]
fn a_connection_is_one_of_each_side_that_has_findings() {
    let mut tape = Tape::v4();
    tape.open()
        .shoot(&shot(Client, 5.0, FIN | ACK, 101, 1, 0))
        .shoot(&shot(Server, 6.0, FIN | ACK, 1, 102, 0))
        .shoot(&shot(Client, 7.0, ACK, 102, 2, 0))
        .shoot(&shot(Client, 107.0, ACK, 102, 2, 0))
        .shoot(&shot(Server, 108.0, ACK, 2, 102, 0));
    let either = Options {
        closer: Closer::Either,
        ..options()
    };
    let report = tape.analyze_with(&either).report;
    let hosts = report.hosts.iter();
    let counts: Vec<_> = hosts
        .map(|host| (host.spurious_acks, host.connections))
        .collect();
    assert_eq!(counts, [(1, 1), (1, 1)]);
}

#[test]
fn a_connection_that_was_idle_is_no_other_whatever_half_closed_ones_live() {
    let mut tape = Tape::v4();
    tape.open().shoot(&shot(Client, 60_000.0, ACK, 101, 1, 10));
    let short = Options {
        half_closed_lifetime: Duration::from_secs(10),
        ..options()
    };
    let report = tape.analyze_with(&short).report;
    assert_eq!((report.connections, report.one_sided_connections), (1, 0));
}

#[test]
fn a_filter_leaves_other_connections_out() {
    let one = Options {
        filter: Filter {
            prefixes: vec!["10.0.0.3/32".parse().unwrap()],
            ports: vec![1001],
        },
        ..options()
    };
    let report = three().analyze_with(&one).report;
    assert_eq!((report.connections, report.findings.len()), (1, 1));
    let client: SocketAddr = "10.0.0.3:1001".parse().unwrap();
    assert_eq!(report.findings[0].client, client);
    assert_eq!(report.packets, 61);
}

#[test]
fn a_scan_of_more_than_can_be_remembered_forgets_the_scan_first() {
    /// A little more than there is room for.
    const SCANNED: u32 = (1 << 20) + (1 << 17);
    let mut kb = Tape::closed();
    let mut analyzer = analysis::Analyzer::new(&options());
    kb.judge(&mut analyzer);
    let mut scan = Tape::between("203.0.113.9:1", "10.0.0.2:1025");
    scan.shoot(&shot(Client, 20.0, SYN, 0, 0, 0));
    let [(time, frame)] = scan.frames() else {
        unreachable!("one frame")
    };
    let mut frame = frame.clone();
    for number in 0..SCANNED {
        // The source address and port.
        frame[26..30].copy_from_slice(&number.to_be_bytes());
        let link = filter_common::wire::Link::Ethernet;
        analyzer.frame(100 + u64::from(number), *time, link, frame.as_slice());
    }
    kb = Tape::closed();
    kb.skip(11).ack(210.0).reset(211.0);
    kb.judge(&mut analyzer);
    let report = analyzer.finish().report;
    assert_eq!(report.connections, u64::from(SCANNED) + 1);
    assert!(report.forgotten >= 1 << 16, "{}", report.forgotten);
    assert_eq!(report.findings.len(), 1, "the close was forgotten");
}

#[test]
fn connections_are_forgotten_when_they_are_over() {
    let mut analyzer = analysis::Analyzer::new(&options());
    let mut tape = Tape::v4();
    let mut most = 0;
    for minute in 0..600_u16 {
        let at = f64::from(minute) * 60_000.0;
        tape.client.set_port(1000 + minute);
        tape.clear();
        for tick in 0..10 {
            tape.shoot(&shot(Client, at + f64::from(tick), SYN, 0, 0, 0));
        }
        tape.judge(&mut analyzer);
        most = most.max(analyzer.open_connections());
    }
    // A SYN that nobody answers is remembered for three minutes.
    assert!(most <= 10, "{most}");
}

#[test]
fn closes_are_forgotten_as_soon_as_those_that_crossed() {
    for acknowledged in [100, 101] {
        let mut analyzer = analysis::Analyzer::new(&options());
        let mut tape = Tape::v4();
        let mut most = 0;
        for minute in 0..100_u16 {
            let at = f64::from(minute) * 60_000.0;
            tape.client.set_port(1000 + minute);
            tape.clear();
            tape.shoot(&shot(Client, at, FIN | ACK, 100, 1, 0))
                .shoot(&shot(Server, at + 0.1, FIN | ACK, 1, acknowledged, 0))
                .shoot(&shot(Client, at + 1.0, ACK, 101, 2, 0))
                .shoot(&shot(Server, at + 1.1, ACK, 2, 101, 0));
            for tick in 0..10 {
                let at = at + f64::from(tick);
                tape.shoot(&shot(Client, at + 2.0, ACK, 101, 2, 0));
            }
            tape.judge(&mut analyzer);
            most = most.max(analyzer.open_connections());
        }
        // After four minutes.
        assert!(most <= 10, "{acknowledged}: {most}");
    }
}

#[test]
fn what_is_skipped_at_the_link_layer_is_counted_as_what_is_skipped_behind_it() {
    const ETHERNET: u16 = 1;
    const PPP: u16 = 9;
    const BLUETOOTH: u16 = 187;
    let mut analyzer = analysis::Analyzer::new(&options());
    // Two that are cut; the line's control protocol, which is not TCP; and what may be anything.
    for (number, (link, data)) in (1..).zip([
        (ETHERNET, &[0; 5][..]),
        (PPP, &[0xff]),
        (PPP, &[0xff, 0x03, 0xc0, 0x21, 1, 1, 0, 4]),
        (BLUETOOTH, &[0; 20]),
    ]) {
        analyzer.packet(&Packet {
            number,
            time: analysis::capture::Time(number),
            link: LinkType(link),
            interface: 0,
            data,
            wire_len: 60,
        });
    }
    let report = analyzer.finish().report;
    assert_eq!(report.packets, 4);
    let skipped = [("link_type", 1), ("truncated", 2)];
    assert_eq!(report.skipped, skipped.into());
}

#[test]
fn a_selection_has_the_packets_of_the_findings_connections_and_no_others() {
    let mut again = faulty("10.0.0.2:1000");
    again
        .shoot(&shot(Client, 20.0, SYN, 90_000, 0, 0))
        .shoot(&shot(Server, 20.1, RST | ACK, 0, 90_001, 0));
    let mut correct = Tape::between("10.0.0.1:1000", "192.0.2.1:80");
    correct.open().fins().ack(10.0);
    correct.then(&again).then(&faulty("10.0.0.2:1000"));
    let spans = correct.analyze().spans;
    let selection = Selection::new(&spans);
    let numbers = (1..).zip(correct.frames());
    let selected: Vec<u64> = numbers
        .map(|(number, (time, data))| Packet {
            number,
            time: *time,
            link: LinkType(1),
            interface: 0,
            data,
            wire_len: data.len(),
        })
        .filter(|packet| selection.has(packet))
        .map(|packet| packet.number)
        .collect();
    assert_eq!(selected, (12..=23).chain(26..=37).collect::<Vec<_>>());
    assert!(selection.is_past(38) && !selection.is_past(37));
}
