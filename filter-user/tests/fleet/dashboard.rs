//! The dashboard, and what a Prometheus answers it.

use std::{collections::BTreeSet, fs, process::Command};

use filter_user::lab::topology::WAN;
use serde_json::{Value, json};

use crate::{
    checkout, installed,
    instance::{
        Instance,
        cure::{CONNECTIONS, resets},
        prometheus::Prometheus,
        wait_until,
        wiring::Network,
    },
    run,
};

const DASHBOARD: &str = "fleet/grafana/lastack.json";
const RULES: &str = "fleet/prometheus/lastack.rules.yaml";

fn dashboard() -> Value {
    let text = fs::read_to_string(checkout(DASHBOARD)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Of each query its panel's title, the expression, and what it calls series.
fn queries(dashboard: &Value) -> Vec<(&str, String, &str)> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((
                panel["title"].as_str().unwrap(),
                filled_in(target["expr"].as_str().unwrap()),
                target["legendFormat"].as_str().unwrap_or_default(),
            ));
        }
    }
    assert!(queries.len() > 20, "{} queries", queries.len());
    queries
}

/// As Grafana fills in its variables where all is chosen.
fn filled_in(expression: &str) -> String {
    let filled = expression
        .replace("$__rate_interval", "5m")
        .replace("$__range", "5m")
        .replace("$instance", ".*")
        .replace("$iface", ".*");
    assert!(!filled.contains('$'), "{expression}");
    filled
}

/// The labels that a legend names.
fn labels(legend: &str) -> impl Iterator<Item = &str> {
    legend
        .split("{{")
        .skip(1)
        .map(|rest| rest.split("}}").next().unwrap())
}

#[test]
fn grafanas_types_know_all_of_the_dashboard() {
    let mut python = Command::new(installed("python"));
    python.arg(checkout("filter-user/tests/fleet/dashboard.py"));
    run(python.arg(checkout(DASHBOARD))).unwrap();
}

#[test]
fn panels_do_not_overlap_and_their_numbers_differ() {
    let dashboard = dashboard();
    let (mut cells, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} lies on another", panel["title"]);
        }
    }
}

#[test]
fn a_cured_client_is_an_alert_and_data_in_each_panel_and_each_recorded_series() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let rules = checkout(RULES);
    let _instance = Instance::start(gateway, &[WAN], &[]);
    let prometheus = Prometheus::start(gateway, &[rules.to_str().unwrap()]);
    // Counters are there before anything is counted.
    wait_until("Prometheus scrapes", || {
        prometheus.query("lastack_flows_closed_total").as_deref() == Some("0")
    });
    assert_eq!(resets(&mut client), 0);
    let dropped = "sum(lastack_spurious_acks_total{action='dropped'})";
    wait_until(dropped, || {
        prometheus.query(dropped) == Some(CONNECTIONS.to_string())
    });

    assert_panels_have_data(&prometheus);
    assert_variables_have_values(&prometheus);
    let rules = fs::read_to_string(rules).unwrap();
    for (_, name) in rules
        .lines()
        .filter_map(|line| line.split_once("- record: "))
    {
        wait_until(name, || prometheus.query(name).is_some());
    }
    let alerts = "ALERTS{alertstate='firing'}";
    wait_until(alerts, || prometheus.query(alerts).is_some());
    let firing = prometheus.ask("query", &format!("query={alerts}")).unwrap();
    let firing = firing["result"].as_array().unwrap().iter();
    let names = firing.map(|alert| alert["metric"]["alertname"].as_str().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), ["LastackFaultSeen"].into());
}

fn assert_panels_have_data(prometheus: &Prometheus<'_>) {
    for (title, expression, legend) in queries(&dashboard()) {
        let mut series = Vec::new();
        wait_until(&format!("{title}: {expression}"), || {
            let data = prometheus.ask("query", &format!("query={expression}"));
            let data = data.unwrap_or_else(|| panic!("{title}: refused: {expression}"));
            series.clone_from(data["result"].as_array().unwrap());
            !series.is_empty()
        });
        for label in labels(legend) {
            let has_label = |series: &Value| !series["metric"][label].is_null();
            assert!(series.iter().all(has_label), "{title}: {label}");
        }
    }
}

fn assert_variables_have_values(prometheus: &Prometheus<'_>) {
    for variable in dashboard()["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else {
            // The data source.
            continue;
        };
        let asked = query.strip_prefix("label_values(").unwrap();
        let (selector, label) = asked.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
        let what = format!("label/{label}/values");
        let values = prometheus.ask(&what, &format!("match[]={}", filled_in(selector)));
        assert_ne!(values.unwrap(), json!([]), "{query}");
    }
}
