//! Plays a script on a gateway, in several connections at once, and counts what comes out.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::IpAddr,
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use etherparse::{PacketBuilder, PacketBuilderStep};
use filter_common::Flags;
use filter_user::lab::{
    frame::Headers,
    topology::{SERVER_V4, SERVER_V6, Subnet, WAN, WAN2, Wired},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::{
    guard::Guard,
    script::{By, Due, Script, Step},
};

/// The ports of the first connection.
const CLIENT_PORT: u16 = 30_000;
const SERVER_PORT: u16 = 80;
/// A port that nobody listens at: what goes there tells that all before it has come through.
const MARKER_PORT: u16 = 9;
/// How long the gateway may take to forward a frame.
const DEADLINE: Duration = Duration::from_secs(5);

/// What became of segments of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    pub(super) sent: u64,
    /// Of those: did not come out.
    pub(super) stopped: u64,
}

impl Tally {
    fn add(&mut self, sent: u64, arrived: u64) -> Result<()> {
        self.sent += sent;
        let stopped = sent.checked_sub(arrived);
        self.stopped += stopped.context("more came out of the gateway than went in")?;
        Ok(())
    }
}

/// What became of a script's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Played {
    /// That somebody needed.
    pub(super) needed: Tally,
    /// That nobody did.
    pub(super) spurious: Tally,
}

/// Who talks.
#[derive(Clone, Copy)]
struct Flow {
    client: IpAddr,
    server: IpAddr,
    client_port: u16,
    /// Numbers of the SYNs.
    first: (u32, u32),
}

/// Plays a script with so many connections, by turns over IPv4 and IPv6, on a new gateway.
pub(super) fn play(script: &Script, guard: Guard, connections: u16) -> Result<Played> {
    let stage = Wired::new()?;
    let guard = guard.post(&stage.gateway, &[WAN, WAN2])?;
    let flows: Vec<_> = (0..connections)
        .map(|number| Flow::new(number, stage.client.subnet))
        .collect();
    let mut played = Played::default();
    for step in &script.steps {
        thread::sleep(step.after);
        let arrived = perform(&stage, step, &flows)?;
        let tally = match step.due {
            Due::Forwarded => &mut played.needed,
            Due::Stopped => &mut played.spurious,
        };
        tally.add(connections.into(), arrived)?;
    }
    if let Some(mut lastack) = guard {
        stage.gateway.run(move || lastack.detach())?;
    }
    Ok(played)
}

/// Sends a step of each connection; how many came out.
fn perform(stage: &Wired, step: &Step, flows: &[Flow]) -> Result<u64> {
    let [uplink, other_uplink] = &stage.uplinks;
    let client = &stage.client.card;
    let (mut into, out) = match step.from {
        By::Client => (client, uplink),
        By::Server => (uplink, client),
        By::OtherUplink => (other_uplink, client),
    };
    let addresses = (stage.client.hardware_address, stage.gateway_address);
    let mut sent = Vec::new();
    for flow in flows {
        let frame = flow.frame(step, addresses)?;
        into.write_all(&frame).context("cannot send a frame")?;
        sent.push(Headers::parse(&frame).context("a frame of ours is none")?);
    }
    let first = flows.first().context("no connections")?;
    into.write_all(&first.marker(step.from, addresses)?)
        .context("cannot send a frame")?;
    let mut arrived = 0;
    until_marker(out, |headers| arrived += u64::from(sent.contains(headers)))?;
    Ok(arrived)
}

/// Reads what has come out, up to the marker that went in last: the gateway forwards in order.
fn until_marker(mut card: &File, mut see: impl FnMut(&Headers)) -> Result<()> {
    let started = Instant::now();
    let mut buffer = [0; 2048];
    loop {
        match card.read(&mut buffer) {
            Ok(length) => {
                let frame = &buffer[..length];
                if is_marker(frame) {
                    return Ok(());
                }
                if let Some(headers) = Headers::parse(frame) {
                    see(&headers);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if started.elapsed() > DEADLINE {
                    bail!("the gateway did not forward a UDP datagram within {DEADLINE:?}");
                }
                let mut ready = [PollFd::new(card.as_fd(), PollFlags::POLLIN)];
                poll(&mut ready, PollTimeout::from(100_u8))?;
            }
            Err(error) => return Err(error).context("cannot read a frame"),
        }
    }
}

/// What a marker carries.
const MARKER: &[u8] = b"all before this has come through";

fn is_marker(frame: &[u8]) -> bool {
    frame.ends_with(MARKER)
}

impl Flow {
    fn new(number: u16, subnet: Subnet) -> Self {
        let (client, server) = if number.is_multiple_of(2) {
            (subnet.neighbour_v4.into(), SERVER_V4.into())
        } else {
            (subnet.neighbour_v6.into(), SERVER_V6.into())
        };
        // The numbers of some run round the end.
        let spread = 0x1357_9bdf_u32.wrapping_mul(u32::from(number) + 1);
        Self {
            client,
            server,
            client_port: CLIENT_PORT + number,
            first: (spread, u32::MAX - 500 - 3 * u32::from(number)),
        }
    }

    /// Up to the header of the transport. `addresses`: Ethernet's, the neighbour's and the
    /// gateway's.
    fn packet(
        &self,
        from: By,
        (neighbour, gateway): ([u8; 6], [u8; 6]),
    ) -> PacketBuilderStep<etherparse::IpHeaders> {
        let (source, destination) = match from {
            By::Client => (self.client, self.server),
            By::Server | By::OtherUplink => (self.server, self.client),
        };
        let ethernet = PacketBuilder::ethernet2(neighbour, gateway);
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ethernet.ipv4(source.octets(), destination.octets(), 64)
            }
            (source, destination) => {
                let v6 = |address| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                ethernet.ipv6(v6(source), v6(destination), 64)
            }
        }
    }

    fn frame(&self, step: &Step, addresses: ([u8; 6], [u8; 6])) -> Result<Vec<u8>> {
        let (client, server) = self.first;
        let (ports, mine, theirs) = match step.from {
            By::Client => ((self.client_port, SERVER_PORT), client, server),
            By::Server | By::OtherUplink => ((SERVER_PORT, self.client_port), server, client),
        };
        let mut tcp = self.packet(step.from, addresses).tcp(
            ports.0,
            ports.1,
            mine.wrapping_add(step.seq),
            16_384,
        );
        if step.flags.any(Flags::ACK) {
            tcp = tcp.ack(theirs.wrapping_add(step.ack));
        }
        if step.flags.any(Flags::SYN) {
            tcp = tcp.syn();
        }
        if step.flags.any(Flags::FIN) {
            tcp = tcp.fin();
        }
        if step.flags.any(Flags::PSH) {
            tcp = tcp.psh();
        }
        tcp = tcp.options_raw(step.options.octets())?;
        let payload = vec![0x55; step.payload];
        let mut frame = Vec::with_capacity(tcp.size(payload.len()));
        tcp.write(&mut frame, &payload)?;
        Ok(frame)
    }

    fn marker(&self, from: By, addresses: ([u8; 6], [u8; 6])) -> Result<Vec<u8>> {
        let udp = self.packet(from, addresses).udp(MARKER_PORT, MARKER_PORT);
        let mut frame = Vec::with_capacity(udp.size(MARKER.len()));
        udp.write(&mut frame, MARKER)?;
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_arrive_was_stopped() {
        let mut tally = Tally::default();
        tally.add(10, 10).unwrap();
        tally.add(10, 3).unwrap();
        assert_eq!((tally.sent, tally.stopped), (20, 7));
        assert!(tally.add(1, 2).is_err(), "more than was sent");
    }
}
