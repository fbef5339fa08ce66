//! What is done to a gateway so that a capture there has something special, and devices that
//! captures are made on.

use std::{
    fs::File,
    io::{self, Write as _},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use filter_user::{
    datapath::Datapath,
    lab::{
        namespace::Namespace,
        topology::{LAN, WAN},
    },
    settings::Settings,
};
use nix::ifaddrs::getifaddrs;
use tun_rs::{DeviceBuilder, Layer};

/// The device that a [`Tagged`] mirror and nftables' copies end on.
pub(super) const MIRROR: &str = "mirror0";
/// The gateway's interface to a client without an Ethernet header.
pub(super) const TUN: &str = "tun0";

/// What a mirror port puts between the Ethernet header and the packet.
#[derive(Clone, Copy)]
pub(super) enum Tag {
    /// 802.1Q, VLAN 7.
    Vlan,
    /// A session of PPPoE, whose frames are IPv4 in PPP.
    Pppoe,
}

/// A mirror port that adds a tag to each frame. No device of the kernel's does that everywhere,
/// so whoever has the frame writes it there.
pub(super) struct Tagged {
    card: File,
    tag: Tag,
}

impl Tagged {
    /// Makes the port, as [`MIRROR`].
    pub(super) fn new(gateway: &Namespace, tag: Tag) -> Result<Self> {
        let card = device(gateway, MIRROR, Layer::L2)?;
        Ok(Self { card, tag })
    }

    /// Sends a copy of an Ethernet frame.
    pub(super) fn copy(&mut self, frame: &[u8]) -> Result<()> {
        let (addresses, rest) = frame.split_at_checked(12).context("no Ethernet header")?;
        let between = match self.tag {
            Tag::Vlan => vec![0x81, 0x00, 0, 7],
            Tag::Pppoe => {
                ensure!(rest.starts_with(&[0x08, 0x00]), "not IPv4");
                // RFC 2516: version and type, session data, session 1, length; PPP's IPv4. The
                // EtherType of the frame itself goes.
                let [high, low] = u16::try_from(rest.len())?.to_be_bytes();
                vec![0x88, 0x64, 0x11, 0, 0, 1, high, low, 0x00, 0x21]
            }
        };
        let rest = match self.tag {
            Tag::Vlan => rest,
            Tag::Pppoe => &rest[2..],
        };
        let frame = [addresses, &between, rest].concat();
        self.card
            .write_all(&frame)
            .context("cannot write to the mirror port")
    }
}

/// Makes [`TUN`] with an address of the gateway, and gives its other end.
pub(super) fn tun(gateway: &Namespace, address: Ipv4Addr) -> Result<File> {
    let card = device(gateway, TUN, Layer::L3)?;
    run(gateway, &format!("ip address add {address}/24 dev {TUN}"))?;
    Ok(card)
}

/// Makes a mirror port, which gets what `rules` duplicate to [`MIRROR`]'s other end, `copies`.
pub(super) fn mirror(gateway: &Namespace, rules: &str) -> Result<()> {
    for line in [
        "ip link add mirror0 type veth peer name copies",
        "ip link set mirror0 up",
        "ip link set copies up",
    ] {
        run(gateway, line)?;
    }
    nft(gateway, rules)
}

/// Loads rules.
pub(super) fn nft(gateway: &Namespace, rules: &str) -> Result<()> {
    let mut nft = Command::new("nft");
    nft.args(["--file", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut nft = gateway.spawn(nft)?;
    let mut input = nft.stdin.take().context("nft has no input")?;
    input.write_all(rules.as_bytes())?;
    drop(input);
    let output = nft.wait_with_output()?;
    ensure!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The filter at work on [`WAN`], for as long as what this gives is there.
pub(super) fn protect(gateway: &Namespace) -> Result<Datapath> {
    gateway.run(|| {
        let mut datapath = Datapath::load(&Settings::default())?;
        datapath.attach(WAN)?;
        Ok(datapath)
    })
}

/// The gateway's Ethernet address on [`LAN`].
pub(super) fn hardware_address(gateway: &Namespace) -> Result<[u8; 6]> {
    gateway.run(|| {
        for interface in getifaddrs()?.filter(|entry| entry.interface_name == LAN) {
            let address = interface.address.as_ref();
            if let Some(address) = address.and_then(|all| all.as_link_addr()?.addr()) {
                return Ok(address);
            }
        }
        bail!("{LAN} has no Ethernet address")
    })
}

/// Runs a program of the system in a namespace.
pub(super) fn run(namespace: &Namespace, line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().context("no program")?);
    command.args(words).stdin(Stdio::null());
    let status = namespace.spawn(command)?.wait()?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

/// A device, up and silent, and what is written to it and read from it.
fn device(namespace: &Namespace, name: &'static str, layer: Layer) -> Result<File> {
    // It would announce itself.
    namespace.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
    let file = namespace.run(move || {
        let device = DeviceBuilder::new().name(name).layer(layer).build_sync()?;
        device.set_nonblocking(true)?;
        // It lives as long as any file of it.
        Ok::<_, io::Error>(File::from(device.as_fd().try_clone_to_owned()?))
    });
    let file = file.with_context(|| format!("cannot make the device {name}"))?;
    run(namespace, &format!("ip link set {name} up"))?;
    Ok(file)
}
