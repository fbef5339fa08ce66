//! Closes, each of them recorded where the client's segments enter the gateway.

use std::{path::Path, thread, time::Duration};

use anyhow::Result;

use super::{
    Scenario, gateway,
    stage::{
        DELAYED_ACK,
        Family::{self, V4, V6},
        Stage,
    },
    tcpdump::{TCP, Tcpdump},
};

/// D-SACK: RFC 2883. A block of old octets.
const SACK: &[u8] = &[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
/// Multipath TCP's Data Sequence Signal with a Data ACK: RFC 8684, section 3.3.
const DATA_ACK: &[u8] = &[30, 8, 0x20, 0x01, 0, 0, 0, 9];
/// How long a link takes where that matters: longer than a busy machine is late.
const LINK: Duration = Duration::from_millis(100);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        file: "kb.pcap",
        what: "the trace of the KB article, which ends with one more ACK of the client",
        record: |file| record(file, V4, article),
    },
    Scenario {
        file: "kb_v6.pcap",
        what: "the same over IPv6",
        record: |file| record(file, V6, article),
    },
    Scenario {
        file: "correct.pcap",
        what: "a client without the fault",
        record: |file| record(file, V4, Stage::converse),
    },
    Scenario {
        file: "timestamps.pcap",
        what: "one ACK too many, with Timestamps on all segments of the client",
        record: |file| {
            record(file, V6, |stage| {
                stage.client.has_timestamps = true;
                faulty(stage)
            })
        },
    },
    Scenario {
        file: "late.pcap",
        what: "one ACK too many, 800 ms after the last",
        record: |file| {
            record(file, V4, |stage| {
                stage.converse()?;
                thread::sleep(Duration::from_millis(600));
                stage.acknowledge_again()
            })
        },
    },
    Scenario {
        file: "five.pcap",
        what: "five ACKs too many",
        record: |file| {
            record(file, V4, |stage| {
                stage.converse()?;
                for _ in 0..5 {
                    thread::sleep(Duration::from_millis(40));
                    stage.client.acknowledge()?;
                    stage.receive_reset()?;
                }
                Ok(())
            })
        },
    },
    Scenario {
        file: "options.pcap",
        what: "two ACKs too many, with SACK and with an option of Multipath TCP",
        record: |file| {
            record(file, V4, |stage| {
                stage.converse()?;
                for options in [SACK, DATA_ACK] {
                    thread::sleep(DELAYED_ACK);
                    stage.client.acknowledge_with(0, 0, options)?;
                    stage.receive_reset()?;
                }
                Ok(())
            })
        },
    },
    Scenario {
        file: "keepalive.pcap",
        what: "one ACK too many, with the sequence number before the next",
        record: |file| {
            record(file, V4, |stage| {
                stage.converse()?;
                thread::sleep(DELAYED_ACK);
                stage.client.acknowledge_with(1, 0, &[])?;
                stage.receive_reset()
            })
        },
    },
    Scenario {
        file: "stale.pcap",
        what: "an ACK of less than the server's FIN, and its reset; then one too many",
        record: |file| {
            record(file, V4, |stage| {
                stage.converse()?;
                stage.client.acknowledge_with(0, 1, &[])?;
                stage.receive_reset()?;
                stage.acknowledge_again()
            })
        },
    },
    Scenario {
        file: "redundant.pcap",
        what: "two copies of the server's FIN before the first ACK, each acknowledged",
        record: |file| record(file, V4, redundant),
    },
    Scenario {
        file: "elicited.pcap",
        what: "the server repeats its FIN while the ACK is on its way, and gets another",
        record: elicited,
    },
    Scenario {
        file: "crossing.pcap",
        what: "both close at once; the server is in TIME-WAIT and bears another ACK",
        record: crossing,
    },
    Scenario {
        file: "server_first.pcap",
        what: "the server closes first; it is in TIME-WAIT and bears another ACK",
        record: |file| record(file, V4, server_first),
    },
    Scenario {
        file: "no_time_wait.pcap",
        what: "the same with a server that keeps no TIME-WAIT, which resets",
        record: |file| record(file, V4, without_time_wait),
    },
    Scenario {
        file: "reuse.pcap",
        what: "one ACK too many, in two connections of the same ports",
        record: |file| {
            record(file, V4, |stage| {
                faulty(stage)?;
                faulty(stage)
            })
        },
    },
    Scenario {
        file: "reuse_without_syn.pcap",
        what: "the same; the capture has no segment with SYN",
        record: |file| {
            let filter = "tcp[tcpflags] & tcp-syn == 0";
            let mut stage = Stage::new(V4)?;
            let tcpdump = start(&stage, filter, file)?;
            for _ in 0..2 {
                stage.connect_and_request()?;
                stage.close()?;
                stage.acknowledge_again()?;
            }
            tcpdump.stop()
        },
    },
    Scenario {
        file: "before_fin.pcap",
        what: "one ACK too many; the capture begins with the client's FIN",
        record: |file| {
            let mut stage = Stage::new(V4)?;
            stage.connect()?;
            stage.request()?;
            let tcpdump = start(&stage, TCP, file)?;
            stage.close()?;
            stage.acknowledge_again()?;
            tcpdump.stop()
        },
    },
    Scenario {
        file: "after_fin.pcap",
        what: "one ACK too many; the capture begins behind the client's FIN",
        record: |file| {
            let mut stage = Stage::new(V4)?;
            stage.connect()?;
            stage.request()?;
            stage.half_close()?;
            let tcpdump = start(&stage, TCP, file)?;
            stage.respond()?;
            stage.close_server();
            stage.receive_fin()?;
            stage.client.acknowledge()?;
            stage.acknowledge_again()?;
            tcpdump.stop()
        },
    },
    Scenario {
        file: "enforce.pcap",
        what: "one ACK too many, and the filter in enforce mode behind the point of capture",
        record: |file| {
            let mut stage = Stage::new(V4)?;
            let mut filter = gateway::protect(&stage.topology.gateway)?;
            let tcpdump = start(&stage, TCP, file)?;
            stage.converse()?;
            thread::sleep(DELAYED_ACK);
            stage.client.acknowledge()?;
            stage.client.hear_nothing()?;
            tcpdump.stop()?;
            let detached = stage.topology.gateway.run(move || filter.detach());
            Ok(detached?)
        },
    },
];

/// A connection with the fault: 13 segments.
pub(super) fn faulty(stage: &mut Stage) -> Result<()> {
    stage.converse()?;
    stage.acknowledge_again()
}

fn record(file: &Path, family: Family, play: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
    let mut stage = Stage::new(family)?;
    let tcpdump = start(&stage, TCP, file)?;
    play(&mut stage)?;
    tcpdump.stop()
}

fn start(stage: &Stage, filter: &str, file: &Path) -> Result<Tcpdump> {
    Tcpdump::start(&stage.topology.gateway, Stage::POINT, &[], filter, file)
}

/// Microsoft Knowledge Base, Q152474.
fn article(stage: &mut Stage) -> Result<()> {
    stage.connect()?;
    stage.request()?;
    stage.half_close()?;
    stage.respond()?;
    stage.respond()?;
    stage.close_server();
    stage.receive_fin()?;
    stage.client.acknowledge()?;
    stage.acknowledge_again()?;
    thread::sleep(Duration::from_millis(50));
    stage.client.acknowledge()?;
    stage.receive_reset()
}

fn redundant(stage: &mut Stage) -> Result<()> {
    // The lab has it repeat itself late.
    let route = "ip route change default via 203.0.113.1 dev server0 rto_min 200ms";
    gateway::run(&stage.topology.server, route)?;
    stage.connect()?;
    stage.request()?;
    stage.half_close()?;
    stage.respond()?;
    stage.close_server();
    stage.receive_fin()?;
    stage.receive_fin()?;
    stage.client.acknowledge()?;
    stage.client.acknowledge()?;
    stage.receive_reset()
}

/// A segment takes [`LINK`] from the client to the gateway, and again from there to the server.
/// The client's ACK is to arrive there behind the server's repetition of its FIN, and to pass the
/// gateway before it.
fn elicited(file: &Path) -> Result<()> {
    let mut stage = Stage::delayed(V4, LINK)?;
    let tcpdump = start(&stage, TCP, file)?;
    stage.connect()?;
    stage.request()?;
    stage.half_close()?;
    stage.respond()?;
    // Until that ACK has arrived.
    thread::sleep(3 * LINK);
    let timeout = stage.retransmission_timeout()?;
    stage.close_server();
    stage.receive_fin()?;
    thread::sleep(timeout.saturating_sub(3 * LINK));
    stage.client.acknowledge()?;
    stage.receive_fin()?;
    stage.client.acknowledge()?;
    stage.receive_reset()?;
    tcpdump.stop()
}

fn crossing(file: &Path) -> Result<()> {
    let mut stage = Stage::delayed(V4, LINK)?;
    let tcpdump = start(&stage, TCP, file)?;
    stage.connect()?;
    stage.request()?;
    stage.respond()?;
    thread::sleep(2 * LINK);
    stage.client.finish()?;
    thread::sleep(LINK / 2);
    stage.close_server();
    stage.receive_fin()?;
    stage.client.acknowledge()?;
    stage.receive_ack()?;
    thread::sleep(DELAYED_ACK);
    stage.client.acknowledge()?;
    stage.client.hear_nothing()?;
    tcpdump.stop()
}

fn server_first(stage: &mut Stage) -> Result<()> {
    stage.connect()?;
    stage.request()?;
    stage.respond()?;
    stage.close_server();
    answer_and_acknowledge_again(stage)?;
    stage.client.hear_nothing()
}

fn without_time_wait(stage: &mut Stage) -> Result<()> {
    let server = &stage.topology.server;
    server.sysctl("ipv4/tcp_max_tw_buckets", "0")?;
    stage.connect()?;
    stage.request()?;
    stage.respond()?;
    // While the application has it, the socket is there for the client's FIN.
    stage.half_close_server()?;
    answer_and_acknowledge_again(stage)?;
    stage.receive_reset()
}

/// The client's FIN answers the server's, which it acknowledges once more.
fn answer_and_acknowledge_again(stage: &mut Stage) -> Result<()> {
    stage.receive_fin()?;
    stage.client.acknowledge()?;
    stage.client.finish()?;
    stage.receive_ack()?;
    thread::sleep(DELAYED_ACK);
    stage.client.acknowledge()
}
