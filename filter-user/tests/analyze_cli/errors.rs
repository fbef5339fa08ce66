//! What it says of files that are none, or damaged, and of options that make no sense.

#![expect(
    unsafe_code,
    reason = "a filter of system calls is put on between fork and exec"
)]

use std::{
    collections::BTreeMap, env::consts::ARCH, io, os::unix::process::CommandExt as _, path::Path,
    process::Command,
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use syscalls::Sysno;

use super::{
    CLIENT, SERVER, lastack, prints,
    tape::{Directory, FAULT, Tape},
};

/// Fails so, with one line on standard error that has all of the words; tells what it printed.
#[track_caller]
fn fails(command: &mut Command, status: i32, words: &[&str]) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{command:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    if status == 1 {
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_no_capture_is_one_line_by_its_name() {
    let directory = Directory::new();
    let cases = [
        (directory.join("missing"), "No such file"),
        (directory.path().to_owned(), "directory"),
        (directory.write("nothing", ""), "empty"),
        (
            directory.write("text", "GET / HTTP/1.1\r\n\r\n"),
            "neither pcap nor pcapng",
        ),
        (
            directory.write("short", [0xd4, 0xc3, 0xb2, 0xa1, 2, 0]),
            "cut short",
        ),
    ];
    for (file, why) in &cases {
        let name = file.to_str().unwrap();
        let printed = fails(&mut lastack([], &[file]), 1, &[name, why]);
        assert_eq!(printed, "");
        let line = lastack([], &[file]).output().unwrap().stderr;
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches(why).count(), 1, "said twice: {line}");
    }
    fails(&mut lastack(["-"], &[]), 1, &["standard input", "empty"]);
}

#[test]
fn of_a_damaged_file_what_was_read_is_reported_and_other_files_are_analysed() {
    let directory = Directory::new();
    let capture = Tape::of(CLIENT, SERVER, FAULT).pcapng();
    let whole = directory.write("whole.pcapng", &capture);
    let cut = directory.write("cut.pcapng", &capture[..capture.len() - 5]);
    let words = ["cut.pcapng", "cut short", "at octet"];
    let text = fails(&mut lastack([], &[&cut, &whole]), 1, &words);
    let reports: Vec<_> = text.split("The fault is there").collect();
    assert_eq!(reports.len(), 3, "{text}");
    // The reset is what is missing.
    assert!(reports[1].contains("No reset followed"), "{text}");
    assert!(reports[1].contains("The capture is damaged"), "{text}");
    assert!(!reports[2].contains("damaged"), "{text}");
    let arguments = ["--output", "json"];
    let lines = fails(&mut lastack(arguments, &[&cut, &whole]), 1, &words);
    assert_eq!(lines.lines().count(), 2);
    assert!(
        lines
            .lines()
            .next()
            .unwrap()
            .contains(r#""damage":"cut short"#),
        "{lines}"
    );
    fails(&mut lastack(["--ladder", "1"], &[&cut]), 1, &words);
}

#[test]
fn a_finding_that_is_not_there_cannot_be_drawn() {
    let directory = Directory::new();
    let file = directory.write("one.pcapng", Tape::of(CLIENT, SERVER, FAULT).pcapng());
    fails(
        &mut lastack(["--ladder", "2"], &[&file]),
        1,
        &["--ladder 2", "there is 1 finding"],
    );
    let none = ["--ladder", "1", "--filter", "443"];
    fails(&mut lastack(none, &[&file]), 1, &["no finding"]);
}

#[test]
fn what_cannot_be_written_is_named() {
    let directory = Directory::new();
    let file = directory.write("one.pcapng", Tape::of(CLIENT, SERVER, FAULT).pcapng());
    let nowhere = directory.join("nowhere/file");
    let nowhere = nowhere.to_str().unwrap();
    for options in [
        &["--write", nowhere][..],
        &["--ladder", "1", "--svg", nowhere],
    ] {
        fails(
            &mut lastack(options.iter().copied(), &[&file]),
            1,
            &[nowhere],
        );
    }
    let mut full = lastack(["--write", "/dev/full"], &[&file]);
    let report = fails(&mut full, 1, &["/dev/full", "space"]);
    assert!(report.contains("The fault is there"), "{report}");
}

#[test]
fn wrong_use_has_status_2() {
    let directory = Directory::new();
    let file = directory.write("one.pcapng", Tape::of(CLIENT, SERVER, FAULT).pcapng());
    let two: &[&Path] = &[&file, &file];
    let one: &[&Path] = &[&file];
    for (options, files, words) in [
        (&[][..], &[][..], &["FILE"][..]),
        (&["-", "-"], &[], &["standard input"]),
        (&["--ladder", "1"], two, &["--ladder", "several"]),
        (&["--write", "x"], two, &["--write", "several"]),
        (&["--svg", "x"], one, &["--ladder"]),
        (&["--ladder", "1", "--output", "json"], one, &["--svg"]),
        (&["--ladder", "0"], one, &["--ladder"]),
        (&["--findings", "all"], one, &["--findings"]),
        (&["--filter", "lan"], one, &["--filter", "lan"]),
        (&["--filter", "10.0.0.0/33"], one, &["--filter"]),
        (&["--filter", "0"], one, &["--filter", "port"]),
        (&["--window", "500"], one, &["--window"]),
        (&["--budget", "0"], one, &["--budget"]),
        (&["--closed-timeout", "0s"], one, &["--closed-timeout"]),
        (&["--closer", "server"], one, &["--closer"]),
    ] {
        let mut command = lastack(options.iter().copied(), files);
        assert_eq!(fails(&mut command, 2, words), "", "{options:?}");
    }
}

/// Who uses one of these dies.
#[test]
fn it_needs_no_rights_and_uses_neither_bpf_nor_network() {
    let directory = Directory::new();
    let file = directory.write("one.pcapng", Tape::of(CLIENT, SERVER, FAULT).pcapng());
    let forbidden = [Sysno::bpf, Sysno::perf_event_open, Sysno::socket];
    let rules: BTreeMap<_, _> = forbidden
        .into_iter()
        .map(|call| (i64::from(call.id()), Vec::new()))
        .collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        ARCH.try_into().unwrap(),
    );
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    let mut stranger = lastack([], &[&file]);
    stranger.uid(65_534).gid(65_534);
    // SAFETY: two system calls, and nothing else.
    unsafe {
        stranger.pre_exec(move || {
            seccompiler::apply_filter(&filter).map_err(|_| io::Error::last_os_error())
        });
    }
    let text = prints(&mut stranger);
    assert!(text.contains("The fault is there"), "{text}");
}
