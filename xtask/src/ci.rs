//! `cargo xtask ci`: what a change must pass.

use anyhow::Result;

use crate::{lint, test};

/// The verb.
pub(crate) fn run() -> Result<()> {
    eprintln!("== cargo xtask lint");
    lint::run()?;
    eprintln!("== cargo xtask test");
    test::run(&test::Arguments::default())
}
