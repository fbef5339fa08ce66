//! The formats, and that every metric is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use filter_user::lab::topology::{Topology, WAN};

use crate::{
    METRICS,
    instance::{Instance, tool},
    samples, scrape,
};

/// Every metric, its type, and its labels in the order of the alphabet.
const ALL: [(&str, &str, &str); 18] = [
    ("lastack_attached", "gauge", "hook,iface,program_id"),
    ("lastack_build_info", "gauge", "layout,version"),
    (
        "lastack_config_info",
        "gauge",
        "budget,closed_timeout,closer,half_closed_timeout,mode,one_sided_timeout,role,rst_guard,window",
    ),
    ("lastack_config_last_reload_successful", "gauge", ""),
    ("lastack_elicited_acks_total", "counter", "iface"),
    ("lastack_events_lost_total", "counter", ""),
    ("lastack_flows", "gauge", ""),
    ("lastack_flows_capacity", "gauge", ""),
    ("lastack_flows_closed_total", "counter", ""),
    ("lastack_flows_created_total", "counter", ""),
    ("lastack_interface_losses_total", "counter", "iface"),
    ("lastack_interface_served", "gauge", "iface"),
    ("lastack_map_errors_total", "counter", "reason"),
    ("lastack_one_sided_closes_total", "counter", "iface"),
    ("lastack_passed_total", "counter", "iface,reason"),
    ("lastack_resets_total", "counter", "action,cause,iface"),
    ("lastack_skipped_packets_total", "counter", "iface,reason"),
    (
        "lastack_spurious_acks_total",
        "counter",
        "action,iface,kind",
    ),
];

/// The types of families by their names, each with a text that helps.
fn families(metrics: &str) -> BTreeMap<&str, &str> {
    let helped: BTreeSet<_> = metrics
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# HELP ")?.split_once(' ')?.0))
        .collect();
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let families: BTreeMap<_, _> = types.collect();
    assert!(families.keys().eq(&helped), "{metrics}");
    families
}

/// The labels of every sample of a name; all have the same.
fn labels(metrics: &str, name: &str) -> String {
    let mut found = BTreeSet::new();
    for (sample, _) in samples(metrics) {
        let (sample, labels) = sample.split_once('{').unwrap_or((sample, ""));
        if sample == name {
            let labels = labels.split("\",").filter_map(|pair| pair.split_once('='));
            let labels: Vec<_> = labels.map(|(label, _)| label).collect();
            found.insert(labels.join(","));
        }
    }
    assert_eq!(found.len(), 1, "{name}: {found:?} in {metrics}");
    found.pop_first().unwrap()
}

#[test]
fn every_metric_is_there_in_both_formats_and_promtool_has_nothing_to_say() {
    let topology = Topology::new().unwrap();
    let _instance = Instance::start(&topology.gateway, &[WAN], &[]);

    let text = scrape(&topology.gateway, None);
    let expected = ALL.map(|(name, kind, _)| (name, kind));
    assert_eq!(families(&text), BTreeMap::from(expected));
    for (name, _, expected) in ALL {
        assert_eq!(labels(&text, name), expected, "{name}");
    }
    assert_unblamed(&text);

    let field = Some("Accept: application/openmetrics-text; version=1.0.0");
    let open = scrape(&topology.gateway, field);
    let of_family = |(name, kind, _): (&'static str, &'static str, _)| {
        let stem = name.strip_suffix("_total").filter(|_| kind == "counter");
        (stem.unwrap_or(name), kind)
    };
    assert_eq!(families(&open), BTreeMap::from(ALL.map(of_family)));
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    // Nothing has happened between the two.
    assert!(samples(&open).eq(samples(&text)));
}

/// promtool checks the format, and how metrics are named and explained.
fn assert_unblamed(metrics: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn each_format_is_called_what_it_is() {
    let topology = Topology::new().unwrap();
    let _instance = Instance::start(&topology.gateway, &[WAN], &[]);
    let content_type = |accept: &str| {
        let header = format!("Accept: {accept}");
        let options = "--silent --show-error --fail --output /dev/null --write-out";
        let mut arguments: Vec<_> = options.split(' ').collect();
        arguments.extend(["%{content_type}", "--header", &header, METRICS]);
        tool(&topology.gateway, "curl", &arguments)
    };
    let text = "text/plain; version=0.0.4";
    assert_eq!(content_type("*/*"), text);
    assert_eq!(content_type(""), text);
    assert_eq!(content_type("application/json"), text);
    assert_eq!(
        content_type("text/plain;q=0.5, application/openmetrics-text;version=1.0.0"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
}
