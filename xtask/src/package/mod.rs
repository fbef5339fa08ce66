//! `cargo xtask package`: a Debian package and a tarball, for machines without a toolchain.
//!
//! Both have the same tree of files. In the tarball the program is linked statically, so that it runs on
//! any distribution; Debian wants it dynamic, and says by its dependencies which glibc it needs.

mod binary;
mod check;
mod notices;
mod pages;
mod tree;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use self::binary::Linkage;
use crate::{
    apt::{self, Tool},
    machine::Here,
    process::{quietly, visibly},
    program::Program,
    setup, workspace,
};

/// Options of `cargo xtask package`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where packages are written to [default: target/package]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Debian's revision, for the same version packaged once more
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    revision: u32,
    /// Packages this binary instead of building one, in both
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Builds once more from a clone in another directory, and compares the bytes
    #[arg(long, conflicts_with_all = ["dir", "revision", "binary"])]
    check: bool,
}

/// What makes the package.
const CARGO_DEB: Program = Program {
    name: "cargo-deb",
    version: "3.8.0",
    why: "it makes the Debian package",
};

const TOOLS: [Tool; 6] = [
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("strip", "binutils"),
    ("tar", "tar"),
    ("gzip", "gzip"),
    ("xz", "xz-utils"),
    ("git", "git"),
];

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check::run();
    }
    setup::ensure()?;
    apt::tools(&Here, &TOOLS, "they make the packages")?;
    let cargo_deb = CARGO_DEB.ensure(&Here)?;
    create(&directory())?;
    let into = arguments.dir.clone().unwrap_or_else(directory);
    create(&into)?;
    let into = into.canonicalize().context("no directory to write to")?;
    let source = Source::new(arguments.revision)?;
    // What is built, and the tree that cargo-deb reads, have fixed places.
    let _lock = lock()?;
    let binaries = if let Some(binary) = &arguments.binary {
        [binary.clone(), binary.clone()]
    } else {
        [
            binary::build(Linkage::Dynamic)?,
            binary::build(Linkage::Static)?,
        ]
    };
    let deb = deb(&binaries[0], &source, &cargo_deb, &into)?;
    tell(&deb, &needs(&deb)?)?;
    let tarball = tarball(&binaries[1], &source, &into)?;
    tell(&tarball, "nothing")
}

/// Where everything of this verb is kept.
pub(crate) fn directory() -> PathBuf {
    workspace::root().join("target/package")
}

/// Waits for others that make packages of this checkout.
fn lock() -> Result<File> {
    let path = directory().join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot wait for {}", path.display()))?;
    Ok(file)
}

/// What is packaged.
struct Source {
    version: String,
    revision: u32,
    /// When it was changed last, in seconds since 1970: the time of all files.
    changed: u64,
}

impl Source {
    fn new(revision: u32) -> Result<Self> {
        let metadata = printed(&mut workspace::cargo([
            "metadata",
            "--format-version=1",
            "--no-deps",
        ]))?;
        let metadata: Value = serde_json::from_str(&metadata)?;
        let mut packages = metadata["packages"].as_array().into_iter().flatten();
        let package = packages.find(|package| package["name"] == "filter-user");
        let version = package.and_then(|package| package["version"].as_str());
        Ok(Self {
            version: version.context("cargo knows no version")?.to_owned(),
            revision,
            changed: changed()?,
        })
    }
}

/// Of the last commit, if SOURCE_DATE_EPOCH says nothing else.
fn changed() -> Result<u64> {
    let time = match env::var("SOURCE_DATE_EPOCH") {
        Ok(time) => time,
        Err(_) => printed(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(workspace::root()),
        )
        .context("no commit tells the time of what is packaged; set SOURCE_DATE_EPOCH")?,
    };
    let seconds = time.trim().parse();
    seconds.with_context(|| format!("no time in seconds since 1970: {time}"))
}

fn deb(built: &Path, source: &Source, cargo_deb: &Path, into: &Path) -> Result<PathBuf> {
    let tree = directory().join("tree");
    tree::make(&tree, built, source)?;
    tree::add_what_debian_reads(&tree)?;
    let architecture = printed(Command::new("dpkg").arg("--print-architecture"))?;
    let Source {
        version, revision, ..
    } = source;
    let file = format!("lastack_{version}-{revision}_{}.deb", architecture.trim());
    let path = into.join(file);
    visibly(
        Command::new(cargo_deb)
            .args(["--package=filter-user", "--no-build", "--no-strip"])
            .args(["--locked", "--quiet", "--compress-system"])
            .arg(format!("--deb-revision={revision}"))
            .arg("--output")
            .arg(&path)
            .current_dir(workspace::root())
            .env("SOURCE_DATE_EPOCH", source.changed.to_string()),
    )?;
    Ok(path)
}

fn tarball(built: &Path, source: &Source, into: &Path) -> Result<PathBuf> {
    let name = format!("lastack-{}-{}", source.version, env::consts::ARCH);
    let top = directory().join(&name);
    tree::make(&top, built, source)?;
    tree::add_what_unpacks_alone(&top)?;
    let path = into.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--format=gnu", "--numeric-owner"])
        .args(["--owner=0", "--group=0"])
        // Whatever the umask is here.
        .arg("--mode=u=rwX,go=rX")
        .arg(format!("--mtime=@{}", source.changed))
        .arg("--use-compress-program=gzip -9n")
        .arg("--file")
        .arg(&path)
        .arg("--directory")
        .arg(directory())
        .arg(&name);
    quietly(&mut tar, "tar")?;
    Ok(path)
}

/// What a Debian package depends on.
fn needs(deb: &Path) -> Result<String> {
    let mut dpkg = Command::new("dpkg-deb");
    let depends = printed(dpkg.arg("--field").arg(deb).arg("Depends"))?;
    Ok(depends.trim().to_owned())
}

fn tell(path: &Path, needs: &str) -> Result<()> {
    let sum = printed(Command::new("sha256sum").arg(path))?;
    let sum = sum.split(' ').next().unwrap_or_default();
    println!("{}\n  sha256 {sum}\n  needs {needs}", path.display());
    Ok(())
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// What a program prints.
fn printed(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output();
    let output = output.with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        bail!(
            "`{name}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{name}` printed no text"))
}
