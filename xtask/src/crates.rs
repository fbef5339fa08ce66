//! `cargo xtask crates`: the packages of those crates that can be published, without publishing.
//!
//! Nothing is asked of a registry but what cargo has already.

use std::{
    fs,
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    conf::Conf,
    process::{in_words, visibly},
    setup,
    workspace::{self, cargo},
};

/// Options of `cargo xtask crates`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Builds lastack, too, from its package and from those that it needs; takes minutes
    #[arg(long)]
    all: bool,
}

/// Each with what is in its package beside its sources, its manifest and what cargo puts there.
const CRATES: [(&str, &[&str]); 4] = [
    ("filter-common", &["LICENSE-APACHE", "LICENSE-MIT"]),
    ("filter-ebpf", &["LICENSE-GPL2", "LICENSE-MIT"]),
    ("filter-analysis", &["LICENSE-APACHE", "LICENSE-MIT"]),
    (
        "filter-user",
        &["LICENSE-APACHE", "LICENSE-MIT", "build.rs", "lastack.toml"],
    ),
];

/// Those that take seconds to build.
const QUICK: [&str; 2] = ["filter-common", "filter-ebpf"];

/// In every package.
const COMMON: [&str; 5] = [
    ".cargo_vcs_info.json",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "README.md",
];

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    for (package, own) in CRATES {
        let listed = list(package)?;
        let files: Vec<_> = listed.lines().collect();
        compare(&files, own).with_context(|| format!("the package of {package}"))?;
    }
    let names = CRATES.map(|(package, _)| package);
    if !arguments.all {
        visibly(package(&names).args(["--quiet", "--no-verify"]))?;
        return visibly(package(&QUICK).arg("--quiet"));
    }
    setup::ensure()?;
    let root = workspace::root();
    // Cargo takes a package with the same version from the same place for the one that it has
    // unpacked, and built, before. So each time it is another place.
    let place = root.join(format!("target/crates-{}", process::id()));
    let built = visibly(
        package(&names)
            .arg("--target-dir")
            .arg(&place)
            .env("LASTACK_EBPF_BUILD", Conf::path(&root))
            .env("CARGO_NET_OFFLINE", "true"),
    );
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    built
}

fn package(names: &[&str]) -> Command {
    let mut package = cargo(["package", "--offline", "--allow-dirty"]);
    package.args(names.iter().map(|name| format!("--package={name}")));
    package
}

/// The files that its package would have.
fn list(name: &str) -> Result<String> {
    let output = package(&[name])
        .args(["--quiet", "--list"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "`cargo package --list` of {name} failed ({}): {}",
            in_words(output.status),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("cargo's list of files is no text")
}

/// All of what has to be there, and nothing else but sources.
fn compare(files: &[&str], own: &[&str]) -> Result<()> {
    let mut expected = COMMON.iter().chain(own);
    if let Some(missing) = expected.find(|expected| {
        // Only in a checkout of git.
        **expected != COMMON[0] && !files.contains(*expected)
    }) {
        bail!("{missing} is missing");
    }
    let is_source = |file: &str| file.starts_with("src/");
    let is_expected = |file: &str| COMMON.contains(&file) || own.contains(&file);
    let mut files = files.iter();
    match files.find(|file| !is_source(file) && !is_expected(file)) {
        Some(stray) => bail!("{stray} does not belong there"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_does_not_belong_there_is_named() {
        let own = ["LICENSE-MIT"];
        let whole = [
            "Cargo.lock",
            "Cargo.toml",
            "Cargo.toml.orig",
            "LICENSE-MIT",
            "README.md",
            "src/lib.rs",
        ];
        compare(&whole, &own).unwrap();
        let without = whole.map(|file| {
            if file == "LICENSE-MIT" {
                "src/x.rs"
            } else {
                file
            }
        });
        let error = compare(&without, &own).unwrap_err();
        assert_eq!(error.to_string(), "LICENSE-MIT is missing");
        let stray = [&whole[..], &["tests/captures/kb.pcap"]].concat();
        let error = compare(&stray, &own).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tests/captures/kb.pcap does not belong there"
        );
    }
}
