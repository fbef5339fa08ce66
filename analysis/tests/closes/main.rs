//! Closes as they are met in captures, and what is made of them.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod alike;
mod copies;
mod many;
mod tape;

use std::time::Duration;

use analysis::{
    ladder::Emphasis,
    report::{Cure, Finding, Kind, Report},
};
use etherparse::TcpOptionElement;
use filter_common::Closer;
use tape::{ACK, Client, FIN, PSH, RST, SYN, Server, Shot, Tape, options, shot};

/// Kind, frame, reason, frame of the reset, cure.
type Short = (Kind, u64, &'static str, Option<u64>, Cure);

fn short(report: &Report) -> Vec<Short> {
    let findings = report.findings.iter();
    findings
        .map(|finding| {
            let Finding {
                kind,
                frame,
                reason,
                reset_frame,
                cure,
                ..
            } = *finding;
            (kind, frame, reason, reset_frame, cure)
        })
        .collect()
}

fn micros(seconds: f64) -> u128 {
    Duration::from_secs_f64(seconds).as_micros()
}

const SPURIOUS: Kind = Kind::Spurious;

#[test]
fn the_spurious_ack_of_the_kb_and_the_reset_that_follows_are_found() {
    let mut tape = Tape::closed();
    tape.ack(210.0).reset(210.5).ack(211.0).reset(211.5);
    let analysis = tape.analyze();
    let report = &analysis.report;
    assert_eq!(
        short(report),
        [
            (SPURIOUS, 12, "spurious_ack", Some(13), Cure::R1),
            (SPURIOUS, 14, "spurious_ack", Some(15), Cure::R1),
        ]
    );
    let finding = &report.findings[0];
    assert_eq!((finding.client, finding.server), (tape.client, tape.server));
    assert_eq!(micros(finding.seconds_after_ack), 200_000);
    assert_eq!(finding.reset_after_seconds.map(micros), Some(500));
    let [span] = &analysis.spans[..] else {
        panic!("{:?}", analysis.spans)
    };
    assert_eq!((span.first, span.last), (1, 15));
    assert_eq!((report.packets, report.segments), (15, 15));
    assert_eq!((report.connections, report.closed), (1, 1));
    assert_eq!((report.spurious_acks, report.redundant_acks), (2, 0));
    assert_eq!(report.resets_after_spurious_ack, 2);
    let [host] = &report.hosts[..] else {
        panic!("{:?}", report.hosts)
    };
    assert_eq!(host.client, tape.client.ip());
    assert_eq!(
        (host.connections, host.spurious_acks, host.resets),
        (1, 2, 2)
    );
    assert_eq!(
        (host.cured_by_r1, host.cured_by_r2, host.not_cured),
        (2, 0, 0)
    );
}

#[test]
fn a_correct_close_has_no_finding() {
    let report = Tape::closed().analyze().report;
    assert_eq!(short(&report), []);
    assert_eq!((report.closed, report.hosts.len()), (1, 0));
}

#[test]
fn an_ack_later_than_the_window_is_found_and_only_r2_cures_its_reset() {
    let mut tape = Tape::closed();
    tape.ack(900.0).reset(900.5);
    let report = tape.analyze().report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 12, "window", Some(13), Cure::R2)]
    );
    let host = &report.hosts[0];
    assert_eq!(
        (host.cured_by_r1, host.cured_by_r2, host.not_cured),
        (0, 1, 0)
    );
    let wider = analysis::Options {
        window: Duration::from_secs(1),
        ..options()
    };
    let report = tape.analyze_with(&wider).report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 12, "spurious_ack", Some(13), Cure::R1)]
    );
}

#[test]
fn what_is_no_pure_ack_begins_the_window_anew_in_what_is_told_too() {
    let mut tape = Tape::closed();
    tape.shoot(&shot(Client, 600.0, PSH | ACK, 102, 502, 0))
        .ack(900.0);
    let report = tape.analyze().report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 13, "spurious_ack", None, Cure::R1)]
    );
    assert_eq!(micros(report.findings[0].seconds_after_ack), 300_000);
}

#[test]
fn acks_beyond_the_budget_are_found() {
    let mut tape = Tape::closed();
    tape.ack(20.0).ack(30.0).ack(40.0).ack(50.0).reset(60.0);
    let report = tape.analyze().report;
    assert_eq!(
        short(&report),
        [
            (SPURIOUS, 12, "spurious_ack", Some(16), Cure::R1),
            (SPURIOUS, 13, "spurious_ack", None, Cure::R1),
            (SPURIOUS, 14, "spurious_ack", None, Cure::R1),
            (SPURIOUS, 15, "budget", None, Cure::NotNeeded),
        ]
    );
}

#[test]
fn an_ack_with_other_options_or_numbers_is_found_and_one_that_is_not_pure_is_not() {
    let mut tape = Tape::closed();
    tape.shoot(&Shot {
        options: vec![TcpOptionElement::SelectiveAcknowledgementPermitted],
        ..shot(Client, 20.0, ACK, 102, 502, 0)
    })
    .reset(20.5)
    .shoot(&shot(Client, 30.0, ACK, 90, 502, 0))
    .shoot(&shot(Client, 40.0, PSH | ACK, 102, 502, 0))
    .shoot(&shot(Client, 50.0, ACK, 101, 502, 0));
    let report = tape.analyze().report;
    assert_eq!(
        short(&report),
        [
            (SPURIOUS, 12, "options", Some(13), Cure::R2),
            (SPURIOUS, 14, "sequence", None, Cure::NotNeeded),
            // Fc - 1, as in a keepalive.
            (SPURIOUS, 16, "spurious_ack", None, Cure::R1),
        ]
    );
}

#[test]
fn a_reset_with_ack_is_one_that_nothing_keeps_from_the_client() {
    let mut tape = Tape::closed();
    tape.ack(900.0)
        .shoot(&shot(Server, 901.0, RST | ACK, 502, 102, 0));
    let report = tape.analyze().report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 12, "window", Some(13), Cure::None)]
    );
    assert_eq!(report.hosts[0].not_cured, 1);
}

#[test]
fn the_second_of_two_answers_to_a_fin_that_came_twice_is_redundant() {
    let mut tape = Tape::v4();
    tape.open()
        .fins()
        .shoot(&shot(Server, 209.0, FIN | ACK, 501, 102, 0))
        .ack(210.0)
        .ack(210.1)
        .reset(211.0);
    let report = tape.analyze().report;
    assert_eq!(
        short(&report),
        [(Kind::Redundant, 13, "redundant_ack", Some(14), Cure::R1)]
    );
    assert_eq!((report.spurious_acks, report.redundant_acks), (0, 1));
}

#[test]
fn what_passes_is_redundant_no_more_often_than_the_server_has_asked() {
    let mut tape = Tape::v4();
    tape.open()
        .fins()
        .shoot(&shot(Server, 9.5, FIN | ACK, 501, 102, 0))
        .ack(10.0)
        .ack(900.0)
        .ack(1800.0);
    let report = tape.analyze().report;
    assert_eq!((report.redundant_acks, report.spurious_acks), (1, 1));
}

#[test]
fn an_ack_that_the_server_asked_for_is_no_finding_and_its_reset_is_told_apart() {
    let mut tape = Tape::closed();
    tape.shoot(&shot(Server, 209.0, FIN | ACK, 501, 102, 0))
        .ack(209.5)
        .reset(210.0);
    let report = tape.analyze().report;
    assert_eq!(short(&report), []);
    assert_eq!(report.reacks_elicited, 1);
    assert_eq!(report.resets_after_elicited_ack, 1);
    assert_eq!(
        (report.resets_after_spurious_ack, report.resets_other),
        (0, 0)
    );
}

#[test]
fn in_a_crossing_close_an_ack_is_found_only_where_a_reset_follows() {
    let mut tape = Tape::v4();
    tape.open()
        .shoot(&shot(Client, 5.0, FIN | ACK, 101, 1, 0))
        .shoot(&shot(Server, 5.1, FIN | ACK, 1, 101, 0))
        .shoot(&shot(Client, 6.0, ACK, 102, 2, 0))
        .shoot(&shot(Server, 6.1, ACK, 2, 102, 0))
        .shoot(&shot(Client, 206.0, ACK, 102, 2, 0));
    let report = tape.analyze().report;
    assert_eq!(short(&report), []);
    assert_eq!((report.crossing_closes, report.closed), (1, 0));
    tape.shoot(&shot(Server, 206.1, RST, 2, 0, 0));
    let report = tape.analyze().report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 10, "closer", Some(11), Cure::Either)]
    );
    assert_eq!(report.findings[0].client, tape.client);
}

#[test]
fn connections_that_are_reset_before_they_are_closed_are_counted() {
    let mut tape = Tape::v4();
    tape.open()
        .shoot(&shot(Server, 5.0, RST | ACK, 1, 101, 0))
        .shoot(&shot(Server, 6.0, RST | ACK, 1, 101, 0));
    assert_eq!(tape.analyze().report.connections_reset, 1);
    let mut kb = Tape::closed();
    kb.ack(210.0).reset(211.0);
    assert_eq!(kb.analyze().report.connections_reset, 0);
}

#[test]
fn where_the_server_keeps_no_time_wait_its_resets_are_found_and_closer_either_cures_them() {
    let tape = Tape::closed_by_server(206.0);
    let analysis = tape.analyze();
    let report = &analysis.report;
    assert_eq!(
        short(report),
        [(SPURIOUS, 10, "closer", Some(11), Cure::Either)]
    );
    assert_eq!(report.findings[0].client, tape.client);
    assert_eq!(
        (report.spurious_acks, report.resets_after_spurious_ack),
        (1, 1)
    );
    assert_eq!(
        (report.hosts[0].resets, report.hosts[0].cured_by_either),
        (1, 1)
    );
    assert_eq!((analysis.spans[0].first, analysis.spans[0].last), (1, 11));
    assert_eq!(tape.ladder().steps[9].emphasis, Emphasis::Fault);
    let either = analysis::Options {
        closer: Closer::Either,
        ..options()
    };
    let analysis = tape.analyze_with(&either);
    let report = analysis.report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 10, "spurious_ack", Some(11), Cure::R1)]
    );
    assert_eq!(report.findings[0].client, tape.client);
    assert_eq!(report.closed, 1);
    let mut kb = Tape::closed();
    kb.ack(210.0).reset(210.5);
    let report = kb.analyze_with(&either).report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 12, "spurious_ack", Some(13), Cure::R1)]
    );
    assert_eq!(report.closed, 1);
}

#[test]
fn a_capture_may_begin_in_mid_connection() {
    for (skipped, expected) in [(3, 1), (5, 1), (6, 0), (11, 0)] {
        let mut tape = Tape::closed();
        tape.ack(210.0).reset(210.5).skip(skipped);
        let report = tape.analyze().report;
        assert_eq!(report.findings.len(), expected, "{skipped} frames less");
        assert_eq!(report.connections, 1);
    }
}

#[test]
fn a_stale_ack_and_its_reset_are_no_finding() {
    let mut tape = Tape::closed();
    tape.shoot(&shot(Client, 11.0, ACK, 102, 501, 0))
        .shoot(&shot(Server, 11.5, RST, 501, 0, 0));
    let report = tape.analyze().report;
    assert_eq!(short(&report), []);
    assert_eq!(
        (report.resets_other, report.resets_after_elicited_ack),
        (1, 0)
    );
    // Nor is it taken for the reset of the spurious one behind it.
    tape.ack(12.0)
        .shoot(&shot(Server, 12.2, RST, 501, 0, 0))
        .reset(12.5);
    assert_eq!(
        short(&tape.analyze().report),
        [(SPURIOUS, 14, "spurious_ack", Some(16), Cure::R1)]
    );
}

#[test]
fn a_port_that_is_used_again_begins_a_connection() {
    let mut again = Tape::v4();
    again.initial = [5_000_000, 9_000_000];
    again.ids = Some([300, 20_000]);
    let mut tape = Tape::closed();
    let mut second = again.clone();
    second
        .shoot(&shot(Client, 100.0, SYN, 0, 0, 0))
        .shoot(&shot(Client, 1100.0, SYN, 0, 0, 0))
        .shoot(&shot(Server, 1100.5, SYN | ACK, 0, 1, 0));
    tape.ack(50.0).reset(50.5).then(&second);
    let report = tape.analyze().report;
    assert_eq!((report.connections, report.findings.len()), (2, 1));
    // Without a SYN, known by its FIN, with ACKs that are none of the first close's.
    let mut second = again;
    second
        .open()
        .skip(3)
        .fins()
        .ack(10.0)
        .ack(210.0)
        .reset(211.0);
    let mut tape = Tape::closed();
    tape.then(&second);
    let analysis = tape.analyze();
    println!(
        "{:#?}",
        tape.judge(&mut analysis::Analyzer::new(&options()))
    );
    assert_eq!(analysis.report.connections, 2);
    assert_eq!(
        short(&analysis.report),
        [(SPURIOUS, 20, "spurious_ack", Some(21), Cure::R1)]
    );
    assert_eq!(analysis.spans[0].first, 14);
}

#[test]
fn a_clock_that_steps_backwards_is_told_and_changes_no_finding() {
    let mut tape = Tape::closed();
    tape.ack(-3_600_000.0).reset(-3_599_999.0);
    let report = tape.analyze().report;
    assert_eq!(report.time_backwards, 1);
    assert_eq!(
        short(&report),
        [(SPURIOUS, 12, "spurious_ack", Some(13), Cure::R1)]
    );
    assert_eq!(micros(report.findings[0].seconds_after_ack), 0);
}

#[test]
fn the_client_is_whoever_closes_first_on_either_side() {
    let mut tape = Tape::between("192.0.2.1:80", "10.0.0.2:1025");
    tape.open().fins().ack(10.0).ack(210.0).reset(211.0);
    let report = tape.analyze().report;
    assert_eq!(report.findings[0].client, tape.client);
}

#[test]
fn packets_that_are_cut_or_no_tcp_are_counted_by_reason() {
    let mut tape = Tape::closed();
    let mut ethertype = vec![0; 60];
    ethertype[12..14].copy_from_slice(&[0x88, 0xcc]);
    tape.at(11.0, ethertype).at(12.0, vec![0; 5]);
    let report = tape.analyze().report;
    assert_eq!(report.skipped.get("ethertype"), Some(&1));
    assert_eq!(report.skipped.get("truncated"), Some(&1));
    assert_eq!((report.packets, report.segments), (13, 11));
}

#[test]
fn a_ladder_tells_what_each_segment_is() {
    let mut tape = Tape::closed();
    tape.ack(210.0).reset(210.5);
    let ladder = tape.ladder();
    let steps = &ladder.steps;
    assert_eq!(steps.len(), 13);
    let numbers: Vec<_> = steps.iter().map(|step| (step.seq, step.ack)).collect();
    assert_eq!(numbers[..3], [(0, None), (0, Some(1)), (1, Some(1))]);
    assert_eq!(numbers[11..], [(102, Some(502)), (502, None)]);
    let close: Vec<_> = (0..13).filter(|step| steps[*step].is_close).collect();
    assert_eq!(close, [5, 6, 9, 10, 11, 12]);
    let note = |step: usize| steps[step].note.as_deref().unwrap_or_default();
    assert_eq!(note(5), "the client closes its half");
    assert_eq!(note(10), "the server frees its socket");
    assert_eq!(note(11), "spurious, 200 ms later; lastack would drop it");
    assert_eq!(note(12), "drawn by frame 12");
}

#[test]
fn a_ladder_tells_whose_half_is_closed_also_where_the_server_begins() {
    let tape = Tape::closed_by_server(206.0);
    let ladder = tape.ladder();
    let notes: Vec<_> = ladder.steps[5..]
        .iter()
        .map(|step| step.note.as_deref().unwrap_or_default())
        .collect();
    assert_eq!(
        notes,
        [
            "the server closes its half",
            "",
            "the client closes its half",
            "",
            "spurious; lastack needs --closer either",
            "drawn by frame 10",
        ]
    );
}

#[test]
fn in_a_close_that_the_server_begins_an_ack_later_than_the_window_is_one_that_nothing_cures() {
    let report = Tape::closed_by_server(906.0).analyze().report;
    assert_eq!(
        short(&report),
        [(SPURIOUS, 10, "window", Some(11), Cure::None)]
    );
    let host = &report.hosts[0];
    assert_eq!((host.cured_by_either, host.not_cured), (0, 1));
}

#[test]
fn a_reset_is_of_the_ack_that_it_follows_and_not_of_one_long_before() {
    let mut tape = Tape::closed();
    tape.ack(20.0).ack(2000.0).reset(2000.5);
    assert_eq!(
        short(&tape.analyze().report),
        [
            (SPURIOUS, 12, "spurious_ack", None, Cure::R1),
            (SPURIOUS, 13, "window", Some(14), Cure::R2),
        ]
    );
    // Where there is no other, it may have taken long.
    let mut tape = Tape::closed();
    tape.ack(20.0).reset(2000.5);
    assert_eq!(tape.analyze().report.findings[0].reset_frame, Some(13));
}
