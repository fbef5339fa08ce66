//! Settings as they are told: by the names of the options, with values as they are written.

use serde_json::{Map, Value};

use crate::settings::Settings;

/// What an instance was asked to do, by option.
#[must_use]
pub fn by_option(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(options)) => options,
        // Settings are an object.
        Ok(_) | Err(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
