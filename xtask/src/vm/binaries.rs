//! The test binaries that run in the guest, and the script that runs them.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Arguments;
use crate::{
    process::in_words,
    workspace::{self, HOST},
};

/// Whose integration tests run there.
const PACKAGE: &str = "filter-user";

/// A built integration test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binary {
    executable: PathBuf,
    /// Where cargo runs it.
    directory: PathBuf,
}

/// Builds the chosen tests; gives those with at least one test to run.
pub(super) fn build(arguments: &Arguments) -> Result<Vec<Binary>> {
    let mut cargo = workspace::cargo(["test", "--no-run"]);
    cargo
        .args(HOST)
        .arg("--message-format=json-render-diagnostics");
    let all = ["*".to_owned()];
    let tests = if arguments.test.is_empty() {
        &all[..]
    } else {
        &arguments.test
    };
    for test in tests {
        cargo.args(["--test", test]);
    }
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "the tests were not built: cargo failed ({})",
            in_words(output.status)
        );
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let package = workspace::root().join(PACKAGE);
    let ours = |binary: &Binary| binary.directory == package;
    let mut chosen = Vec::new();
    for binary in messages.lines().filter_map(integration_test).filter(ours) {
        if has_tests(&binary, arguments)? {
            chosen.push(binary);
        }
    }
    if chosen.is_empty() {
        bail!("{}", no_test(arguments));
    }
    Ok(chosen)
}

/// The integration test that a line of cargo's messages tells of.
fn integration_test(line: &str) -> Option<Binary> {
    let message: Value = serde_json::from_str(line).ok()?;
    let kinds = message["target"]["kind"].as_array()?;
    let directory = Path::new(message["manifest_path"].as_str()?).parent()?;
    kinds.iter().any(|kind| kind == "test").then_some(())?;
    Some(Binary {
        executable: message["executable"].as_str()?.into(),
        directory: directory.to_owned(),
    })
}

fn has_tests(binary: &Binary, arguments: &Arguments) -> Result<bool> {
    let listed = Command::new(&binary.executable)
        .current_dir(&binary.directory)
        .args(["--list", "--format", "terse"])
        .args(selection(arguments))
        .output()
        .with_context(|| format!("cannot start {}", binary.executable.display()))?;
    Ok(String::from_utf8_lossy(&listed.stdout)
        .lines()
        .any(|line| line.ends_with(": test")))
}

/// What tells a test binary which of its tests are meant.
fn selection(arguments: &Arguments) -> Vec<&str> {
    let which = if arguments.include_ignored {
        "--include-ignored"
    } else {
        "--ignored"
    };
    let filters = arguments.filters.iter().map(String::as_str);
    std::iter::once(which).chain(filters).collect()
}

fn no_test(arguments: &Arguments) -> String {
    let which = if arguments.include_ignored {
        "no test"
    } else {
        "no test that is for the virtual machine only (--include-ignored adds the others)"
    };
    if arguments.filters.is_empty() {
        format!("there is {which}")
    } else {
        format!("{which} has {} in its name", arguments.filters.join(" or "))
    }
}

/// A shell script that runs all of them, and fails if one of them does.
///
/// `coloured`: whether what they print ends on a terminal.
pub(super) fn script(binaries: &[Binary], arguments: &Arguments, coloured: bool) -> String {
    let colour = if coloured { "always" } else { "never" };
    let mut script = "failed=0\n".to_owned();
    for binary in binaries {
        let directory = quoted(&binary.directory.to_string_lossy());
        let executable = quoted(&binary.executable.to_string_lossy());
        // One at a time: where every instruction is emulated, two take each other's time.
        let command = write!(
            script,
            "(cd {directory} && exec {executable} --test-threads=1 --color={colour}"
        );
        command.expect("a string takes all");
        for argument in selection(arguments) {
            script.push(' ');
            script.push_str(&quoted(argument));
        }
        script.push_str(") || failed=1\n");
    }
    script + "exit $failed\n"
}

/// As a shell takes it for one word.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(name: &str) -> Binary {
        Binary {
            executable: format!("/t/deps/{name}").into(),
            directory: "/w/filter-user".into(),
        }
    }

    #[test]
    fn integration_tests_are_found_among_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/w/filter-user/Cargo.toml","target":{"kind":["test"],"name":"links"},"executable":"/t/deps/links-1"}"#;
        assert_eq!(integration_test(line), Some(binary("links-1")));
        assert_eq!(
            integration_test(&line.replace("[\"test\"]", "[\"lib\"]")),
            None
        );
        assert_eq!(
            integration_test(&line.replace("\"/t/deps/links-1\"", "null")),
            None
        );
        assert_eq!(
            integration_test(r#"{"reason":"build-finished","success":true}"#),
            None
        );
    }

    #[test]
    fn the_script_runs_each_in_its_directory_and_keeps_a_failure() {
        let arguments = Arguments {
            filters: vec!["it's".to_owned()],
            ..Arguments::default()
        };
        assert_eq!(
            script(&[binary("links-1"), binary("run-2")], &arguments, false),
            "failed=0\n\
            (cd '/w/filter-user' && exec '/t/deps/links-1' --test-threads=1 --color=never '--ignored' 'it'\\''s') || failed=1\n\
            (cd '/w/filter-user' && exec '/t/deps/run-2' --test-threads=1 --color=never '--ignored' 'it'\\''s') || failed=1\n\
            exit $failed\n"
        );
    }

    #[test]
    fn what_was_not_found_is_named() {
        let mut arguments = Arguments {
            filters: vec!["vlna".to_owned()],
            include_ignored: true,
            ..Arguments::default()
        };
        assert_eq!(no_test(&arguments), "no test has vlna in its name");
        arguments.include_ignored = false;
        assert_eq!(
            no_test(&arguments),
            "no test that is for the virtual machine only (--include-ignored adds the others) has vlna in its name"
        );
    }
}
