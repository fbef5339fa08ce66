//! The commands of docs/install.md, one after the other.

use std::{fs, path::Path, time::Instant};

use crate::{
    instance::{cure::resets, wiring::Network},
    machine::Machine,
};

/// How long Prometheus may take to look, and to look again.
const DEADLINE: u64 = 120;

/// One that is there already, at the usual port, as Debian's package starts it.
const ANOTHER: &str = "
systemd-run prometheus --config.file=/dev/null --storage.tsdb.path=/run/another
";

fn commands() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("docs/install.md")).unwrap();
    let (_, section) = text.split_once("\n## From package to alert\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut commands = Vec::new();
    for block in section.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        commands.extend(block.lines().filter_map(|line| line.strip_prefix("# ")));
    }
    commands.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_path_from_package_to_alert_is_as_documented_and_so_is_the_way_back() {
    let commands = commands();
    let asks = commands
        .iter()
        .position(|command| command.contains("LastackFaultSeen"));
    let (way, back) = commands.split_at(asks.unwrap());
    let (asks, back) = back.split_first().unwrap();
    assert!(way.len() >= 5 && !back.is_empty(), "{commands:?}");
    let mut network = Network::new();
    let mut client = network.client();
    let machine = Machine::boot(&network.topology.gateway);
    machine.ok(ANOTHER);
    for command in way {
        machine.ok(&format!("cd /mnt/1; {command}"));
    }
    let user = machine.ok(
        "stat --format=%u /proc/$(systemctl show --property=MainPID --value lastack-prometheus)",
    );
    assert_ne!(user.trim(), "0");
    let start = Instant::now();
    loop {
        // It shows the fault while Prometheus looks.
        resets(&mut client);
        let said = machine.run(asks);
        let said = String::from_utf8_lossy(&said.stdout);
        if said.contains("alertstate=\"firing\"") {
            break;
        }
        assert!(start.elapsed().as_secs() < DEADLINE, "{said}");
    }
    let hosts = machine.ok("lastack hosts");
    assert!(hosts.contains("10.0.0.2"), "{hosts}");
    for command in back {
        machine.ok(command);
    }
    machine.ok("! systemctl is-active --quiet lastack-prometheus");
    assert_eq!(machine.ok("find /var -name '*prometheus*'"), "");
}
