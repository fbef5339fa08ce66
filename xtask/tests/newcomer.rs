//! A newcomer's path, from a clone to the cure: the commands under "See it" in README.md, as they
//! stand, in a clone of what is committed here. Needs root or sudo, and git.
//!
//! Dependencies that are built here already are not built once more: that takes a newcomer minutes.
//! What is lastack's own is.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// What stands there, in README.md; a checkout is what the first of them makes.
fn commands(readme: &str) -> Vec<String> {
    let (_, section) = readme.split_once("\n## See it\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, block) = section.split_once("\n```console\n").unwrap();
    let block = block.split("\n```").next().unwrap();
    let commands = block.lines().map(|line| line.strip_prefix("$ ").unwrap());
    commands.map(str::to_owned).collect()
}

/// A clone of what is committed in this checkout; it goes with this.
struct Clone {
    path: PathBuf,
    /// Its place is that of other runs, too: another path would have everything built anew.
    _lock: File,
}

impl Clone {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let place = place();
        fs::create_dir_all(&place).unwrap();
        let lock = File::create(place.join("lock")).unwrap();
        lock.lock().unwrap();
        let clone = Self {
            path: place.join("lastack"),
            _lock: lock,
        };
        clone.remove();
        // The owner of the checkout may be somebody else.
        let trust = place.join("gitconfig");
        fs::write(&trust, "[safe]\n\tdirectory = *\n").unwrap();
        let mut git = Command::new("git");
        git.env("GIT_CONFIG_GLOBAL", trust)
            .args(["clone", "--quiet"])
            .args([root, &clone.path]);
        let cloned = git.status().unwrap();
        assert!(cloned.success(), "{git:?}: {cloned}");
        clone
    }

    fn remove(&self) {
        if self.path.exists() {
            fs::remove_dir_all(&self.path).unwrap();
        }
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Where cargo lets tests keep files.
fn place() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("newcomer")
}

/// Where cargo keeps what is built here.
fn built() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// A shell's command in this directory, as somebody would type it.
fn typed(directory: &Path, command: &str) -> Output {
    let mut shell = Command::new("bash");
    // What cargo tells a test, and where this checkout is built, are not a newcomer's.
    for (name, _) in env::vars_os() {
        let own = ["CARGO_BIN", "CARGO_MANIFEST", "CARGO_PKG", "CARGO_TARGET"];
        if own
            .iter()
            .any(|own| name.to_string_lossy().starts_with(own))
        {
            shell.env_remove(name);
        }
    }
    shell
        .env("CARGO_BUILD_BUILD_DIR", built())
        .args(["-c", command])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn succeeds(directory: &Path, command: &str) -> String {
    let output = typed(directory, command);
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command}: {}\n{printed}{said}",
        output.status
    );
    printed.into_owned()
}

/// The figures of the demo's rows of both families, up to failed reads.
fn both(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().filter(|line| line.contains(" both "));
    let words = rows.map(|row| row.split_whitespace().take(7).collect());
    words.collect()
}

#[test]
fn the_commands_under_see_it_lead_from_a_clone_to_the_cure() {
    let Clone { path: clone, .. } = &Clone::new();
    let readme = fs::read_to_string(clone.join("README.md")).unwrap();
    let commands = commands(&readme);
    assert!(!commands.is_empty());
    let printed: Vec<_> = commands.iter().map(|line| succeeds(clone, line)).collect();
    let table = &printed[0];
    // Connections; spurious ACKs sent, observed, dropped; resets; failed reads.
    assert_eq!(
        both(table),
        [
            ["100", "both", "100", "-", "-", "100", "100"],
            ["100", "both", "100", "100", "0", "100", "100"],
            ["100", "both", "100", "0", "100", "0", "0"],
        ],
        "{table}"
    );
    // The README shows what is printed.
    let mut blocks = readme.split("\n```");
    let shown = blocks.find(|block| block.contains(" both ")).unwrap();
    assert_eq!(both(shown), both(table));
}
