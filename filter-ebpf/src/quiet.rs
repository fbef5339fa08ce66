//! lastack's packet programs, as they are loaded where nobody asks for events or for the log of
//! decisions: neither is in them.

#![no_std]
#![no_main]

mod configuration;
mod entry;
mod filter;
mod maps;
mod packet;
mod runtime;

/// Tells nobody.
mod tell {
    use filter_common::{Direction, Reason};

    use crate::filter::Facts;

    #[inline(always)]
    pub(crate) fn tell(_: &Facts, _: Reason, _: Direction) {}
}
