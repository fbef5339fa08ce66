//! Settings as they are told: by the names of the options, with values as they are written.

use humantime::format_duration;
use serde_json::{Map, Value, json};

use crate::settings::{Closer, Mode, Settings};

/// What an instance was asked to do, by option.
#[must_use]
pub fn by_option(settings: &Settings) -> Map<String, Value> {
    let Settings {
        role,
        mode,
        closer,
        rst_guard,
        window,
        budget,
        max_flows,
        half_closed_timeout,
        closed_timeout,
        ingress,
        xdp_mode,
        tc_mode,
        clients,
        ports,
        events,
        log_decisions,
    } = settings;
    let mode = match mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
    };
    let closer = match closer {
        Closer::Client => "client",
        Closer::Either => "either",
    };
    let options = [
        ("role", json!(role)),
        ("mode", mode.into()),
        ("closer", closer.into()),
        ("rst-guard", (*rst_guard).into()),
        ("client", json!(clients)),
        ("port", json!(ports)),
        ("window", format_duration(*window).to_string().into()),
        ("budget", (*budget).into()),
        ("max-flows", (*max_flows).into()),
        (
            "half-closed-timeout",
            format_duration(*half_closed_timeout).to_string().into(),
        ),
        (
            "closed-timeout",
            format_duration(*closed_timeout).to_string().into(),
        ),
        ("ingress", json!(ingress)),
        ("xdp-mode", json!(xdp_mode)),
        ("tc-mode", json!(tc_mode)),
        ("events", (*events).into()),
        ("log-decisions", log_decisions.to_string().into()),
    ];
    options
        .into_iter()
        .map(|(option, value)| (option.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_as_they_are_typed() {
        let options = by_option(&Settings {
            clients: vec!["10.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        });
        assert_eq!(options["window"], "500ms");
        assert_eq!(options["half-closed-timeout"], "1h");
        assert_eq!(options["client"], json!(["10.0.0.0/8"]));
        assert_eq!(options["xdp-mode"], "auto");
        assert_eq!(options["rst-guard"], false);
    }
}
