//! The two formats of Prometheus, and which of them a client takes.

use anyhow::Context as _;
use mime::Mime;
use prometheus::{
    TEXT_FORMAT, TextEncoder,
    proto::{MetricFamily, MetricType},
};

/// In which format metrics are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Format {
    /// What the fields `Accept` of a request ask for (RFC 9110, section 12.5.1): OpenMetrics where it
    /// is named and liked no less than text, else text, also where neither is taken.
    #[must_use]
    pub fn negotiate<'a>(accepted: impl Iterator<Item = &'a str>) -> Self {
        let (mut text, mut open) = (Liking::default(), Liking::default());
        let ranges = accepted.flat_map(|field| field.split(','));
        for range in ranges.filter_map(|range| range.trim().parse::<Mime>().ok()) {
            let quality = quality(&range);
            match (range.essence_str(), version(&range)) {
                ("application/openmetrics-text", None | Some("0.0.1" | "1.0.0")) => {
                    open.consider(3, quality);
                }
                ("text/plain", None | Some("0.0.4")) => text.consider(3, quality),
                ("text/*", _) => text.consider(2, quality),
                ("*/*", _) => text.consider(1, quality),
                _ => {}
            }
        }
        if open.quality > 0.0 && open.quality >= text.quality {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The value of the field `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => TEXT_FORMAT,
            Self::OpenMetrics => OPEN_METRICS,
        }
    }

    pub(super) fn encode(self, families: &[MetricFamily]) -> anyhow::Result<String> {
        let text = TextEncoder::new();
        match self {
            Self::Text => text.encode_to_string(families),
            Self::OpenMetrics => families
                .iter()
                .map(|family| {
                    Ok(open(
                        family,
                        text.encode_to_string(std::slice::from_ref(family))?,
                    ))
                })
                .chain([Ok("# EOF\n".to_owned())])
                .collect(),
        }
        .context("cannot write the metrics")
    }
}

/// A family in OpenMetrics from the same in text: what tells of counters leaves their `_total` out.
fn open(family: &MetricFamily, text: String) -> String {
    let name = family.name();
    match (family.get_field_type(), name.strip_suffix("_total")) {
        (MetricType::COUNTER, Some(stem)) => ["HELP", "TYPE"].iter().fold(text, |text, kind| {
            text.replacen(
                &format!("# {kind} {name} "),
                &format!("# {kind} {stem} "),
                1,
            )
        }),
        _ => text,
    }
}

/// How well a format is liked, by the range that names it most closely.
#[derive(Default)]
struct Liking {
    closeness: u8,
    quality: f32,
}

impl Liking {
    fn consider(&mut self, closeness: u8, quality: f32) {
        if closeness > self.closeness {
            *self = Self { closeness, quality };
        } else if closeness == self.closeness {
            self.quality = self.quality.max(quality);
        }
    }
}

fn quality(range: &Mime) -> f32 {
    let quality = range.get_param("q").map(|value| value.as_str().parse());
    match quality {
        None => 1.0,
        Some(Ok(quality)) if (0.0..=1.0).contains(&quality) => quality,
        Some(_) => 0.0,
    }
}

fn version(range: &Mime) -> Option<&str> {
    range.get_param("version").map(|value| value.as_str())
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    fn negotiated(accepted: &[&str]) -> Format {
        Format::negotiate(accepted.iter().copied())
    }

    #[test]
    fn open_metrics_is_for_those_who_like_it_no_less_than_text() {
        for accepted in [
            // Prometheus 2.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // Prometheus 3.
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=1.0.0; q=0.5, text/plain; q=0.5",
            "application/openmetrics-text;q=0.2, text/plain;q=0.1, */*",
        ] {
            assert_eq!(negotiated(&[accepted]), Format::OpenMetrics, "{accepted}");
        }
        assert_eq!(
            negotiated(&["text/html;q=0.9", "application/openmetrics-text;q=0.9"]),
            Format::OpenMetrics
        );
    }

    #[test]
    fn text_is_for_everybody_else() {
        for accepted in [
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain, application/openmetrics-text;q=0.9",
            "application/openmetrics-text;q=0.5, text/*",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=many",
            "application/openmetrics-text;version=2.0.0",
            "application/json",
            ",;,\u{7f};q",
            "",
        ] {
            assert_eq!(negotiated(&[accepted]), Format::Text, "{accepted}");
        }
        assert_eq!(negotiated(&[]), Format::Text);
    }

    #[test]
    fn the_formats_differ_in_what_tells_of_counters_and_in_the_end() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_total", "Of a_total."), &["x"]).unwrap();
        counter.with_label_values(&["# HELP a_total "]).inc_by(7);
        registry.register(Box::new(counter)).unwrap();
        let gauge = IntGauge::new("b", "Of b.").unwrap();
        registry.register(Box::new(gauge)).unwrap();
        let families = registry.gather();
        assert_eq!(
            Format::Text.encode(&families).unwrap(),
            "# HELP a_total Of a_total.\n# TYPE a_total counter\na_total{x=\"# HELP a_total \"} 7\n\
             # HELP b Of b.\n# TYPE b gauge\nb 0\n"
        );
        assert_eq!(
            Format::OpenMetrics.encode(&families).unwrap(),
            "# HELP a Of a_total.\n# TYPE a counter\na_total{x=\"# HELP a_total \"} 7\n\
             # HELP b Of b.\n# TYPE b gauge\nb 0\n# EOF\n"
        );
    }
}
