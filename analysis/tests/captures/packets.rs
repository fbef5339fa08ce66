//! Packets and captures that are made up.

use etherparse::PacketBuilder;

/// TCP segments in Ethernet frames, of several lengths, in both versions of IP.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for index in 0..40_u8 {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let ports = (40_000 + u16::from(index), 80);
        let payload = vec![index; usize::from(index) * 13 % 400];
        let mut frame = Vec::new();
        if index % 3 == 0 {
            builder
                .ipv6([0xfd; 16], [0xfc; 16], 64)
                .tcp(ports.0, ports.1, 1, 1000)
                .write(&mut frame, &payload)
        } else {
            builder
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .tcp(ports.0, ports.1, 1, 1000)
                .write(&mut frame, &payload)
        }
        .expect("it fits");
        frames.push(frame);
    }
    frames
}

/// The offset of the IP header in these.
pub(crate) const IP: usize = 14;

/// A capture in the older format: little-endian, microseconds.
pub(crate) fn pcap(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = Vec::new();
    octets.extend(0xa1b2_c3d4_u32.to_le_bytes());
    octets.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    octets.extend(262_144_u32.to_le_bytes());
    octets.extend(link.to_le_bytes());
    for (index, packet) in packets.iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        octets.extend((1_600_000_000 + index).to_le_bytes());
        octets.extend((index * 4_321).to_le_bytes());
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        octets.extend(length);
        octets.extend(length);
        octets.extend(packet);
    }
    octets
}
