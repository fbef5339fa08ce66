//! Each golden capture through the program: what it finds is what was done.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    analyze, capture,
    expected::{CLIENT, Figures, goldens},
};

#[test]
fn everything_that_was_done_in_a_golden_capture_is_found_and_nothing_else() {
    for golden in goldens() {
        let report = analyze(&capture(golden.file));
        assert_eq!(Figures::of(&report), golden.figures, "{}", golden.file);
        assert_eq!(report["damage"], Value::Null, "{}", golden.file);
        assert_eq!(report["skipped"], json!({}), "{}", golden.file);
    }
}

#[test]
fn every_capture_is_expected() {
    let directory = fs::read_dir(capture("")).unwrap();
    let there: BTreeSet<_> = directory
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = goldens().into_iter().map(|golden| golden.file.to_owned());
    assert_eq!(there, expected.collect());
}

#[test]
fn findings_say_what_helps() {
    let cures = |file: &str| {
        let report = analyze(&capture(file));
        let findings = report["findings"].as_array().unwrap();
        let cures = findings.iter().map(|finding| finding["cure"].clone());
        (cures.collect::<Vec<_>>(), report["hosts"].clone())
    };
    let host = |spurious: u64, redundant: u64, resets: u64, [r1, r2, either]: [u64; 3]| {
        json!([{
            "client": CLIENT.split(':').next().unwrap(),
            "connections": 1,
            "spurious_acks": spurious,
            "redundant_acks": redundant,
            "resets": resets,
            "cured_by_r1": r1,
            "cured_by_r2": r2,
            "cured_by_either": either,
            "not_cured": 0,
        }])
    };
    for (file, expected, hosts) in [
        ("kb.pcap", vec!["r1", "r1"], host(2, 0, 2, [2, 0, 0])),
        ("late.pcap", vec!["r2"], host(1, 0, 1, [0, 1, 0])),
        (
            "five.pcap",
            vec!["r1", "r1", "r1", "r2", "r2"],
            host(5, 0, 5, [3, 2, 0]),
        ),
        ("options.pcap", vec!["r2", "r2"], host(2, 0, 2, [0, 2, 0])),
        ("redundant.pcap", vec!["r1"], host(0, 1, 1, [1, 0, 0])),
        // The filter behind the point of capture has dropped it.
        ("enforce.pcap", vec!["r1"], host(1, 0, 0, [1, 0, 0])),
        ("elicited.pcap", vec![], json!([])),
        (
            "no_time_wait.pcap",
            vec!["either"],
            host(1, 0, 1, [0, 0, 1]),
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().map(Value::from).collect();
        assert_eq!(cures(file), (expected, hosts), "{file}");
    }
}

/// Microsoft Knowledge Base, Q152474, with everything that is said of it.
#[test]
fn the_trace_of_the_article_is_found_exactly() {
    let report = analyze(&capture("kb.pcap"));
    assert!(report["file"].as_str().unwrap().ends_with("kb.pcap"));
    let findings = report["findings"].as_array().unwrap();
    for ((finding, number), (frame, [earliest, latest])) in findings
        .iter()
        .zip([1, 2])
        .zip([(14, [0.2, 0.24]), (16, [0.25, 0.3])])
    {
        assert_eq!(finding["number"], number);
        assert_eq!(finding["client"], CLIENT);
        assert_eq!(finding["server"], "203.0.113.2:80");
        assert_eq!(finding["frame"], frame);
        assert_eq!(finding["kind"], "spurious");
        assert_eq!(finding["reset_frame"], frame + 1);
        assert_eq!(finding["cure"], "r1");
        let time = finding["time"].as_str().unwrap();
        let second = report["first"].as_str().unwrap().split('.').next().unwrap();
        assert!(time.starts_with(second) && time.ends_with('Z'), "{time}");
        // Since frame 13 in either case.
        let after = finding["seconds_after_ack"].as_f64().unwrap();
        assert!((earliest..latest).contains(&after), "{after}");
        let reset = finding["reset_after_seconds"].as_f64().unwrap();
        assert!((0.0..0.01).contains(&reset), "{reset}");
    }
    assert_eq!(findings.len(), 2);
}

/// The picture in README.md.
#[test]
fn the_committed_ladder_is_what_is_drawn_of_the_articles_trace() {
    let drawn = NamedTempFile::new().unwrap();
    let mut lastack = Command::new(env!("CARGO_BIN_EXE_lastack"));
    lastack.arg("analyze").arg(capture("kb.pcap"));
    lastack
        .args(["--ladder", "1", "--svg"])
        .arg(drawn.path())
        .env_remove("RUST_LOG");
    let output = lastack.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ladder.svg");
    // Not by assert_eq, which would print both.
    assert!(
        fs::read(committed).unwrap() == fs::read(drawn.path()).unwrap(),
        "docs/ladder.svg is another; if the new one is right: lastack analyze \
         filter-user/tests/captures/kb.pcap --ladder 1 --svg docs/ladder.svg"
    );
}

/// What R1 compares with its window: the time since the last ACK that it has let pass.
#[test]
fn findings_tell_how_long_ago_the_last_ack_was_that_passes() {
    for (file, milliseconds) in [
        ("kb.pcap", &[200, 250][..]),
        ("late.pcap", &[800]),
        ("options.pcap", &[200, 200]),
        ("five.pcap", &[40, 80, 120, 160, 40]),
        ("clock.pcap", &[0]),
    ] {
        let report = analyze(&capture(file));
        let findings = report["findings"].as_array().unwrap();
        let times = findings.iter().map(|finding| &finding["seconds_after_ack"]);
        let times: Vec<_> = times
            .map(|seconds| seconds.as_f64().unwrap() * 1e3)
            .collect();
        assert_eq!(times.len(), milliseconds.len(), "{file}");
        for (time, waited) in times.iter().zip(milliseconds) {
            let late = time - f64::from(*waited);
            assert!((0.0..20.0).contains(&late), "{file}: {times:?}");
        }
    }
}
