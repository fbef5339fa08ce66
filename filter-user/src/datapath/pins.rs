//! Where the maps and links of an instance are kept in a BPF file system.
//!
//! A program that replaces another takes over its maps by the paths under which they are pinned
//! here.

use std::{
    fs::{self, DirBuilder, DirEntry, File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use log::debug;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    sys::statfs::{BPF_FS_MAGIC, fstatfs, statfs},
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
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PathBuf,
    /// Held by whoever changes what is there.
    lock: Option<Arc<Flock<File>>>,
}

impl Pins {
    /// The place of `instance` below the directory of all that are pinned.
    #[must_use]
    pub fn new(pin_directory: &Path, instance: &InstanceName) -> Self {
        Self {
            directory: pin_directory.join(instance.as_str()),
            lock: None,
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
        let entries = fs::read_dir(&self.directory).map_err(|error| self.failed(error))?;
        Ok(entries
            .filter_map(|entry| link_named(entry.ok()?.file_name().to_str()?))
            .collect())
    }

    /// Makes the directory, if there is none, keeps others from changing what is there, and empties
    /// it of what a start left that did not get far. What is not lastack's is refused.
    pub(super) fn prepare(&mut self) -> Result<(), DatapathError> {
        // Before anything is made there.
        self.check_above()?;
        let made = DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&self.directory);
        if let Err(error) = made
            // A link, or no directory, of which the next line tells.
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(self.failed(error));
        }
        self.check()?;
        self.check_exposure()?;
        self.lock()?;
        self.refuse_foreign()?;
        if self.holds_instance() {
            Ok(())
        } else {
            self.clear()
        }
    }

    /// What [`prepare`](Self::prepare) would say, without its changes and its lock. Whether there is
    /// such a directory.
    pub(super) fn could_be_prepared(&self) -> Result<bool, DatapathError> {
        self.check_above()?;
        if self.directory.symlink_metadata().is_err() {
            return Ok(false);
        }
        self.check()?;
        self.check_exposure()?;
        self.refuse_foreign().map(|()| true)
    }

    /// Whether the directory could be made, or be believed, where it is to be.
    fn check_above(&self) -> Result<(), DatapathError> {
        let mut above = self.directory.ancestors().skip(1);
        let there = above.find(|there| there.symlink_metadata().is_ok());
        match check_place(there.unwrap_or(&self.directory)) {
            Err(DatapathError::NoBpfFileSystem(_)) => {
                Err(DatapathError::NoBpfFileSystem(self.directory.clone()))
            }
            checked => checked,
        }
    }

    /// What is not lastack's is refused.
    fn refuse_foreign(&self) -> Result<(), DatapathError> {
        match self.entries()?.iter().find(|entry| !is_ours(entry)) {
            Some(entry) => Err(DatapathError::Foreign {
                directory: self.directory.clone(),
                entry: entry.file_name(),
            }),
            None => Ok(()),
        }
    }

    /// Whether what is there may be believed and changed: nobody but root and this user can have made
    /// it, or can put something else in its place.
    pub(super) fn check(&self) -> Result<(), DatapathError> {
        self.directory.parent().map_or(Ok(()), check_place)?;
        check_directory(&self.directory, false)
    }

    /// Keeps other processes from changing what is there, for as long as this one or a copy of it is
    /// there. The name of the instance does not: any local user may hold that.
    pub(super) fn lock(&mut self) -> Result<(), DatapathError> {
        let opened = open_directory(&self.directory, 0).map_err(|error| self.failed(error))?;
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => self.lock = Some(Arc::new(lock)),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(DatapathError::PinsBusy(self.directory.clone()));
            }
            Err((_, error)) => debug!("{}: no lock: {error}", self.directory.display()),
        }
        Ok(())
    }

    /// Whether it is this user's, and nobody else may change or read what is there; the owner's group
    /// may read.
    fn check_exposure(&self) -> Result<(), DatapathError> {
        const OTHERS: u32 = 0o027;
        let there = fs::metadata(&self.directory).map_err(|error| self.failed(error))?;
        if there.uid() == geteuid().as_raw() && there.mode() & OTHERS == 0 {
            return Ok(());
        }
        Err(exposed(&self.directory, &there))
    }

    /// Takes a link off, and removes its pin.
    pub(super) fn remove_link(&self, hook: Hook, index: u32) -> Result<(), DatapathError> {
        let link = self.link(hook, index);
        unpin(&link).map_err(|error| not_removed(link, error))
    }

    /// Removes everything that is lastack's: first what is attached, then what says that there is an
    /// instance.
    pub(super) fn remove_all(&self) -> Result<(), DatapathError> {
        for (hook, index) in self.links()? {
            self.remove_link(hook, index)?;
        }
        remove(self.record())?;
        self.clear()?;
        if let Some(entry) = self.entries()?.first() {
            return Err(DatapathError::Stays {
                directory: self.directory.clone(),
                entry: entry.file_name(),
            });
        }
        fs::remove_dir(&self.directory).map_err(|error| DatapathError::StaysEmpty {
            directory: self.directory.clone(),
            error,
        })
    }

    fn clear(&self) -> Result<(), DatapathError> {
        let entries = self.entries()?.into_iter();
        for entry in entries.filter(is_ours) {
            remove(entry.path())?;
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<DirEntry>, DatapathError> {
        let entries = fs::read_dir(&self.directory);
        let entries = entries.and_then(Iterator::collect::<io::Result<_>>);
        entries.map_err(|error| self.failed(error))
    }

    /// That something went wrong there.
    pub(super) fn failed(&self, error: io::Error) -> DatapathError {
        DatapathError::Pins {
            directory: self.directory.clone(),
            error,
        }
    }
}

/// Whether what is pinned below a directory may be believed: it is one of a BPF file system, and
/// neither it nor one above it there is open to other users.
pub(super) fn check_place(directory: &Path) -> Result<(), DatapathError> {
    check_directory(directory, true)?;
    let is_bpf =
        |path: &&Path| statfs(*path).is_ok_and(|statfs| statfs.filesystem_type() == BPF_FS_MAGIC);
    let mut above = directory.ancestors().skip(1).take_while(is_bpf);
    above.try_for_each(|above| check_directory(above, true))
}

/// `may_be_shared`: others may make something there, but not touch what is not theirs.
fn check_directory(directory: &Path, may_be_shared: bool) -> Result<(), DatapathError> {
    const OTHERS_WRITE: u32 = 0o022;
    let failed = |error| DatapathError::Pins {
        directory: directory.to_owned(),
        error,
    };
    let opened = match open_directory(directory, libc::O_PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(DatapathError::NotDirectory(directory.to_owned()));
        }
        opened => opened.map_err(failed)?,
    };
    let system = fstatfs(&opened).map_err(|error| failed(error.into()))?;
    if system.filesystem_type() != BPF_FS_MAGIC {
        return Err(DatapathError::NoBpfFileSystem(directory.to_owned()));
    }
    let there = opened.metadata().map_err(failed)?;
    let (owner, mode) = (there.uid(), there.mode());
    let is_trusted = owner == 0 || owner == geteuid().as_raw();
    let is_shared = may_be_shared && mode & libc::S_ISVTX != 0;
    if is_trusted && (mode & OTHERS_WRITE == 0 || is_shared) {
        return Ok(());
    }
    Err(exposed(directory, &there))
}

/// Opens a directory that is one itself, and no symbolic link to one.
fn open_directory(path: &Path, flags: i32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | flags);
    options.open(path)
}

fn exposed(directory: &Path, there: &fs::Metadata) -> DatapathError {
    DatapathError::Exposed {
        directory: directory.to_owned(),
        owner: there.uid(),
        mode: there.mode() & 0o7777,
    }
}

/// Whether it is something that lastack pins.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_name =
        |name: &str| name == RECORD || SHARED.contains(&name) || link_named(name).is_some();
    name.to_str().is_some_and(is_name) && entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// The link that is pinned by this name.
fn link_named(name: &str) -> Option<(Hook, u32)> {
    let (hook, index) = name.split_once('_')?;
    Some((Hook::named(hook)?, index.parse().ok()?))
}

fn remove(path: PathBuf) -> Result<(), DatapathError> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|error| not_removed(path, error)),
    }
}

fn not_removed(path: PathBuf, error: io::Error) -> DatapathError {
    DatapathError::Unpin { path, error }
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
