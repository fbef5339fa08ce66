//! Options of every command that is about one instance among others: its name, its pins, and where
//! its metrics are.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{ArgAction, Args, ValueHint, builder::BoolishValueParser};

use crate::instance::InstanceName;

/// By what an instance is known.
#[derive(Clone, Debug, Args)]
pub(super) struct Identity {
    /// Leave programs and tables in the kernel when this process ends, and take over those that
    /// an earlier one left
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new(),
          hide_default_value = true, hide_possible_values = true, env = "LASTACK_PIN", hide_env_values = true)]
    pub(super) pin: bool,
    /// Where they are pinned: a directory of a BPF file system
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/sys/fs/bpf/lastack",
        value_hint = ValueHint::DirPath,
        env = "LASTACK_PIN_DIR",
        hide_env_values = true
    )]
    pub(super) pin_dir: PathBuf,
    /// What this instance is called, for those that ask it and for what it pins
    #[arg(
        long,
        value_name = "NAME",
        default_value_t,
        env = "LASTACK_INSTANCE",
        hide_env_values = true
    )]
    pub(super) instance: InstanceName,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricsAddress {
    Off,
    At(SocketAddr),
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            "neither an address with a port (127.0.0.1:9433, [::1]:9433) nor off".to_owned()
        })
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_at_an_address_or_off() {
        assert_eq!("off".parse(), Ok(MetricsAddress::Off));
        assert!(matches!("[::1]:9433".parse(), Ok(MetricsAddress::At(_))));
        assert!("9433".parse::<MetricsAddress>().is_err());
    }
}
