//! What `lastack run` serves over HTTP, and to whom. Needs root, curl, prometheus and promtool.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod addresses;
mod formats;
mod hostile;
#[path = "../instance/mod.rs"]
mod instance;
mod prometheus;
mod scrapes;

use std::fs;

use filter_user::lab::namespace::Namespace;

use instance::{Instance, tool};

const METRICS: &str = "http://127.0.0.1:9433/metrics";

/// What a scraper gets that says no more than curl does, and one that sends this field, too.
fn scrape(gateway: &Namespace, field: Option<&str>) -> String {
    let options = "--silent --show-error --fail --max-time 20";
    let mut arguments: Vec<_> = options.split(' ').collect();
    arguments.extend(field.iter().flat_map(|field| ["--header", field]));
    arguments.push(METRICS);
    tool(gateway, "curl", &arguments)
}

/// How many descriptors an instance has open.
fn descriptors(instance: &Instance) -> usize {
    let directory = format!("/proc/{}/fd", instance.id());
    fs::read_dir(directory).unwrap().count()
}

/// The name and labels of a sample, and its value.
fn samples(metrics: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name, value.parse().unwrap())
    })
}
