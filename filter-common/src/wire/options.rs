//! TCP options, as far as R1 cares.

use super::{Frame, MOST_OPTION_OCTETS, OptionOctets};
use crate::segment::Options;

/// Looks through `length` octets of options at `offset`.
#[inline(always)]
pub(super) fn read<F: Frame + ?Sized>(frame: &F, offset: usize, length: usize) -> Options {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const TIMESTAMPS: u8 = 8;
    const TIMESTAMPS_LENGTH: u8 = 10;
    /// Two No-Operations, and Timestamps' kind and length.
    const PADDED_TIMESTAMPS: u32 = 0x0101_080a;
    const PADDED_TIMESTAMPS_LENGTH: usize = 12;
    // As everybody sends them (RFC 7323, appendix A): one look instead of a walk.
    if length == PADDED_TIMESTAMPS_LENGTH && frame.peek(offset) == Some(PADDED_TIMESTAMPS.to_be()) {
        return Options::Plain;
    }
    let mut octets: OptionOctets = [0; _];
    if !frame.options(offset, length, &mut octets) {
        return Options::Other;
    }
    let octet = |at: usize| octets.get(at).copied().unwrap_or(0xff);
    let mut at = 0_usize;
    // One counter only: the kernel's verifier walks each of its values once.
    while at < length && at < MOST_OPTION_OCTETS {
        match octet(at) {
            END => return Options::Plain,
            NO_OPERATION => at = at.wrapping_add(1),
            TIMESTAMPS if octet(at.wrapping_add(1)) == TIMESTAMPS_LENGTH => {
                at = at.wrapping_add(usize::from(TIMESTAMPS_LENGTH));
            }
            _ => return Options::Other,
        }
    }
    if at == length {
        Options::Plain
    } else {
        Options::Other
    }
}
