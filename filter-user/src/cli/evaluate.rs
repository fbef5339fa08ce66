//! From the command line, the environment and a file to the options of a command.
//!
//! The command line tells the file; a flag beats the environment, which beats the file, which beats
//! the default.

use std::ffi::OsString;

use anyhow::{anyhow, bail};
use clap::{
    ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _, error::ErrorKind,
    parser::ValueSource,
};

use super::{Cli, Command};
use crate::{
    commands::{Contradiction, FileOptions, run},
    config::ConfigFile,
};

/// Why there is no command to run.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The command line or the environment is wrong; or it asks for help.
    Usage(clap::Error),
    /// What they name is.
    Failure(anyhow::Error),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

/// The command that these arguments ask for.
pub(super) fn evaluate(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Refusal> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut matches = Cli::command().try_get_matches_from(&arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let mut file = None;
    if let Some(path) = cli.command.options().and_then(FileOptions::config) {
        let options = run::Arguments::augment_args(clap::Command::new("lastack run"));
        let read = ConfigFile::read(path, &options).map_err(Refusal::Failure)?;
        let name = matches.subcommand_name().unwrap_or_default();
        let command = Cli::command().mut_subcommand(name, |command| read.defaults(command));
        matches = command.try_get_matches_from(&arguments)?;
        cli = Cli::from_arg_matches(&matches)?;
        file = Some(read);
    }
    refuse_contradiction(&cli, &matches, file.as_ref())?;
    // `check` without a file looks at default routes, but with one says what `run` would say.
    match (cli.command.options().map(FileOptions::interfaces), &file) {
        (Some([]), Some(file)) => Err(Refusal::Failure(anyhow!(
            "{}: no interface to serve: add iface = [\"wan0\"], or give --iface",
            file.path().display()
        ))),
        _ => Ok(cli),
    }
}

/// The same, if they ask for `lastack run`.
pub(super) fn run_arguments(
    arguments: impl IntoIterator<Item = OsString>,
) -> anyhow::Result<run::Arguments> {
    match evaluate(arguments) {
        Ok(Cli {
            command: Command::Run(arguments),
        }) => Ok(*arguments),
        Ok(_) => bail!("not started as `lastack run`"),
        // Its first line; how to use it is of no use now.
        Err(Refusal::Usage(error)) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            bail!("{}", line.trim_start_matches("error: "))
        }
        Err(Refusal::Failure(error)) => Err(error),
    }
}

impl Command {
    /// Its options, if they may come from a file.
    fn options(&self) -> Option<&dyn FileOptions> {
        match self {
            Self::Run(arguments) => Some(&**arguments),
            Self::Check(arguments) => Some(arguments),
            Self::Analyze(_)
            | Self::Demo(_)
            | Self::Status(_)
            | Self::Flows(_)
            | Self::Hosts(_)
            | Self::Watch(_)
            | Self::Detach(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }

    /// Which of its options contradict each other.
    fn contradiction(&self) -> Option<Contradiction> {
        match self {
            Self::Analyze(arguments) => arguments.contradiction(),
            Self::Demo(arguments) => arguments.contradiction(),
            Self::Run(_)
            | Self::Check(_)
            | Self::Status(_)
            | Self::Flows(_)
            | Self::Hosts(_)
            | Self::Watch(_)
            | Self::Detach(_)
            | Self::Completions(_)
            | Self::Man(_) => self.options()?.contradiction(),
        }
    }
}

/// Where options contradict each other, says so: in the file, if one of them comes from there.
fn refuse_contradiction(
    cli: &Cli,
    matches: &ArgMatches,
    file: Option<&ConfigFile>,
) -> Result<(), Refusal> {
    let (Some(contradiction), Some((name, matches))) =
        (cli.command.contradiction(), matches.subcommand())
    else {
        return Ok(());
    };
    let Contradiction { options, message } = contradiction;
    let refused = options.iter().find_map(|option| {
        let source = matches.value_source(&option.replace('-', "_"));
        if source != Some(ValueSource::DefaultValue) {
            return None;
        }
        file?.refuse(option, &message.replace("--", ""))
    });
    if let Some(error) = refused {
        return Err(Refusal::Failure(error));
    }
    let mut command = Cli::command();
    command.build();
    let command = match command.find_subcommand_mut(name) {
        Some(command) => command,
        None => &mut Cli::command(),
    };
    let error = command.error(ErrorKind::ArgumentConflict, message);
    Err(Refusal::Usage(error))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// A file that is removed in the end.
    struct TempFile(PathBuf);

    impl TempFile {
        fn new(test: &str) -> Self {
            let name = format!("lastack-{test}-{}.toml", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn options(&self, content: &str, flags: &[&str]) -> anyhow::Result<run::Arguments> {
            fs::write(&self.0, content).unwrap();
            let path = self.0.to_str().unwrap();
            let arguments = [&["lastack", "run", "--config", path], flags].concat();
            run_arguments(arguments.into_iter().map(OsString::from))
        }

        fn value(&self, content: &str, flags: &[&str], option: &str) -> String {
            let options = self.options(content, flags).unwrap();
            let mut values = options.values().into_iter();
            values.find(|value| value.option == option).unwrap().text
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    #[test]
    fn the_command_line_is_what_clap_wants_it_to_be() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_beats_the_file_which_beats_the_default() {
        let file = TempFile::new("precedence");
        let content = "iface = 'wan0'\nwindow = '2s'\nport = [80, 443]\npin = true";
        for (flags, option, value) in [
            (&[][..], "iface", "wan0"),
            (&["--iface", "a", "--iface", "b"], "iface", "a,b"),
            (&[], "window", "2s"),
            (&["--window", "3s"], "window", "3s"),
            (&[], "port", "80,443"),
            (&["--port", "8080"], "port", "8080"),
            (&[], "pin", "true"),
            (&["--pin=false"], "pin", "false"),
            (&["--rst-guard"], "rst-guard", "true"),
            (&[], "rst-guard", "false"),
            (&[], "budget", "3"),
            (&["--log-decisions"], "log-decisions", "all"),
        ] {
            assert_eq!(file.value(content, flags, option), value, "{flags:?}");
        }
    }

    #[test]
    fn evaluated_anew_the_file_is_as_it_is_now() {
        let file = TempFile::new("anew");
        let flags = ["--iface", "wan0", "--budget", "9"];
        let old = file.options("window = '1s'\nbudget = 2", &flags).unwrap();
        let new = file.options("window = '2s'\nbudget = 4", &flags).unwrap();
        let changes = old.changes(&new);
        let applied: Vec<_> = changes.applied.iter().map(|change| change.option).collect();
        assert_eq!(applied, ["window"]);
        assert!(changes.needs_restart.is_empty());
    }

    #[test]
    fn evaluated_anew_what_is_wrong_is_one_line() {
        let file = TempFile::new("wrong");
        let error = file.options("window = 1", &["--iface", "wan0"]);
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.ends_with("toml:1:10: window = 1: not a time with its unit (500ms, 4m)"));
        let error = file.options("", &["--iface", "wan0", "--budget", "0"]);
        assert_eq!(
            format!("{:#}", error.unwrap_err()),
            "invalid value '0' for '--budget <N>': 0 is not in 1..=255"
        );
    }
}
