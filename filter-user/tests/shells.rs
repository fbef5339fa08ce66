//! Completions in real shells, and the manual in real groff. Needs bash and groff.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
};

const LASTACK: &str = env!("CARGO_BIN_EXE_lastack");

/// What bash offers for the last of these words.
fn bash(words: &[&str]) -> Vec<String> {
    // As bash calls it: the command, the word, the one before it. Outside of a completion there is
    // nothing that compopt could change.
    let script = r#"
        compopt() { :; }
        source <("$0" completions bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        function=$(complete -p lastack | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" lastack "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script, LASTACK]).args(words);
    let lines = success(&mut command);
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(bash(&["lastack", "comp"]), ["completions"]);
    let mut options = bash(&["lastack", "run", "--m"]);
    options.sort();
    assert_eq!(options, ["--max-flows", "--metrics-addr", "--mode"]);
    assert_eq!(
        bash(&["lastack", "run", "--mode", ""]),
        ["enforce", "monitor"]
    );
    assert_eq!(bash(&["lastack", "run", "--ingress", "x"]), ["xdp"]);
}

/// `--rst-guard=false` exists, but `--rst-guard false` does not.
#[test]
fn bash_completes_no_value_behind_a_switch() {
    assert_eq!(bash(&["lastack", "run", "--rst-guard", "--mo"]), ["--mode"]);
    let offered = bash(&["lastack", "run", "--rst-guard", ""]);
    assert!(!offered.contains(&"true".to_owned()), "{offered:?}");
    assert!(offered.contains(&"--iface".to_owned()), "{offered:?}");
}

#[test]
fn other_shells_read_their_completions_if_they_are_there() {
    for (shell, check) in [("zsh", &["-n"][..]), ("fish", &["--no-execute"])] {
        let script = success(Command::new(LASTACK).args(["completions", shell]));
        assert!(script.contains("rst-guard"), "{script}");
        if is_there(shell) {
            success_with(Command::new(shell).args(check), &script);
        }
    }
}

#[test]
fn the_manual_has_every_section_of_a_manual() {
    let page = success(Command::new(LASTACK).arg("man"));
    assert_clean(&page);
    let sections: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".SH "))
        .collect();
    assert_eq!(
        sections,
        [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "SUBCOMMANDS",
            "\"EXIT STATUS\"",
            "ENVIRONMENT",
            "FILES",
            "EXAMPLES",
            "\"SEE ALSO\""
        ]
    );
}

#[test]
fn each_command_has_a_page_which_groff_takes_without_a_warning() {
    let directory = Directory::new("pages");
    let path = directory.0.to_str().unwrap();
    success(Command::new(LASTACK).args(["man", "--dir", path]));
    let help = success(Command::new(LASTACK).arg("-h"));
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("Options:").next().unwrap();
    let commands = commands.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        let name = line.split(' ').next()?;
        (!name.is_empty() && name != "help").then(|| format!("lastack-{name}.1"))
    });
    let mut expected: Vec<_> = commands.chain(["lastack.1".to_owned()]).collect();
    expected.sort();
    let mut pages: Vec<_> = fs::read_dir(&directory.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_eq!(pages, expected);
    for page in pages {
        assert_clean(&fs::read_to_string(directory.0.join(page)).unwrap());
    }
}

#[test]
fn pages_go_to_a_new_directory_but_what_leads_there_must_be_there() {
    let directory = Directory::new("new-pages");
    let wrong = directory.0.join("shrae/man1");
    let output = Command::new(LASTACK)
        .args(["man", "--dir", wrong.to_str().unwrap()])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(wrong.to_str().unwrap()), "{stderr}");
    assert!(!wrong.parent().unwrap().exists());
    let new = directory.0.join("man1");
    success(Command::new(LASTACK).args(["man", "--dir", new.to_str().unwrap()]));
    assert!(new.join("lastack.1").exists());
}

#[track_caller]
fn assert_clean(page: &str) {
    let groff = success_with(Command::new("groff").args(["-man", "-ww", "-z"]), page);
    assert_eq!(String::from_utf8(groff.stderr).unwrap(), "", "{page}");
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap();
    env::split_paths(&path).any(|directory| Path::new(&directory).join(program).exists())
}

/// What a program prints.
#[track_caller]
fn success(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same of one that reads.
#[track_caller]
fn success_with(command: &mut Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let directory = env::temp_dir().join(format!("lastack-{name}-{}", process::id()));
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
