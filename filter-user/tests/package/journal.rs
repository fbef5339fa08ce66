//! What the unit's instances say is in the journal.

use filter_user::lab::topology::WAN;

use crate::{
    instance::{hooks, wait_until, wiring::Network},
    machine::Machine,
};

fn is_in_journal(machine: &Machine, text: &str) -> bool {
    let said = machine.ok("journalctl --sync; journalctl --no-pager --output cat -u lastack@wan");
    said.contains(text)
}

fn configure(machine: &Machine, text: &str) {
    machine.ok(&format!("printf '{text}\\n' >/etc/lastack/wan.toml"));
}

#[test]
fn what_an_instance_refuses_is_in_the_journal() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let before = hooks(gateway, WAN);
    let machine = Machine::boot(gateway);
    machine.ok("dpkg --install /mnt/1/lastack_*.deb");
    let start = "systemctl restart lastack@wan";
    configure(&machine, r#"iface = ["absent0"]"#);
    assert!(!machine.run(start).status.success());
    wait_until("the journal has the interface", || {
        is_in_journal(&machine, "absent0")
    });
    configure(
        &machine,
        r#"iface = ["wan0"]\npin-dir = "/sys/fs/bpf/elsewhere""#,
    );
    assert!(!machine.run(start).status.success());
    wait_until("the journal has what lets it pin there", || {
        is_in_journal(&machine, "`ReadWritePaths=-/sys/fs/bpf/elsewhere`")
    });
    machine.ok(
        "systemctl stop lastack@wan
        mkdir -p /etc/systemd/system/lastack@.service.d
        printf '[Service]\\nExecStartPre=+mkdir -p -m 700 /sys/fs/bpf/elsewhere\\nReadWritePaths=-/sys/fs/bpf/elsewhere\\n' >/etc/systemd/system/lastack@.service.d/pins.conf
        systemctl daemon-reload
        systemctl start lastack@wan",
    );
    assert_ne!(hooks(gateway, WAN), before);
    machine.ok("echo 'budget = 0' >>/etc/lastack/wan.toml; systemctl reload lastack@wan");
    wait_until("the journal has the setting", || {
        is_in_journal(&machine, "budget = 0")
    });
}
