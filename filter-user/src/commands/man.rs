//! `lastack man`: the manual, from the same description of the command line that `--help` shows.

mod sections;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Command, ValueHint};
use clap_mangen::Man;

use super::is_read;

/// Prints the manual page lastack(1), or writes all pages to a directory
///
/// To look at it: `lastack man | man -l -`. To install all:
/// `lastack man --dir /usr/share/man/man1`
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to write one page for lastack and one for each of its commands
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, command: Command) -> anyhow::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(directory) = &arguments.dir else {
        let page = page(&command)?;
        is_read(io::stdout().write_all(&page)).context("could not write the manual")?;
        return Ok(());
    };
    make(directory)?;
    let pages = [&command].into_iter().chain(command.get_subcommands());
    for command in pages {
        let path = directory.join(Man::new(command.clone()).get_filename());
        fs::write(&path, page(command)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Sees to it that the directory is there. It alone is made: with a slip of the pen in what leads
/// there, pages would be where nobody looks.
fn make(directory: &Path) -> anyhow::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir(directory).with_context(|| {
        format!(
            "cannot make {}; what leads there has to be there",
            directory.display()
        )
    })
}

/// One page.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let name = man.get_filename();
    let name = name.trim_end_matches(".1");
    let man = man
        .title(name.to_uppercase())
        // An empty one would be taken for left out.
        .date(" ")
        .source(concat!("lastack ", env!("CARGO_PKG_VERSION")))
        .manual("lastack");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    sections::after(command).to_writer(&mut page)?;
    Ok(page)
}
