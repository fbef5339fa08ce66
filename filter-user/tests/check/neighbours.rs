//! Programs of others on the hooks.

use aya::{
    Ebpf, EbpfLoader,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{NlOptions, TcAttachOptions},
    },
};
use filter_user::{
    datapath::OBJECT,
    lab::{
        namespace::Namespace,
        topology::{Topology, WAN},
    },
};
use nix::sys::signal::Signal;

use crate::{
    add_second_uplink, check, hook,
    instance::{Instance, tool, wait_until},
};

/// Our programs under names of somebody else's, loaded with the settings that they were built
/// with, which let everything pass.
fn foreign() -> Ebpf {
    const OURS: &[u8] = b"lastack_";
    let mut object = OBJECT.to_vec();
    for at in 0..object.len() - OURS.len() {
        if object[at..].starts_with(OURS) {
            object[at..at + OURS.len()].copy_from_slice(b"foreign_");
        }
    }
    EbpfLoader::new().btf(None).load(&object).unwrap()
}

/// Puts somebody's XDP program on an interface.
fn put_foreign_xdp(namespace: &Namespace, interface: &'static str) -> Ebpf {
    namespace.run(move || {
        let mut ebpf = foreign();
        let program: &mut Xdp = ebpf
            .program_mut("foreign_xdp_mb")
            .unwrap()
            .try_into()
            .unwrap();
        program.load().unwrap();
        program.attach(interface, XdpMode::Driver).unwrap();
        ebpf
    })
}

/// Puts somebody's TC programs on both sides of an interface.
fn put_foreign_tc(
    namespace: &Namespace,
    interface: &'static str,
    options: fn() -> TcAttachOptions,
) -> Ebpf {
    namespace.run(move || {
        let mut ebpf = foreign();
        for (name, side) in [
            ("foreign_ingress", TcAttachType::Ingress),
            ("foreign_egress", TcAttachType::Egress),
        ] {
            let program = ebpf.program_mut(name).unwrap();
            let program: &mut SchedClassifier = program.try_into().unwrap();
            program.load().unwrap();
            program
                .attach_with_options(interface, side, options())
                .unwrap();
        }
        ebpf
    })
}

#[test]
fn somebody_s_xdp_program_is_named_wherever_it_is() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let _program = put_foreign_xdp(gateway, WAN);
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["ingress"]);
    checked.assert(Some(WAN), "ingress", "warning", "foreign_xdp_mb", "xdp off");
    assert_eq!(hook(&checked, WAN, "ingress"), "tcx-ingress");

    let xdp = check(gateway, &["--iface", WAN, "--ingress", "xdp"]);
    xdp.assert_troubles(&["ingress"]);
    xdp.assert(
        Some(WAN),
        "ingress",
        "error",
        "XDP program already",
        "--ingress tc",
    );

    add_second_uplink(gateway);
    let elsewhere = check(gateway, &["--iface", "wan1"]);
    elsewhere.assert_troubles(&["redirects"]);
    elsewhere.assert(None, "redirects", "warning", "foreign_xdp_mb", "pass TCP");
}

#[test]
fn somebody_s_tc_programs_matter_where_they_come_before_ours() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let tcx = || TcAttachOptions::TcxOrder(LinkOrder::default());
    let program = put_foreign_tc(gateway, WAN, tcx);
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["egress"]);
    checked.assert(Some(WAN), "egress", "warning", "foreign_egress", "TCX_NEXT");
    drop(program);

    let clsact = ["qdisc", "add", "dev", WAN, "clsact"];
    tool(gateway, "tc", &clsact);
    let filter = || TcAttachOptions::Netlink(NlOptions::default());
    let program = put_foreign_tc(gateway, WAN, filter);
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
    let behind = check(gateway, &["--iface", WAN, "--tc-mode", "clsact"]);
    behind.assert_troubles(&["egress"]);
    behind.assert(
        Some(WAN),
        "egress",
        "warning",
        "foreign_egress",
        "TC_ACT_UNSPEC",
    );
    drop(program);

    tool(gateway, "tc", &["qdisc", "del", "dev", WAN, "clsact"]);
    tool(gateway, "tc", &["qdisc", "add", "dev", WAN, "ingress"]);
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
    let blocked = check(gateway, &["--iface", WAN, "--tc-mode", "clsact"]);
    blocked.assert_troubles(&["egress"]);
    blocked.assert(
        Some(WAN),
        "egress",
        "error",
        "ingress qdisc",
        "tc qdisc del dev wan0 ingress",
    );
}

#[test]
fn another_lastack_is_found_running_and_killed() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let options = ["--metrics-addr", "off"];
    let running = Instance::start(gateway, &[WAN], &options);
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["instance"]);
    checked.assert(
        Some(WAN),
        "instance",
        "warning",
        "lastack_egress",
        "stop that one",
    );
    assert!(running.stop(Signal::SIGINT).0.success());
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);

    let options = [&options[..], &["--ingress", "tc", "--tc-mode", "clsact"]].concat();
    let killed = Instance::start(gateway, &[WAN], &options);
    assert!(!killed.stop(Signal::SIGKILL).0.success());
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&["instance"]);
    let remedy = "tc qdisc del dev wan0 clsact";
    checked.assert(Some(WAN), "instance", "warning", "lastack_ingress", remedy);
    let (program, arguments) = remedy.split_once(' ').unwrap();
    tool(gateway, program, &arguments.split(' ').collect::<Vec<_>>());
    wait_until("nothing is left", || {
        check(gateway, &["--iface", WAN]).status == 0
    });
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
}
