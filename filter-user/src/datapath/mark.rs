//! By what an instance's filters in clsact are known when their process is gone: their handle.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path};

use crate::instance::InstanceName;

/// An instance's mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    /// None: filters get any handle.
    #[default]
    None,
    /// Of what is pinned in a directory, whose record says the rest.
    Pinned(u32),
    /// Of an instance with this name that pins nothing. The lowest bit says whether it made the
    /// qdisc.
    Named(u32),
}

impl Mark {
    /// That of no other directory.
    pub(super) fn of_directory(directory: &Path) -> Self {
        let real = fs::canonicalize(directory);
        let real = real.as_deref().unwrap_or(directory);
        Self::Pinned(hash(real.as_os_str().as_bytes()).max(1))
    }

    /// That of no other name (but for one in 2^29), nor of a directory, whose path begins with a slash.
    pub(super) fn of_name(name: &InstanceName) -> Self {
        Self::Named(hash(name.as_str().as_bytes()) & !1 | 2)
    }

    /// The handle of its filters on an interface where it `made` the qdisc, or did not; 0 for any.
    pub(super) fn handle(self, made: bool) -> u32 {
        match self {
            Self::None => 0,
            Self::Pinned(handle) => handle,
            Self::Named(handle) => handle | u32::from(made),
        }
    }

    /// Whether a filter with this handle is as those of an instance with a name that made the qdisc.
    pub(super) fn tells_made(handle: u32) -> bool {
        handle & 3 == Self::Named(2).handle(true)
    }

    /// Every handle that its filters may have, and whether it tells that it made the qdisc.
    pub(super) fn handles(self) -> impl Iterator<Item = (u32, bool)> {
        let told: &[bool] = match self {
            Self::None => &[],
            Self::Pinned(_) => &[false],
            Self::Named(_) => &[false, true],
        };
        told.iter().map(move |&made| (self.handle(made), made))
    }
}

/// FNV-1a, as much of it as the kernel also gives of itself.
fn hash(octets: &[u8]) -> u32 {
    const BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let octets = octets.iter();
    let hash = octets.fold(BASIS, |hash, &octet| {
        (hash ^ u32::from(octet)).wrapping_mul(PRIME)
    });
    hash & u32::MAX >> 1
}
