//! Builds the packet programs for the BPF target, so that the binary embeds them.
//!
//! Which toolchain and linker do that is found once by `cargo xtask setup` and kept in
//! `target/ebpf-build.conf`, or in the file that LASTACK_EBPF_BUILD names; without such a file the
//! default nightly is tried.
//!
//! In a checkout the programs' package is a member of the workspace. Where this package came from a
//! registry it is none, so a workspace is made for it, in which it gets the sources of filter-common
//! that this package is built with.
//!
//! aya-build hands every line of the inner cargo to the outer one as a warning. So it runs in a
//! second process of this script, whose output is sifted: progress is dropped, what the compiler
//! has to say stays.
//!
//! The compiler of the programs is called through this script once more, which has it leave out
//! where the machine keeps things: line information would name it, and no two builds be the same.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain};

/// Set for the second process: the toolchain, or nothing for the default one.
const INNER: &str = "LASTACK_EBPF_TOOLCHAIN";

/// Set for the compiler: its options, a line each.
const REMAPS: &str = "LASTACK_EBPF_REMAPS";

/// Names the file that is otherwise `target/ebpf-build.conf`.
const CONF: &str = "LASTACK_EBPF_BUILD";

/// The packages that the programs are made of: their names, and where they are.
const PROGRAMS: (&str, &str) = ("filter-ebpf", filter_ebpf::SOURCES);
const COMMON: (&str, &str) = ("filter-common", filter_common::SOURCES);

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
    let mut arguments = env::args_os().skip(1);
    if let (Some(compiler), Some(remaps)) = (arguments.next(), env::var_os(REMAPS)) {
        let lines = remaps.as_bytes().split(|&byte| byte == b'\n');
        let error = Command::new(&compiler)
            .args(arguments)
            .args(lines.filter(|line| !line.is_empty()).map(OsStr::from_bytes))
            .exec();
        return Err(error).with_context(|| format!("cannot start {}", compiler.display()));
    }
    match env::var(INNER) {
        Ok(toolchain) => build(&toolchain),
        Err(_) => sift(),
    }
}

/// Runs the second process with what setup found.
fn sift() -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed={CONF}");
    let mut inputs = vec![
        Path::new(COMMON.1).join("src"),
        Path::new(COMMON.1).join("Cargo.toml"),
    ];
    let named = env::var_os(CONF).map(PathBuf::from);
    let checkout = checkout();
    let conf = named.or_else(|| Some(checkout?.join("target/ebpf-build.conf")));
    inputs.extend(conf.clone());
    let directory = match checkout {
        Some(root) => {
            inputs.extend([root.join("Cargo.toml"), root.join("Cargo.lock")]);
            root.to_owned()
        }
        None => make_workspace().context("no workspace could be made for the packet programs")?,
    };
    for input in inputs {
        println!("cargo:rerun-if-changed={}", input.display());
    }
    let conf = conf.and_then(|conf| fs::read_to_string(conf).ok());
    let conf = conf.unwrap_or_default();
    let value = |key: &str| {
        conf.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    let this = env::current_exe().context("this script has no path")?;
    let mut inner = Command::new(&this);
    inner
        .env(REMAPS, remaps(&directory, value("sysroot")))
        .env("RUSTC_WRAPPER", this)
        .current_dir(directory)
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
        let remedy = match checkout {
            Some(_) => "if a tool is missing, `cargo xtask setup` installs it",
            None => "that takes bpf-linker on PATH and a nightly Rust with rust-src",
        };
        bail!("the packet programs were not built; {remedy}")
    }
    for line in told {
        println!("cargo:warning={line}");
    }
    for line in others {
        println!("{line}");
    }
    Ok(())
}

/// What becomes of paths in what is compiled, as the compiler takes it: of two that fit the last.
fn remaps(workspace: &Path, sysroot: Option<&str>) -> OsString {
    let cargo = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    // The compiler is started where a library is: a symbolic link on the way is not in that path.
    let registry = cargo.as_deref().map(|cargo| cargo.join("registry"));
    let registry = registry.and_then(|registry| registry.canonicalize().ok());
    let remaps = [
        (sysroot.map(PathBuf::from), "/rust"),
        (cargo, "/cargo"),
        (registry, "/cargo/registry"),
        (workspace.canonicalize().ok(), "/lastack"),
        (Some(workspace.to_owned()), "/lastack"),
        (env::var_os("OUT_DIR").map(PathBuf::from), "/build"),
    ];
    let lines = remaps.into_iter().filter_map(|(from, to)| {
        let mut line = OsString::from("--remap-path-prefix=");
        line.push(from?);
        line.push("=");
        line.push(to);
        Some(line)
    });
    lines.collect::<Vec<_>>().join(OsStr::new("\n"))
}

fn build(toolchain: &str) -> anyhow::Result<()> {
    let toolchain = match toolchain {
        "" => Toolchain::default(),
        name => Toolchain::Custom(name),
    };
    let (name, root_dir) = PROGRAMS;
    let package = Package {
        name,
        root_dir,
        features: &["programs"],
        ..Package::default()
    };
    aya_build::build_ebpf([package], toolchain)
}

/// The root of the workspace that the programs' package belongs to, if it belongs to one.
fn checkout() -> Option<&'static Path> {
    let root = Path::new(PROGRAMS.1).parent()?;
    root.join("Cargo.toml").exists().then_some(root)
}

/// A workspace of the programs' package alone; says where.
fn make_workspace() -> anyhow::Result<PathBuf> {
    let out = env::var_os("OUT_DIR").context("no directory for what is built")?;
    let workspace = Path::new(&out).join("programs");
    let ((programs, from), (common, patch)) = (PROGRAMS, COMMON);
    if workspace.exists() {
        fs::remove_dir_all(&workspace)?;
    }
    copy(Path::new(from), &workspace.join(programs))?;
    let manifest = format!(
        "[workspace]\n\
         members = [{programs:?}]\n\
         resolver = \"3\"\n\
         [patch.crates-io]\n\
         {common} = {{ path = {patch:?} }}\n\
         [profile.release]\n\
         lto = \"thin\"\n"
    );
    fs::write(workspace.join("Cargo.toml"), manifest)?;
    let lock = fs::read_to_string(workspace.join(programs).join("Cargo.lock"))?;
    fs::write(workspace.join("Cargo.lock"), without_source(&lock, common))?;
    Ok(workspace)
}

/// A Cargo.lock in which this package is one of the checkout.
fn without_source(lock: &str, package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let entries = lock.split("\n\n").map(|entry| {
        let is_it = entry.lines().any(|line| line == name);
        let is_kept = |line: &&str| {
            !is_it || !(line.starts_with("source = ") || line.starts_with("checksum = "))
        };
        entry.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
    });
    entries.collect::<Vec<_>>().join("\n\n") + "\n"
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().context("a file has a name")?);
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}
