//! Where captures come from: files, standard input, and the latter twice.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use thiserror::Error;

/// Why a capture cannot be opened, or not read again.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The system refuses it.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// It is a directory.
    #[error("cannot read {}: it is a directory, and not a capture", .0.display())]
    Directory(PathBuf),
    /// It was read once, and it was not asked to keep it.
    #[error("cannot read {} again: it is a stream, of which nothing was kept", .0.display())]
    Stream(PathBuf),
    /// There is no room for what has to be read twice.
    #[error("cannot keep {} in {}, to read it again: {error}", path.display(), directory.display())]
    Spool {
        /// What is read.
        path: PathBuf,
        /// Where temporary files are.
        directory: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// How often a capture is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// Once: of a stream nothing is kept.
    One,
    /// Twice or more: a stream is kept in a temporary file without name while it is read first.
    Several,
}

/// A capture that can be read again, from its beginning: a regular file, also as standard input,
/// or a stream that is kept.
#[derive(Debug)]
pub struct Rereadable {
    path: PathBuf,
    file: File,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// It begins at this offset, and has so many octets from there.
    Regular { begin: u64, octets: u64 },
    /// Not yet read.
    Stream { keep: bool },
    /// Read, and kept here or not at all.
    Read(Option<File>),
}

impl Rereadable {
    /// Opens a file, or standard input, which is called `-`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where it cannot be opened, or is a directory.
    pub fn open(path: &Path, passes: Passes) -> Result<Self, SourceError> {
        let is_input = path == Path::new("-");
        let path = if is_input {
            Path::new("standard input")
        } else {
            path
        };
        let refused = |error| SourceError::Open {
            path: path.to_path_buf(),
            error,
        };
        let mut file = if is_input {
            io::stdin().as_fd().try_clone_to_owned().map(File::from)
        } else {
            File::open(path)
        }
        .map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        if metadata.is_dir() {
            return Err(SourceError::Directory(path.to_path_buf()));
        }
        let kind = if metadata.is_file() {
            // Another program may have read a part of it.
            let begin = file.stream_position().map_err(refused)?;
            Kind::Regular {
                begin,
                octets: metadata.len().saturating_sub(begin),
            }
        } else {
            Kind::Stream {
                keep: passes == Passes::Several,
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            file,
            kind,
        })
    }

    /// What is read, from its beginning. A stream is read to its end before it is asked for again.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where it cannot be read again, or cannot be kept.
    pub fn source(&mut self) -> Result<Source, SourceError> {
        let refused = |error| SourceError::Open {
            path: self.path.clone(),
            error,
        };
        let (file, octets, spool) = match &self.kind {
            Kind::Regular { begin, octets } => {
                self.file.seek(SeekFrom::Start(*begin)).map_err(refused)?;
                (&self.file, Some(*octets), None)
            }
            Kind::Stream { keep } => {
                let spool = keep.then(tempfile::tempfile).transpose();
                let spool = spool.map_err(|error| SourceError::Spool {
                    path: self.path.clone(),
                    directory: std::env::temp_dir(),
                    error,
                })?;
                let again = spool.as_ref().map(File::try_clone).transpose();
                self.kind = Kind::Read(again.map_err(refused)?);
                (&self.file, None, spool)
            }
            Kind::Read(Some(kept)) => {
                let octets = kept.metadata().map_err(refused)?.len();
                (&*kept).rewind().map_err(refused)?;
                (kept, Some(octets), None)
            }
            Kind::Read(None) => return Err(SourceError::Stream(self.path.clone())),
        };
        Ok(Source {
            file: file.try_clone().map_err(refused)?,
            spool,
            octets,
            progress: Progress::default(),
        })
    }
}

/// Octets of a capture, as they are in the file; counts them.
#[derive(Debug)]
pub struct Source {
    file: File,
    spool: Option<File>,
    octets: Option<u64>,
    progress: Progress,
}

impl Source {
    /// How many there are, if that is known beforehand.
    #[must_use]
    pub const fn octets(&self) -> Option<u64> {
        self.octets
    }

    /// How many were read so far, while and after something else reads them.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        if let Some(spool) = &mut self.spool {
            spool.write_all(&into[..read]).map_err(|error| {
                let directory = std::env::temp_dir();
                io::Error::new(
                    error.kind(),
                    format!("keeping it in {}: {error}", directory.display()),
                )
            })?;
        }
        self.progress.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// How far a [`Source`] was read.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Octets of the file, compressed if it is, that were read so far.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
