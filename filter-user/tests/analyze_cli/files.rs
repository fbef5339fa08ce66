//! What it draws and writes.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use super::{
    CLIENT, SERVER, json, lastack, prints, prints_of, site,
    tape::{Directory, FAULT, FRAMES, FRAMES_WITH_FAULT, Tape},
};

/// Fields of the packets, by tshark.
fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-r"]).arg(file);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.lines().map(line).collect()
}

#[test]
fn a_ladder_draws_the_connection_of_the_finding_in_text_and_as_svg() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let picture = directory.join("ladder.svg");
    let svg = ["--svg", picture.to_str().unwrap()];
    let text = prints(&mut lastack(
        ["--ladder", "1"].into_iter().chain(svg),
        &[&file],
    ));
    let first = FRAMES + 1;
    let frames = first..first + FRAMES_WITH_FAULT;
    for frame in frames.clone() {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{frame} ")));
        assert!(line.is_some(), "{frame}\n{text}");
    }
    let spurious = frames.end - 2;
    assert!(
        text.contains(&format!("Finding 1: frame {spurious} is a spurious ACK")),
        "{text}"
    );
    assert!(text.contains(CLIENT) && text.contains(SERVER), "{text}");
    assert!(!text.contains("40001"), "another connection: {text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.contains("<svg") && svg.contains(CLIENT), "{svg}");
    let piped = prints_of(&mut lastack(["--ladder", "1", "-"], &[]), &site().pcapng());
    assert_eq!(piped, text);
}

#[test]
fn a_ladder_beyond_the_findings_that_are_listed_is_drawn() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let text = prints(&mut lastack(["--findings", "0", "--ladder", "3"], &[&file]));
    assert!(text.contains("Finding 3"), "{text}");
}

#[test]
fn with_json_a_ladder_goes_into_its_file_only() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let picture = directory.join("ladder.svg");
    let report = json(
        &file,
        &["--ladder", "2", "--svg", picture.to_str().unwrap()],
    );
    assert_eq!(report["spurious_acks"], 3);
    assert!(fs::read_to_string(&picture).unwrap().contains("2001:db8:"));
}

#[test]
fn packets_of_connections_with_findings_are_written_for_wireshark() {
    let directory = Directory::new();
    let tape = site();
    let file = directory.write("site.pcapng", tape.pcapng());
    let written = directory.join("written.pcapng");
    let option = ["--write", written.to_str().unwrap()];
    let text = prints(&mut lastack(option, &[&file]));
    let packets = 3 * FRAMES_WITH_FAULT;
    assert!(
        text.contains(&format!(
            "\nwritten      {packets} packets of 3 connections to "
        )),
        "{text}"
    );
    let fields = [
        "tcp.srcport",
        "tcp.len",
        "frame.time_epoch",
        "frame.protocols",
    ];
    let all = tshark(&file, &fields);
    assert_eq!(tshark(&written, &fields), all[FRAMES..]);
    let comments = tshark(&written, &["frame.number", "frame.comment"]);
    let number = FRAMES_WITH_FAULT - 2;
    assert_eq!(
        comments[number][1],
        format!(
            "lastack, finding 1: spurious ACK, 200ms after the one before it (frame {})",
            FRAMES + number + 1
        )
    );
    assert!(comments[number + 1][1].contains("reset"), "{comments:?}");
    assert_eq!(
        comments.iter().filter(|line| !line[1].is_empty()).count(),
        6
    );
    let (before, after) = (json(&file, &[]), json(&written, &[]));
    assert_eq!(before["hosts"], after["hosts"]);
    // What is piped is written just so.
    let piped = directory.join("piped.pcapng");
    let mut command = lastack(["--write", piped.to_str().unwrap(), "-"], &[]);
    prints_of(&mut command, &tape.pcapng());
    assert_eq!(fs::read(piped).unwrap(), fs::read(written).unwrap());
}

#[test]
fn packets_of_findings_that_are_not_listed_are_written_too() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let written = directory.join("written.pcapng");
    let options = ["--findings", "1", "--write", written.to_str().unwrap()];
    let report = json(&file, &options);
    assert_eq!(report["findings"].as_array().unwrap().len(), 1);
    assert_eq!(report["findings_left_out"], 2);
    let numbers = tshark(&written, &["frame.number"]);
    assert_eq!(numbers.len(), 3 * FRAMES_WITH_FAULT);
}

#[test]
fn a_capture_is_never_written_over() {
    let directory = Directory::new();
    let capture = Tape::of(CLIENT, SERVER, FAULT).pcapng();
    let file = directory.write("site.pcapng", &capture);
    let link = directory.join("link");
    symlink(&file, &link).unwrap();
    for options in [["--write", ""].as_slice(), &["--ladder", "1", "--svg", ""]] {
        for path in [&file, &link] {
            let mut command = lastack(
                options.iter().filter(|option| !option.is_empty()).copied(),
                &[path, &file],
            );
            let output = command.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(
                stderr.contains("is the capture that is to be read"),
                "{stderr}"
            );
            assert_eq!(fs::read(&file).unwrap(), capture);
        }
    }
}
