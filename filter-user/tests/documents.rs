//! What README.md, CONTRIBUTING.md, SECURITY.md and docs/ say of commands, metrics, alerts, unsafe code and each other is so, and
//! what fleet/ says of metrics and documents. Needs root, curl and promtool.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::error::ErrorKind;
use filter_common::Reason;
use filter_user::{
    cli,
    lab::topology::{Topology, WAN},
};

use instance::{Instance, file::OwnFile, tool};

/// A file of the checkout.
fn checkout(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join(path)
}

struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    fn all() -> Vec<Self> {
        let docs = fs::read_dir(checkout("docs")).unwrap();
        let mut paths: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(checkout));
        paths.iter().map(|path| Self::of(path)).collect()
    }

    fn of(path: &Path) -> Self {
        Self {
            text: fs::read_to_string(path).unwrap(),
            path: path.to_owned(),
        }
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

    /// Words that begin with `lastack_`. (Colons are in what rules record.)
    fn metrics(&self) -> BTreeSet<&str> {
        let is_part = |character: char| character.is_ascii_lowercase() || "_:".contains(character);
        let words = self.text.split(|character| !is_part(character));
        let words = words.map(|word| word.trim_end_matches(':'));
        // Alone it begins the name of a package's file.
        words
            .filter(|word| word.starts_with("lastack_") && *word != "lastack_")
            .collect()
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
fn configurations_of_prometheus_are_as_it_takes_them() {
    let mut seen = 0;
    for document in Document::all() {
        for block in document.blocks("yaml") {
            let configuration = OwnFile::new(block.join("\n"));
            let output = Command::new("promtool")
                .args(["check", "config", "--syntax-only", configuration.as_str()])
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                output.status.success(),
                "{}: {said}",
                document.path.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 0);
}

const RULES: &str = "fleet/prometheus/lastack.rules.yaml";

#[test]
fn alerts_are_those_that_documents_name_and_all_are_explained() {
    let rules = Document::of(&checkout(RULES));
    let alerts = rules.text.lines().filter_map(|line| {
        let (_, name) = line.split_once("- alert: ")?;
        Some(name)
    });
    let alerts: BTreeSet<_> = alerts.collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    let documents = Document::all();
    for document in &documents {
        for word in document
            .text
            .split(|character: char| !character.is_alphanumeric())
        {
            let is_alert = word.starts_with("Lastack") && word != "Lastack";
            let path = document.path.display();
            assert!(!is_alert || alerts.contains(word), "{path}: {word}");
        }
    }
    let is_operations = |document: &&Document| document.path.ends_with("docs/operations.md");
    let operations = documents.iter().find(is_operations).unwrap();
    // In its table, with the severity that it has.
    for alert in alerts {
        let (_, rule) = rules
            .text
            .split_once(&format!("- alert: {alert}\n"))
            .unwrap();
        let (_, severity) = rule.split_once("severity: ").unwrap();
        let severity = severity.lines().next().unwrap();
        let row = format!("| `{alert}` | {severity} |");
        assert!(operations.text.contains(&row), "{row}");
    }
}

#[test]
fn every_alert_says_what_to_do_and_where_more_is_said() {
    let rules = Document::of(&checkout(RULES));
    let documents = Document::all();
    for alert in rules.text.split("- alert: ").skip(1) {
        let value = |key: &str| {
            let (_, value) = alert.split_once(&format!(" {key}: ")).unwrap_or_else(|| {
                panic!("no {key}: {alert}");
            });
            value.lines().next().unwrap()
        };
        assert!(["critical", "warning", "info"].contains(&value("severity")));
        assert!(value("summary").contains("lastack") || value("summary").contains("$labels"));
        assert_eq!(value("description"), ">-");
        // Where the packages install the checkout's documents.
        let runbook = value("runbook").strip_prefix("/usr/share/doc/lastack/");
        let (path, anchor) = runbook.unwrap().split_once('#').unwrap();
        let document = documents
            .iter()
            .find(|document| document.path == checkout(path));
        assert!(document.unwrap().anchors().contains(anchor), "{alert}");
    }
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
    let fleet = [
        RULES,
        "fleet/prometheus/lastack.rules.test.yaml",
        "fleet/grafana/lastack.json",
    ];
    let fleet = fleet.map(|path| Document::of(&checkout(path)));
    for document in documents.iter().chain(&fleet) {
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
