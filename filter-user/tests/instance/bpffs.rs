//! A BPF file system of a test's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounted for as long as it lives; what is pinned in it goes with it.
pub(crate) struct BpfFileSystem {
    directory: PathBuf,
}

impl BpfFileSystem {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastack-test-{}-{number}", process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        mount(
            Some("bpf"),
            &directory,
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=700"),
        )
        .unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    /// Names of what is in a directory of it, in order; none where there is none.
    pub(crate) fn list(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.directory.join(directory)) else {
            return Vec::new();
        };
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

impl Drop for BpfFileSystem {
    fn drop(&mut self) {
        umount2(&self.directory, MntFlags::MNT_DETACH).ok();
        fs::remove_dir(&self.directory).ok();
    }
}
