//! One close with the fault, and how it looks from other points of capture and in other files.

use std::{fs, path::Path};

use anyhow::Result;
use filter_user::lab::topology::WAN;

use super::{
    Scenario, closes, edit,
    gateway::{self, MIRROR, TUN, Tag, Tagged},
    stage::{
        Family::{V4, V6},
        Stage,
    },
    tcpdump::{ALL, TCP, Tcpdump, tool},
};

/// Cooked headers of the second version.
const COOKED_2: &[&str] = &["-y", "LINUX_SLL2"];
const COOKED_1: &[&str] = &["-y", "LINUX_SLL"];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        file: "any.pcap",
        what: "captured on `any` at the gateway: each frame as it comes in and as it goes out",
        record: |file| at(file, Stage::new(V4)?, "any", COOKED_2),
    },
    Scenario {
        file: "any_nat.pcap",
        what: "captured on `any` at a gateway that translates the client's address",
        record: |file| {
            let stage = Stage::new(V4)?;
            gateway::nft(
                &stage.topology.gateway,
                "table ip nat {
                    chain postrouting {
                        type nat hook postrouting priority srcnat;
                        oifname wan0 masquerade
                    }
                }",
            )?;
            at(file, stage, "any", COOKED_1)
        },
    },
    Scenario {
        file: "mirror_one_way.pcap",
        what: "captured on a mirror port that gives the client's frames twice",
        record: |file| {
            mirrored(
                file,
                Stage::new(V4)?,
                "chain from_client {
                    type filter hook ingress device lan0 priority 0;
                    tcp dport 80 dup to mirror0
                    tcp dport 80 dup to mirror0
                }
                chain from_server {
                    type filter hook ingress device wan0 priority 0;
                    tcp sport 80 dup to mirror0
                }",
            )
        },
    },
    Scenario {
        file: "mirror_v6.pcap",
        what: "captured on a mirror port that gives each frame twice; IPv6, so without IP ID",
        record: |file| {
            mirrored(
                file,
                Stage::new(V6)?,
                "chain from_client {
                    type filter hook ingress device lan0 priority 0;
                    tcp dport 80 dup to mirror0
                    tcp dport 80 dup to mirror0
                }
                chain from_server {
                    type filter hook ingress device wan0 priority 0;
                    tcp sport 80 dup to mirror0
                    tcp sport 80 dup to mirror0
                }",
            )
        },
    },
    Scenario {
        file: "mirror_thrice.pcap",
        what: "captured on a mirror port that gives each frame three times",
        record: |file| {
            mirrored(
                file,
                Stage::new(V4)?,
                "chain from_client {
                    type filter hook ingress device lan0 priority 0;
                    tcp dport 80 dup to mirror0
                    tcp dport 80 dup to mirror0
                    tcp dport 80 dup to mirror0
                }
                chain from_server {
                    type filter hook ingress device wan0 priority 0;
                    tcp sport 80 dup to mirror0
                    tcp sport 80 dup to mirror0
                    tcp sport 80 dup to mirror0
                }",
            )
        },
    },
    Scenario {
        file: "vlan.pcap",
        what: "captured on a mirror port that is a VLAN trunk",
        record: |file| tagged(file, Tag::Vlan),
    },
    Scenario {
        file: "pppoe.pcap",
        what: "captured on a mirror port where frames are in a PPPoE session",
        record: |file| tagged(file, Tag::Pppoe),
    },
    Scenario {
        file: "raw_ip.pcap",
        what: "captured on a device without an Ethernet header",
        record: |file| at(file, Stage::without_ethernet()?, TUN, &[]),
    },
    Scenario {
        file: "snaplen.pcap",
        what: "60 octets of each frame, which is no payload",
        record: |file| at(file, Stage::new(V4)?, Stage::POINT, &["-s", "60"]),
    },
    Scenario {
        file: "nanosecond.pcap",
        what: "with times in nanoseconds",
        record: |file| {
            let options = ["--time-stamp-precision", "nano"];
            at(file, Stage::new(V4)?, Stage::POINT, &options)
        },
    },
    Scenario {
        file: "two_interfaces.pcapng",
        what: "a pcapng file with both of the gateway's interfaces, put together by mergecap",
        record: both_interfaces,
    },
    Scenario {
        file: "gzip.pcap.gz",
        what: "compressed by gzip",
        record: |file| compressed(file, "gzip"),
    },
    Scenario {
        file: "zstd.pcap.zst",
        what: "compressed by zstd",
        record: |file| compressed(file, "zstd"),
    },
    Scenario {
        file: "renumbered.pcap",
        what: "as any.pcap, edited: what leaves the gateway for the server, and what comes from \
               there, has other numbers for the client's octets, as behind a firewall that draws \
               them anew",
        record: |file| {
            at(file, Stage::new(V4)?, "any", COOKED_2)?;
            edit::renumber(file)
        },
    },
    Scenario {
        file: "clock.pcap",
        what: "edited: the clock is put back by 2 s behind the client's ACK of the server's FIN",
        record: |file| {
            at(file, Stage::new(V4)?, Stage::POINT, &[])?;
            edit::put_clock_back(file)
        },
    },
];

/// A close with the fault, captured on an interface of the gateway.
fn at(file: &Path, mut stage: Stage, interface: &str, options: &[&str]) -> Result<()> {
    let gateway = &stage.topology.gateway;
    let tcpdump = Tcpdump::start(gateway, interface, options, TCP, file)?;
    closes::faulty(&mut stage)?;
    tcpdump.stop()
}

fn mirrored(file: &Path, stage: Stage, chains: &str) -> Result<()> {
    let rules = format!("table netdev mirror {{\n{chains}\n}}");
    gateway::mirror(&stage.topology.gateway, &rules)?;
    at(file, stage, "copies", &[])
}

fn tagged(file: &Path, tag: Tag) -> Result<()> {
    let mut stage = Stage::new(V4)?;
    let gateway = &stage.topology.gateway;
    stage.client.mirror = Some(Tagged::new(gateway, tag)?);
    let tcpdump = Tcpdump::start(gateway, MIRROR, &[], ALL, file)?;
    closes::faulty(&mut stage)?;
    tcpdump.stop()
}

fn both_interfaces(file: &Path) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [lan, wan] = ["lan", "wan"].map(|name| directory.path().join(name));
    let mut stage = Stage::new(V4)?;
    let gateway = &stage.topology.gateway;
    let tcpdumps = [
        Tcpdump::start(gateway, Stage::POINT, &[], TCP, &lan)?,
        Tcpdump::start(gateway, WAN, &[], TCP, &wan)?,
    ];
    closes::faulty(&mut stage)?;
    for tcpdump in tcpdumps {
        tcpdump.stop()?;
    }
    let options = ["-F", "pcapng", "-I", "none", "-w"].map(Path::new);
    tool("mergecap", &[&options[..], &[file, &lan, &wan]].concat())?;
    edit::forget_machine(file)
}

/// By a program that adds its own extension to the name of a file.
fn compressed(file: &Path, program: &str) -> Result<()> {
    let plain = file.with_extension("");
    at(&plain, Stage::new(V4)?, Stage::POINT, &[])?;
    // It says nothing if there was none.
    drop(fs::remove_file(file));
    let compressed = tool(program, &[Path::new("-9"), &plain]);
    if plain.exists() {
        fs::remove_file(&plain)?;
    }
    compressed
}
