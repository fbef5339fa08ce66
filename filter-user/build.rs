//! Builds the packet programs for the BPF target, so that the binary embeds them.
//!
//! Which toolchain and linker do that is found once by `cargo xtask setup` and kept in
//! `target/ebpf-build.conf`; without that file the default nightly is tried.
//!
//! aya-build hands every line of the inner cargo to the outer one as a warning. So it runs in a
//! second process of this script, whose output is sifted: progress is dropped, what the compiler
//! has to say stays.

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, anyhow, bail};
use aya_build::{Package, Toolchain};

/// Set for the second process: the toolchain, or nothing for the default one.
const INNER: &str = "LASTACK_EBPF_TOOLCHAIN";

/// How the inner cargo's lines of progress begin.
const PROGRESS: [&str; 12] = [
    "Adding ",
    "Blocking ",
    "Checking ",
    "Compiling ",
    "Downloaded ",
    "Downloading ",
    "Dirty ",
    "Finished ",
    "Fresh ",
    "Locking ",
    "Updating ",
    "which(rustup)",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Not by returning it: that would print a backtrace where RUST_BACKTRACE is set.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("no manifest directory")?;
    let root = Path::new(&manifest)
        .parent()
        .context("the workspace has a root")?;
    match env::var(INNER) {
        Ok(toolchain) => build(root, &toolchain),
        Err(_) => sift(root),
    }
}

/// Runs the second process with what setup found.
fn sift(root: &Path) -> anyhow::Result<()> {
    let conf = root.join("target/ebpf-build.conf");
    println!("cargo:rerun-if-changed={}", conf.display());
    for input in [
        "filter-common/src",
        "filter-common/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    let conf = fs::read_to_string(&conf).unwrap_or_default();
    let value = |key: &str| {
        conf.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    let mut inner = Command::new(env::current_exe().context("this script has no path")?);
    inner
        .env(INNER, value("toolchain").unwrap_or_default())
        .env_remove("RUSTC_BOOTSTRAP")
        .stdin(Stdio::null());
    if let Some(directory) = value("linker-directory") {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(
            [directory.into()]
                .into_iter()
                .chain(env::split_paths(&path)),
        )
        .with_context(|| format!("{directory} cannot be put on PATH"))?;
        inner.env("PATH", path);
    }
    if value("prebuilt-core") == Some("yes") {
        inner.env("RUSTC_BOOTSTRAP", "aya_ebpf");
    }
    let output = inner.output().context("this script cannot be run again")?;
    let (warnings, others): (Vec<_>, Vec<_>) = str::from_utf8(&output.stdout)
        .context("the build of the packet programs printed no text")?
        .lines()
        .partition(|line| line.starts_with("cargo:warning="));
    let is_progress = |line: &str| {
        PROGRESS
            .iter()
            .any(|word| line.trim_start().starts_with(word))
    };
    let told = warnings
        .iter()
        .map(|line| line.trim_start_matches("cargo:warning="))
        .filter(|line| !line.is_empty() && !is_progress(line));
    if !output.status.success() {
        for line in told {
            eprintln!("{line}");
        }
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!(
            "the packet programs were not built; if a tool is missing, `cargo xtask setup` installs it"
        )
    }
    for line in told {
        println!("cargo:warning={line}");
    }
    for line in others {
        println!("{line}");
    }
    Ok(())
}

fn build(root: &Path, toolchain: &str) -> anyhow::Result<()> {
    let toolchain = match toolchain {
        "" => Toolchain::default(),
        name => Toolchain::Custom(name),
    };
    let ebpf = root.join("filter-ebpf");
    let ebpf = ebpf
        .to_str()
        .ok_or_else(|| anyhow!("{} is not UTF-8", ebpf.display()))?;
    let package = Package {
        name: "filter-ebpf",
        root_dir: ebpf,
        ..Package::default()
    };
    aya_build::build_ebpf([package], toolchain)
}
