//! `cargo xtask package --check`: two builds, in two places, give the same bytes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{create, printed};
use crate::{
    machine::{Here, Machine as _},
    process::visibly,
    workspace,
};

/// The check.
pub(super) fn run() -> Result<()> {
    let root = workspace::root();
    let mut git = Command::new("git");
    let changes = printed(git.args(["status", "--porcelain"]).current_dir(&root))?;
    if !changes.is_empty() {
        bail!("only what is committed can be built from a clone; commit or stash:\n{changes}");
    }
    // Whatever is committed meanwhile.
    let mut git = Command::new("git");
    let commit = printed(git.args(["rev-parse", "HEAD"]).current_dir(&root))?;
    let time = super::changed()?.to_string();
    let apart = Apart::new()?;
    let packages = [
        root.join("target/package/check"),
        apart.path().join("packages"),
    ];
    let mut here = workspace::cargo(["xtask", "package", "--dir"]);
    visibly(here.arg(&packages[0]).env("SOURCE_DATE_EPOCH", time))?;
    apart.build(&root, commit.trim(), &packages[1])?;
    let names = names(&packages[0])?;
    if names.is_empty() || names != self::names(&packages[1])? {
        bail!("other packages were made elsewhere than here: {names:?}");
    }
    let mut differ = Vec::new();
    for name in &names {
        let [one, other] = packages
            .each_ref()
            .map(|packages| fs::read(packages.join(name)));
        if one? != other? {
            differ.push(name.as_str());
        }
    }
    if !differ.is_empty() {
        let kept = root.join("target/package/check-elsewhere");
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        visibly(Command::new("cp").arg("-r").arg(&packages[1]).arg(&kept))?;
        bail!(
            "differ between two builds: {}; compare {} and {}",
            differ.join(", "),
            packages[0].display(),
            kept.display()
        );
    }
    println!("the same bytes from two builds: {}", names.join(", "));
    Ok(())
}

/// A directory elsewhere, that goes in the end.
struct Apart(TempDir);

impl Apart {
    fn new() -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix("lastack-package-")
            .tempdir();
        made.map(Self)
            .context("there is no other place to build in; set TMPDIR")
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Packages a clone, with what cargo has downloaded under another path.
    fn build(&self, root: &Path, commit: &str, packages: &Path) -> Result<()> {
        let clone = self.path().join("clone");
        visibly(
            Command::new("git")
                .args(["clone", "--quiet"])
                .arg(root)
                .arg(&clone),
        )?;
        let mut git = Command::new("git");
        git.args(["checkout", "--quiet", "--detach", commit]);
        visibly(git.current_dir(&clone))?;
        let home = self.path().join("cargo");
        create(&home)?;
        let variable = |name| Here.variable(name).map(PathBuf::from);
        let cargo = variable("CARGO_HOME")
            .or_else(|| Some(variable("HOME")?.join(".cargo")))
            .context("there is neither CARGO_HOME nor HOME")?;
        for name in ["registry", "git", "config.toml"] {
            let there = cargo.join(name);
            if there.exists() {
                symlink(&there, home.join(name))?;
            }
        }
        let mut there = Command::new("sh");
        there
            // By somebody who is careful.
            .args(["-c", "umask 077; exec \"$@\"", "sh"])
            .arg(workspace::cargo_program())
            .args(["xtask", "package", "--dir"])
            .arg(packages)
            .current_dir(&clone)
            .env("CARGO_HOME", &home)
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_TARGET_DIR");
        visibly(&mut there)
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
