//! Frames of a flood: one is written out, the others differ from it in a few fields.

use smoltcp::wire::{EthernetAddress, IpAddress, IpEndpoint, TcpControl, TcpSeqNumber};

use super::super::frame;

/// Who sends a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// A segment of a connection. Numbers are told from those of the two FINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) sender: Sender,
    pub(super) control: TcpControl,
    pub(super) seq: u32,
    /// None: no ACK.
    pub(super) ack: Option<u32>,
}

/// A client's address and port, and the numbers of both FINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    host: u16,
    port: u16,
    client_fin: u32,
    server_fin: u32,
}

/// Of a step over one family.
pub(super) struct Template {
    step: Step,
    octets: Vec<u8>,
    fields: Fields,
}

/// Where what varies is.
#[derive(Clone, Copy)]
struct Fields {
    /// The last 16 bits of the client's address.
    host: usize,
    /// The client's.
    port: usize,
    seq: usize,
    ack: usize,
    /// The sum of the TCP segment, and that of the IPv4 header.
    sums: [Option<usize>; 2],
}

impl Tuple {
    /// Another one for each number; neighbours are far apart.
    pub(super) const fn new(number: u32) -> Self {
        // Odd: one to one.
        let spread = number.wrapping_mul(0x9e37_79b1);
        let [first, second, third, fourth] = spread.to_be_bytes();
        Self {
            host: u16::from_be_bytes([first, second]),
            port: u16::from_be_bytes([third, fourth]),
            client_fin: spread.wrapping_mul(0x85eb_ca6b),
            server_fin: spread.wrapping_mul(0xc2b2_ae35),
        }
    }
}

impl Family {
    /// Clients whose last 16 bits vary, and a server.
    const fn ends(self) -> (IpAddress, IpAddress) {
        match self {
            Self::V4 => (IpAddress::v4(10, 77, 0, 0), IpAddress::v4(203, 0, 113, 9)),
            Self::V6 => (
                IpAddress::v6(0xfd00, 0, 0, 77, 0, 0, 0, 0),
                IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9),
            ),
        }
    }

    const fn fields(self, sender: Sender) -> Fields {
        const ETHERNET: usize = 14;
        // Offset and length of the addresses, length of the header.
        let (addresses, length, header) = match self {
            Self::V4 => (12, 4, 20),
            Self::V6 => (8, 16, 40),
        };
        let tcp = ETHERNET + header;
        let (ends, port) = match sender {
            Sender::Client => (1, tcp),
            Sender::Server => (2, tcp + 2),
        };
        Fields {
            host: ETHERNET + addresses + ends * length - 2,
            port,
            seq: tcp + 4,
            ack: tcp + 8,
            sums: [
                Some(tcp + 16),
                match self {
                    Self::V4 => Some(ETHERNET + 10),
                    Self::V6 => None,
                },
            ],
        }
    }
}

impl Template {
    const SERVER_PORT: u16 = 443;

    /// For that Ethernet address.
    pub(super) fn new(step: Step, family: Family, to: [u8; 6]) -> Self {
        let (client, server) = family.ends();
        let client = IpEndpoint::new(client, 0);
        let server = IpEndpoint::new(server, Self::SERVER_PORT);
        let way = match step.sender {
            Sender::Client => (client, server),
            Sender::Server => (server, client),
        };
        let numbers = (TcpSeqNumber(0), step.ack.map(|_| TcpSeqNumber(0)));
        let from = EthernetAddress([0x02, 0, 0, 0, 0, 0x77]);
        Self {
            step,
            octets: frame::build((from, EthernetAddress(to)), way, step.control, numbers, &[]),
            fields: family.fields(step.sender),
        }
    }

    pub(super) const fn step(&self) -> Step {
        self.step
    }

    /// Octets of each frame.
    pub(super) const fn length(&self) -> usize {
        self.octets.len()
    }

    /// Writes the frame of a tuple. `frame`: as long as [`length`](Self::length) says.
    pub(super) fn write(&self, tuple: Tuple, frame: &mut [u8]) {
        frame.copy_from_slice(&self.octets);
        let (own, others) = match self.step.sender {
            Sender::Client => (tuple.client_fin, tuple.server_fin),
            Sender::Server => (tuple.server_fin, tuple.client_fin),
        };
        let seq = own.wrapping_add(self.step.seq);
        let ack = self.step.ack.map_or(0, |ack| others.wrapping_add(ack));
        put(frame, self.fields.host, tuple.host.to_be_bytes());
        put(frame, self.fields.port, tuple.port.to_be_bytes());
        put(frame, self.fields.seq, seq.to_be_bytes());
        put(frame, self.fields.ack, ack.to_be_bytes());
        // Of what was 0 in the template; the address is in both sums.
        let host = u32::from(tuple.host);
        let rest = u32::from(tuple.port) + halves(seq) + halves(ack);
        for (sum, added) in self.fields.sums.into_iter().zip([host + rest, host]) {
            let Some(sum) = sum else { continue };
            let there = u16::from_be_bytes([frame[sum], frame[sum + 1]]);
            put(frame, sum, add(there, added).to_be_bytes());
        }
    }
}

fn put<const N: usize>(frame: &mut [u8], at: usize, octets: [u8; N]) {
    frame[at..at + N].copy_from_slice(&octets);
}

const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// An Internet checksum after `added` was added to what it is about (RFC 1624).
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
const fn add(checksum: u16, added: u32) -> u16 {
    let sum = (!checksum) as u32 + added;
    !(halves(halves(sum)) as u16)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use filter_common::Flags;
    use smoltcp::wire::{EthernetFrame, Ipv4Packet};

    use super::*;

    fn written(template: &Template, number: u32) -> Vec<u8> {
        let mut frame = vec![0; template.length()];
        template.write(Tuple::new(number), &mut frame);
        frame
    }

    #[test]
    fn each_frame_is_well_formed_and_says_what_its_step_says() {
        let steps = [
            (
                Sender::Client,
                TcpControl::Fin,
                Some(0),
                Flags::FIN.with(Flags::ACK),
            ),
            (Sender::Server, TcpControl::None, Some(1), Flags::ACK),
            (Sender::Client, TcpControl::Syn, None, Flags::SYN),
        ];
        for (sender, control, ack, flags) in steps {
            let step = Step {
                sender,
                control,
                seq: 1,
                ack,
            };
            for family in [Family::V4, Family::V6] {
                let template = Template::new(step, family, [2, 0, 0, 0, 0, 9]);
                for number in (0..1000).map(|number| number * 77_777) {
                    let frame = written(&template, number);
                    let (from, to, segment) = frame::parse(&frame).unwrap();
                    assert!(segment.verify_checksum(&from.addr, &to.addr));
                    if family == Family::V4 {
                        let packet = EthernetFrame::new_checked(&frame[..]).unwrap();
                        assert!(
                            Ipv4Packet::new_checked(packet.payload())
                                .unwrap()
                                .verify_checksum()
                        );
                    }
                    let headers = frame::Headers::parse(&frame).unwrap();
                    assert_eq!((headers.flags, headers.payload), (flags, 0));
                    let tuple = Tuple::new(number);
                    let (client, own) = match sender {
                        Sender::Client => (headers.source, tuple.client_fin),
                        Sender::Server => (headers.destination, tuple.server_fin),
                    };
                    assert_eq!(client.port(), tuple.port);
                    assert_eq!(headers.seq.0, own.wrapping_add(1));
                }
            }
        }
    }

    #[test]
    fn no_two_numbers_have_the_same_client() {
        let mut seen = HashSet::new();
        for number in (0..100_000).chain(1 << 31..(1 << 31) + 100_000) {
            let Tuple { host, port, .. } = Tuple::new(number);
            assert!(seen.insert((host, port)), "{number}");
        }
    }
}
