//! What is different when options are evaluated anew, and whether that can be applied.

use std::fmt::Display;

use clap::ValueEnum;

use super::options::Arguments;

/// The difference between two evaluations of the options.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionChanges {
    /// What can be applied to a running instance.
    pub applied: Vec<OptionChange>,
    /// The options that are fixed while an instance runs; their new values wait for the next.
    pub needs_restart: Vec<&'static str>,
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
            if old.is_fixed {
                changes.needs_restart.push(old.option);
            } else {
                changes.applied.push(OptionChange {
                    option: old.option,
                    old: old.text,
                    new: new.text,
                });
            }
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
            closed_timeout,
            attaching,
            metrics_addr,
            interval,
            output,
            events,
            log_decisions,
            pin,
            pin_dir,
            instance,
        } = self;
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
