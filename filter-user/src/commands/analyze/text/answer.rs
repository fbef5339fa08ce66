//! The first sentences: whether the fault is there, or why that cannot be told.

use analysis::report::{Host, Report};

use indicatif::HumanCount;

use super::{Asked, notes, words::count};

/// What a capture says of the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Somebody sent ACKs that nothing had asked for.
    Fault,
    /// Only redundant ones.
    Redundant,
    /// Connections closed without.
    None,
    /// It says nothing.
    Unknown(Lack),
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Packets,
    /// Packets that can be read.
    Readable,
    /// TCP, or connections that the filter lets through.
    Segments,
    /// The other direction.
    Direction,
    /// One place of capture only.
    Place,
    /// Closes in which one side is in LAST-ACK.
    OrderlyClose,
    Close,
}

impl Answer {
    pub(super) fn of(report: &Report) -> Self {
        let skipped: u64 = report.skipped.values().sum();
        match () {
            () if report.spurious_acks > 0 => Self::Fault,
            () if report.redundant_acks > 0 => Self::Redundant,
            () if report.closed > 0 => Self::None,
            () if report.packets == 0 => Self::Unknown(Lack::Packets),
            () if report.segments == 0 && skipped == report.packets => {
                Self::Unknown(Lack::Readable)
            }
            () if report.segments == 0 => Self::Unknown(Lack::Segments),
            () if report.one_sided_connections == report.connections => {
                Self::Unknown(Lack::Direction)
            }
            () if report.renumbered_connections > 0 => Self::Unknown(Lack::Place),
            () if report.crossing_closes > 0 => Self::Unknown(Lack::OrderlyClose),
            () => Self::Unknown(Lack::Close),
        }
    }

    /// In words.
    pub(super) fn sentences(self, report: &Report, asked: &Asked) -> String {
        match self {
            Self::Fault => fault(report),
            Self::Redundant => redundant(report),
            Self::None => none(report),
            Self::Unknown(lack) => {
                let why = lack.sentence(report, asked);
                format!("It cannot be told whether the fault is there: {why}")
            }
        }
    }
}

fn fault(report: &Report) -> String {
    let with_fault = |host: &&Host| host.spurious_acks > 0;
    let clients = report.hosts.iter().filter(with_fault).count() as u64;
    let least = if report.hosts_left_out > 0 {
        "at least "
    } else {
        ""
    };
    let acks = count(report.spurious_acks, "ACK");
    let redundant = match report.redundant_acks {
        0 => String::new(),
        acks => format!(", and {}", count(acks, "redundant one")),
    };
    let resets = match (report.resets_after_spurious_ack, unasked(report)) {
        (0, _) => ". No reset followed: something may have dropped the ACK behind the place of \
                   capture, or the reset before it."
            .to_owned(),
        (1, 1) => format!("; a reset followed. {HARM}"),
        (resets, all) if resets == all => format!("; a reset followed each of them. {HARM}"),
        (resets, _) => format!("; {} followed. {HARM}", count(resets, "reset")),
    };
    format!(
        "The fault is there: {least}{} sent {acks} after a close which nothing had asked \
         for{redundant}{resets}{}",
        count(clients, "client"),
        cure(report)
    )
}

/// What a reset does.
const HARM: &str = "An old client then loses what it has not read yet.";

fn redundant(report: &Report) -> String {
    let resets = match report.resets_after_spurious_ack {
        0 => "no reset followed".to_owned(),
        resets => format!("{} followed", count(resets, "reset")),
    };
    let closes = count(report.closed, "close");
    let acks = count(report.redundant_acks, "redundant ACK");
    let cure = cure(report);
    format!(
        "The fault is not there: in {closes} no client sent a spurious ACK. But {acks} came, as from any client whose server repeats its FIN too early; \
         {resets}.{cure}"
    )
}

fn none(report: &Report) -> String {
    let closes = count(report.closed, "close");
    let text = format!(
        "The fault is not there: in {closes} no client sent an ACK which nothing had asked for."
    );
    let elicited = match report.resets_after_elicited_ack {
        0 => String::new(),
        resets => format!(
            " But {} followed an ACK that had to be sent: see below.",
            count(resets, "reset")
        ),
    };
    format!("{text}{elicited}{}", cut_short(report))
}

/// Of connections that did not come to their close.
fn cut_short(report: &Report) -> String {
    let (be, they) = match report.connections_reset {
        0 => return String::new(),
        1 => ("was", "it was"),
        _ => ("were", "they were"),
    };
    format!(
        " {} {be} reset before {they} closed, which has another cause.",
        count(report.connections_reset, "connection")
    )
}

/// What the filter would have done about the findings.
fn cure(report: &Report) -> String {
    let sum = |of: fn(&Host) -> u64| report.hosts.iter().map(of).sum::<u64>();
    let (r1, r2, either, none) = (
        sum(|host| host.cured_by_r1),
        sum(|host| host.cured_by_r2),
        sum(|host| host.cured_by_either),
        sum(|host| host.not_cured),
    );
    let all = unasked(report);
    let acks = match r1 {
        0 if either == all && all == 1 => {
            " lastack run would have dropped this ACK with --closer either only".to_owned()
        }
        0 if either == all => {
            " lastack run would have dropped these ACKs with --closer either only".to_owned()
        }
        0 if all == 1 => " lastack run would have passed this ACK, for the reason below".to_owned(),
        0 => " lastack run would have passed these ACKs, for the reasons below".to_owned(),
        1 if all == 1 => " lastack run would have dropped this ACK".to_owned(),
        r1 if r1 == all => " lastack run would have dropped all of these ACKs".to_owned(),
        r1 => format!(
            " lastack run would have dropped {} of the {} ACKs",
            HumanCount(r1),
            HumanCount(all)
        ),
    };
    let wider = match either {
        0 => String::new(),
        acks if acks == all => String::new(),
        acks => format!("; with --closer either {} more", HumanCount(acks)),
    };
    let guarded = match r2 {
        0 => String::new(),
        resets => format!(
            "; with --rst-guard it would have dropped {} behind {}",
            count(resets, "reset"),
            if r1 == 0 { "that" } else { "the others" }
        ),
    };
    let passed = match none {
        0 => String::new(),
        resets => format!(
            "; {} it would have passed in any case",
            count(resets, "reset")
        ),
    };
    format!("{acks}{wider}{guarded}{passed}.")
}

/// Spurious and redundant ones.
const fn unasked(report: &Report) -> u64 {
    report.spurious_acks + report.redundant_acks
}

impl Lack {
    fn sentence(self, report: &Report, asked: &Asked) -> String {
        let connections = count(report.connections, "connection");
        match self {
            Self::Packets => "there is no packet in this capture.".to_owned(),
            Self::Readable => {
                let most = report.skipped.iter().max_by_key(|(_, packets)| **packets);
                let why = most.map_or_else(String::new, |(reason, _)| {
                    notes::skipped(reason, &asked.links)
                });
                format!("none of its packets can be read: {why}.")
            }
            Self::Segments if asked.is_filtered => {
                "no TCP connection in this capture matches --filter.".to_owned()
            }
            Self::Segments => "there is no TCP segment in this capture.".to_owned(),
            Self::Direction => format!(
                "of {connections} only one direction is in this capture. Capture where both pass."
            ),
            Self::Place => format!(
                "of {connections} {} captured at two places, between which something changes \
                 sequence numbers, and no other close is there. Capture at one of them.",
                if report.renumbered_connections == 1 {
                    "1 was".to_owned()
                } else {
                    format!("{} were", HumanCount(report.renumbered_connections))
                }
            ),
            Self::OrderlyClose => format!(
                "of {connections} none is there in which one side closed first. Where both close at \
                 once most servers absorb further ACKs, and no reset followed one here. Capture for \
                 longer."
            ),
            Self::Close if report.connections_reset > 0 => format!(
                "of {connections} none is there with its close.{}",
                cut_short(report)
            ),
            Self::Close => format!(
                "of {connections} none is there with its close: the client's FIN, the server's, \
                 and the ACK of that. Capture for longer, and leave no packet of them out."
            ),
        }
    }
}
