//! What was done in each capture, and hence what there is to find.

use serde_json::Value;

/// What is counted in a capture, and what is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) packets: u64,
    pub(crate) segments: u64,
    pub(crate) connections: u64,
    pub(crate) closed: u64,
    pub(crate) crossing_closes: u64,
    pub(crate) spurious_acks: u64,
    pub(crate) redundant_acks: u64,
    pub(crate) resets_after_spurious_ack: u64,
    pub(crate) reacks_elicited: u64,
    pub(crate) resets_after_elicited_ack: u64,
    pub(crate) resets_other: u64,
    pub(crate) copies: u64,
    pub(crate) renumbered_connections: u64,
    pub(crate) time_backwards: u64,
    pub(crate) findings: Vec<Finding>,
}

/// An ACK that nothing asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) client: String,
    pub(crate) frame: u64,
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) reset_frame: Option<u64>,
}

impl Figures {
    /// Those that `lastack analyze --output json` prints.
    pub(crate) fn of(report: &Value) -> Self {
        let count = |name: &str| {
            let count = report[name].as_u64();
            count.unwrap_or_else(|| panic!("no {name} in {report}"))
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let finding = |finding: &Value| Finding {
            client: text(&finding["client"]),
            frame: finding["frame"].as_u64().unwrap(),
            kind: text(&finding["kind"]),
            reason: text(&finding["reason"]),
            reset_frame: finding["reset_frame"].as_u64(),
        };
        Self {
            packets: count("packets"),
            segments: count("segments"),
            connections: count("connections"),
            closed: count("closed"),
            crossing_closes: count("crossing_closes"),
            spurious_acks: count("spurious_acks"),
            redundant_acks: count("redundant_acks"),
            resets_after_spurious_ack: count("resets_after_spurious_ack"),
            reacks_elicited: count("reacks_elicited"),
            resets_after_elicited_ack: count("resets_after_elicited_ack"),
            resets_other: count("resets_other"),
            copies: count("copies"),
            renumbered_connections: count("renumbered_connections"),
            time_backwards: count("time_backwards"),
            findings: report["findings"]
                .as_array()
                .unwrap()
                .iter()
                .map(finding)
                .collect(),
        }
    }
}

pub(crate) const CLIENT: &str = "10.0.0.2:1025";
const CLIENT_V6: &str = "[fd00::2]:1025";
const CLIENT_ON_TUN: &str = "10.7.0.2:1025";
/// The client, as the gateway shows it to the server.
const TRANSLATED: &str = "203.0.113.1:1025";

/// One of the golden captures.
pub(crate) struct Golden {
    pub(crate) file: &'static str,
    pub(crate) figures: Figures,
}

/// A capture of so many segments, of one connection that is Closed, without findings.
fn golden(file: &'static str, packets: u64) -> Golden {
    let figures = Figures {
        packets,
        segments: packets,
        connections: 1,
        closed: 1,
        ..Figures::default()
    };
    Golden { file, figures }
}

impl Golden {
    fn with(mut self, change: impl FnOnce(&mut Figures)) -> Self {
        change(&mut self.figures);
        self
    }

    /// A spurious ACK in a frame, the reset after it, and what the filter would have made of it.
    fn spurious(self, frame: u64, reset: u64, reason: &str) -> Self {
        self.of(CLIENT, frame, Some(reset), reason)
    }

    fn of(self, client: &str, frame: u64, reset: Option<u64>, reason: &str) -> Self {
        self.with(|figures| {
            figures.spurious_acks += 1;
            figures.resets_after_spurious_ack += u64::from(reset.is_some());
            figures.findings.push(Finding {
                client: client.to_owned(),
                frame,
                kind: "spurious".to_owned(),
                reason: reason.to_owned(),
                reset_frame: reset,
            });
        })
    }
}

/// All of them.
pub(crate) fn goldens() -> Vec<Golden> {
    const DROPPED: &str = "spurious_ack";

    let one = |file, client| golden(file, 13).of(client, 12, Some(13), DROPPED);
    let twice = |file, client| {
        golden(file, 26)
            .of(client, 23, Some(25), DROPPED)
            // Of what comes from the first FIN on; before it nobody cares.
            .with(|figures| figures.copies = 8)
    };
    vec![
        golden("kb.pcap", 17)
            .spurious(14, 15, DROPPED)
            .spurious(16, 17, DROPPED),
        golden("kb_v6.pcap", 17)
            .of(CLIENT_V6, 14, Some(15), DROPPED)
            .of(CLIENT_V6, 16, Some(17), DROPPED),
        golden("correct.pcap", 11),
        one("timestamps.pcap", CLIENT_V6),
        golden("late.pcap", 13).spurious(12, 13, "window"),
        golden("five.pcap", 21)
            .spurious(12, 13, DROPPED)
            .spurious(14, 15, DROPPED)
            .spurious(16, 17, DROPPED)
            .spurious(18, 19, "budget")
            .spurious(20, 21, "budget"),
        golden("options.pcap", 15)
            .spurious(12, 13, "options")
            .spurious(14, 15, "options"),
        one("keepalive.pcap", CLIENT),
        golden("stale.pcap", 15)
            .spurious(14, 15, DROPPED)
            .with(|figures| figures.resets_other = 1),
        golden("redundant.pcap", 14).with(|figures| {
            figures.redundant_acks = 1;
            figures.resets_after_spurious_ack = 1;
            figures.findings.push(Finding {
                client: CLIENT.to_owned(),
                frame: 13,
                kind: "redundant".to_owned(),
                reason: "redundant_ack".to_owned(),
                reset_frame: Some(14),
            });
        }),
        golden("elicited.pcap", 14).with(|figures| {
            figures.reacks_elicited = 1;
            figures.resets_after_elicited_ack = 1;
        }),
        golden("crossing.pcap", 12).with(|figures| {
            figures.closed = 0;
            figures.crossing_closes = 1;
        }),
        golden("server_first.pcap", 12),
        golden("no_time_wait.pcap", 13).spurious(12, 13, "closer"),
        golden("reuse.pcap", 26)
            .with(|figures| (figures.connections, figures.closed) = (2, 2))
            .spurious(12, 13, DROPPED)
            .spurious(25, 26, DROPPED),
        golden("reuse_without_syn.pcap", 20)
            .with(|figures| (figures.connections, figures.closed) = (2, 2))
            .spurious(9, 10, DROPPED)
            .spurious(19, 20, DROPPED),
        golden("before_fin.pcap", 8).spurious(7, 8, DROPPED),
        // Whose FIN came first is not there to be seen.
        golden("after_fin.pcap", 6).with(|figures| figures.closed = 0),
        golden("enforce.pcap", 12).of(CLIENT, 12, None, DROPPED),
        twice("any.pcap", CLIENT),
        // To the server it is another client's connection.
        golden("any_nat.pcap", 26)
            .with(|figures| (figures.connections, figures.closed) = (2, 2))
            .of(CLIENT, 23, Some(26), DROPPED)
            .of(TRANSLATED, 24, Some(25), DROPPED),
        golden("mirror_one_way.pcap", 20)
            .spurious(18, 20, DROPPED)
            .with(|figures| figures.copies = 4),
        // The server's first ACK after that has no ID, and nothing has told yet that its way is
        // mirrored. It asks for nothing, either way.
        twice("mirror_v6.pcap", CLIENT_V6).with(|figures| figures.copies = 7),
        golden("mirror_thrice.pcap", 39)
            .spurious(34, 37, DROPPED)
            .with(|figures| figures.copies = 16),
        one("vlan.pcap", CLIENT),
        one("pppoe.pcap", CLIENT),
        one("raw_ip.pcap", CLIENT_ON_TUN),
        one("snaplen.pcap", CLIENT),
        one("nanosecond.pcap", CLIENT),
        twice("two_interfaces.pcapng", CLIENT),
        one("gzip.pcap.gz", CLIENT),
        one("zstd.pcap.zst", CLIENT),
        golden("renumbered.pcap", 26).with(|figures| {
            figures.closed = 0;
            figures.renumbered_connections = 1;
        }),
        one("clock.pcap", CLIENT).with(|figures| figures.time_backwards = 1),
    ]
}
