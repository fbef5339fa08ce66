//! What else was seen, what it means, and what to do next.

use std::{collections::BTreeSet, time::Duration};

use analysis::{
    capture::LinkType,
    report::{Cure, Finding, Host, Report},
};
use filter_common::Reason;

use super::{
    super::{pass::LINK_TYPE, printable},
    answer::Answer,
    words::count,
};

/// A sentence or two each.
pub(super) fn notes(report: &Report, links: &BTreeSet<LinkType>) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |number: u64, text: &dyn Fn(u64) -> String| {
        if number > 0 {
            notes.push(text(number));
        }
    };
    note(report.resets_after_elicited_ack, &|resets| {
        format!(
            "{} followed an ACK that the server had asked for, as it repeated its FIN too early. \
             The ACK has to be sent; lastack run --rst-guard keeps such a reset from the client.",
            count(resets, "reset")
        )
    });
    note(report.reacks_elicited, &|acks| {
        format!(
            "{} after a close that the server had asked for: no fault, and never dropped.",
            count(acks, "ACK")
        )
    });
    note(report.resets_other, &|resets| {
        format!(
            "{} of servers in closes that no such ACK drew: another cause, such as a stale ACK, a \
             repeated FIN, or a server that closes with unread data.",
            count(resets, "reset")
        )
    });
    note(report.connections_reset, &|connections| {
        format!(
            "{} with a reset before the close was complete: another cause than this fault.",
            count(connections, "connection")
        )
    });
    note(report.crossing_closes, &|closes| {
        format!(
            "{} in which both sides closed at once: most servers absorb further ACKs then.",
            count(closes, "close")
        )
    });
    note(report.one_sided_connections, &|connections| {
        format!(
            "{} of which only one direction is there: about them nothing can be said. The other \
             direction may take another way, which lastack run must see, too.",
            count(connections, "connection")
        )
    });
    note(report.copies, &|copies| {
        format!(
            "{} of closes captured more than once, as at mirror ports and on all interfaces. Each \
             is judged once.",
            count(copies, "frame")
        )
    });
    note(report.renumbered_connections, &|connections| {
        format!(
            "{} left out: they were captured at two places, between which something changes \
             sequence numbers. Capture at one of them.",
            count(connections, "connection")
        )
    });
    note(report.time_backwards, &|packets| {
        format!(
            "{} older than the one before, as where a clock is set back or several CPUs capture: \
             times around there are not exact.",
            count(packets, "packet")
        )
    });
    note(report.forgotten, &|connections| {
        format!(
            "{} forgotten early, as too many were open at once. Use --filter.",
            count(connections, "connection")
        )
    });
    for (reason, &packets) in &report.skipped {
        note(packets, &|packets| {
            format!(
                "{} skipped: {}.",
                count(packets, "packet"),
                skipped(reason, links)
            )
        });
    }
    notes
}

/// Why packets of this reason cannot be judged; `links`: types that are not understood.
pub(super) fn skipped(reason: &str, links: &BTreeSet<LinkType>) -> String {
    let is = |known: Reason| reason == known.as_str();
    let why = match reason {
        LINK_TYPE => {
            let links: Vec<_> = links.iter().map(LinkType::to_string).collect();
            return format!(
                "of a link type that is not understood: {}",
                links.join(", ")
            );
        }
        "encrypted" => "encrypted wireless frames",
        "wireless_fragment" => "fragments of wireless frames",
        "aggregated" => "wireless frames with several packets each (A-MSDU)",
        "bad_checksum" => "wireless frames that arrived damaged",
        _ if is(Reason::Fragment) => "fragments that hold TCP",
        _ if is(Reason::Truncated) => {
            "too little of them was captured to see their headers (use a larger snapshot length)"
        }
        _ if is(Reason::BadHeader) => "their headers contradict one another",
        _ if is(Reason::EtherType) => "neither IPv4 nor IPv6, or behind more than two VLAN tags",
        _ if is(Reason::ExtensionHeader) => "an IPv6 extension header that is not known",
        other => other,
    };
    why.to_owned()
}

/// Why R1 lets an ACK pass that nothing had asked for; none where it does not.
pub(super) fn passed(finding: &Finding, window: Duration) -> Option<String> {
    if finding.cure == Cure::R1 {
        return None;
    }
    let is = |known: Reason| finding.reason == known.as_str();
    let why = match () {
        () if is(Reason::WindowOver) => {
            format!("later than --window {}", humantime::format_duration(window))
        }
        () if is(Reason::BudgetSpent) => "--budget was spent".to_owned(),
        () if is(Reason::OtherOptions) => "it carries options that may matter".to_owned(),
        () if finding.cure == Cure::Either => {
            "it serves such closes with --closer either".to_owned()
        }
        () if is(Reason::NotPure) => "it is no pure ACK".to_owned(),
        () if is(Reason::OtherSequence) => "other sequence numbers".to_owned(),
        () => finding.reason.to_owned(),
    };
    Some(format!("R1 lets it pass: {why}"))
}

/// What to do next: commands, each with what it does.
pub(super) fn next(
    answer: Answer,
    report: &Report,
    options: &[(&str, String)],
) -> Vec<(String, &'static str)> {
    let analyze = |other_than: &str| {
        let file = argument(&printable(&report.file));
        let options = options.iter().filter(|(option, _)| *option != other_than);
        let options = options.map(|(option, value)| format!("--{option} {}", argument(value)));
        let words = ["lastack analyze".to_owned(), file].into_iter();
        words.chain(options).collect::<Vec<_>>().join(" ")
    };
    let mut steps = Vec::new();
    let mut step = |command: String, does| steps.push((command, does));
    if let Some(first) = report.findings.first() {
        step(
            format!("{} --ladder {}", analyze(""), first.number),
            "draws the first finding",
        );
    }
    if let Some(longest) = late(report) {
        step(
            format!("{} --window {longest}", analyze("window")),
            "what a longer window would have cured",
        );
    }
    let any = |of: fn(&Host) -> u64| report.hosts.iter().any(|host| of(host) > 0);
    let is_wider = any(|host| host.cured_by_either);
    let cures = any(|host| host.cured_by_r1) || is_wider;
    let guards = report.resets_after_elicited_ack > 0 || any(|host| host.cured_by_r2);
    if cures || guards || answer == Answer::Fault {
        step(
            "lastack check --iface IF".to_owned(),
            "on the gateway before the servers: can it run there?",
        );
        let mut run = "lastack run --iface IF --mode monitor".to_owned();
        for (option, value) in options.iter().filter(|(option, _)| *option != "filter") {
            run.extend([" --", option, " ", value]);
        }
        if is_wider {
            run += " --closer either";
        }
        if guards {
            run += " --rst-guard";
        }
        let does = if cures || guards {
            "there: counts, and changes nothing; without --mode monitor it cures"
        } else {
            "there: counts, and changes nothing"
        };
        step(run, does);
    }
    steps
}

/// A window that would take in the last of the ACKs that came too late; none where none did, or
/// where no window is that long.
fn late(report: &Report) -> Option<String> {
    const LONGEST: f64 = 60.0;
    let findings = report.findings.iter();
    let late = findings.filter(|finding| finding.reason == Reason::WindowOver.as_str());
    let longest = late
        .map(|finding| finding.seconds_after_ack)
        .filter(|seconds| *seconds < LONGEST)
        .fold(0.0, f64::max);
    (longest > 0.0).then(|| format!("{:.0}s", (longest + 0.001).ceil()))
}

/// A word as a shell takes it. What came by standard input has no name.
fn argument(name: &str) -> String {
    if name == "-" {
        return "FILE".to_owned();
    }
    let is_plain = |c: char| c.is_alphanumeric() || "-_./,+:@%".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}
