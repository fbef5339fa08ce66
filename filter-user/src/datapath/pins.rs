//! Where the maps and links of an instance are kept in a BPF file system.
//!
//! A program that replaces another takes over its maps by the paths under which they are pinned
//! here.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use log::debug;
use nix::{
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::geteuid,
};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::{DatapathError, Hook, mark::Mark, unpin::unpin};
use crate::instance::InstanceName;

/// The maps that programs which follow one another share; all others are each load's own.
pub(super) const SHARED: [&str; 6] = [
    "FLOWS",
    "EXPIRY",
    "INTERFACES",
    "COUNTERS",
    "HOSTS",
    "EVENT_QUOTA",
];

/// What is not a map of the object: the instance's description of itself.
const RECORD: &str = "RECORD";

/// The place of one instance's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// The place of `instance` below the directory of all that are pinned.
    #[must_use]
    pub fn new(pin_directory: &Path, instance: &InstanceName) -> Self {
        Self {
            directory: pin_directory.join(instance.as_str()),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a map is.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where the description of the instance is.
    pub(super) fn record(&self) -> PathBuf {
        self.map(RECORD)
    }

    /// Where the link at a hook of an interface is. By its number, since a BPF file system takes
    /// no dots, which names of VLAN interfaces have.
    pub(super) fn link(&self, hook: Hook, index: u32) -> PathBuf {
        self.directory.join(format!("{}_{index}", hook.as_str()))
    }

    /// What its filters in clsact, which cannot be pinned, are known by.
    pub(super) fn mark(&self) -> Mark {
        Mark::of_directory(&self.directory)
    }

    /// Whether an instance has left something there.
    #[must_use]
    pub fn holds_instance(&self) -> bool {
        self.record().exists()
    }

    /// The links that are there.
    pub(super) fn links(&self) -> Result<Vec<(Hook, u32)>, DatapathError> {
        let parse = |name: &str| {
            let (hook, index) = name.split_once('_')?;
            Some((Hook::named(hook)?, index.parse().ok()?))
        };
        let entries = fs::read_dir(&self.directory).map_err(|error| self.failed(error))?;
        Ok(entries
            .filter_map(|entry| parse(entry.ok()?.file_name().to_str()?))
            .collect())
    }

    /// Makes the directory, if there is none, and empties it of what a start left that did not
    /// get far.
    pub(super) fn prepare(&self) -> Result<(), DatapathError> {
        let there = self.directory.ancestors().find(|there| there.exists());
        let is_bpf = there.is_some_and(|there| {
            statfs(there).is_ok_and(|statfs| statfs.filesystem_type() == BPF_FS_MAGIC)
        });
        if !is_bpf {
            return Err(DatapathError::NoBpfFileSystem(self.directory.clone()));
        }
        if self.directory.exists() {
            self.check_exposure()?;
            return if self.holds_instance() {
                Ok(())
            } else {
                self.clear()
            };
        }
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&self.directory)
            .map_err(|error| self.failed(error))
    }

    /// Whether nobody else may change or read what is there; the owner's group may read.
    fn check_exposure(&self) -> Result<(), DatapathError> {
        const OTHERS: u32 = 0o027;
        let there = fs::metadata(&self.directory).map_err(|error| self.failed(error))?;
        let (owner, mode) = (there.uid(), there.mode() & 0o7777);
        if owner == geteuid().as_raw() && mode & OTHERS == 0 {
            return Ok(());
        }
        Err(DatapathError::Exposed {
            directory: self.directory.clone(),
            owner,
            mode,
        })
    }

    /// Takes a link off, and removes its pin.
    pub(super) fn remove_link(&self, hook: Hook, index: u32) -> Result<(), DatapathError> {
        unpin(&self.link(hook, index)).map_err(|error| self.failed(error))
    }

    /// Removes everything: first what is attached, then what says that there is an instance.
    pub(super) fn remove_all(&self) -> Result<(), DatapathError> {
        for (hook, index) in self.links()? {
            self.remove_link(hook, index)?;
        }
        remove(&self.record()).map_err(|error| self.failed(error))?;
        self.clear()?;
        fs::remove_dir(&self.directory).map_err(|error| self.failed(error))
    }

    fn clear(&self) -> Result<(), DatapathError> {
        let entries = fs::read_dir(&self.directory).map_err(|error| self.failed(error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.failed(error))?;
            remove(&entry.path()).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// That something went wrong there.
    pub(super) fn failed(&self, error: io::Error) -> DatapathError {
        DatapathError::Pins {
            directory: self.directory.clone(),
            error,
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A BPF file system that only this process has, and that ends with it: by it programs can be
/// replaced where nothing is pinned for others to see.
#[derive(Debug)]
pub(super) struct PrivatePins {
    mount: OwnedFd,
}

impl PrivatePins {
    /// Makes one, where that is allowed (`CAP_SYS_ADMIN`).
    pub(super) fn new() -> Option<Self> {
        let mount = || {
            let system = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_create(&system)?;
            fsmount(
                &system,
                FsMountFlags::FSMOUNT_CLOEXEC,
                MountAttrFlags::empty(),
            )
        };
        match mount() {
            Ok(mount) => Some(Self { mount }),
            Err(error) => {
                debug!("no BPF file system of our own: {error}");
                None
            }
        }
    }

    /// Where a map is.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.mount.as_raw_fd()).into()
    }
}
