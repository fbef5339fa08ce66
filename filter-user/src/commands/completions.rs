//! `lastack completions`: what a shell needs to complete command lines.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Arg, ArgAction, Args, Command, builder::Resettable, builder::ValueParser};
use clap_complete::Shell;

use super::is_read;

/// Prints completions for a shell
///
/// For bash: `lastack completions bash > /usr/share/bash-completion/completions/lastack`
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub fn run(arguments: &Arguments, command: Command) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    let mut command = with_switches(command);
    // The generators panic where they cannot write.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    is_read(io::stdout().write_all(&script)).context("could not write the completions")?;
    Ok(())
}

/// Options that need no value, as such: none may follow them as a word of its own.
fn with_switches(command: Command) -> Command {
    let command = command.mut_args(|option| {
        let needs_none = option
            .get_num_args()
            .is_some_and(|values| values.min_values() == 0 && values.max_values() > 0);
        if needs_none { switch(option) } else { option }
    });
    command.mut_subcommands(with_switches)
}

fn switch(option: Arg) -> Arg {
    option
        .num_args(0)
        .action(ArgAction::SetTrue)
        .value_parser(ValueParser::bool())
        .require_equals(false)
        .value_name(Resettable::Reset)
        .default_value(Resettable::Reset)
        .default_missing_value(Resettable::Reset)
        .hide_default_value(false)
        .hide_possible_values(false)
}
