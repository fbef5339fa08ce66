//! A file of a test's own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// There for as long as it lives.
pub(crate) struct OwnFile(PathBuf);

impl OwnFile {
    pub(crate) fn new(text: impl AsRef<[u8]>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastack-test-{}-{number}.toml", process::id());
        let file = Self(env::temp_dir().join(name));
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.0, text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}
