//! What the writer makes is read by Wireshark's tools without complaint.

use std::{fs, process::Command};

use analysis::capture::{Capture, LinkType, Packet, Time, write::Writer};

use crate::{
    packets::{IP, frames},
    tools::{rows, rows_of_tshark, text, tshark},
};

#[test]
fn what_is_written_is_read_by_tshark_and_capinfos_with_its_comments() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("findings.pcapng");
    let frames = frames();
    let comment = "the 1st spurious ACK, as \"R1\" says – ü";
    let packets: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(index, frame)| {
            // On two Ethernet interfaces and on one without a link layer; some cut.
            let (link, interface, data) = match index % 3 {
                0 => (1, 0, &frame[..]),
                1 => (1, 4, &frame[..frame.len().min(64 + index % 5)]),
                _ => (101, 4, &frame[IP..]),
            };
            Packet {
                number: index as u64 + 1,
                time: Time(1_600_000_000_123_456_789 + index as u64 * 1_000_000_007),
                link: LinkType(link),
                interface,
                data,
                wire_len: frame.len() - if link == 101 { IP } else { 0 },
            }
        })
        .collect();
    let mut writer = Writer::new(fs::File::create(&file).unwrap(), "lastack").unwrap();
    for packet in &packets {
        let comment = (packet.number % 4 == 0).then_some(comment);
        writer.packet(packet, comment).unwrap();
    }
    writer.finish().unwrap();

    assert_eq!(rows(&file), rows_of_tshark(&file));
    let fields = [
        "frame.time_epoch",
        "frame.len",
        "frame.cap_len",
        "frame.comment",
        "tcp.srcport",
    ];
    let seen = tshark(&file, &fields);
    assert_eq!(seen.len(), packets.len());
    for (packet, seen) in packets.iter().zip(seen) {
        let nanoseconds = packet.time.0;
        let time = format!(
            "{}.{:09}",
            nanoseconds / 1_000_000_000,
            nanoseconds % 1_000_000_000
        );
        let comment = if packet.number % 4 == 0 { comment } else { "" };
        let port = (39_999 + packet.number).to_string();
        let lengths = [packet.wire_len, packet.data.len()].map(|length| length.to_string());
        assert_eq!(seen, [&time, &lengths[0], &lengths[1], comment, &port]);
    }
    let mut capture = Capture::open(fs::File::open(&file).unwrap()).unwrap();
    for written in &packets {
        let read = capture.next().unwrap().unwrap();
        assert_eq!((read.link, read.data), (written.link, written.data));
    }

    for (tool, arguments) in [
        ("capinfos", &[text(&file)][..]),
        ("tshark", &["-r", text(&file)]),
    ] {
        let output = Command::new(tool).args(arguments).output().unwrap();
        assert!(output.status.success());
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut complaints = complaints.lines();
        // As root, tshark says that this is dangerous.
        assert!(
            complaints.all(|line| line.starts_with("Running as user")),
            "{complaints:?}"
        );
    }
}

#[test]
fn a_capture_without_packets_is_one() {
    let octets = Writer::new(Vec::new(), "lastack")
        .unwrap()
        .finish()
        .unwrap();
    let mut capture = Capture::open(std::io::Cursor::new(octets)).unwrap();
    assert!(capture.next().unwrap().is_none());
}

#[test]
fn an_error_of_what_is_written_to_is_told() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let Err(error) = Writer::new(full, "lastack") else {
        panic!("there is no room")
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}
