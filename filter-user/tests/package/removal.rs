//! What a removal of the package takes off, however it was put on.

use filter_user::lab::topology::WAN;

use crate::{
    instance::{
        hooks, wait_until,
        wiring::{Network, ip},
    },
    machine::Machine,
};

/// Lets units pin elsewhere.
const DROP_IN: &str = "
mkdir -p /etc/systemd/system/lastack@.service.d
printf '[Service]\\nExecStartPre=+mkdir -p -m 700 /sys/fs/bpf/%%i\\nReadWritePaths=-/sys/fs/bpf/%%i\\n' >/etc/systemd/system/lastack@.service.d/pins.conf
systemctl daemon-reload
";
/// A second interface.
const OTHER: &str = "other0";
const CLSACT: &str = "--ingress tc --tc-mode clsact --metrics-addr off";

/// Starts one by hand.
fn run(machine: &Machine, name: &str, options: &str) {
    machine.ok(&format!(
        "lastack run --iface {OTHER} --instance {name} {options} >/dev/null 2>&1 &"
    ));
    wait_until("it answers", || {
        let status = format!("lastack status --instance {name}");
        machine.run(&status).status.success()
    });
}

#[test]
fn what_was_started_by_hand_pinned_elsewhere_or_killed_is_taken_off_too() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    ip(gateway, &["link add other0 type veth peer name other1"]);
    ip(gateway, &["link add third0 type veth peer name third1"]);
    let attached = || [WAN, OTHER, "third0"].map(|interface| hooks(gateway, interface));
    let before = attached();
    let machine = Machine::boot(gateway);
    machine.ok("dpkg --install /mnt/1/lastack_*.deb");
    machine.ok(DROP_IN);
    for (name, interface) in [("running", WAN), ("stopped", "third0")] {
        machine.ok(&format!(
            "printf 'iface = [\"{interface}\"]\\nmetrics-addr = \"off\"\\npin-dir = \"/sys/fs/bpf/{name}\"\\ntc-mode = \"clsact\"\\n' \
                >/etc/lastack/{name}.toml
            systemctl start lastack@{name}"
        ));
    }
    machine.ok("systemctl stop lastack@stopped");
    run(&machine, "hand", "--metrics-addr off");
    run(&machine, "killed", CLSACT);
    machine.ok("kill -9 $(lastack status --instance killed --output json | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')");
    wait_until("it is gone", || {
        let status = "lastack status --instance killed";
        !machine.run(status).status.success()
    });
    for (now, before) in attached().iter().zip(&before) {
        assert_ne!(now, before);
    }
    let said = machine.ok("dpkg --remove lastack");
    assert_eq!(attached(), before, "{said}");
    assert_eq!(machine.ok("find /sys/fs/bpf -mindepth 2"), "");
    assert!(!machine.run("pidof lastack").status.success());
    assert!(!said.contains("lastack: "), "{said}");
}

#[test]
fn what_a_removal_cannot_take_off_is_named_with_what_takes_it_off() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    ip(gateway, &["link add other0 type veth peer name other1"]);
    let machine = Machine::without_systemd(gateway);
    machine.ok("dpkg --install /mnt/1/lastack_*.deb");
    run(&machine, "kept", &format!("{CLSACT} --pin"));
    // Others could have changed what is there: it is not believed.
    machine.ok("kill -9 $(pidof lastack); chmod 777 /sys/fs/bpf/lastack/kept");
    let said = machine.ok("dpkg --remove lastack");
    assert!(
        said.contains("lastack: /sys/fs/bpf/lastack/kept stays"),
        "{said}"
    );
    assert!(said.contains("'rm -r /sys/fs/bpf/lastack/kept'"), "{said}");
    assert!(said.contains("'tc filter show dev"), "{said}");
}
