//! Where a capture comes from, and how it is read more than once.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};

use super::{options::is_stdin, shown};

/// A capture, or what is to be looked at whether it is one.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// It can be read again from where it was.
    Seekable { start: u64, octets: u64 },
    /// It can be read once.
    Stream,
    /// The same; what was read is kept in a file without a name.
    Spooled(File),
}

impl Input {
    /// A file or standard input; if it is to be read twice, and cannot be, it is kept in a
    /// temporary file.
    pub(super) fn open(path: &Path, twice: bool) -> io::Result<Self> {
        let mut file = if is_stdin(path) {
            File::from(io::stdin().as_fd().try_clone_to_owned()?)
        } else {
            File::open(path)?
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let kind = if metadata.is_file() {
            let start = file.stream_position()?;
            Kind::Seekable {
                start,
                octets: metadata.len().saturating_sub(start),
            }
        } else if twice {
            Kind::Spooled(tempfile::tempfile().map_err(not_kept)?)
        } else {
            Kind::Stream
        };
        Ok(Self { file, kind })
    }

    /// How much there is to read, where that is known.
    pub(super) const fn octets(&self) -> Option<u64> {
        match self.kind {
            Kind::Seekable { octets, .. } => Some(octets),
            Kind::Stream | Kind::Spooled(_) => None,
        }
    }

    /// What there is to read, for the first time.
    pub(super) fn first(&self) -> io::Result<impl Read + Send + use<>> {
        let spool = match &self.kind {
            Kind::Spooled(spool) => Some(spool.try_clone()?),
            Kind::Seekable { .. } | Kind::Stream => None,
        };
        Ok(Spooling {
            file: self.file.try_clone()?,
            spool,
        })
    }

    /// What was read, from the beginning.
    pub(super) fn again(&self) -> io::Result<File> {
        let (file, start) = match &self.kind {
            Kind::Seekable { start, .. } => (&self.file, *start),
            Kind::Spooled(spool) => (spool, 0),
            Kind::Stream => return Err(io::ErrorKind::NotSeekable.into()),
        };
        // A clone goes on where this one is.
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }
}

/// Refuses to write over what is to be read.
pub(super) fn refuse_same(read: &Path, written: &Path) -> anyhow::Result<()> {
    let target = match fs::metadata(written) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let name = shown(written.as_os_str());
            return Err(error).with_context(|| format!("cannot write {name}"));
        }
    };
    let source = if is_stdin(read) {
        File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()
    } else {
        fs::metadata(read)
    };
    // If there is none, reading says so.
    if source.is_ok_and(|source| target.is_file() && is_same(&source, &target)) {
        bail!(
            "{} is the capture that is to be read; write to another file",
            shown(written.as_os_str())
        );
    }
    Ok(())
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Keeps what it reads, where that is wanted.
struct Spooling {
    file: File,
    spool: Option<File>,
}

impl Read for Spooling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let octets = self.file.read(buffer)?;
        if let Some(spool) = &mut self.spool {
            let read = buffer.get(..octets).unwrap_or_default();
            spool.write_all(read).map_err(not_kept)?;
        }
        Ok(octets)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that map_err wants"
)]
fn not_kept(error: io::Error) -> io::Error {
    let directory = std::env::temp_dir();
    io::Error::new(
        error.kind(),
        format!(
            "it has to be read twice, and cannot be kept in {} (TMPDIR): {error}",
            directory.display()
        ),
    )
}
