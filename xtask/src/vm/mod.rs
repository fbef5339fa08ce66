//! `cargo xtask vm`: end-to-end tests on another kernel, with all its modules, under QEMU.
//!
//! The kernel is Debian's. The guest sees the host's root, so that every program and library is
//! there under its path, but writes to memory; it has no network and no disk.

mod binaries;
mod initramfs;
mod kernel;
mod modules;
mod qemu;

use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal as _, Write as _, stdout},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::{
    initramfs::Initramfs,
    kernel::{Kernel, Wanted},
    qemu::{Accelerator, Guest},
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
    /// Debian's kernel: a version such as 6.1, or a package such as linux-image-amd64
    /// [default: the newest that apt has]
    #[arg(long, value_name = "VERSION|PACKAGE")]
    kernel: Option<Wanted>,
    /// Of the integration tests of filter-user only these, as `cargo test` takes them
    #[arg(long, value_name = "TARGET")]
    test: Vec<String>,
    /// Runs also what any kernel can run, and not only what is marked as being for this
    #[arg(long)]
    include_ignored: bool,
    /// How long the tests may take, in seconds [default: 900]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,
    /// Only tests with one of these in their name
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
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
/// By XDP and TC, and by TC without Ethernet headers.
const ON_OLD_KERNEL: &str = "links";

/// A part of what any kernel can run, on an old one. Debian's later releases have none.
pub(crate) fn run_on_old_kernel() -> Result<()> {
    let wanted: Wanted = OLD_KERNEL.parse()?;
    if !kernel::is_listed(&Here, &wanted) {
        Here.say(&format!("apt has no kernel {OLD_KERNEL}: left out"));
        return Ok(());
    }
    run(&Arguments {
        kernel: Some(wanted),
        test: vec![ON_OLD_KERNEL.to_owned()],
        include_ignored: true,
        ..Arguments::default()
    })
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "the guest runs programs that are built here, and its kernel is x86_64's: this machine is not"
        );
    }
    setup::ensure()?;
    test::ensure_tools()?;
    apt::tools(&Here, &TOOLS, "they boot the virtual machine")?;
    apt::tools(&Here, &TEST_TOOLS, "the tests run them there")?;
    let binaries = binaries::build(arguments)?;
    let directory = workspace::root().join("target/vm");
    let wanted = arguments.kernel.clone().unwrap_or_default();
    let kernel = kernel::ensure(&Here, &wanted, &directory.join("kernels"))?;
    let limit = arguments.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let guest = Guest {
        accelerator: Accelerator::find(),
        image: kernel.image(),
        initramfs: directory.join("initramfs"),
        console: directory.join("console.log"),
        result: directory.join("result"),
        limit: Duration::from_secs(limit.into()),
    };
    let script = binaries::script(&binaries, arguments, stdout().is_terminal());
    write_initramfs(&guest.initramfs, &kernel, limit, &script)
        .with_context(|| format!("cannot make {}", guest.initramfs.display()))?;
    Here.say(&format!(
        "booting Linux {} by {}",
        kernel.release,
        guest.accelerator.as_str()
    ));
    let clock = Clock::start();
    guest.run()?;
    Here.say(&format!(
        "passed on {} in {} s",
        kernel.release,
        clock.seconds()
    ));
    Ok(())
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
