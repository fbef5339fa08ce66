//! Captures that were compressed with gzip or zstd, told by how they begin.

use std::{
    fmt::Display,
    io::{self, BufRead, BufReader, Cursor, Read},
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// What a capture was compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// By the first four octets.
    fn of(begin: &[u8]) -> Self {
        match *begin {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable one, with which pzstd begins.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What an offset is counted in.
    pub(super) const fn of_what(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => " of what gzip decompresses it to",
            Self::Zstd => " of what zstd decompresses it to",
        }
    }
}

/// Undoes the compression.
pub(super) fn decompressed(
    mut input: impl Read + Send + 'static,
) -> io::Result<(Compression, Box<dyn Read + Send>)> {
    const CAPACITY: usize = 1 << 17;
    let mut begin = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut begin)?;
    let compression = Compression::of(&begin);
    let input = Cursor::new(begin).chain(input);
    let buffered = |input| BufReader::with_capacity(CAPACITY, input);
    Ok((
        compression,
        match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(MultiGzDecoder::new(buffered(input))),
            Compression::Zstd => Box::new(Zstd::new(buffered(input))),
        },
    ))
}

/// The frames of a zstd file, one behind the other.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    within_frame: bool,
    /// What is said once all that was decoded is read.
    cut_short: Option<io::Error>,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            decoder: FrameDecoder::new(),
            within_frame: false,
            cut_short: None,
        }
    }

    /// Begins the next frame; false where there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = &mut self.input.by_ref().take(length);
                    if io::copy(skipped, &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(false)
    }

    /// Decodes the next block of a frame.
    fn decode(&mut self) -> io::Result<()> {
        /// An empty block, the last of its frame, and no matter what checksum.
        const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];
        let one = || BlockDecodingStrategy::UptoBlocks(1);
        if let Err(error) = self.decoder.decode_blocks(&mut self.input, one()) {
            if !self.input.fill_buf()?.is_empty() {
                return Err(broken(error));
            }
            // The decoder keeps back what later blocks may refer to, megabytes of it. None come.
            let ended = self.decoder.decode_blocks(&LAST_BLOCK[..], one());
            ended.map_err(broken)?;
            self.cut_short = Some(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Whether the frame is what it was when its checksum was made, if it has one.
    fn verify(&self) -> io::Result<()> {
        let there = self.decoder.get_checksum_from_data();
        if there.is_some() && there != self.decoder.get_calculated_checksum() {
            return Err(broken("the checksum of a frame is wrong"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within_frame {
                self.within_frame = self.begin()?;
                if !self.within_frame {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decode()?;
            }
            let read = self.decoder.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            if let Some(error) = self.cut_short.take() {
                return Err(error);
            }
            self.verify()?;
            self.within_frame = false;
        }
    }
}

fn broken(error: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}
