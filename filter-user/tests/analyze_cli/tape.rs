//! Captures in the making: connections of which it is known what is in them.

use std::{
    env, fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use analysis::capture::{LinkType, Packet, Time, write::Writer};
use etherparse::{PacketBuilder, TcpHeader};

/// 2026-11-27 15:00 UTC.
const START: Duration = Duration::from_hours(498_831);

/// One after the other, each with a second to itself.
#[derive(Default)]
pub(crate) struct Tape {
    packets: Vec<(Duration, Vec<u8>)>,
    connections: u32,
}

/// What follows the client's ACK of the server's FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// The ACK again after this time, and the reset.
    Spurious(Duration),
}

/// The KB's.
pub(crate) const FAULT: After = After::Spurious(Duration::from_millis(200));

/// Frames of a connection without the fault, and of one with.
pub(crate) const FRAMES: usize = 11;
pub(crate) const FRAMES_WITH_FAULT: usize = FRAMES + 2;

/// Who sends, how many milliseconds after the first, which flags, and how many octets of payload.
type Shot = (bool, u64, &'static str, usize);
const SHOTS: [Shot; FRAMES] = [
    (true, 0, "S", 0),
    (false, 20, "SA", 0),
    (true, 21, "A", 0),
    (true, 22, "PA", 20),
    (false, 40, "A", 0),
    (true, 41, "FA", 0),
    (false, 60, "A", 0),
    (false, 70, "PA", 400),
    (true, 71, "A", 0),
    (false, 80, "FA", 0),
    (true, 81, "A", 0),
];

impl Tape {
    /// One connection.
    pub(crate) fn of(client: &str, server: &str, after: After) -> Self {
        let mut tape = Self::default();
        tape.add(client, server, after);
        tape
    }

    /// Adds a half-closing one.
    pub(crate) fn add(&mut self, client: &str, server: &str, after: After) -> &mut Self {
        let ends: [SocketAddr; 2] = [client.parse().unwrap(), server.parse().unwrap()];
        let start = START + Duration::from_secs(self.connections.into());
        self.connections += 1;
        let mut next = [1000_u32, 5000];
        for (from_client, at, flags, payload) in SHOTS {
            self.shoot(
                ends,
                start + Duration::from_millis(at),
                (from_client, flags),
                &mut next,
                payload,
            );
        }
        if let After::Spurious(after) = after {
            let at = start + Duration::from_millis(81) + after;
            self.shoot(ends, at, (true, "A"), &mut next, 0);
            self.shoot(
                ends,
                at + Duration::from_micros(50),
                (false, "R"),
                &mut next,
                0,
            );
        }
        self
    }

    fn shoot(
        &mut self,
        ends: [SocketAddr; 2],
        at: Duration,
        (from_client, flags): (bool, &str),
        next: &mut [u32; 2],
        payload: usize,
    ) {
        let me = usize::from(!from_client);
        let (from, to) = (ends[me], ends[1 - me]);
        let mut tcp = TcpHeader::new(from.port(), to.port(), next[me], 8760);
        let has = |flag| flags.contains(flag);
        (tcp.syn, tcp.fin, tcp.rst, tcp.psh) = (has('S'), has('F'), has('R'), has('P'));
        tcp.ack = has('A');
        if tcp.ack {
            tcp.acknowledgment_number = next[1 - me];
        }
        next[me] += u32::try_from(payload).unwrap() + u32::from(tcp.syn) + u32::from(tcp.fin);
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let builder = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
            both => panic!("{both:?}"),
        };
        let mut frame = Vec::new();
        let payload = vec![b'x'; payload];
        builder.tcp_header(tcp).write(&mut frame, &payload).unwrap();
        self.packets.push((at, frame));
    }

    /// Keeps what one side sent.
    pub(crate) fn only_from(&mut self, address: &str) -> &mut Self {
        const SOURCE: usize = 14 + 12;
        let IpAddr::V4(address) = address.parse().unwrap() else {
            panic!("{address}");
        };
        let octets = address.octets();
        self.packets
            .retain(|(_, frame)| frame[SOURCE..].starts_with(&octets));
        self
    }

    /// As pcapng.
    pub(crate) fn pcapng(&self) -> Vec<u8> {
        self.with_link(LinkType(1))
    }

    /// The same, with packets that are said to begin with something else.
    pub(crate) fn with_link(&self, link: LinkType) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), "test").unwrap();
        for (index, (at, frame)) in self.packets.iter().enumerate() {
            let packet = Packet {
                number: index as u64 + 1,
                time: Time(at.as_nanos().try_into().unwrap()),
                link,
                interface: 0,
                data: frame,
                wire_len: frame.len(),
            };
            writer.packet(&packet, None).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// A directory that is removed in the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastack-analyze-{}-{number}", process::id());
        let directory = env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Of a file in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, octets: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, octets).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
