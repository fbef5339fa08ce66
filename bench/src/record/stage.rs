//! The lab with a scripted client, a server whose application does what it is told, and the parts
//! that closes are made of.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use filter_common::Flags;
use filter_user::lab::{
    impairment::Impairment,
    topology::{LAN, SERVER_V4, SERVER_V6, Topology},
};

use super::{
    client::{Client, Link},
    gateway,
};

/// The delayed-ACK time of the client with the fault.
pub(super) const DELAYED_ACK: Duration = Duration::from_millis(200);

const ACK: Flags = Flags::ACK;
const FIN: Flags = ACK.with(Flags::FIN);
const DATA: Flags = ACK.with(Flags::PSH);

const CLIENT_PORT: u16 = 1025;
const SERVER_PORT: u16 = 80;
/// Octets of each piece of a response.
const PIECE: usize = 300;
/// Of a client without an Ethernet header.
const TUN_SUBNET: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 7, 0, 1), Ipv4Addr::new(10, 7, 0, 2)];

/// Which addresses are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// A client, a gateway and a server.
pub(super) struct Stage {
    pub(super) client: Client,
    /// The server's end of the connection, while the application has it.
    accepted: Option<TcpStream>,
    listener: TcpListener,
    pub(super) topology: Topology,
}

impl Stage {
    /// Between links that are at once and lose nothing.
    pub(super) fn new(family: Family) -> Result<Self> {
        Self::on(Topology::new()?, family)
    }

    /// Between links on both sides of the gateway that take so long.
    pub(super) fn delayed(family: Family, delay: Duration) -> Result<Self> {
        let topology = Topology::impaired(Impairment {
            loss: 0.0,
            copies: 0.0,
            late: 0.0,
            delay,
            lateness: Duration::ZERO,
            seed: 0,
        })?;
        // A tail loss probe is a retransmission, too.
        topology.server.sysctl("ipv4/tcp_early_retrans", "0")?;
        Self::on(topology, family)
    }

    fn on(mut topology: Topology, family: Family) -> Result<Self> {
        let port = topology.add_client()?;
        let link = Link::Ethernet {
            client: port.hardware_address,
            gateway: gateway::hardware_address(&topology.gateway)?,
        };
        let address = match family {
            Family::V4 => port.subnet.neighbour_v4.into(),
            Family::V6 => port.subnet.neighbour_v6.into(),
        };
        Self::with(topology, port.card, link, address)
    }

    /// With a client on [`gateway::TUN`], whose packets begin with their IP header.
    pub(super) fn without_ethernet() -> Result<Self> {
        let topology = Topology::new()?;
        let [near, far] = TUN_SUBNET;
        let card = gateway::tun(&topology.gateway, near)?;
        Self::with(topology, card, Link::Ip, far.into())
    }

    fn with(topology: Topology, card: File, link: Link, address: IpAddr) -> Result<Self> {
        let server = match address {
            IpAddr::V4(_) => SERVER_V4.into(),
            IpAddr::V6(_) => SERVER_V6.into(),
        };
        let server = SocketAddr::new(server, SERVER_PORT);
        let listener = topology.server.run(move || TcpListener::bind(server));
        Ok(Self {
            client: Client::new(card, link, SocketAddr::new(address, CLIENT_PORT), server),
            accepted: None,
            listener: listener.context("the server cannot listen")?,
            topology,
        })
    }

    /// The handshake: 3 segments.
    pub(super) fn connect(&mut self) -> Result<()> {
        self.client.connect()?;
        self.client.acknowledge()?;
        self.accept()
    }

    /// The same, and in its last segment the request, and the server's ACK of it: 4 segments.
    pub(super) fn connect_and_request(&mut self) -> Result<()> {
        self.client.connect()?;
        self.client.request()?;
        self.accept()?;
        self.hear_request()
    }

    fn accept(&mut self) -> Result<()> {
        self.accepted = Some(self.listener.accept()?.0);
        Ok(())
    }

    /// The request and the server's ACK: 2 segments.
    pub(super) fn request(&mut self) -> Result<()> {
        self.client.request()?;
        self.hear_request()
    }

    fn hear_request(&mut self) -> Result<()> {
        self.client.receive(ACK)?;
        let mut request = [0; 64];
        let length = self.application()?.read(&mut request)?;
        ensure!(length > 0, "the server has no request");
        Ok(())
    }

    /// The client's FIN and the server's ACK: 2 segments.
    pub(super) fn half_close(&mut self) -> Result<()> {
        self.client.finish()?;
        self.client.receive(ACK)?;
        let mut rest = [0; 64];
        let length = self.application()?.read(&mut rest)?;
        ensure!(length == 0, "the server has more than the request");
        Ok(())
    }

    /// A piece of the response and the client's ACK: 2 segments.
    pub(super) fn respond(&mut self) -> Result<()> {
        self.application()?.write_all(&[b'.'; PIECE])?;
        self.client.receive(DATA)?;
        self.client.acknowledge()
    }

    /// The server's application closes: nothing is waited for.
    pub(super) fn close_server(&mut self) {
        self.accepted = None;
    }

    /// The server's application closes its half: nothing is waited for.
    pub(super) fn half_close_server(&mut self) -> Result<()> {
        Ok(self.application()?.shutdown(Shutdown::Write)?)
    }

    /// The server's FIN, for the first time or once more: 1 segment.
    pub(super) fn receive_fin(&mut self) -> Result<()> {
        self.client.receive(FIN).map(drop)
    }

    /// From the client's FIN to its ACK of the server's: 6 segments.
    pub(super) fn close(&mut self) -> Result<()> {
        self.half_close()?;
        self.respond()?;
        self.close_server();
        self.receive_fin()?;
        self.client.acknowledge()
    }

    /// All of a connection that is as it should be: 11 segments.
    pub(super) fn converse(&mut self) -> Result<()> {
        self.connect()?;
        self.request()?;
        self.close()
    }

    /// The fault, and the reset: 2 segments.
    pub(super) fn acknowledge_again(&mut self) -> Result<()> {
        thread::sleep(DELAYED_ACK);
        self.client.acknowledge()?;
        self.receive_reset()
    }

    /// An ACK of the server: 1 segment.
    pub(super) fn receive_ack(&mut self) -> Result<()> {
        self.client.receive(ACK).map(drop)
    }

    /// The server's RST: 1 segment.
    pub(super) fn receive_reset(&mut self) -> Result<()> {
        self.client.receive(Flags::RST).map(drop)
    }

    /// The server's, of the connection, by the kernel's word.
    pub(super) fn retransmission_timeout(&self) -> Result<Duration> {
        let mut ss = Command::new("ss");
        ss.args(["-tinH", "state", "close-wait"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let sockets = self.topology.server.spawn(ss)?.wait_with_output()?.stdout;
        let sockets = String::from_utf8(sockets)?;
        let timeout = sockets
            .split_whitespace()
            .find_map(|word| word.strip_prefix("rto:"))
            .with_context(|| format!("no retransmission timer in {sockets:?}"))?;
        Ok(Duration::from_secs_f64(timeout.parse::<f64>()? / 1e3))
    }

    fn application(&mut self) -> Result<&mut TcpStream> {
        self.accepted.as_mut().context("the server has closed")
    }

    /// Where most captures are made: where the client's segments enter the gateway.
    pub(super) const POINT: &str = LAN;
}
