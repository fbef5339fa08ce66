//! The machine and its kernel.

use std::{fs, path::Path};

use aya::util::KernelVersion;
use caps::{CapSet, Capability};
use filter_common::wire::Link;
use nix::sys::{
    resource::{RLIM_INFINITY, Resource, getrlimit},
    statfs::{BPF_FS_MAGIC, statfs},
};

use crate::{
    datapath::{Datapath, DatapathError, is_realtime, missing_capabilities},
    settings::Settings,
};

/// What was found.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Machine {
    /// Of the kernel, as `uname -r` has it.
    pub(crate) release: String,
    /// The same to compare; none if it cannot be read.
    pub(crate) version: Option<KernelVersion>,
    /// PREEMPT_RT.
    pub(crate) realtime: bool,
    /// Those that `lastack run` needs and this process lacks.
    pub(crate) missing: Vec<Capability>,
    /// Whether maps can be as large as they have to; says something before kernel 5.11 only.
    pub(crate) may_lock_memory: bool,
    /// Whether the kernel has type information.
    pub(crate) btf: bool,
    /// Whether something can be pinned.
    pub(crate) bpffs: bool,
    /// `net.core.bpf_jit_enable`, which is there in the first network namespace only.
    pub(crate) jit: Option<bool>,
    /// Whether the kernel's verifier took the programs, and translated them to machine code.
    /// None where it was not tried, for want of capabilities.
    pub(crate) verified: Option<Result<bool, DatapathError>>,
}

impl Machine {
    /// Looks, and has programs for interfaces of these kinds verified.
    pub(crate) fn read(settings: &Settings, links: &[Link]) -> Self {
        let missing = missing_capabilities();
        let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
        Self {
            release: fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
                |_| "unknown".to_owned(),
                |release| release.trim().to_owned(),
            ),
            version: KernelVersion::current().ok(),
            realtime: is_realtime(),
            may_lock_memory: may_lock_memory(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            bpffs: statfs("/sys/fs/bpf").is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC),
            jit: jit.ok().map(|jit| jit.trim() != "0"),
            verified: missing.is_empty().then(|| verify(settings, links)),
            missing,
        }
    }
}

fn verify(settings: &Settings, links: &[Link]) -> Result<bool, DatapathError> {
    let mut datapath = Datapath::load(settings)?;
    let mut jitted = true;
    for &link in links {
        jitted &= datapath.verify(link)?;
    }
    Ok(jitted)
}

fn may_lock_memory() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(true)
        || getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(_, hard)| hard == RLIM_INFINITY)
}
