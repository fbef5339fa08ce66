//! The file of options that `--config` names: what is in it, and what is wrong with it.
//!
//! It has no schema of its own. Its keys are the long names of options, and each value goes through
//! the parser of its option; then the values become the defaults of the options, so that a flag and
//! the environment beat them.

use std::{
    any::TypeId,
    error::Error as _,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::{
    Arg, ArgAction, Command,
    builder::Resettable,
    error::{ContextKind, ContextValue},
};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

/// A file of which every value is one that its option takes.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The long name of an option.
    option: String,
    /// Where its value is.
    span: Range<usize>,
    values: Vec<String>,
}

/// The option that names the file.
const CONFIG: &str = "config";

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// One line: the file, where in it (from 1, in characters), and what is wrong with which of the
    /// options of `command`.
    pub fn read(path: &Path, command: &Command) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut file = Self {
            path: path.to_owned(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            entries: Vec::new(),
        };
        if let Err(error) = str::from_utf8(&bytes) {
            // What precedes it is as long in the text.
            let start = error.valid_up_to();
            return Err(file.error(&(start..start), "not UTF-8"));
        }
        file.entries = file.parse(&Options::of(command))?;
        Ok(file)
    }

    /// The command, with those of its options that are in the file having their values as defaults.
    #[must_use]
    pub fn defaults(&self, command: Command) -> Command {
        command.mut_args(|option| {
            let entry = option.get_long().and_then(|name| self.entry(name));
            match entry {
                Some(entry) => option.default_values(entry.values.clone()),
                None => option,
            }
        })
    }

    /// What is wrong with the value of an option, if the file has one.
    #[must_use]
    pub fn refuse(&self, option: &str, message: &str) -> Option<anyhow::Error> {
        let entry = self.entry(option)?;
        Some(self.error(&entry.span, message))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn entry(&self, option: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.option == option)
    }

    fn parse(&self, options: &Options) -> anyhow::Result<Vec<Entry>> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let end = self.text.len();
            self.error(&error.span().unwrap_or(end..end), error.message())
        })?;
        let mut pairs: Vec<_> = table.get_ref().iter().collect();
        // So that the first error is the one that is told.
        pairs.sort_by_key(|(key, _)| key.span().start);
        let entries = pairs
            .into_iter()
            .map(|(key, value)| self.judge(options, key.get_ref(), &key.span(), value));
        entries.collect()
    }

    fn judge(
        &self,
        options: &Options,
        key: &str,
        at: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) -> anyhow::Result<Entry> {
        let is_table = value.get_ref().is_table();
        let option = options.find(key).map_err(|message| {
            let section = "there are no sections; options are at the top level";
            self.error(at, if is_table { section } else { &message })
        })?;
        if is_table {
            return Err(self.error(at, &format!("{key} takes a value, not a table")));
        }
        let mut values = Vec::new();
        for (value, span) in elements(option, value) {
            let text = options.text(option, value).map_err(|message| {
                let raw = self.text.get(span.clone());
                let raw = raw.filter(|raw| !raw.contains('\n')).unwrap_or("…");
                self.error(&span, &format!("{key} = {raw}: {message}"))
            })?;
            values.push(text);
        }
        Ok(Entry {
            option: key.to_owned(),
            span: value.span(),
            values,
        })
    }

    fn error(&self, span: &Range<usize>, message: &str) -> anyhow::Error {
        let before = &self.text[..self.text.floor_char_boundary(span.start)];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[start..]
            .trim_start_matches('\u{feff}')
            .chars()
            .count()
            + 1;
        anyhow!("{}:{line}:{column}: {message}", self.path.display())
    }
}

/// The values of an option that can have several, or the one value.
fn elements<'a, 'i>(
    option: &Arg,
    value: &'a Spanned<DeValue<'i>>,
) -> Vec<(&'a DeValue<'i>, Range<usize>)> {
    match value.get_ref().as_array() {
        Some(array) if takes_list(option) => {
            let elements = array.iter();
            elements
                .map(|element| (element.get_ref(), element.span()))
                .collect()
        }
        _ => vec![(value.get_ref(), value.span())],
    }
}

fn takes_list(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Append)
}

/// The options that a file may have.
struct Options(Command);

impl Options {
    fn of(command: &Command) -> Self {
        // A value of the file is judged by itself.
        let command = command.clone().no_binary_name(true);
        Self(command.mut_args(|option| option.env(Resettable::Reset)))
    }

    fn find(&self, key: &str) -> Result<&Arg, String> {
        if key == CONFIG {
            return Err("config cannot be in a file; it is what names this one".to_owned());
        }
        let mut options = self.0.get_arguments();
        if let Some(option) = options.find(|option| option.get_long() == Some(key)) {
            return Ok(option);
        }
        let key = key.escape_debug();
        Err(match self.nearest(&key.to_string()) {
            Some(name) => format!("no option is called {key}; did you mean {name}?"),
            None => format!("no option is called {key}; `lastack run --help` lists them"),
        })
    }

    fn nearest(&self, key: &str) -> Option<&str> {
        /// As clap has it for the command line.
        const ALIKE: f64 = 0.8;
        let names = self.0.get_arguments().filter_map(Arg::get_long);
        names
            .filter(|&name| name != CONFIG)
            .map(|name| (strsim::jaro(key, name), name))
            .filter(|&(alike, _)| alike > ALIKE)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, name)| name)
    }

    /// A value as it would be written on the command line, if its option takes it.
    fn text(&self, option: &Arg, value: &DeValue<'_>) -> Result<String, String> {
        let text = match (Kind::of(option), value) {
            (_, DeValue::Array(_)) if takes_list(option) => {
                return Err("a list within a list".to_owned());
            }
            (_, DeValue::Array(_)) => return Err("takes one value, not a list".to_owned()),
            (_, DeValue::Table(_)) => return Err("not a table".to_owned()),
            (Kind::Switch, DeValue::Boolean(switch)) => switch.to_string(),
            (Kind::Switch, _) => return Err("must be true or false, without quotes".to_owned()),
            (Kind::Number, DeValue::Integer(number)) => return self.number(option, number),
            (Kind::Number, _) => return Err("must be a whole number, without quotes".to_owned()),
            (Kind::Text, DeValue::String(text)) => text.to_string(),
            (Kind::Text, DeValue::Boolean(switch)) => return self.unquoted(option, switch),
            (Kind::Text, DeValue::Integer(number)) => return self.unquoted(option, number),
            (Kind::Text, DeValue::Float(number)) => return self.unquoted(option, number),
            (Kind::Text, DeValue::Datetime(time)) => return self.unquoted(option, time),
        };
        if option
            .get_value_delimiter()
            .is_some_and(|delimiter| text.contains(delimiter))
        {
            return Err("several values are a list: [\"one\", \"other\"]".to_owned());
        }
        self.attempt(option, &text)?;
        Ok(text)
    }

    fn number(&self, option: &Arg, number: &DeInteger<'_>) -> Result<String, String> {
        let value = u64::from_str_radix(number.as_str(), number.radix());
        // Of what is no u64 either, the parser would not say what the range is.
        let text = value.as_ref().unwrap_or(&u64::MAX).to_string();
        self.attempt(option, &text).map_err(|reason| match value {
            Ok(_) => reason,
            Err(_) => reason.replace(&text, number.as_str()),
        })?;
        Ok(text)
    }

    /// Says what is wrong with a value that would have to be text: more than that, if there is.
    fn unquoted(&self, option: &Arg, value: &impl ToString) -> Result<String, String> {
        let value = value.to_string();
        self.attempt(option, &value)?;
        Err(format!("must be in quotes: \"{value}\""))
    }

    fn attempt(&self, option: &Arg, value: &str) -> Result<(), String> {
        let name = option.get_long().unwrap_or_default();
        // With a file, no other option is required.
        let arguments = [format!("--{CONFIG}=."), format!("--{name}={value}")];
        match self.0.clone().try_get_matches_from(arguments) {
            Ok(_) => Ok(()),
            Err(error) => Err(reason(&error)),
        }
    }
}

/// How the value of an option is written.
enum Kind {
    Switch,
    Number,
    Text,
}

impl Kind {
    fn of(option: &Arg) -> Self {
        let value = option.get_value_parser().type_id();
        let numbers = [TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>()];
        if value == TypeId::of::<bool>() {
            Self::Switch
        } else if numbers.iter().any(|number| value == *number) {
            Self::Number
        } else {
            Self::Text
        }
    }
}

/// Why a value was refused, without the option and the value.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("must be one of {}", values.join(", "))
        }
        _ => "must not be empty".to_owned(),
    }
}
