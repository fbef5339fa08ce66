//! `cargo xtask ci`: what a change must pass.

use anyhow::Result;

use crate::{lint, model::Aside, test, vm};

/// The verb.
pub(crate) fn run() -> Result<()> {
    eprintln!("== cargo xtask lint");
    lint::run(&lint::Arguments::default())?;
    // The tests leave a processor idle half of the time.
    let model = Aside::start()?;
    eprintln!("== cargo xtask test");
    test::run(&test::Arguments::default())?;
    eprintln!("== cargo xtask vm");
    vm::run_in_ci()?;
    eprintln!("== cargo xtask model");
    model.finish()
}
