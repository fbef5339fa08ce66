//! What the guest begins with: busybox, the modules that lead to the host's root, and scripts.

use std::io::{self, Write};

use cpio::newc::{Builder, ModeFileType, trailer};

/// Writes an initramfs: a cpio archive in the format that the kernel reads (newc).
///
/// [Documentation/driver-api/early-userspace/buffer-format.rst](https://www.kernel.org/doc/html/latest/driver-api/early-userspace/buffer-format.html)
pub(super) struct Initramfs<W: Write> {
    archive: W,
    entries: u32,
}

impl<W: Write> Initramfs<W> {
    pub(super) fn new(archive: W) -> Self {
        Self {
            archive,
            entries: 0,
        }
    }

    /// Adds a directory; what is in it comes after it.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.add(path, ModeFileType::Directory, 2, &[])
    }

    /// Adds a file that root may read, write and execute.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.add(path, ModeFileType::Regular, 1, content)
    }

    fn add(
        &mut self,
        path: &str,
        kind: ModeFileType,
        links: u32,
        content: &[u8],
    ) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.entries += 1;
        let mut writer = Builder::new(path)
            // Equal numbers would make hard links of them.
            .ino(self.entries)
            .nlink(links)
            .mode(0o700)
            .set_mode_file_type(kind)
            .write(&mut self.archive, length);
        writer.write_all(content)?;
        writer.finish().map(drop)
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> io::Result<W> {
        trailer(self.archive)
    }
}

#[cfg(test)]
mod tests {
    use cpio::newc::Reader;

    use super::*;

    #[test]
    fn what_was_added_is_in_the_archive() {
        let mut initramfs = Initramfs::new(Vec::new());
        initramfs.directory("bin").unwrap();
        initramfs.file("bin/busybox", b"ELF").unwrap();
        initramfs.file("init", b"#!/bin/busybox sh").unwrap();
        let archive = initramfs.finish().unwrap();
        assert!(archive.starts_with(b"070701"));

        let mut rest = archive.as_slice();
        let mut entries = Vec::new();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = Vec::new();
            io::copy(&mut reader, &mut content).unwrap();
            let entry = reader.entry().clone();
            entries.push((entry.name().to_owned(), entry.mode(), entry.ino(), content));
            rest = reader.finish().unwrap();
        }
        assert_eq!(
            entries,
            [
                ("bin".to_owned(), 0o040_700, 1, b"".to_vec()),
                ("bin/busybox".to_owned(), 0o100_700, 2, b"ELF".to_vec()),
                (
                    "init".to_owned(),
                    0o100_700,
                    3,
                    b"#!/bin/busybox sh".to_vec()
                ),
            ]
        );
    }
}
