use analysis::report::{Cure, Finding, Host, Kind};

use super::*;

const START: u64 = 1_795_791_600_000_000_000;

/// A capture of so many closes, and nothing else.
fn closes(closed: u64) -> Report {
    Report {
        file: "kb.pcapng".to_owned(),
        packets: 12 * closed,
        segments: 11 * closed,
        first: Some(Time(START)),
        last: Some(Time(START + 250_000_000_000)),
        connections: closed,
        closed,
        ..Report::default()
    }
}

fn finding(number: u64, client: &str, server: &str) -> Finding {
    Finding {
        number,
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
        frame: 12 * number,
        time: Time(START + number * 1_234_567_890),
        kind: Kind::Spurious,
        seconds_after_ack: 0.2,
        reason: "spurious_ack",
        reset_frame: Some(12 * number + 1),
        reset_after_seconds: Some(0.000_05),
        cure: Cure::R1,
        span: 0,
    }
}

fn host(client: &str, findings: u64) -> Host {
    Host {
        client: client.parse().unwrap(),
        connections: findings,
        spurious_acks: findings,
        redundant_acks: 0,
        resets: findings,
        cured_by_r1: findings,
        cured_by_r2: 0,
        cured_by_either: 0,
        not_cured: 0,
    }
}

/// One client with the fault, once.
fn fault() -> Report {
    Report {
        spurious_acks: 1,
        resets_after_spurious_ack: 1,
        hosts: vec![host("10.0.0.2", 1)],
        findings: vec![finding(1, "10.0.0.2:40000", "10.0.1.2:80")],
        ..closes(1)
    }
}

const ASKED: &Asked = &Asked {
    findings: 20,
    window: Duration::from_millis(500),
    is_filtered: false,
    options: Vec::new(),
    links: BTreeSet::new(),
};

fn text(report: &Report, asked: &Asked) -> String {
    let mut text = Vec::new();
    write(&mut text, report, asked).unwrap();
    String::from_utf8(text).unwrap()
}

/// The text's first sentences, on one line.
fn answer(report: &Report) -> String {
    let text = text(report, ASKED);
    let paragraph = text.split("\n\n").nth(1).unwrap();
    paragraph.replace('\n', " ")
}

#[test]
fn the_fault_is_told_first_then_who_has_it_each_finding_and_what_to_do() {
    assert_eq!(
        text(&fault(), ASKED),
        "\
kb.pcapng

The fault is there: 1 client sent 1 ACK after a close which nothing had asked
for; a reset followed. An old client then loses what it has not read yet.
lastack run would have dropped this ACK.

packets      12, 11 TCP segments
captured     2026-11-27 15:00:00.000 to 15:04:10.000 UTC, 4m 10s
connections  1, 1 with all of its close

Clients, the worst first

client    connections  spurious  redundant  resets  R1  R1+  R2  none
10.0.0.2            1         1          0       1   1    0   0     0

ACKs that nothing had asked for

#  frame  time          kind      after  reset   later  cured by
1     12  15:00:01.234  spurious  200ms     13  0.05ms  R1
   10.0.0.2:40000 > 10.0.1.2:80

after    since the last ACK of the server's FIN that lastack run lets pass
reset    the frame of the server's reset, and how much later it came
R1       it helps that lastack run drops the ACK
R1+      the same, but with --closer either only
R2       it helps only that lastack run --rst-guard drops the reset
none     neither helps: both pass

What to do next

  lastack analyze kb.pcapng --ladder 1
      draws the first finding
  lastack check --iface IF
      on the gateway before the servers: can it run there?
  lastack run --iface IF --mode monitor
      there: counts, and changes nothing; without --mode monitor it cures
"
    );
}

#[test]
fn what_closed_without_a_finding_has_not_the_fault() {
    assert_eq!(
        answer(&closes(1200)),
        "The fault is not there: in 1,200 closes no client sent an ACK which nothing had asked for."
    );
    let text = text(&closes(1200), ASKED);
    assert!(!text.contains("What to do next"), "{text}");
}

#[test]
fn redundant_acks_alone_are_no_fault() {
    let mut report = fault();
    report.spurious_acks = 0;
    report.redundant_acks = 1;
    let answer = answer(&report);
    assert!(answer.starts_with("The fault is not there"), "{answer}");
    assert!(
        answer.contains("But 1 redundant ACK came") && answer.contains("1 reset followed"),
        "{answer}"
    );
}

#[test]
fn where_nothing_can_be_told_it_says_why() {
    let empty = Report::default();
    let unreadable = Report {
        packets: 3,
        skipped: [("truncated", 3)].into(),
        ..Report::default()
    };
    let udp = Report {
        packets: 3,
        ..Report::default()
    };
    let open = Report {
        packets: 3,
        segments: 3,
        connections: 2,
        one_sided_connections: 1,
        ..Report::default()
    };
    let one_sided = Report {
        one_sided_connections: 2,
        ..open.clone()
    };
    let crossing = Report {
        crossing_closes: 1,
        ..open.clone()
    };
    let renumbered = Report {
        renumbered_connections: 1,
        ..open.clone()
    };
    for (report, why) in [
        (empty, "there is no packet in this capture"),
        (unreadable, "too little of them was captured"),
        (udp, "there is no TCP segment in this capture"),
        (
            open,
            "of 2 connections none is there with its close: the client's FIN",
        ),
        (one_sided, "only one direction is in this capture"),
        (crossing, "Where both close at once"),
        (renumbered, "1 was captured at two places"),
    ] {
        let answer = answer(&report);
        assert!(answer.starts_with("It cannot be told"), "{answer}");
        assert!(answer.contains(why), "{answer}");
    }
}

#[test]
fn an_ack_that_r1_lets_pass_has_its_reason_and_a_window_that_would_do() {
    let mut report = fault();
    report.hosts[0].cured_by_r1 = 0;
    report.hosts[0].cured_by_r2 = 1;
    let finding = &mut report.findings[0];
    finding.reason = "window";
    finding.seconds_after_ack = 1.2;
    finding.cure = Cure::R2;
    let text = text(&report, ASKED);
    assert!(
        answer(&report).ends_with(
            "lastack run would have passed this ACK, for the reason below; with --rst-guard it \
             would have dropped 1 reset behind that."
        ),
        "{text}"
    );
    for line in [
        "   10.0.0.2:40000 > 10.0.1.2:80; R1 lets it pass: later than --window 500ms\n",
        "  lastack analyze kb.pcapng --window 2s\n",
        "  lastack run --iface IF --mode monitor --rst-guard\n",
        "   0   1     0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn findings_beyond_those_listed_are_counted() {
    let mut report = fault();
    report.findings = (1..=30)
        .map(|number| finding(number, "10.0.0.2:40000", "10.0.1.2:80"))
        .collect();
    report.findings_left_out = 1000;
    let text = text(&report, ASKED);
    assert!(text.contains("\n1,010 more findings; --findings N lists them\n"));
    assert!(text.contains("\n20 ") && !text.contains("\n21 "), "{text}");
}

#[test]
fn everything_at_its_longest_fits_into_80_columns() {
    let client = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff";
    let (from, to) = (format!("[{client}]:65535"), format!("[{client}]:65534"));
    let mut late = finding(9_876, &from, &to);
    late.frame = 99_999_999;
    late.reset_frame = Some(99_999_999);
    late.reason = "window";
    late.cure = Cure::None;
    late.seconds_after_ack = 59.96;
    let mut host = host(client, 9_999);
    (host.cured_by_r2, host.not_cured) = (999, 999);
    let mut short = host.clone();
    short.client = "255.255.255.255".parse().unwrap();
    let reasons = ["fragment", "truncated", "bad_header", "ethertype"];
    let report = Report {
        last: Some(Time(START + 86_400_000_000_000 * 40)),
        spurious_acks: 1_000_000,
        redundant_acks: 1_000_000,
        resets_after_spurious_ack: 1_000_000,
        reacks_elicited: 1_000_000,
        resets_after_elicited_ack: 1_000_000,
        resets_other: 1_000_000,
        one_sided_connections: 1_000_000,
        crossing_closes: 1_000_000,
        copies: 1_000_000,
        renumbered_connections: 1_000_000,
        time_backwards: 1_000_000,
        forgotten: 1_000_000,
        skipped: reasons.map(|reason| (reason, 1_000_000)).into(),
        hosts: vec![host, short],
        hosts_left_out: 1,
        findings: vec![late.clone(), late],
        damage: Some("octet 12: cut".to_owned()),
        ..closes(10_000_000)
    };
    let text = text(&report, ASKED);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
    assert!(text.contains(client), "{text}");
}

#[test]
fn commands_to_repeat_have_the_options_on_which_findings_depend() {
    let mut report = fault();
    report.file = "-".to_owned();
    report.findings[0].reason = "window";
    let asked = Asked {
        options: vec![
            ("filter", "10.0.0.0/8".to_owned()),
            ("window", "1s 500ms".to_owned()),
        ],
        ..ASKED.clone()
    };
    let text = text(&report, &asked);
    for line in [
        "  lastack analyze FILE --filter 10.0.0.0/8 --window '1s 500ms' --ladder 1\n",
        "  lastack analyze FILE --filter 10.0.0.0/8 --window 1s\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn a_file_s_name_is_quoted_for_the_shell_and_controls_nothing() {
    let mut report = fault();
    report.file = "it's \u{1b}[31m here".to_owned();
    let text = text(&report, ASKED);
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains(r"lastack analyze 'it'\''s "), "{text}");
}
