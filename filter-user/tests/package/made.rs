//! The packages, made of the program that these tests are built with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::OnceLock,
};

/// A directory with the Debian package of this revision, and the tarball.
pub(crate) fn revision(number: usize) -> &'static Path {
    static MADE: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let made = MADE.get_or_init(|| [make("1"), make("2")]);
    &made[number - 1]
}

fn make(revision: &str) -> PathBuf {
    let directory = own(&format!("revision-{revision}"));
    package(revision, &directory);
    directory
}

/// A directory of this run alone. Those of runs that have ended are removed.
fn own(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(place).unwrap() {
        let there = entry.unwrap().path();
        let end = there.to_str().and_then(|path| path.rsplit_once("-of-"));
        if let Some((_, process)) = end
            && !Path::new("/proc").join(process).exists()
        {
            fs::remove_dir_all(&there).ok();
        }
    }
    place.join(format!("{name}-of-{}", process::id()))
}

/// Makes both packages in a directory, and nothing else is in it afterwards.
pub(crate) fn package(revision: &str, directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["xtask", "package", "--revision", revision, "--binary"])
        .arg(env!("CARGO_BIN_EXE_lastack"))
        .arg("--dir")
        .arg(directory)
        // The checkout may be somebody else's, of whom git says nothing to root.
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    // What cargo says of this test is not so of the other program.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn packages_that_are_made_twice_have_the_same_bytes() {
    let directory = own("again");
    package("1", &directory);
    let [once, again] = [revision(1), &directory].map(files);
    assert_eq!(once.len(), 2, "{once:?}");
    for (once, again) in once.iter().zip(&again) {
        assert_eq!(once.file_name(), again.file_name());
        assert!(
            fs::read(once).unwrap() == fs::read(again).unwrap(),
            "{once:?}"
        );
    }
}

#[test]
fn lintian_finds_neither_errors_nor_warnings() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--allow-root", "--no-cfg"]);
    let deb = files(revision(1))
        .into_iter()
        .find(|file| file.extension().unwrap() == "deb");
    let output = lintian.arg(deb.unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
