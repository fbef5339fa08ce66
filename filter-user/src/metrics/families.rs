//! Every metric: its name, its labels, and what of an instance is counted there.

use filter_common::{Reason, layout::LAYOUT};
use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, proto::MetricFamily,
};

use super::Snapshot;
use crate::{
    counters::Counters,
    settings::{Closer, Mode, Settings},
};

/// The metrics of one scrape.
pub(super) struct Families {
    registry: Registry,
    spurious: IntCounterVec,
    resets: IntCounterVec,
    elicited: IntCounterVec,
    passed: IntCounterVec,
    skipped: IntCounterVec,
    map_errors: IntCounterVec,
    one_sided: IntCounterVec,
    created: IntCounter,
    closed: IntCounter,
    flows: IntGaugeVec,
    capacity: IntGauge,
    events_lost: IntCounter,
    attached: IntGaugeVec,
    served: IntGaugeVec,
    losses: IntCounterVec,
    reloaded: IntGauge,
    build_info: IntGaugeVec,
    config_info: IntGaugeVec,
}

/// Where a reason is counted.
enum Place {
    /// `lastack_spurious_acks_total`: action, kind.
    Spurious(&'static str, &'static str),
    /// `lastack_resets_total`: action, cause.
    Reset(&'static str, &'static str),
    /// `lastack_elicited_acks_total`.
    Elicited,
    /// `lastack_passed_total`, with the reason's name.
    Passed,
    /// `lastack_skipped_packets_total`, with the reason's name.
    Skipped,
    /// `lastack_map_errors_total`, with the reason's name.
    MapError,
    /// `lastack_flows_created_total`.
    Created,
    /// `lastack_flows_closed_total`.
    Closed,
    /// Only in the stream.
    Nowhere,
}

impl Place {
    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::SpuriousAckDropped => Self::Spurious("dropped", "spurious"),
            Reason::SpuriousAckObserved => Self::Spurious("observed", "spurious"),
            Reason::RedundantAckDropped => Self::Spurious("dropped", "redundant"),
            Reason::RedundantAckObserved => Self::Spurious("observed", "redundant"),
            Reason::ResetAfterSpuriousAck => Self::Reset("passed", "after_spurious_ack"),
            Reason::ResetAfterClose => Self::Reset("passed", "after_close"),
            Reason::ResetOther => Self::Reset("passed", "other"),
            Reason::ResetAfterSpuriousAckSuppressed => {
                Self::Reset("suppressed", "after_spurious_ack")
            }
            Reason::ResetAfterCloseSuppressed => Self::Reset("suppressed", "after_close"),
            Reason::ElicitedAck => Self::Elicited,
            Reason::HalfClosed
            | Reason::StaleAck
            | Reason::OtherSequence
            | Reason::NotPure
            | Reason::OtherOptions
            | Reason::OtherLink
            | Reason::WindowOver
            | Reason::BudgetSpent => Self::Passed,
            Reason::EtherType
            | Reason::Fragment
            | Reason::Truncated
            | Reason::BadHeader
            | Reason::ExtensionHeader => Self::Skipped,
            Reason::FlowNotStored => Self::MapError,
            Reason::FlowCreated => Self::Created,
            Reason::FirstAck => Self::Closed,
            Reason::NotTcp
            | Reason::NoFlow
            | Reason::OutOfScope
            | Reason::FlowExpired
            | Reason::Syn
            | Reason::ClientReset
            | Reason::ClientFin
            | Reason::ClientFinRepeated
            | Reason::ServerData
            | Reason::ServerFin
            | Reason::ServerElicits
            | Reason::ServerQuiet => Self::Nowhere,
        }
    }
}

impl Families {
    /// All of them at nothing.
    #[expect(clippy::too_many_lines, reason = "it lists every metric")]
    pub(super) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let counter = |name: &str, help: &str| {
            let family = IntCounter::new(name, help)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let capacity = IntGauge::new(
            "lastack_flows_capacity",
            "Closing connections that can be known at once.",
        )?;
        registry.register(Box::new(capacity.clone()))?;
        let reloaded = IntGauge::new(
            "lastack_config_last_reload_successful",
            "1 if the settings that were last read are in force, 0 if they were refused.",
        )?;
        registry.register(Box::new(reloaded.clone()))?;
        Ok(Self {
            spurious: counters(
                "lastack_spurious_acks_total",
                "Pure ACKs after the close that nothing had asked for.",
                &["iface", "action", "kind"],
            )?,
            resets: counters(
                "lastack_resets_total",
                "Resets from servers on closing connections.",
                &["iface", "action", "cause"],
            )?,
            elicited: counters(
                "lastack_elicited_acks_total",
                "ACKs after the close that the server had asked for; let through.",
                &["iface"],
            )?,
            passed: counters(
                "lastack_passed_total",
                "Client segments of closing connections that were let through, by reason.",
                &["iface", "reason"],
            )?,
            skipped: counters(
                "lastack_skipped_packets_total",
                "Packets that were let through because they were not understood.",
                &["iface", "reason"],
            )?,
            map_errors: counters(
                "lastack_map_errors_total",
                "Times that a table in the kernel refused an entry.",
                &["reason"],
            )?,
            one_sided: counters(
                "lastack_one_sided_closes_total",
                "Closes of which the other side was not seen within 10 s, at the least: it goes another way, or is gone.",
                &["iface"],
            )?,
            created: counter(
                "lastack_flows_created_total",
                "Connections that began to close, by the FIN of a side that --closer names.",
            )?,
            closed: counter(
                "lastack_flows_closed_total",
                "Connections whose client acknowledged the server's FIN.",
            )?,
            flows: gauges(
                "lastack_flows",
                "Closing connections that are known now.",
                &[],
            )?,
            capacity,
            events_lost: counter(
                "lastack_events_lost_total",
                "Drops and resets that --events did not report: too many at once, or nobody took them.",
            )?,
            attached: gauges(
                "lastack_attached",
                "1 for each hook that a program is attached to.",
                &["iface", "hook", "program_id"],
            )?,
            served: gauges(
                "lastack_interface_served",
                "1 for each interface that the filter is attached to, 0 for each that it waits for.",
                &["iface"],
            )?,
            losses: counters(
                "lastack_interface_losses_total",
                "Times that a served interface vanished, or that the filter was found off it.",
                &["iface"],
            )?,
            reloaded,
            build_info: gauges(
                "lastack_build_info",
                "1, with the version, and that of the layout of what is in the kernel.",
                &["version", "layout"],
            )?,
            config_info: gauges(
                "lastack_config_info",
                "1, with the settings that the programs have now.",
                &[
                    "role",
                    "mode",
                    "closer",
                    "rst_guard",
                    "window",
                    "budget",
                    "half_closed_timeout",
                    "one_sided_timeout",
                    "closed_timeout",
                ],
            )?,
            registry,
        })
    }

    /// Takes in what was read of an instance.
    pub(super) fn add(&self, snapshot: &Snapshot) {
        self.capacity.set(snapshot.settings.max_flows.into());
        self.events_lost.inc_by(snapshot.events_lost);
        self.reloaded.set(snapshot.is_reloaded.into());
        self.config(&snapshot.settings);
        self.build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), &LAYOUT.to_string()])
            .set(1);
        for (counters, one_sided) in &snapshot.interfaces {
            self.count(&counters.interface, &counters.counters);
            self.one_sided
                .with_label_values(&[&counters.interface])
                .inc_by(*one_sided);
        }
        for presence in &snapshot.presences {
            let labels = [presence.interface.as_str()];
            self.served
                .with_label_values(&labels)
                .set(presence.served.into());
            self.losses
                .with_label_values(&labels)
                .inc_by(presence.losses);
        }
        for attachment in &snapshot.attachments {
            for attached in &attachment.attached {
                self.attached
                    .with_label_values(&[
                        &*attachment.interface,
                        attached.hook.as_str(),
                        &attached.program_id.to_string(),
                    ])
                    .set(1);
            }
        }
    }

    /// Takes in how many flows there are; without it there is no such sample.
    pub(super) fn flows(&self, flows: u64) {
        let none: [&str; 0] = [];
        let flows = i64::try_from(flows).unwrap_or(i64::MAX);
        self.flows.with_label_values(&none).set(flows);
    }

    /// Those that have samples.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Counts in what was counted on an interface.
    fn count(&self, interface: &str, counters: &Counters) {
        for reason in Reason::ALL {
            let count = counters.of(reason);
            let name = reason.as_str();
            match Place::of(reason) {
                Place::Spurious(action, kind) => {
                    self.spurious
                        .with_label_values(&[interface, action, kind])
                        .inc_by(count);
                }
                Place::Reset(action, cause) => {
                    self.resets
                        .with_label_values(&[interface, action, cause])
                        .inc_by(count);
                }
                Place::Elicited => self.elicited.with_label_values(&[interface]).inc_by(count),
                Place::Passed => self
                    .passed
                    .with_label_values(&[interface, name])
                    .inc_by(count),
                Place::Skipped => self
                    .skipped
                    .with_label_values(&[interface, name])
                    .inc_by(count),
                Place::MapError => {
                    self.map_errors.with_label_values(&[name]).inc_by(count);
                }
                Place::Created => self.created.inc_by(count),
                Place::Closed => self.closed.inc_by(count),
                Place::Nowhere => {}
            }
        }
    }

    fn config(&self, settings: &Settings) {
        let mode = match settings.mode {
            Mode::Enforce => "enforce",
            Mode::Monitor => "monitor",
        };
        let closer = match settings.closer {
            Closer::Client => "client",
            Closer::Either => "either",
        };
        let span = |span| humantime::format_duration(span).to_string();
        self.config_info
            .with_label_values(&[
                &*settings.role.to_string(),
                mode,
                closer,
                &settings.rst_guard.to_string(),
                &span(settings.window),
                &settings.budget.to_string(),
                &span(settings.half_closed_timeout),
                &span(settings.one_sided_timeout),
                &span(settings.closed_timeout),
            ])
            .set(1);
    }
}
