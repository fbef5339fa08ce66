//! Rules for Prometheus.

use std::{fs, process::Command};

use crate::{checkout, run};

const DIRECTORY: &str = "fleet/prometheus";

fn promtool(arguments: &[&str]) {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).current_dir(checkout(DIRECTORY));
    run(&mut promtool).unwrap();
}

#[test]
fn promtool_finds_no_fault_with_the_rules() {
    promtool(&["check", "rules", "--lint-fatal", "lastack.rules.yaml"]);
}

#[test]
fn each_rule_does_what_its_tests_say() {
    promtool(&["test", "rules", "lastack.rules.test.yaml"]);
}

#[test]
fn every_rule_has_a_test() {
    let read = |name: &str| fs::read_to_string(checkout(DIRECTORY).join(name)).unwrap();
    let (rules, tests) = (read("lastack.rules.yaml"), read("lastack.rules.test.yaml"));
    let named = rules.lines().filter_map(|line| {
        let rule = line.trim_start().strip_prefix("- ")?;
        rule.strip_prefix("alert: ")
            .or_else(|| rule.strip_prefix("record: "))
    });
    let mut seen = 0;
    for name in named {
        seen += 1;
        assert!(tests.contains(name), "{name}");
    }
    assert!(seen > 20, "{seen} rules");
}
