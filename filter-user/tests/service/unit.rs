//! The unit, as far as systemd can judge it without running.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use crate::{directory::Directory, instance::lastack};

const UNIT: &str = include_str!("../../../systemd/lastack@.service");
/// Where packages put the program.
const PROGRAM: &str = "/usr/bin/lastack";

/// The unit's values of a setting.
pub(crate) fn setting(name: &str) -> Vec<&'static str> {
    let values = UNIT.lines().filter_map(|line| {
        let (there, value) = line.split_once('=')?;
        (there == name).then_some(value)
    });
    values.collect()
}

/// The unit for the program that was built.
fn built(directory: &Directory) -> PathBuf {
    let path = directory.join("lastack@test.service");
    let unit = UNIT.replace(PROGRAM, env!("CARGO_BIN_EXE_lastack"));
    assert_ne!(unit, UNIT);
    fs::write(&path, unit).unwrap();
    path
}

fn analyze(arguments: &[&str]) -> Output {
    let directory = Directory::new();
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(arguments).arg(built(&directory));
    analyze.output().unwrap()
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    // It looks at the machine's own units, too, in which there may be some.
    let output = analyze(&["verify", "--recursive-errors=no"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("lastack@"), "{said}");
    assert!(output.status.success(), "{}: {said}", output.status);
}

#[test]
fn systemd_finds_little_exposed_by_the_unit() {
    // In tenths.
    let output = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Overall exposure level"), "{said}");
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_units_command_line_is_understood() {
    let [command] = setting("ExecStart")[..] else {
        panic!("one command");
    };
    let command = command.replace("%i", "test").replace("%E", "/etc");
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some(PROGRAM));
    let mut arguments: Vec<_> = words.collect();
    // Says whether all before it is understood, and runs nothing.
    arguments.push("--help");
    let output = lastack(&arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
