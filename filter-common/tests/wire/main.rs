//! What the parser understands, and how it gives up on the rest.

#[path = "../frames/mod.rs"]
mod frames;

mod headers;
mod lengths;
mod options;
mod properties;

use filter_common::{Direction, FlowKey, Reason, Segment, wire};

const SECRET: u64 = 0x0123_4567_89ab_cdef;

/// All that is to be known of a frame.
fn parse(frame: &[u8], direction: Direction) -> Result<(FlowKey, Segment), Reason> {
    let located = wire::locate(frame, wire::Link::Ethernet, direction, SECRET)?;
    Ok((
        wire::key(frame, &located, direction)?,
        wire::segment(frame, &located)?,
    ))
}
