//! `lastack analyze`: whether captures show the fault, and what would have cured it.

mod input;
mod options;
mod pass;
mod text;

use std::{ffi::OsStr, process::ExitCode};

pub use self::options::Arguments;

/// Runs the command: each file, also if one before it is damaged or cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let _ = arguments;
    Ok(ExitCode::SUCCESS)
}

/// A name that controls no terminal.
fn shown(name: &OsStr) -> String {
    printable(&name.to_string_lossy())
}

/// Text without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
