//! The options of `lastack analyze`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Args, ValueHint, builder::RangedU64ValueParser};
use filter_common::Closer;
use ipnet::IpNet;

use crate::{
    commands::{Contradiction, patience, prefix, run::CloserName, span},
    settings::Settings,
    stream::Output,
};

/// Findings in the text, unless it is asked for another number.
const SHOWN: usize = 20;
/// Findings in JSON, likewise; and those whose packets --write writes.
const LISTED: usize = 10_000;
/// Standard input.
pub(super) const STDIN: &str = "-";

/// Finds the fault in captures: who sends spurious ACKs, and which resets follow
///
/// Needs no root and no gateway: it takes captures of tcpdump, Wireshark and the like (pcap and pcapng,
/// also compressed by gzip or zstd) that hold both directions of connections to their end, and judges
/// them as `lastack run` would. Exit status 1 if a file is damaged; what was read of it is reported.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Captures; - is standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// How the report is printed; json is one object a file, each on a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
    /// Look only at connections with one of these addresses, and one of these ports, at either end;
    /// may be repeated
    #[arg(long, value_name = "ADDRESS[/PREFIX]|PORT")]
    filter: Vec<Wanted>,
    /// How many findings are listed; the others are counted [default: 20; json: 10000]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new())]
    findings: Option<u32>,
    /// Draw the connection of finding N instead
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    ladder: Option<u32>,
    /// Draw it into this file, too
    #[arg(long, value_name = "FILE", requires = "ladder", value_hint = ValueHint::FilePath)]
    svg: Option<PathBuf>,
    /// Write the packets of the connections with findings to this file (pcapng)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    write: Option<PathBuf>,
    /// How long after a forwarded ACK another would be dropped
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = span)]
    window: Duration,
    /// How many segments of one connection would be dropped
    #[arg(long, value_name = "N", default_value = "3",
          value_parser = RangedU64ValueParser::<u8>::new().range(1..=255))]
    budget: u8,
    /// Whose FIN makes a connection known: the client's, or either's, for servers that keep no
    /// TIME-WAIT
    #[arg(long, value_enum, default_value = "client")]
    closer: CloserName,
    /// How long a connection is remembered after the FIN of one side alone
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
    half_closed_timeout: Duration,
    /// The same while the other side has not answered
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = patience)]
    one_sided_timeout: Duration,
    /// How long a connection is remembered after it is closed
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = span)]
    closed_timeout: Duration,
}

/// What a connection has to have at one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Address(IpNet),
    Port(u16),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<u16>() {
            Ok(0) => Err("no connection has port 0".to_owned()),
            Ok(port) => Ok(Self::Port(port)),
            Err(_) => prefix(text).map(Self::Address).map_err(|_| {
                "neither an address nor a prefix (10.0.0.0/8, 2001:db8::1) nor a port".to_owned()
            }),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                prefix.addr().fmt(f)
            }
            Self::Address(prefix) => prefix.fmt(f),
            Self::Port(port) => port.fmt(f),
        }
    }
}

impl Arguments {
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    pub(super) const fn output(&self) -> Output {
        self.output
    }

    /// The finding to draw.
    pub(super) fn ladder(&self) -> Option<usize> {
        self.ladder.map(as_size)
    }

    /// Where it is to be drawn as a picture.
    pub(super) fn svg(&self) -> Option<&Path> {
        self.svg.as_deref()
    }

    /// Where packets are to be written.
    pub(super) fn write(&self) -> Option<&Path> {
        self.write.as_deref()
    }

    /// What will be written to, so that it must not be what is read.
    pub(super) fn written(&self) -> impl Iterator<Item = &Path> {
        [self.svg(), self.write()].into_iter().flatten()
    }

    /// Whether a file has to be read again once its findings are known.
    pub(super) const fn needs_second_pass(&self) -> bool {
        self.ladder.is_some() || self.write.is_some()
    }

    /// How many findings are to be listed.
    pub(super) fn listed(&self) -> usize {
        match (self.findings, self.output) {
            (Some(findings), _) => as_size(findings),
            (None, Output::Text) => SHOWN,
            (None, Output::Json) => LISTED,
        }
    }

    /// How many findings have to be known one by one.
    pub(super) fn known(&self) -> usize {
        let written = self.write.as_ref().map_or(0, |_| LISTED);
        let drawn = self.ladder().unwrap_or(0);
        self.listed().max(written).max(drawn)
    }

    pub(super) const fn is_filtered(&self) -> bool {
        !self.filter.is_empty()
    }

    /// As `lastack run` would have been asked to do it.
    pub(super) fn analysis(&self) -> analysis::Options {
        let mut filter = analysis::Filter::default();
        for wanted in &self.filter {
            match *wanted {
                Wanted::Address(prefix) => filter.prefixes.push(prefix),
                Wanted::Port(port) => filter.ports.push(port),
            }
        }
        analysis::Options {
            window: self.window,
            budget: self.budget,
            closer: self.closer.into(),
            half_closed_lifetime: self.half_closed_timeout,
            one_sided_lifetime: self.one_sided_timeout,
            closed_lifetime: self.closed_timeout,
            filter,
            most_findings: self.known(),
        }
    }

    pub(super) const fn window(&self) -> Duration {
        self.window
    }

    /// Options on which findings depend, and their values, where they are not the defaults.
    pub(super) fn decisive(&self) -> Vec<(&'static str, String)> {
        let defaults = Settings::default();
        let time = |span| humantime::format_duration(span).to_string();
        let filters = self.filter.iter();
        let mut options: Vec<_> = filters
            .map(|wanted| ("filter", wanted.to_string()))
            .collect();
        let mut add = |option, is_default: bool, value: String| {
            if !is_default {
                options.push((option, value));
            }
        };
        add("window", self.window == defaults.window, time(self.window));
        add(
            "budget",
            self.budget == defaults.budget,
            self.budget.to_string(),
        );
        let is_default = Closer::from(self.closer) == defaults.closer;
        add("closer", is_default, "either".to_owned());
        let is_default = self.half_closed_timeout == defaults.half_closed_timeout;
        let timeout = time(self.half_closed_timeout);
        add("half-closed-timeout", is_default, timeout);
        let is_default = self.one_sided_timeout == defaults.one_sided_timeout;
        add(
            "one-sided-timeout",
            is_default,
            time(self.one_sided_timeout),
        );
        let is_default = self.closed_timeout == defaults.closed_timeout;
        add("closed-timeout", is_default, time(self.closed_timeout));
        options
    }

    /// Which options cannot be used together.
    pub(crate) fn contradiction(&self) -> Option<Contradiction> {
        let several = self.files.len() > 1;
        let stdins = self.files().filter(|file| is_stdin(file)).count();
        let contradiction = |option, other, message| {
            Some(Contradiction {
                options: [option, other],
                message,
            })
        };
        match () {
            () if self.ladder.is_some() && several => contradiction(
                "ladder",
                "files",
                "--ladder draws a finding of one FILE, and there are several",
            ),
            () if self.write.is_some() && several => contradiction(
                "write",
                "files",
                "--write takes packets of one FILE, and there are several",
            ),
            () if stdins > 1 => contradiction(
                "files",
                "files",
                "standard input (-) cannot be read more than once",
            ),
            () if self.ladder.is_some() && self.output == Output::Json && self.svg.is_none() => {
                contradiction(
                    "ladder",
                    "output",
                    "--ladder draws in text; with --output json it needs --svg",
                )
            }
            () => None,
        }
    }
}

/// Whether standard input is meant.
pub(super) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == STDIN
}

fn as_size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;
    use crate::commands::run;

    #[test]
    fn a_filter_is_a_prefix_an_address_or_a_port() {
        let wanted = |text: &str| text.parse::<Wanted>();
        assert_eq!(wanted("80"), Ok(Wanted::Port(80)));
        let one: IpNet = "2001:db8::1/128".parse().unwrap();
        assert_eq!(wanted("2001:db8::1"), Ok(Wanted::Address(one)));
        let some: IpNet = "10.0.0.0/8".parse().unwrap();
        assert_eq!(wanted("10.1.2.3/8"), Ok(Wanted::Address(some)));
        for wrong in ["", "0", "65536", "lan", "10.0.0.0/33", "-1"] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_of_the_filter_have_the_same_defaults_and_help_as_those_of_run() {
        let run = run::Arguments::augment_args(clap::Command::new("run"));
        let analyze = Arguments::augment_args(clap::Command::new("analyze"));
        for option in [
            "window",
            "budget",
            "closer",
            "half_closed_timeout",
            "one_sided_timeout",
            "closed_timeout",
        ] {
            let of = |command: &clap::Command| {
                let mut arguments = command.get_arguments();
                let argument = arguments.find(|argument| argument.get_id() == option);
                argument.unwrap().get_default_values().to_vec()
            };
            assert_eq!(of(&run), of(&analyze), "{option}");
        }
    }
}
