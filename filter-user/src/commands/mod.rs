//! One file per command, and what their options share.

pub mod analyze;
mod asking;
mod attaching;
pub mod check;
pub mod completions;
pub mod demo;
pub mod detach;
mod figures;
pub mod flows;
pub mod hosts;
mod identity;
mod instances;
pub mod man;
pub mod run;
pub mod status;
mod table;
pub mod watch;

use std::{io, net::IpAddr, path::Path, time::Duration};

use ipnet::IpNet;

pub(crate) use self::attaching::Contradiction;

/// Options of a command that may come from a file.
pub(crate) trait FileOptions {
    /// The file.
    fn config(&self) -> Option<&Path>;

    /// The interfaces that they name.
    fn interfaces(&self) -> &[String];

    /// Which of them contradict each other.
    fn contradiction(&self) -> Option<Contradiction>;
}

/// A name that an interface can have, its own or another (`ip link property add altname`).
fn interface_name(text: &str) -> Result<String, String> {
    /// Of another; its own has no more than 15.
    const MOST_OCTETS: usize = 127;
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > MOST_OCTETS {
        return Err(format!(
            "no interface has a name of more than {MOST_OCTETS} octets"
        ));
    }
    if text.contains(|c: char| c == '/' || c.is_whitespace()) {
        return Err("no interface has a name with a slash or white space".to_owned());
    }
    Ok(text.to_owned())
}

/// A time with its unit, above zero, and no longer than the programs can tell from one that is over.
fn span(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(24);
    let span: Duration = humantime::parse_duration(text)
        .map_err(|_| "not a time with its unit (500ms, 4m)".to_owned())?;
    if span.is_zero() {
        return Err("must be more than 0".to_owned());
    }
    if span > LONGEST {
        return Err("must not be more than 1day".to_owned());
    }
    Ok(span)
}

/// The same for what waits for an answer over the network.
fn patience(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(1);
    let span = span(text)?;
    if span < SHORTEST {
        return Err(
            "must be 1s at least: an answer takes a round trip, and more if it gets lost"
                .to_owned(),
        );
    }
    Ok(span)
}

/// Whether what was written to standard output is read. A reader that has what it wanted, as
/// `head` does, is no failure.
fn is_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// A prefix, or one address.
fn prefix(text: &str) -> Result<IpNet, String> {
    let prefix: Result<IpNet, _> = text.parse();
    prefix
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|prefix| prefix.trunc())
        .map_err(|_| "neither an address nor a prefix (10.0.0.0/8, 2001:db8::/32)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_a_unit_and_must_not_be_zero() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("4m"), Ok(Duration::from_mins(4)));
        for wrong in ["0ms", "0s", "500", "soon", "", "-1s", "25h"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
