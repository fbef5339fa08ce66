//! Where and when figures were measured: they mean little without.

use std::{fmt, fs, time::SystemTime};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The machine, now.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// RFC 3339, UTC.
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    /// Whether the kernel compiles packet programs; without that the figures say nothing.
    pub(crate) jit: bool,
}

impl Machine {
    pub(crate) fn here() -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
        Ok(Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            cpu: cpus
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.trim() == "model name")
                .map_or("unknown", |(_, model)| model.trim())
                .to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            // Where the file is not there, the JIT cannot be turned off.
            jit: jit.map_or(true, |text| text.trim() != "0"),
        })
    }
}

/// As a report's first sentence has it.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            kernel,
            cpu,
            cpus,
            jit,
        } = self;
        let jit = if *jit { "on" } else { "OFF" };
        write!(f, "{date} on Linux {kernel}, {cpu}, {cpus} CPUs, JIT {jit}")
    }
}
