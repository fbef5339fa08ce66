//! Installed, started, upgraded, removed, purged.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use filter_user::lab::{
    client::{Client, Outcome, Plan},
    topology::WAN,
};
use serde_json::Value;

use crate::{
    instance::{
        cure::{CONNECTIONS, resets},
        hooks, wait_until,
        wiring::Network,
    },
    machine::Machine,
};

const INSTALL: &str = "apt-get install /mnt/1/lastack_*.deb";
const UPGRADE: &str = "dpkg --install /mnt/2/lastack_*.deb";
/// As an administrator does it; a busy machine's client is as late as it likes.
const CONFIGURE: &str = r#"
sed -i 's/^#iface = .*/iface = ["wan0"]/; s/^#window = .*/window = "10s"/' /etc/lastack/wan.toml
"#;
const START: &str = "systemctl enable --now lastack@wan";

/// What the service's process answers.
fn status(machine: &Machine) -> Value {
    let status = machine.ok("lastack status --instance wan --output json");
    serde_json::from_str(&status).unwrap_or_else(|error| panic!("{status}: {error}"))
}

/// The service's process.
fn process(machine: &Machine) -> String {
    machine.ok("systemctl show --property MainPID --value lastack@wan")
}

fn installed(machine: &Machine) {
    machine.ok(INSTALL);
    machine.ok(CONFIGURE);
    machine.ok(START);
}

fn assert_no_resets(outcomes: &[Outcome]) {
    for outcome in outcomes {
        let is_cured = outcome.seen.resets == 0 && !outcome.read_error;
        assert!(is_cured && outcome.intact, "{outcome:?}");
    }
}

#[test]
fn what_is_installed_starts_nothing_by_itself_and_its_unit_cures() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    let machine = Machine::boot(gateway);
    machine.ok(INSTALL);
    assert_eq!(hooks(gateway, WAN), before);
    let units = machine.ok("systemctl list-units --all --plain --no-legend 'lastack@*'");
    assert_eq!(units, "", "{units}");
    assert_eq!(machine.ok("find /etc/systemd/system -name 'lastack*'"), "");
    machine.ok("dpkg --verify lastack; zcat /usr/share/man/man1/lastack-run.1.gz | grep -q pin");
    machine.ok("test -s /usr/share/bash-completion/completions/lastack");
    assert_eq!(resets(&mut client), u64::from(CONNECTIONS), "the fault");
    machine.ok(CONFIGURE);
    machine.ok("lastack check --config /etc/lastack/wan.toml");
    machine.ok(START);
    assert_eq!(resets(&mut client), 0);
    // The same instance as the unit's, which has what it needs.
    let said = machine
        .run("lastack check --config /etc/lastack/wan.toml")
        .stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("/sys/fs/bpf/lastack/wan"), "{said}");
    assert!(!said.contains("error    machine  metrics"), "{said}");
    machine.ok("systemd-analyze verify lastack@wan.service");
    // In tenths.
    machine.ok("systemd-analyze security --no-pager --threshold=20 lastack@wan.service");
    machine.ok("echo 'mode = \"monitor\"' >>/etc/lastack/wan.toml; systemctl reload lastack@wan");
    wait_until("it reads the file again", || {
        status(&machine)["settings"]["mode"] == "monitor"
    });
}

#[test]
fn an_upgrade_with_closing_connections_in_the_table_lets_no_reset_through() {
    let plan = Plan {
        connections: 32,
        // Longer than an upgrade takes.
        spurious_ack_after: Some(Duration::from_secs(2)),
        response: 16_384,
        reading: Duration::from_millis(2500),
        timeout: Duration::from_mins(1),
    };
    let mut network = Network::new();
    let mut client = network.client();
    let machine = Machine::boot(&network.topology.gateway);
    installed(&machine);
    let before = process(&machine);
    let done = AtomicBool::new(false);
    let outcomes = thread::scope(|scope| {
        let end = End(&done);
        let working = scope.spawn(|| until(&done, &mut client, &plan));
        wait_until("connections close", || {
            status(&machine)["flows"].as_u64() > Some(0)
        });
        let flows = machine.ok("lastack flows --instance wan");
        let said = machine.ok(UPGRADE);
        let after = machine.ok("lastack flows --instance wan --limit 1000");
        for flow in flows.lines().skip(1) {
            let ends = flow.split_whitespace().take(2).collect::<Vec<_>>();
            assert!(
                after
                    .lines()
                    .any(|line| ends.iter().all(|end| line.contains(end))),
                "{flow} is forgotten: {after}"
            );
        }
        assert!(!said.contains("did not start"), "{said}");
        drop(end);
        working.join().unwrap()
    });
    assert_no_resets(&outcomes);
    let sent: u64 = outcomes
        .iter()
        .map(|outcome| outcome.seen.spurious_acks)
        .sum();
    assert!(sent >= 32, "{sent}");
    assert_ne!(process(&machine), before);
    assert!(machine.ok("dpkg-query --show lastack").contains("-2"));
    let metrics = status(&machine);
    let dropped = metrics["interfaces"][0]["spurious_acks_dropped"].as_u64();
    assert_eq!(dropped, Some(sent), "{metrics}");
}

/// Ends the client's work, also where a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn until(done: &AtomicBool, client: &mut Client, plan: &Plan) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while !done.load(Ordering::Relaxed) {
        outcomes.extend(client.run(plan, &mut |_| {}).unwrap());
    }
    outcomes
}

#[test]
fn an_upgrade_that_cannot_take_over_says_so_and_leaves_the_old_filter_at_work() {
    let mut network = Network::new();
    let mut client = network.client();
    let machine = Machine::boot(&network.topology.gateway);
    installed(&machine);
    // Tables are made for a role: as with another layout, they cannot be taken over.
    machine.ok("sed -i 's/^#role = .*/role = \"lan\"/' /etc/lastack/wan.toml");
    let said = machine.ok(UPGRADE);
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("lastack: "))
        .collect();
    let [line, remedies @ ..] = &lines[..] else {
        panic!("{said}")
    };
    assert!(line.contains("goes on filtering"), "{said}");
    assert!(lines.iter().all(|line| line.len() <= 200), "{said}");
    let remedies = remedies.join("\n");
    // What is likelier comes first.
    let mistake = remedies.find("lastack check --config /etc/lastack/wan.toml");
    let layout = remedies.find("lastack detach --instance wan");
    assert!(mistake.is_some() && mistake < layout, "{said}");
    assert_eq!(resets(&mut client), 0);
    machine.ok("lastack detach --instance wan; systemctl restart lastack@wan");
    assert_eq!(status(&machine)["settings"]["role"], "lan");
}

/// Of another version, whose example of a configuration has another comment.
const REPACK: &str = "
cd /root
dpkg-deb --raw-extract /mnt/2/lastack_*.deb new
sed -i 's/^Version: .*/Version: 99-1/' new/DEBIAN/control
for file in $(find new -name '*.toml'); do echo '#another = 1' >>$file; done
dpkg-deb -Znone --build new lastack_99.deb
";

#[test]
fn an_upgrade_asks_nothing_and_keeps_what_is_configured() {
    let network = Network::new();
    let machine = Machine::boot(&network.topology.gateway);
    installed(&machine);
    let before = machine.ok("cat /etc/lastack/wan.toml");
    machine.ok(REPACK);
    machine.ok("apt-get install --yes /root/lastack_99.deb");
    let state = machine.ok("dpkg-query --show --showformat '${Version} ${Status}' lastack");
    assert_eq!(state, "99-1 install ok installed");
    assert_eq!(machine.ok("cat /etc/lastack/wan.toml"), before);
    assert!(
        machine
            .ok("grep -r another /usr/share/lastack")
            .contains("wan.toml")
    );
    // As with any file of an administrator's, who may also forbid restarts.
    let said = machine.ok(
        "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
        rm /etc/lastack/wan.toml; dpkg --install /root/lastack_99.deb",
    );
    machine.ok("test ! -e /etc/lastack/wan.toml");
    let old = format!(
        "of the old version until it is started again: process {}",
        process(&machine)
    );
    assert!(said.contains(old.trim()), "{said}");
}

#[test]
fn an_upgrade_does_not_say_of_a_failing_instance_that_it_filters() {
    let network = Network::new();
    let machine = Machine::boot(&network.topology.gateway);
    machine.ok(INSTALL);
    machine.ok("sed -i 's/^#iface = .*/iface = [\"absent0\"]/' /etc/lastack/wan.toml");
    assert!(!machine.run(START).status.success());
    let said = machine.ok(UPGRADE);
    assert!(
        said.contains("lastack: lastack@wan.service did not start"),
        "{said}"
    );
    assert!(said.contains("lastack check --config"), "{said}");
    assert!(!said.contains("goes on filtering"), "{said}");
    assert!(!said.contains("lastack detach"), "{said}");
}

#[test]
fn what_is_removed_leaves_nothing_in_the_kernel_and_what_is_purged_no_file() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    let machine = Machine::boot(gateway);
    installed(&machine);
    assert_ne!(hooks(gateway, WAN), before);
    machine.ok("dpkg --remove lastack");
    assert_eq!(hooks(gateway, WAN), before);
    assert_eq!(machine.ok("find /sys/fs/bpf/lastack -mindepth 1"), "");
    let processes = machine.run("systemctl is-active lastack@wan").stdout;
    assert_ne!(String::from_utf8_lossy(&processes).trim(), "active");
    machine.ok("test -s /etc/lastack/wan.toml");
    machine.ok("cp /etc/lastack/wan.toml /etc/lastack/other.toml; dpkg --purge lastack");
    let left = machine.ok("find / -xdev -path /mnt -prune -o -iname '*lastack*' -print | sort");
    // What systemd notes of units, of whatever package, it keeps.
    let left: Vec<_> = left
        .lines()
        .filter(|path| !path.starts_with("/sys/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    machine.ok("test ! -e /sys/fs/bpf/lastack");
}

/// The commands of the tarball's INSTALL: what is indented there.
fn told(text: &str) -> [String; 3] {
    let (install, remove) = text.split_once("To take it off:").unwrap();
    let (install, upgrade) = install.split_once("To upgrade").unwrap();
    let commands = |text: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
        lines.collect::<Vec<_>>().join("\n")
    };
    [install, upgrade, remove].map(commands)
}

#[test]
fn a_tarball_is_installed_upgraded_and_taken_off_as_it_says() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    let machine = Machine::boot(gateway);
    machine.ok("tar -xzf /mnt/1/lastack-*.tar.gz -C /root");
    let [install, upgrade, remove] = told(&machine.ok("cat /root/lastack-*/INSTALL"));
    let install = install.replace("editor /etc/lastack/wan.toml", CONFIGURE.trim());
    machine.ok(&format!("cd /root/lastack-*\n{install}"));
    assert_eq!(resets(&mut client), 0);
    let old = process(&machine);
    machine.ok(&format!(
        "tar -xzf /mnt/2/lastack-*.tar.gz -C /root; cd /root/lastack-*\n{upgrade}"
    ));
    let after = process(&machine);
    assert_ne!(after, old);
    // Not the file that was there before.
    let program = machine.ok(&format!("readlink /proc/{}/exe", after.trim()));
    assert_eq!(program.trim(), "/usr/bin/lastack");
    assert_eq!(resets(&mut client), 0);
    machine.ok(&remove);
    assert_eq!(hooks(gateway, WAN), before);
    let left = "find / -xdev ( -path /mnt -o -path /root -o -path /sys ) -prune -o -name '*lastack*' -print";
    let left = machine.ok(&left.replace('(', "\\(").replace(')', "\\)"));
    assert_eq!(left, "", "{left}");
}

#[test]
fn without_systemd_scripts_succeed_and_removal_detaches_what_is_pinned() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    let machine = Machine::without_systemd(gateway);
    machine.ok("dpkg --install /mnt/1/lastack_*.deb");
    machine.ok(CONFIGURE);
    let run = "lastack run --instance wan --config /etc/lastack/wan.toml --pin >/dev/null 2>&1 &";
    machine.ok(run);
    wait_until("it is attached", || hooks(gateway, WAN) != before);
    wait_until("it answers", || {
        machine.run("lastack status").status.success()
    });
    let said = machine.ok(UPGRADE);
    assert!(said.contains("of the old version"), "{said}");
    assert_ne!(hooks(gateway, WAN), before);
    machine.ok("dpkg --remove lastack");
    assert_eq!(hooks(gateway, WAN), before);
    machine.ok("dpkg --purge lastack; test ! -e /etc/lastack -a ! -e /sys/fs/bpf/lastack");
}
