//! What the maps take, by the kernel's own account.

use std::{fs, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;
use serde::Serialize;

use super::{cases, fill::fill, kernel::Kernel};
use crate::statistics::fraction;
use filter_user::settings::Settings;

/// Bytes that a closing flow is to take at most, all maps together.
const TARGET: f64 = 160.0;

/// The maps of one instance.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) max_flows: u32,
    pub(super) maps: Vec<MapMemory>,
    pub(super) bytes: u64,
    /// After the table was filled.
    pub(super) bytes_filled: u64,
    pub(super) bytes_per_flow: f64,
    pub(super) target: f64,
    pub(super) met: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct MapMemory {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Of an instance with room for so many flows.
pub(super) fn memory(max_flows: u32) -> Result<Memory> {
    let mut kernel = Kernel::load(&Settings {
        max_flows,
        ..cases::settings()
    })?;
    let maps = maps(&kernel)?;
    let total = |maps: &[MapMemory]| maps.iter().map(|map| map.bytes).sum::<u64>();
    let bytes = total(&maps);
    fill(&mut kernel, max_flows)?;
    let bytes_filled = total(&self::maps(&kernel)?);
    let bytes_per_flow = fraction(usize::try_from(bytes_filled)?, max_flows as usize);
    Ok(Memory {
        max_flows,
        maps,
        bytes,
        bytes_filled,
        bytes_per_flow,
        target: TARGET,
        met: bytes_per_flow <= TARGET,
    })
}

/// `memlock` of proc_pid_fdinfo(5), which is what a map has allocated.
fn maps(kernel: &Kernel) -> Result<Vec<MapMemory>> {
    let mut maps = Vec::new();
    for &id in &kernel.maps {
        let info = MapInfo::from_id(id)?;
        let descriptor = info.fd()?;
        let number = std::os::fd::AsFd::as_fd(&descriptor).as_raw_fd();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
        let bytes = text
            .lines()
            .find_map(|line| line.strip_prefix("memlock:"))
            .and_then(|bytes| bytes.trim().parse().ok())
            .context("the kernel does not tell a map's memory")?;
        maps.push(MapMemory {
            name: info.name_as_str().unwrap_or_default().to_owned(),
            bytes,
        });
    }
    maps.sort_by_key(|map| std::cmp::Reverse(map.bytes));
    Ok(maps)
}
