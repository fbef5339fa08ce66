//! `cargo xtask ci`: what a change must pass.

use anyhow::Result;

use crate::{lint, model, test, vm};

/// The verb.
pub(crate) fn run() -> Result<()> {
    eprintln!("== cargo xtask lint");
    lint::run()?;
    eprintln!("== cargo xtask test");
    test::run(&test::Arguments::default())?;
    eprintln!("== cargo xtask vm");
    vm::run_in_ci()?;
    eprintln!("== cargo xtask model");
    model::run(&model::Arguments::default())
}
