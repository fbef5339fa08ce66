//! What is different when options are evaluated anew, and whether that can be applied.

use std::fmt::Display;

use clap::ValueEnum;

use super::options::Arguments;
use crate::commands::identity::Identity;

/// The difference between two evaluations of the options.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionChanges {
    /// What can be applied to a running instance.
    pub applied: Vec<OptionChange>,
    /// What is fixed while an instance runs, and waits for the next.
    pub needs_restart: Vec<OptionChange>,
}

/// An option with another value.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionChange {
    /// Its long name.
    pub option: &'static str,
    /// As it was, and as it would be written on the command line.
    pub old: String,
    /// As it is to be.
    pub new: String,
}

impl Arguments {
    /// What is different in `new`.
    #[must_use]
    pub fn changes(&self, new: &Self) -> OptionChanges {
        let mut changes = OptionChanges {
            applied: Vec::new(),
            needs_restart: Vec::new(),
        };
        for (old, new) in self.values().into_iter().zip(new.values()) {
            if old.text == new.text {
                continue;
            }
            let list = if old.is_fixed {
                &mut changes.needs_restart
            } else {
                &mut changes.applied
            };
            list.push(OptionChange {
                option: old.option,
                old: old.text,
                new: new.text,
            });
        }
        changes
    }

    /// Every option with its value, in the same order for all.
    #[must_use]
    pub fn values(&self) -> Vec<OptionValue> {
        // Whole, so that no option is forgotten.
        let Self {
            config,
            iface,
            wait,
            role,
            mode,
            closer,
            rst_guard,
            client,
            port,
            window,
            budget,
            max_flows,
            half_closed_timeout,
            one_sided_timeout,
            closed_timeout,
            attaching,
            metrics_addr,
            interval,
            output,
            events,
            log_decisions,
            identity,
        } = self;
        let Identity {
            pin,
            pin_dir,
            instance,
        } = identity;
        let config = config
            .as_deref()
            .map_or_else(String::new, |path| path.display().to_string());
        let time = |time| humantime::format_duration(time).to_string();
        vec![
            fixed("config", config),
            fixed("iface", list(iface)),
            fixed("wait", wait),
            fixed("role", role),
            applicable("mode", name(mode)),
            fixed("closer", name(closer)),
            applicable("rst-guard", rst_guard),
            applicable("client", list(client)),
            applicable("port", list(port)),
            applicable("window", time(*window)),
            applicable("budget", budget),
            fixed("max-flows", max_flows),
            applicable("half-closed-timeout", time(*half_closed_timeout)),
            applicable("one-sided-timeout", time(*one_sided_timeout)),
            applicable("closed-timeout", time(*closed_timeout)),
            fixed("ingress", name(&attaching.ingress)),
            fixed("xdp-mode", name(&attaching.xdp_mode)),
            fixed("tc-mode", name(&attaching.tc_mode)),
            fixed("metrics-addr", metrics_addr),
            applicable("interval", time(*interval)),
            fixed("output", name(output)),
            applicable("events", events),
            applicable("log-decisions", log_decisions),
            fixed("pin", pin),
            fixed("pin-dir", pin_dir.display()),
            fixed("instance", instance),
        ]
    }
}

/// An option as it would be written on the command line.
pub struct OptionValue {
    /// Its long name.
    pub option: &'static str,
    /// Its value; empty if it has none.
    pub text: String,
    is_fixed: bool,
}

fn fixed(option: &'static str, value: impl Display) -> OptionValue {
    OptionValue {
        option,
        text: value.to_string(),
        is_fixed: true,
    }
}

fn applicable(option: &'static str, value: impl Display) -> OptionValue {
    OptionValue {
        is_fixed: false,
        ..fixed(option, value)
    }
}

fn list(values: &[impl ToString]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    values.join(",")
}

fn name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn options(flags: &[&str]) -> Arguments {
        let command = Arguments::augment_args(Command::new("run")).no_binary_name(true);
        let flags = [&["--iface", "wan0"], flags].concat();
        Arguments::from_arg_matches(&command.get_matches_from(flags)).unwrap()
    }

    #[test]
    fn every_option_has_its_value_as_the_command_line_would_have_it() {
        let command = Arguments::augment_args(Command::new("run"));
        let values = options(&[]).values();
        for option in command.get_arguments() {
            let name = option.get_long().unwrap();
            let value = values.iter().find(|value| value.option == name).unwrap();
            let default = option.get_default_values().first();
            let default = default.map_or("", |default| default.to_str().unwrap());
            let expected = if name == "iface" { "wan0" } else { default };
            assert_eq!(value.text, expected, "{name}");
        }
    }

    #[test]
    fn the_same_options_are_no_change() {
        let changes = options(&[]).changes(&options(&[]));
        assert_eq!((changes.applied, changes.needs_restart), (vec![], vec![]));
    }

    #[test]
    fn what_only_settings_tell_can_be_applied() {
        for (flag, old, new) in [
            ("--mode=monitor", "enforce", "monitor"),
            ("--window=1s", "500ms", "1s"),
            ("--budget=4", "3", "4"),
            ("--client=10.0.0.0/8,fd00::1", "", "10.0.0.0/8,fd00::1/128"),
            ("--port=80", "", "80"),
            ("--rst-guard", "false", "true"),
            ("--half-closed-timeout=2h", "1h", "2h"),
            ("--one-sided-timeout=5s", "1m", "5s"),
            ("--closed-timeout=90s", "4m", "1m 30s"),
            ("--events", "false", "true"),
            ("--log-decisions=10.0.0.1", "off", "10.0.0.1"),
            ("--interval=1m", "10s", "1m"),
        ] {
            let changes = options(&[]).changes(&options(&[flag]));
            let option = flag.trim_start_matches('-').split('=').next().unwrap();
            let [change] = &changes.applied[..] else {
                panic!("{flag}: {changes:?}");
            };
            assert_eq!(
                (change.option, &*change.old, &*change.new),
                (option, old, new)
            );
            assert!(changes.needs_restart.is_empty(), "{flag}");
        }
    }

    #[test]
    fn what_is_fixed_while_it_runs_needs_a_restart() {
        for flag in [
            "--config=other.toml",
            "--iface=wan1",
            "--wait",
            "--role=lan",
            "--closer=either",
            "--max-flows=1",
            "--ingress=tc",
            "--xdp-mode=native",
            "--tc-mode=tcx",
            "--metrics-addr=off",
            "--output=json",
            "--pin",
            "--pin-dir=/elsewhere",
            "--instance=other",
        ] {
            let changes = options(&[]).changes(&options(&[flag]));
            let option = flag.trim_start_matches('-').split('=').next().unwrap();
            let names: Vec<_> = changes
                .needs_restart
                .iter()
                .map(|fixed| fixed.option)
                .collect();
            assert_eq!(names, [option]);
            assert!(changes.applied.is_empty(), "{flag}");
        }
    }
    #[test]
    fn the_file_that_comes_with_lastack_tells_what_needs_a_restart() {
        let values = options(&[]).values();
        let paragraphs = include_str!("../../../lastack.toml").split("\n\n");
        let told: Vec<_> = paragraphs
            .filter_map(|paragraph| {
                let (prose, option) = paragraph.trim_end().rsplit_once("\n#")?;
                let (name, _) = option.split_once(" = ")?;
                Some((name, prose.contains("[restart]")))
            })
            .collect();
        let all = values.iter().filter(|value| value.option != "config");
        assert_eq!(told.len(), all.clone().count(), "{told:?}");
        for value in all {
            assert!(
                told.contains(&(value.option, value.is_fixed)),
                "{}",
                value.option
            );
        }
    }
}
