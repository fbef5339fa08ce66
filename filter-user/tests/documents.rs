//! What README.md, CONTRIBUTING.md, SECURITY.md and docs/ say of commands, metrics, alerts, unsafe code and each other is so. Needs root, curl
//! and promtool.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::error::ErrorKind;
use filter_common::Reason;
use filter_user::{
    cli,
    lab::topology::{Topology, WAN},
};

use instance::{Instance, file::OwnFile, tool};

struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let docs = fs::read_dir(root.join("docs")).unwrap();
        let mut paths: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)));
        let read = |path: PathBuf| Self {
            text: fs::read_to_string(&path).unwrap(),
            path,
        };
        paths.into_iter().map(read).collect()
    }

    /// The lines of its blocks of one kind.
    fn blocks(&self, kind: &str) -> Vec<Vec<&str>> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if line == format!("```{kind}") {
                blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
            }
        }
        blocks
    }

    /// Words that begin with `lastack_`.
    fn metrics(&self) -> BTreeSet<&str> {
        let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
        let words = self.text.split(|character| !is_part(character));
        words.filter(|word| word.starts_with("lastack_")).collect()
    }

    /// Headings as links name them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.text.lines().filter_map(|line| line.split_once("# "));
        let headings = headings.filter(|(marks, _)| marks.chars().all(|mark| mark == '#'));
        let kept = |character: &char| character.is_alphanumeric() || " -".contains(*character);
        let anchor = |text: &str| {
            let text: String = text.to_lowercase().chars().filter(kept).collect();
            text.replace(' ', "-")
        };
        headings.map(|(_, text)| anchor(text)).collect()
    }

    /// Where its links lead that lead to a file.
    fn links(&self) -> impl Iterator<Item = &str> {
        let targets = self.text.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://"))
    }
}

#[test]
fn commands_are_as_documents_write_them() {
    let mut seen = 0;
    for document in Document::all() {
        for line in document.blocks("console").concat() {
            let Some(command) = line.strip_prefix("# ").or_else(|| line.strip_prefix("$ ")) else {
                continue;
            };
            let words: Vec<_> = command
                .split_whitespace()
                .take_while(|word| !word.starts_with(['#', ';', '|', '>']))
                .collect();
            if words.first() != Some(&"lastack") {
                continue;
            }
            seen += 1;
            if let Err(error) = cli::command().try_get_matches_from(&words) {
                // What lacks may come from a file.
                let lacks = error.kind() == ErrorKind::MissingRequiredArgument;
                let is_fine = lacks && words.contains(&"--config");
                assert!(is_fine, "{}: {line}: {error}", document.path.display());
            }
        }
    }
    assert!(seen > 10, "{seen} commands");
}

#[test]
fn alerts_are_as_prometheus_takes_them() {
    let topology = Topology::new().unwrap();
    let mut seen = 0;
    for document in Document::all() {
        for block in document.blocks("yaml") {
            let rules = OwnFile::new(block.join("\n"));
            tool(
                &topology.gateway,
                "promtool",
                &["check", "rules", "--lint-fatal", rules.as_str()],
            );
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// What each alert waits for: a series that rises, or stands, in a minute each.
const SERIES: &str = r#"
rule_files: [RULES]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job="lastack",instance="g"}', values: "0x20"}
      - {series: 'lastack_interface_served{instance="g",iface="wan0"}', values: "0x20"}
      - {series: 'lastack_spurious_acks_total{instance="g",iface="wan0",action="dropped",kind="spurious"}', values: "0+1x20"}
      - {series: 'lastack_resets_total{instance="g",iface="wan0",action="passed",cause="after_close"}', values: "0+1x20"}
      - {series: 'lastack_one_sided_closes_total{instance="g",iface="wan0"}', values: "0+10x20"}
      - {series: 'lastack_flows_created_total{instance="g"}', values: "0+12x20"}
      - {series: 'lastack_flows{instance="g"}', values: "950x20"}
      - {series: 'lastack_flows_capacity{instance="g"}', values: "1000x20"}
    promql_expr_test:
      - expr: count(count by (alertname) (ALERTS{alertstate="firing"}))
        eval_time: 15m
        exp_samples: [{labels: "{}", value: COUNT}]
  - interval: 1m
    input_series:
      - {series: 'up{job="lastack",instance="g"}', values: "1x20"}
      - {series: 'lastack_interface_served{instance="g",iface="wan0"}', values: "1x20"}
      - {series: 'lastack_spurious_acks_total{instance="g",iface="wan0",action="dropped",kind="spurious"}', values: "5x20"}
      - {series: 'lastack_spurious_acks_total{instance="g",iface="wan0",action="dropped",kind="redundant"}', values: "0+1x20"}
      - {series: 'lastack_resets_total{instance="g",iface="wan0",action="suppressed",cause="after_close"}', values: "0+1x20"}
      - {series: 'lastack_one_sided_closes_total{instance="g",iface="wan0"}', values: "0+1x20"}
      - {series: 'lastack_flows_created_total{instance="g"}', values: "0+12x20"}
      - {series: 'lastack_flows{instance="g"}', values: "800x20"}
      - {series: 'lastack_flows_capacity{instance="g"}', values: "1000x20"}
    promql_expr_test:
      - {expr: ALERTS, eval_time: 15m, exp_samples: []}
"#;

#[test]
fn every_alert_fires_for_what_it_is_for_and_none_where_all_is_well() {
    let topology = Topology::new().unwrap();
    let documents = Document::all();
    let blocks = documents
        .iter()
        .flat_map(|document| document.blocks("yaml"));
    let blocks: Vec<_> = blocks.map(|block| block.join("\n")).collect();
    let [rules] = &blocks[..] else {
        panic!("one block of rules: {blocks:?}");
    };
    let count = rules.matches("- alert:").count().to_string();
    let rules = OwnFile::new(rules);
    let series = SERIES
        .replace("RULES", rules.as_str())
        .replace("COUNT", &count);
    let series = OwnFile::new(series);
    tool(
        &topology.gateway,
        "promtool",
        &["test", "rules", series.as_str()],
    );
}

#[test]
fn metrics_are_those_that_documents_name_and_all_are_named() {
    // Programs and crates, not metrics.
    const OTHERS: [&str; 7] = [
        "lastack_clock",
        "lastack_egress",
        "lastack_egress_ip",
        "lastack_ingress",
        "lastack_ingress_ip",
        "lastack_xdp",
        "lastack_xdp_mb",
    ];
    let topology = Topology::new().unwrap();
    let instance = Instance::start(&topology.gateway, &[WAN], &[]);
    let metrics = || {
        let metrics = ["--silent", "--fail", "http://127.0.0.1:9433/metrics"];
        tool(&topology.gateway, "curl", &metrics)
    };
    // The number of flows comes with the first scrape that has waited for it.
    instance::wait_until("flows are counted", || {
        metrics().contains("\nlastack_flows ")
    });
    let text = metrics();
    drop(instance);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<_> = families
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let documents = Document::all();
    for document in &documents {
        for name in document.metrics() {
            let is_known = families.contains(name) || OTHERS.contains(&name);
            assert!(is_known, "{}: {name}", document.path.display());
        }
    }
    let is_operations = |document: &&Document| document.path.ends_with("docs/operations.md");
    let operations = documents.iter().find(is_operations).unwrap().metrics();
    for family in families {
        assert!(operations.contains(family), "{family} is not explained");
    }
}

#[test]
fn every_reason_is_explained() {
    let documents = Document::all();
    let is_operations = |document: &&Document| document.path.ends_with("docs/operations.md");
    let operations = &documents.iter().find(is_operations).unwrap().text;
    for reason in Reason::ALL.into_iter().filter(|reason| reason.is_counted()) {
        let name = format!("`{}`", reason.as_str());
        assert!(operations.contains(&name), "{name} is not explained");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = Document::all();
    for document in &documents {
        for link in document.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let directory = document.path.parent().unwrap();
            let path = if file.is_empty() {
                document.path.clone()
            } else {
                directory.join(file)
            };
            let path = path.canonicalize();
            let path = path.unwrap_or_else(|error| {
                panic!("{}: {link}: {error}", document.path.display());
            });
            if anchor.is_empty() {
                continue;
            }
            let target = documents
                .iter()
                .find(|other| other.path.canonicalize().unwrap() == path);
            let anchors = target.unwrap().anchors();
            assert!(
                anchors.contains(anchor),
                "{}: {link}: {anchors:?}",
                document.path.display()
            );
        }
    }
}

#[test]
fn every_document_is_linked_from_the_readme() {
    let documents = Document::all();
    let readme = documents
        .iter()
        .find(|document| document.path.ends_with("README.md"));
    let readme = readme.unwrap();
    let root = readme.path.parent().unwrap();
    let linked: BTreeSet<_> = readme
        .links()
        .map(|link| root.join(link.split('#').next().unwrap()))
        .collect();
    for document in &documents {
        let is_there = document.path == readme.path || linked.contains(&document.path);
        assert!(is_there, "{}", document.path.display());
    }
}

/// The Rust files below a directory that have unsafe code, by the attribute that this takes.
fn unsafe_modules(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
    let attribute = concat!("unsafe", "_code");
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            unsafe_modules(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).unwrap().contains(attribute)
        {
            let path = path.strip_prefix(root).unwrap();
            found.insert(path.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn unsafe_modules_are_those_that_the_architecture_lists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").exists() {
            unsafe_modules(root, &path, &mut found);
        }
    }
    let text = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let (_, section) = text.split_once("\n## Unsafe code\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let words = section.split('`').filter(|word| word.contains('/'));
    let listed: BTreeSet<_> = words.map(str::to_owned).collect();
    assert_eq!(listed, found);
}
