//! `lastack run` beside other packet programs on the same hooks: both do their work. Needs root,
//! ip, tc, bpftool and curl.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use aya::programs::TcAttachType;
use filter_user::lab::{
    namespace::Namespace,
    topology::{LAN, WAN},
};

use nix::sys::signal::Signal;

use instance::{
    Instance,
    cure::{CONNECTIONS, assert_cured, assert_cured_by},
    expected, hooks, lastack,
    neighbour::{Neighbour, Place},
    tool,
    wiring::{Network, ip},
};

/// Where others' programs sit on the hooks of an interface, arriving packets first: those that
/// were there earlier and those that come later than ours.
#[derive(Clone, Copy)]
struct Neighbourhood {
    earlier: [Place; 2],
    later: [Place; 2],
}

/// Counting programs on arriving and on leaving packets.
struct Counting([Neighbour; 2]);

impl Counting {
    fn at(gateway: &Namespace, interface: &'static str, [ingress, egress]: [Place; 2]) -> Self {
        let counting = |side, place| Neighbour::counting(gateway, interface, side, place);
        Self([
            counting(TcAttachType::Ingress, ingress),
            counting(TcAttachType::Egress, egress),
        ])
    }

    fn packets(&self) -> [u64; 2] {
        self.0.each_ref().map(|neighbour| neighbour.seen().packets)
    }
}

/// The client is cured on an interface where others' programs run before and behind ours: those
/// before see every packet, those behind all but the dropped ones, and all stay when ours go.
fn assert_neighbours(interface: &'static str, options: &[&str], places: Neighbourhood) {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let earlier = Counting::at(gateway, interface, places.earlier);
    let instance = Instance::start(gateway, &[interface], options);
    let later = Counting::at(gateway, interface, places.later);
    let mut theirs = hooks(gateway, interface);
    theirs.retain(|line| !line.contains("lastack"));
    let at_start = (earlier.packets(), later.packets());
    assert_cured_by(instance, &mut client);
    let at_end = (earlier.packets(), later.packets());
    assert_eq!(hooks(gateway, interface), theirs);

    let meanwhile = |start: [u64; 2], end: [u64; 2]| [end[0] - start[0], end[1] - start[1]];
    let [in_behind, out_before] = meanwhile(at_start.0, at_end.0);
    let [in_before, out_behind] = meanwhile(at_start.1, at_end.1);
    let missing = [in_before - in_behind, out_before - out_behind];
    let dropped = u64::from(CONNECTIONS);
    let expected = if interface == LAN {
        [dropped, 0]
    } else {
        [0, dropped]
    };
    assert_eq!(
        missing, expected,
        "{interface}: {in_before} arrived, {out_before} left"
    );
    // Handshake, request, response, close.
    assert!(in_before.min(out_before) >= 4 * dropped);
}

fn assert_neighbours_on_both_sides(options: &[&str], places: Neighbourhood) {
    assert_neighbours(WAN, options, places);
    assert_neighbours(LAN, &[options, &["--role", "lan"]].concat(), places);
}

const TCX: [&str; 2] = ["--ingress", "tc"];
const CLSACT: [&str; 4] = ["--ingress", "tc", "--tc-mode", "clsact"];

#[test]
fn tcx_programs_run_before_and_behind_ours() {
    let places = Neighbourhood {
        earlier: [Place::TcxFirst, Place::TcxLast],
        later: [Place::TcxFirst, Place::TcxLast],
    };
    assert_neighbours_on_both_sides(&TCX, places);
}

#[test]
fn clsact_filters_run_before_and_behind_ours_in_clsact() {
    let places = Neighbourhood {
        earlier: [Place::Clsact(1), Place::Clsact(100)],
        later: [Place::Clsact(1), Place::Clsact(65_001)],
    };
    assert_neighbours_on_both_sides(&CLSACT, places);
}

#[test]
fn a_filter_of_another_kind_at_the_first_priority_is_left_where_it_is() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    tool(gateway, "tc", &["qdisc", "add", "dev", WAN, "clsact"]);
    // For nobody's packets (RFC 5737).
    let filter = "filter add dev wan0 ingress prio 1 protocol ip u32 match ip dst 192.0.2.1/32 \
                  flowid 1:1";
    tool(
        gateway,
        "tc",
        &filter.split_whitespace().collect::<Vec<_>>(),
    );
    let show = ["filter", "show", "dev", WAN, "ingress"];
    let before = tool(gateway, "tc", &show);
    let cured = assert_cured(gateway, &mut client, &[WAN], &CLSACT);
    assert_eq!(cured.hooks(), ["clsact-ingress", "clsact-egress"]);
    assert!(before.contains("u32"), "{before}");
    assert_eq!(tool(gateway, "tc", &show), before);
}

#[test]
fn clsact_filters_run_behind_ours_in_tcx() {
    let places = Neighbourhood {
        earlier: [Place::Clsact(1), Place::TcxFirst],
        later: [Place::TcxFirst, Place::Clsact(1)],
    };
    assert_neighbours_on_both_sides(&TCX, places);
}

#[test]
fn tcx_programs_run_before_ours_in_clsact() {
    let places = Neighbourhood {
        earlier: [Place::Clsact(1), Place::TcxLast],
        later: [Place::TcxLast, Place::Clsact(65_001)],
    };
    assert_neighbours_on_both_sides(&CLSACT, places);
}

#[test]
fn an_xdp_program_that_is_there_stays_and_tc_does_its_work() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let theirs = Neighbour::counting_xdp(gateway, WAN);
    let before = hooks(gateway, WAN);
    let cured = assert_cured(gateway, &mut client, &[WAN], &[]);
    assert_eq!(cured.hooks(), expected::tc());
    assert_eq!(cured.attached[0]["note"], "it has an XDP program already");
    assert_eq!(hooks(gateway, WAN), before);
    let packets = theirs.seen().packets;
    assert!(packets > 2 * 4 * u64::from(CONNECTIONS), "{packets}");
}

#[test]
fn why_xdp_was_not_taken_is_in_the_log() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let _theirs = Neighbour::counting_xdp(gateway, WAN);
    ip(gateway, &["link add br0 type bridge"]);
    for (interface, says) in [
        (WAN, "wan0: no native XDP: it has an XDP program already"),
        (
            "br0",
            "br0: no native XDP: its driver (bridge) takes none now",
        ),
    ] {
        let mut command = lastack(&["run", "--iface", interface, "--metrics-addr", "off"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = gateway.spawn(command).unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = log.find(|line| line.as_ref().unwrap().contains(says));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.is_some(), "not in the log: {says}");
    }
}

/// What an instance that starts now on the interface warns of, and what it says else.
fn warned(gateway: &Namespace, options: &[&str]) -> (Vec<String>, Instance) {
    let options = [&["--metrics-addr", "off"], options].concat();
    let instance = Instance::start(gateway, &[WAN], &options);
    let mut warnings = Vec::new();
    // Counters come every second, and what is to be warned of before the first of them.
    let mut line = instance.line();
    while line["type"] != "counters" {
        assert_eq!(line["type"], "warning", "{line}");
        assert_eq!(line["iface"], WAN);
        warnings.push(line["message"].as_str().unwrap().to_owned());
        line = instance.line();
    }
    (warnings, instance)
}

#[test]
fn the_second_instance_on_an_interface_warns_of_the_first() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    for options in [&[][..], &["--ingress", "tc"], &CLSACT] {
        let options = [&["--interval", "1s"], options].concat();
        let (warnings, _first) = warned(gateway, &options);
        assert_eq!(warnings, [""; 0]);
        let (warnings, _second) = warned(gateway, &options);
        let [warning] = &warnings[..] else {
            panic!("{options:?}: {warnings:?}");
        };
        assert!(warning.starts_with("another lastack is there: lastack_"));
        assert!(warning.contains("; stop one of the two"), "{warning}");
        // Its own programs are not among them: one of each direction is left.
        assert_eq!(warning.matches("lastack_").count(), 2, "{warning}");
    }
}

#[test]
fn filters_of_a_killed_instance_are_warned_of_with_what_takes_them_off() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let options = [&["--interval", "1s"], &CLSACT[..]].concat();
    let (_, first) = warned(gateway, &options);
    drop(first.stop(Signal::SIGKILL));
    let (warnings, second) = warned(gateway, &options);
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    let commands: Vec<_> = warning.split('`').skip(1).step_by(2).collect();
    assert_eq!(commands.len(), 2, "{warning}");
    for command in commands {
        tool(gateway, "sh", &["-c", command]);
    }
    // What is there now is the second's, and goes with it.
    let show = |side| tool(gateway, "tc", &["filter", "show", "dev", WAN, side]);
    for side in ["ingress", "egress"] {
        assert_eq!(show(side).matches(" handle ").count(), 1, "{}", show(side));
    }
    assert!(second.stop(Signal::SIGTERM).0.success());
    for side in ["ingress", "egress"] {
        assert_eq!(show(side), "");
    }
}
