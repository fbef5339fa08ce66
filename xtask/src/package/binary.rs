//! The program for a package: optimised, and with no word of where it was built.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{directory, printed};
use crate::{process::visibly, workspace};

/// How the C library gets into the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linkage {
    Dynamic,
    Static,
}

impl Linkage {
    const fn name(self) -> &'static str {
        match self {
            Self::Dynamic => "dynamic",
            Self::Static => "static",
        }
    }
}

/// Builds it; says where it is.
pub(super) fn build(linkage: Linkage) -> Result<PathBuf> {
    let target = env!("HOST_TARGET");
    let artefacts = directory().join("build");
    eprintln!("building lastack with {} linking", linkage.name());
    let mut cargo = workspace::cargo([
        "build",
        "--release",
        "--locked",
        "--package=filter-user",
        "--bin=lastack",
        // With a target the flags are not for build scripts and procedural macros.
        "--target",
        target,
        "--target-dir",
    ]);
    cargo.arg(&artefacts);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(linkage)?);
    visibly(&mut cargo)?;
    let built = artefacts.join(target).join("release/lastack");
    // The other linkage takes the same place.
    let copy = directory().join(format!("lastack-{}", linkage.name()));
    fs::copy(&built, &copy).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(copy)
}

/// The compiler's flags. Panics name source files: what they are called depends on neither the
/// checkout nor the person.
fn flags(linkage: Linkage) -> Result<String> {
    let sysroot = printed(Command::new("rustc").args(["--print", "sysroot"]))?;
    let cargo = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")))
        .context("where cargo keeps crates is in neither CARGO_HOME nor HOME")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // Also as it is called where a symbolic link leads there.
    let registry = cargo.join("registry");
    let registry = registry.canonicalize().unwrap_or(registry);
    let mut flags = vec![
        remap(Path::new(sysroot.trim()), "/rust"),
        remap(&cargo, "/cargo"),
        remap(&registry, "/cargo/registry"),
        remap(&workspace::root(), "/lastack"),
    ];
    if linkage == Linkage::Static {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
    }
    Ok(flags.join("\x1f"))
}
