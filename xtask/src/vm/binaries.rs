//! The test binaries that run on each kernel, and the script that runs them.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::selection::Job;
use crate::{
    process::in_words,
    workspace::{self, HOST},
};

/// Whose integration tests run there.
const PACKAGE: &str = "filter-user";

/// A built integration test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binary {
    /// Of the target.
    pub(super) name: String,
    executable: PathBuf,
    /// Where cargo runs it.
    directory: PathBuf,
}

impl Binary {
    /// The names of the tests that it runs with these arguments.
    pub(super) fn tests(&self, arguments: &[String]) -> Result<Vec<String>> {
        let listed = Command::new(&self.executable)
            .current_dir(&self.directory)
            .args(["--list", "--format", "terse"])
            .args(arguments)
            .output()
            .with_context(|| format!("cannot start {}", self.executable.display()))?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        let tests = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        Ok(tests.map(str::to_owned).collect())
    }
}

/// Which tests are meant, of those that were built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Also those that any kernel can run, and not only those that are marked as being for this.
    pub(super) include_ignored: bool,
    /// Only those with one of these in their name.
    pub(super) filters: Vec<String>,
}

impl Choice {
    /// The binaries with at least one such test, and what tells them which are meant.
    pub(super) fn jobs(&self, binaries: &[Binary]) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for binary in binaries {
            let arguments = self.arguments();
            if !binary.tests(&arguments)?.is_empty() {
                let binary = binary.clone();
                jobs.push(Job { binary, arguments });
            }
        }
        if jobs.is_empty() {
            bail!("{}", self.no_test());
        }
        Ok(jobs)
    }

    fn arguments(&self) -> Vec<String> {
        let which = if self.include_ignored {
            "--include-ignored"
        } else {
            "--ignored"
        };
        let mut arguments = vec![which.to_owned()];
        arguments.extend(self.filters.iter().cloned());
        arguments
    }

    fn no_test(&self) -> String {
        let which = if self.include_ignored {
            "no test"
        } else {
            "no test that is for the virtual machine only (--include-ignored adds the others)"
        };
        if self.filters.is_empty() {
            format!("there is {which}")
        } else {
            format!("{which} has {} in its name", self.filters.join(" or "))
        }
    }
}

/// Builds these integration tests of filter-user, or all.
pub(super) fn build(targets: &[String]) -> Result<Vec<Binary>> {
    let all = ["*".to_owned()];
    let targets = if targets.is_empty() { &all } else { targets };
    let mut cargo = workspace::cargo(["test", "--no-run"]);
    cargo
        .args(HOST)
        .arg("--message-format=json-render-diagnostics");
    for target in targets {
        cargo.args(["--test", target]);
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
    Ok(messages
        .lines()
        .filter_map(integration_test)
        .filter(ours)
        .collect())
}

/// The integration test that a line of cargo's messages tells of.
fn integration_test(line: &str) -> Option<Binary> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = &message["target"];
    let kinds = target["kind"].as_array()?;
    let directory = Path::new(message["manifest_path"].as_str()?).parent()?;
    kinds.iter().any(|kind| kind == "test").then_some(())?;
    Some(Binary {
        name: target["name"].as_str()?.to_owned(),
        executable: message["executable"].as_str()?.into(),
        directory: directory.to_owned(),
    })
}

/// A shell script that runs all of them after `settings`, and fails if one of them does.
///
/// `coloured`: whether what they print ends on a terminal.
pub(super) fn script(jobs: &[Job], settings: &str, coloured: bool) -> String {
    let colour = if coloured { "always" } else { "never" };
    let mut script = format!("{settings}failed=0\n");
    for Job { binary, arguments } in jobs {
        let directory = quoted(&binary.directory.to_string_lossy());
        let executable = quoted(&binary.executable.to_string_lossy());
        // One at a time: where every instruction is emulated, two take each other's time.
        let command = write!(
            script,
            "(cd {directory} && exec {executable} --test-threads=1 --color={colour}"
        );
        command.expect("a string takes all");
        for argument in arguments {
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
            name: name.to_owned(),
            executable: format!("/t/deps/{name}-1").into(),
            directory: "/w/filter-user".into(),
        }
    }

    #[test]
    fn integration_tests_are_found_among_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/w/filter-user/Cargo.toml","target":{"kind":["test"],"name":"links"},"executable":"/t/deps/links-1"}"#;
        assert_eq!(integration_test(line), Some(binary("links")));
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
        let choice = Choice {
            filters: vec!["it's".to_owned()],
            ..Choice::default()
        };
        let jobs = ["links", "run"].map(|name| Job {
            binary: binary(name),
            arguments: choice.arguments(),
        });
        assert_eq!(
            script(&jobs, "export A=1\n", false),
            "export A=1\n\
            failed=0\n\
            (cd '/w/filter-user' && exec '/t/deps/links-1' --test-threads=1 --color=never '--ignored' 'it'\\''s') || failed=1\n\
            (cd '/w/filter-user' && exec '/t/deps/run-1' --test-threads=1 --color=never '--ignored' 'it'\\''s') || failed=1\n\
            exit $failed\n"
        );
    }

    #[test]
    fn what_was_not_found_is_named() {
        let mut choice = Choice {
            filters: vec!["vlna".to_owned()],
            include_ignored: true,
        };
        assert_eq!(choice.no_test(), "no test has vlna in its name");
        choice.include_ignored = false;
        assert_eq!(
            choice.no_test(),
            "no test that is for the virtual machine only (--include-ignored adds the others) has vlna in its name"
        );
    }
}
