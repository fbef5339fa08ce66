//! What tshark reads from a capture.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
};

/// A TCP segment, by the names that tshark has for its fields.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) frame: u64,
    /// Nanoseconds.
    pub(crate) time: i64,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u16,
    pub(crate) len: u32,
    pub(crate) window: u16,
    /// 0 in IPv6.
    pub(crate) id: u16,
    pub(crate) hops: u8,
    pub(crate) options: String,
    pub(crate) kinds: Vec<u8>,
}

const FIELDS: [&str; 19] = [
    "frame.number",
    "frame.time_epoch",
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.len",
    "tcp.window_size_value",
    "ip.id",
    "ip.ttl",
    "ipv6.hlim",
    "tcp.options",
    "tcp.option_kind",
    "frame.len",
];

/// Reads a file: the number of its packets, and their segments.
pub(crate) fn read(file: &Path) -> (u64, Vec<Row>) {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields"]);
    // Each frame for itself.
    tshark.args(["-o", "tcp.desegment_tcp_streams:FALSE"]);
    for field in FIELDS {
        tshark.args(["-e", field]);
    }
    let output = tshark.arg("-r").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", file.display());
    let lines = String::from_utf8(output.stdout).unwrap();
    let rows = lines.lines().filter_map(row).collect();
    (lines.lines().count().try_into().unwrap(), rows)
}

fn row(line: &str) -> Option<Row> {
    let fields: Vec<_> = line.split('\t').collect();
    let field = |name: &str| fields[FIELDS.iter().position(|field| *field == name).unwrap()];
    if field("tcp.srcport").is_empty() {
        return None;
    }
    let either = |v4, v6| [field(v4), field(v6)].concat();
    let address = |v4, v6, port: &str| {
        let address: IpAddr = either(v4, v6).parse().unwrap();
        SocketAddr::new(address, field(port).parse().unwrap())
    };
    let hexadecimal = |name| match field(name) {
        "" => 0,
        digits => u16::from_str_radix(digits.strip_prefix("0x").unwrap(), 16).unwrap(),
    };
    let (seconds, nanos) = field("frame.time_epoch").split_once('.').unwrap();
    let [seconds, nanos]: [i64; 2] = [seconds, nanos].map(|digits| digits.parse().unwrap());
    let kinds = field("tcp.option_kind").split(',');
    Some(Row {
        frame: field("frame.number").parse().unwrap(),
        time: seconds * 1_000_000_000 + nanos,
        source: address("ip.src", "ipv6.src", "tcp.srcport"),
        destination: address("ip.dst", "ipv6.dst", "tcp.dstport"),
        seq: field("tcp.seq_raw").parse().unwrap(),
        ack: field("tcp.ack_raw").parse().unwrap(),
        flags: hexadecimal("tcp.flags"),
        len: field("tcp.len").parse().unwrap(),
        window: field("tcp.window_size_value").parse().unwrap(),
        id: hexadecimal("ip.id"),
        hops: either("ip.ttl", "ipv6.hlim").parse().unwrap(),
        options: field("tcp.options").to_owned(),
        kinds: kinds.filter_map(|kind| kind.parse().ok()).collect(),
    })
}
