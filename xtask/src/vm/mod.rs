//! `cargo xtask vm`: end-to-end tests on other kernels, with all their modules, under QEMU.
//!
//! The kernels are Debian's. A guest sees the host's root, so that every program and library is
//! there under its path, but writes to memory; it has no network and no disk.

mod archive;
mod binaries;
mod host;
mod initramfs;
mod kernel;
mod modules;
mod outcome;
mod qemu;
mod selection;
mod tally;

use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal as _, Write as _, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::{
    binaries::{Binary, Choice},
    initramfs::Initramfs,
    kernel::{Kernel, Scope, Wanted},
    outcome::{Outcome, table},
    qemu::{Accelerator, Guest},
    selection::{IN_CI, Job, MATRIX, ON_EACH, SETTINGS},
    tally::Tally,
};
use crate::{
    apt::{self, Tool},
    machine::{Here, Machine},
    process::Clock,
    setup, test, workspace,
};

/// Options of `cargo xtask vm`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Kernels: of Debian's the newest of a version, such as 6.1, a package, such as
    /// linux-image-amd64, or newest; host is the one that runs here
    /// [default: 5.10 6.1 6.12 newest host]
    #[arg(value_name = "VERSION")]
    versions: Vec<Wanted>,
    /// Instead of the selection of tests that is for every kernel, those of these integration tests
    /// of filter-user, as `cargo test` takes them, that are marked as being for a virtual machine
    #[arg(long, value_name = "TARGET")]
    test: Vec<String>,
    /// Instead of the selection those with one of these in their name
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Runs also what any kernel can run, and not only what is marked as being for this
    #[arg(long)]
    include_ignored: bool,
    /// How long the tests may take on each kernel, in seconds [default: 900]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,
}

const DEFAULT_TIMEOUT: u32 = 900;

/// What boots the guest, and what it is made of.
const TOOLS: [Tool; 6] = [
    (qemu::PROGRAM, "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("modprobe", "kmod"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("setpriv", "util-linux"),
];

/// What the tests run there beside what they run on the host.
const TEST_TOOLS: [Tool; 4] = [
    ("ethtool", "ethtool"),
    ("pppd", "ppp"),
    ("pppoe-server", "pppoe"),
    ("wg", "wireguard-tools"),
];

/// A kernel with clsact instead of TCX, and with a verifier that learns less.
const OLD_KERNEL: &str = "6.1";

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_chosen =
        !arguments.test.is_empty() || !arguments.filter.is_empty() || arguments.include_ignored;
    let (tests, settings) = if is_chosen {
        let binaries = prepare(&arguments.test)?;
        let choice = Choice {
            include_ignored: arguments.include_ignored,
            filters: arguments.filter.clone(),
        };
        (choice.jobs(&binaries)?, "")
    } else {
        let binaries = prepare(&selection::targets(ON_EACH))?;
        (selection::jobs(ON_EACH, &binaries)?, SETTINGS)
    };
    let mut versions = arguments.versions.clone();
    if versions.is_empty() {
        let matrix = MATRIX.into_iter().map(str::parse);
        versions = matrix.collect::<Result<_>>()?;
    }
    let runs = versions.into_iter().map(|wanted| Run {
        wanted,
        scope: Scope::All,
        jobs: &tests,
        settings,
    });
    let limit = arguments.timeout.unwrap_or(DEFAULT_TIMEOUT);
    conclude(&runs.map(|run| run.outcome(limit)).collect::<Vec<_>>())
}

/// What is marked as being for this, on the newest kernel that this system's apt has, and a
/// selection on an old one; Debian's later releases have none.
pub(crate) fn run_in_ci() -> Result<()> {
    let binaries = prepare(&[])?;
    let mut marked = Choice::default().jobs(&binaries)?;
    // It has no time for what rarely changes.
    marked.retain(|job| job.binary.name != "clocks");
    let selection = selection::jobs(IN_CI, &binaries)?;
    let mut outcomes = vec![
        Run {
            wanted: Wanted::Newest,
            scope: Scope::Host,
            jobs: &marked,
            settings: "",
        }
        .outcome(DEFAULT_TIMEOUT),
    ];
    let old: Wanted = OLD_KERNEL.parse()?;
    if kernel::is_listed(&Here, &old) {
        let run = Run {
            wanted: old,
            scope: Scope::Host,
            jobs: &selection,
            settings: SETTINGS,
        };
        outcomes.push(run.outcome(DEFAULT_TIMEOUT));
    } else {
        Here.say(&format!("apt has no kernel {OLD_KERNEL}: left out"));
    }
    conclude(&outcomes)
}

/// Sees to all that is needed, and builds these tests, or all.
fn prepare(targets: &[String]) -> Result<Vec<Binary>> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "the guest runs programs that are built here, and its kernel is x86_64's: this machine is not"
        );
    }
    setup::ensure()?;
    test::ensure_tools()?;
    apt::tools(&Here, &TOOLS, "they boot the virtual machine")?;
    apt::tools(&Here, &TEST_TOOLS, "the tests run them there")?;
    binaries::build(targets)
}

fn conclude(outcomes: &[Outcome]) -> Result<()> {
    print!("\n{}", table(outcomes));
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some());
    match failed.count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} kernels did not pass", outcomes.len()),
    }
}

/// Tests on one kernel.
struct Run<'a> {
    wanted: Wanted,
    scope: Scope,
    jobs: &'a [Job],
    /// What the script sets for them.
    settings: &'static str,
}

impl Run<'_> {
    fn outcome(&self, limit: u32) -> Outcome {
        let mut outcome = Outcome {
            kernel: self.wanted.to_string(),
            tally: Tally::default(),
            seconds: 0,
            error: None,
        };
        let clock = Clock::start();
        if let Err(error) = self.run(limit, &mut outcome) {
            Here.say(&format!("{}: {error:#}", outcome.kernel));
            outcome.error = Some(error);
        }
        outcome.seconds = clock.seconds();
        outcome
    }

    fn run(&self, limit: u32, outcome: &mut Outcome) -> Result<()> {
        let script = binaries::script(self.jobs, self.settings, stdout().is_terminal());
        let directory = directory();
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let time = Duration::from_secs(limit.into());
        if self.wanted == Wanted::Host {
            outcome.kernel = format!("host, {}", host::release());
            Here.say(&format!("running on {}", outcome.kernel));
            let file = directory.join("tests.sh");
            host::run(&script, &file, time, &mut outcome.tally)?;
            return outcome.tally.assert_ran();
        }
        let kernel = kernel::ensure(&Here, &self.wanted, self.scope, &directory)?;
        outcome.kernel.clone_from(&kernel.release);
        let guest = Guest {
            accelerator: Accelerator::find(),
            image: kernel.image(),
            initramfs: directory.join("initramfs"),
            console: directory.join("console.log"),
            result: directory.join("result"),
            limit: time,
        };
        write_initramfs(&guest.initramfs, &kernel, limit, &script)
            .with_context(|| format!("cannot make {}", guest.initramfs.display()))?;
        Here.say(&format!(
            "booting Linux {} by {}",
            kernel.release,
            guest.accelerator.as_str()
        ));
        guest.run(&mut outcome.tally)?;
        outcome.tally.assert_ran()
    }
}

/// Where everything of this verb is kept.
fn directory() -> PathBuf {
    workspace::root().join("target/vm")
}

fn write_initramfs(path: &Path, kernel: &Kernel, limit: u32, script: &str) -> Result<()> {
    let settings = format!(
        "release={}\nmodules={}\nlimit={limit}\n",
        binaries::quoted(&kernel.release),
        binaries::quoted(&kernel.modules().to_string_lossy()),
    );
    let mut initramfs = Initramfs::new(BufWriter::new(File::create(path)?));
    for directory in ["bin", "modules", "proc", "sys"] {
        initramfs.directory(directory)?;
    }
    initramfs.file("bin/busybox", &busybox()?)?;
    for (place, module) in modules::read(&Here, kernel)?.iter().enumerate() {
        // The shell sorts what it finds there by name.
        let name = format!("modules/{place:02}-{}.ko", module.name);
        initramfs.file(&name, &module.content)?;
    }
    initramfs.file("init", include_bytes!("init.sh"))?;
    initramfs.file("guest.sh", include_bytes!("guest.sh"))?;
    initramfs.file("settings", settings.as_bytes())?;
    initramfs.file("tests.sh", script.as_bytes())?;
    Ok(initramfs.finish()?.flush()?)
}

/// The one program that the guest has until it has found the host's root.
fn busybox() -> Result<Vec<u8>> {
    const DYNAMIC_LINKER: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";

    let path = program(&Here, "busybox")?;
    let content = fs::read(&path).with_context(|| path.clone())?;
    let is_dynamic = content
        .windows(DYNAMIC_LINKER.len())
        .any(|part| part == DYNAMIC_LINKER);
    if is_dynamic {
        bail!("{path} needs libraries; as root: apt-get install busybox-static, which replaces it");
    }
    Ok(content)
}

/// Where a program is, as an ordinary user's PATH may lack it.
fn program(machine: &dyn Machine, name: &str) -> Result<String> {
    let path = machine.program(name);
    let path = path.with_context(|| format!("there is no {name} here"))?;
    Ok(path.to_string_lossy().into_owned())
}
