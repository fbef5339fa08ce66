//! What was read and not yet parsed: one stretch of octets that grows for what is long.

use std::io::{self, ErrorKind, Read};

/// Few reads, and yet it stays in the processor's cache.
const CAPACITY: usize = 1 << 18;

/// Octets of a stream, in order.
pub(super) struct Buffer {
    input: Box<dyn Read + Send>,
    octets: Vec<u8>,
    start: usize,
    end: usize,
    /// Of `start` in the stream.
    offset: u64,
}

impl Buffer {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self {
            input,
            octets: vec![0; CAPACITY],
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// What is there.
    #[inline]
    pub(super) fn available(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    /// Where in the stream that begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads on until `wanted` octets are there; false where the stream ends before.
    #[inline]
    pub(super) fn ensure(&mut self, wanted: usize) -> io::Result<bool> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.fill(wanted)
    }

    #[cold]
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        self.octets.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted {
            if self.end == self.octets.len() {
                // Only as what is claimed to be long turns out to be.
                self.octets.resize(2 * self.end, 0);
            }
            match self.input.read(&mut self.octets[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes the first `length` octets, which are there.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let taken = self.start..self.end.min(self.start + length);
        self.start = taken.end;
        self.offset += taken.len() as u64;
        self.octets.get(taken).unwrap_or_default()
    }
}
