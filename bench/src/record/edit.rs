//! Changes in recorded files, for what no device of the lab does.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use etherparse::{Ipv4Header, TcpHeader};
use filter_user::lab::topology::SERVER_V4;

/// Octets of a pcap file's header and of each packet's.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Of the second version of cooked headers, and where an IPv4 header without options has what is
/// needed here.
const COOKED: usize = 20;
const SOURCE: usize = COOKED + 12;
const TCP: usize = COOKED + 20;
const SEQ: usize = TCP + 4;
const ACK: usize = TCP + 8;
const CHECKSUM: usize = TCP + 16;

/// How much the second copy's numbers differ.
const OFFSET: u32 = 0x1234_5678;
/// The server's FIN and the client's ACK are the last two in this order; the next is put back.
const BEFORE: usize = 11;

/// Adds to the client's numbers in what the gateway sends to the server and gets from there.
pub(super) fn renumber(file: &Path) -> Result<()> {
    let mut capture = fs::read(file)?;
    let packets = packets(&capture)?;
    // An interface leads to the server if segments of the server come in by it.
    let interface = |packet: &[u8]| packet[4..8].to_vec();
    let incoming = |packet: &[u8]| packet[10] == 0;
    let of_server = |packet: &[u8]| packet[SOURCE..SOURCE + 4] == SERVER_V4.octets();
    let wan = packets
        .iter()
        .map(|packet| &capture[packet.clone()])
        .find(|packet| incoming(packet) && of_server(packet))
        .map(interface)
        .context("no segment of the server")?;
    for packet in packets {
        let packet = &mut capture[packet];
        if interface(packet) != wan {
            continue;
        }
        let field = if of_server(packet) { ACK } else { SEQ };
        let octets = &mut packet[field..field + 4];
        let number = u32::from_be_bytes(octets.try_into()?);
        octets.copy_from_slice(&number.wrapping_add(OFFSET).to_be_bytes());
        let (ip, _) = Ipv4Header::from_slice(&packet[COOKED..])?;
        let (tcp, _) = TcpHeader::from_slice(&packet[TCP..])?;
        // What is behind the segment is not of it.
        let end = COOKED + usize::from(ip.total_len);
        let payload = packet.get(TCP + tcp.header_len()..end).context("cut off")?;
        let checksum = tcp.calc_checksum_ipv4(&ip, payload)?;
        packet[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    Ok(fs::write(file, capture)?)
}

/// Puts the clock back by two seconds between two packets.
pub(super) fn put_clock_back(file: &Path) -> Result<()> {
    let mut capture = fs::read(file)?;
    for packet in packets(&capture)?.into_iter().skip(BEFORE) {
        let seconds = &mut capture[packet.start - PACKET_HEADER..][..4];
        let number = u32::from_ne_bytes((&*seconds).try_into()?);
        seconds.copy_from_slice(&(number - 2).to_ne_bytes());
    }
    Ok(fs::write(file, capture)?)
}

/// Takes out what a pcapng file tells of the machine that wrote it: shb_hardware and shb_os of its
/// first block.
pub(super) fn forget_machine(file: &Path) -> Result<()> {
    const HEADER: usize = 24;

    let capture = fs::read(file)?;
    let number = |at: usize| -> Result<usize> {
        let octets = capture.get(at..at + 4).context("cut off")?;
        Ok(u32::from_ne_bytes(octets.try_into()?) as usize)
    };
    let length = number(4)?;
    let (block, rest) = capture.split_at_checked(length).context("cut off")?;
    let mut kept = block[..HEADER].to_vec();
    let mut at = HEADER;
    while at < length - 4 {
        let [code, length] = [at, at + 2].map(|at| u16::from_ne_bytes([block[at], block[at + 1]]));
        let end = at + 4 + usize::from(length).next_multiple_of(4);
        if !matches!(code, 2 | 3) {
            kept.extend(block.get(at..end).context("cut off")?);
        }
        at = end;
    }
    let length = u32::try_from(kept.len() + 4)?.to_ne_bytes();
    kept[4..8].copy_from_slice(&length);
    kept.extend(length);
    Ok(fs::write(file, [&kept, rest].concat())?)
}

/// Where the packets of a pcap file are that this machine wrote.
fn packets(capture: &[u8]) -> Result<Vec<std::ops::Range<usize>>> {
    ensure!(
        capture.starts_with(&0xa1b2_c3d4_u32.to_ne_bytes()),
        "no pcap file of this machine's"
    );
    let mut packets = Vec::new();
    let mut at = FILE_HEADER;
    while at < capture.len() {
        let length = capture.get(at + 8..at + 12).context("cut off")?;
        let start = at + PACKET_HEADER;
        at = start + u32::from_ne_bytes(length.try_into()?) as usize;
        ensure!(at <= capture.len(), "cut off");
        packets.push(start..at);
    }
    Ok(packets)
}
