//! The same segments behind the headers of every link type.

use std::{fs, io::Cursor, slice};

use analysis::capture::{
    Capture,
    link::{self, Unsupported},
};
use filter_common::{
    Direction, Reason,
    wire::{self, Frame as _},
};

use crate::{
    packets::{IP, frames, pcap},
    tools::{run, text, tshark},
};

/// A link type, and the header that it has before an IP packet: that of IPv4, and that of IPv6.
struct Way {
    name: &'static str,
    link: u32,
    header: fn(bool) -> Vec<u8>,
}

const fn way(name: &'static str, link: u32, header: fn(bool) -> Vec<u8>) -> Way {
    Way { name, link, header }
}

fn ethertype(v6: bool) -> [u8; 2] {
    if v6 { [0x86, 0xdd] } else { [0x08, 0x00] }
}

fn behind(begin: &[u8], v6: bool) -> Vec<u8> {
    [begin, &ethertype(v6)].concat()
}

fn ppp(begin: &[u8], v6: bool) -> Vec<u8> {
    [begin, &[0x00, if v6 { 0x57 } else { 0x21 }]].concat()
}

fn family(octets: [u8; 4]) -> Vec<u8> {
    octets.to_vec()
}

/// A data frame from an access point, with these octets of frame control.
fn wireless(control: [u8; 2], more: &[u8], v6: bool) -> Vec<u8> {
    let header = [
        &control[..],
        &[0; 2],
        &[2, 0, 0, 0, 0, 1],
        &[2, 0, 0, 0, 0, 9],
        &[2, 0, 0, 0, 0, 2],
        &[0x10, 0],
        more,
        &[0xaa, 0xaa, 3, 0, 0, 0],
    ];
    behind(&header.concat(), v6)
}

const SLL: [u8; 14] = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
const SLL2: [u8; 18] = [0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
const PPPOE: [u8; 6] = [0x11, 0, 0, 7, 0, 60];
const FROM_ACCESS_POINT: u8 = 0x02;

const WAYS: [Way; 32] = [
    way("Ethernet", 1, |v6| behind(&[2; 12], v6)),
    way("Ethernet, VLAN", 1, |v6| {
        behind(&[&[2; 12][..], &[0x81, 0, 0, 5]].concat(), v6)
    }),
    way("raw", 101, |_| vec![]),
    way("raw of BSD", 12, |_| vec![]),
    way("raw of OpenBSD", 14, |_| vec![]),
    way("null, little", 0, |v6| {
        family([if v6 { 30 } else { 2 }, 0, 0, 0])
    }),
    way("null, big", 0, |v6| {
        family([0, 0, 0, if v6 { 28 } else { 2 }])
    }),
    way("null, NetBSD", 0, |v6| {
        family([if v6 { 24 } else { 2 }, 0, 0, 0])
    }),
    way("loop", 108, |v6| family([0, 0, 0, if v6 { 24 } else { 2 }])),
    way("cooked", 113, |v6| behind(&SLL, v6)),
    way("cooked, VLAN", 113, |v6| {
        behind(&[&SLL[..], &[0x81, 0, 0, 5]].concat(), v6)
    }),
    way("cooked, PPPoE", 113, |v6| {
        ppp(&[&SLL[..], &[0x88, 0x64], &PPPOE].concat(), v6)
    }),
    way("cooked 2", 276, |v6| [&ethertype(v6)[..], &SLL2].concat()),
    way("cooked 2, VLAN", 276, |v6| {
        behind(&[&[0x81, 0][..], &SLL2, &[0, 5]].concat(), v6)
    }),
    way("cooked 2, two tags", 276, |v6| {
        behind(
            &[&[0x88, 0xa8][..], &SLL2, &[0, 5, 0x81, 0, 0, 6]].concat(),
            v6,
        )
    }),
    way("cooked 2, PPPoE", 276, |v6| {
        ppp(&[&[0x88, 0x64][..], &SLL2, &PPPOE].concat(), v6)
    }),
    way("cooked 2, PPPoE in a VLAN", 276, |v6| {
        let tag = [0, 5, 0x88, 0x64];
        ppp(&[&[0x81, 0][..], &SLL2, &tag, &PPPOE].concat(), v6)
    }),
    way("PPP", 9, |v6| ppp(&[], v6)),
    way("PPP, framed", 9, |v6| ppp(&[0xff, 3], v6)),
    way("PPP, compressed", 9, |v6| {
        vec![if v6 { 0x57 } else { 0x21 }]
    }),
    way("PPP, framed, compressed", 9, |v6| {
        vec![0xff, 3, if v6 { 0x57 } else { 0x21 }]
    }),
    way("PPP in HDLC", 50, |v6| ppp(&[0xff, 3], v6)),
    way("Cisco's in PPP's", 50, |v6| behind(&[0x0f, 0], v6)),
    way("PPPoE", 51, |v6| ppp(&PPPOE, v6)),
    way("Cisco's HDLC", 104, |v6| behind(&[0x0f, 0], v6)),
    way("Cisco's HDLC, multicast", 104, |v6| behind(&[0x8f, 0], v6)),
    way("wireless", 105, |v6| {
        wireless([0x08, FROM_ACCESS_POINT], &[], v6)
    }),
    way("wireless, QoS", 105, |v6| {
        wireless([0x88, FROM_ACCESS_POINT], &[0, 0], v6)
    }),
    way("wireless, four addresses", 105, |v6| {
        wireless([0x08, 0x03], &[2, 0, 0, 0, 0, 8], v6)
    }),
    way("radiotap", 127, |v6| {
        let radiotap = [0, 0, 8, 0, 0, 0, 0, 0];
        [
            &radiotap[..],
            &wireless([0x88, FROM_ACCESS_POINT], &[0, 0], v6),
        ]
        .concat()
    }),
    way("radiotap, time and flags", 127, |v6| {
        // Two words of what is present, time at the next multiple of 8.
        let mut radiotap = vec![0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
        radiotap.extend([9; 8]);
        radiotap.push(0x20);
        let padded = wireless([0x88, FROM_ACCESS_POINT], &[0, 0, 0, 0], v6);
        [&radiotap[..], &padded].concat()
    }),
    way("radiotap, padded", 127, |v6| {
        let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, 0x20];
        let padded = wireless([0x88, FROM_ACCESS_POINT], &[0, 0, 0, 0], v6);
        [&radiotap[..], &padded].concat()
    }),
];

/// What is understood of a packet: flags, numbers, payload, key of its flow.
fn facts(packet: &analysis::capture::Packet<'_>) -> Result<String, Unsupported> {
    let (view, link) = link::view(packet)?;
    let direction = Direction::FromClient;
    let located = wire::locate(&view, link, direction, 7).map_err(Unsupported::Not)?;
    let key = wire::key(&view, &located, direction).map_err(Unsupported::Not)?;
    let segment = wire::segment(&view, &located).map_err(Unsupported::Not)?;
    Ok(format!("{segment:?} {key:?} {}", located.hash))
}

fn all_facts(link: u32, packets: &[Vec<u8>]) -> Vec<Result<String, Unsupported>> {
    let mut capture = Capture::open(Cursor::new(pcap(link, packets))).unwrap();
    let mut facts_of_all = Vec::new();
    while let Some(packet) = capture.next().unwrap() {
        facts_of_all.push(facts(&packet));
    }
    facts_of_all
}

#[test]
fn the_same_segment_is_seen_behind_every_header_and_tshark_sees_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let frames = frames();
    let expected = all_facts(1, &frames);
    assert!(expected.iter().all(Result::is_ok));
    let fields = ["tcp.srcport", "tcp.seq_raw", "tcp.flags"];
    let mut files = Vec::new();
    for (index, Way { name, link, header }) in WAYS.iter().enumerate() {
        let packets: Vec<_> = frames
            .iter()
            .map(|frame| [header(frame[12] == 0x86), frame[IP..].to_vec()].concat())
            .collect();
        assert_eq!(all_facts(*link, &packets), expected, "{name}");
        let file = directory.path().join(format!("{index}.pcap"));
        fs::write(&file, pcap(*link, &packets)).unwrap();
        files.push(file);
    }
    // In one file: a tshark takes a second to start.
    let all = directory.path().join("all.pcapng");
    let mut arguments = vec!["-a", "-w", text(&all)];
    arguments.extend(files.iter().map(|file| text(file)));
    run("mergecap", &arguments);
    let seen = tshark(&all, &fields);
    let witness = &seen[..frames.len()];
    assert_eq!(witness[1][0], "40001");
    assert_eq!(seen.len(), WAYS.len() * frames.len());
    for (Way { name, .. }, seen) in WAYS.iter().zip(seen.chunks(frames.len())) {
        assert_eq!(seen, witness, "{name}");
    }
    // Two link types that say which version it is.
    for (link, v6) in [(228, false), (229, true)] {
        let of_version = |frame: &&Vec<u8>| (frame[12] == 0x86) == v6;
        let ip: Vec<_> = frames.iter().filter(of_version).collect();
        let ip: Vec<_> = ip.iter().map(|frame| frame[IP..].to_vec()).collect();
        let facts = all_facts(link, &ip);
        assert!(facts.iter().all(Result::is_ok), "{link}");
    }
}

#[test]
fn a_packet_that_was_cut_is_as_long_as_it_was_on_the_wire() {
    let frame = frames().swap_remove(25);
    let mut octets = pcap(1, slice::from_ref(&frame));
    // All headers, one octet of payload.
    let captured = u8::try_from(IP + 20 + 20 + 1).unwrap();
    octets.truncate(24 + 16 + usize::from(captured));
    octets[24 + 8..24 + 12].copy_from_slice(&[captured, 0, 0, 0]);
    let mut capture = Capture::open(Cursor::new(octets)).unwrap();
    let packet = capture.next().unwrap().unwrap();
    let (view, _) = link::view(&packet).unwrap();
    assert_eq!(view.len(), frame.len());
    assert_eq!(Ok(facts(&packet).unwrap()), all_facts(1, &[frame])[0]);
}

#[test]
fn what_cannot_be_understood_is_told_apart() {
    let wifi = |control: [u8; 2], more: &[u8]| wireless(control, more, false);
    let mut fragment = wifi([0x08, FROM_ACCESS_POINT], &[]);
    fragment[22] = 0x11;
    let bad_checksum = [&[0, 0, 9, 0, 2, 0, 0, 0, 0x40][..], &wifi([8, 2], &[])].concat();
    let not = Unsupported::Not;
    for (link, packet, expected) in [
        (105, wifi([0x08, 0x42], &[0; 8]), Unsupported::Encrypted),
        (105, fragment, Unsupported::WirelessFragment),
        (105, wifi([0x08, 0x06], &[]), Unsupported::WirelessFragment),
        (105, wifi([0x88, 2], &[0x80, 0]), Unsupported::Aggregated),
        (127, bad_checksum, Unsupported::BadChecksum),
        // A beacon, an acknowledgment, a data frame without data.
        (105, wifi([0x80, 0], &[]), not(Reason::NotTcp)),
        (
            105,
            vec![0xd4, 0, 0, 0, 1, 2, 3, 4, 5, 6],
            not(Reason::NotTcp),
        ),
        (105, wifi([0x48, 2], &[]), not(Reason::NotTcp)),
        (105, vec![0x08, 2, 0, 0], not(Reason::Truncated)),
        (
            276,
            [&[0x08, 0x06][..], &SLL2, &[0; 28]].concat(),
            not(Reason::NotTcp),
        ),
        (
            276,
            [&[0x88, 0xcc][..], &SLL2, &[0; 28]].concat(),
            not(Reason::EtherType),
        ),
        (9, vec![0xc0, 0x21, 1, 1, 0, 4], not(Reason::NotTcp)),
        (9, vec![0x00, 0x2d, 1, 1, 0, 4], not(Reason::EtherType)),
        (51, vec![0x11, 9, 0, 0, 0, 0, 0, 0], not(Reason::NotTcp)),
        (0, vec![7, 0, 0, 0, 0x45], not(Reason::EtherType)),
        (0, vec![2], not(Reason::Truncated)),
    ] {
        assert_eq!(
            all_facts(link, slice::from_ref(&packet)),
            [Err(expected)],
            "{link} {packet:02x?}"
        );
    }
    let facts = all_facts(147, &[vec![0; 60]]);
    let Err(unsupported) = facts[0] else {
        panic!("nobody knows what it is")
    };
    assert_eq!(unsupported.as_str(), "link_type");
    assert_eq!(unsupported.to_string(), "link type 147");
    let Err(unsupported) = all_facts(189, &[vec![0; 60]])[0] else {
        panic!("that is USB")
    };
    assert_eq!(unsupported.to_string(), "link type 189 (USB_LINUX)");
}
