//! A PPPoE session: the point-to-point interface, and the Ethernet below.

use std::{
    fs::File,
    io::Write as _,
    os::fd::AsRawFd as _,
    process::{Child, Command, Stdio},
};

use filter_user::lab::{namespace::Namespace, topology::WAN};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{
    assert_cured_on,
    instance::{
        tool, wait_until,
        wiring::{Network, route_to_clients, route_to_server},
    },
    tc, xdp,
};

const PPP: &str = "ppp0";

/// The lab's network where all between the gateway and the server goes through a session, which
/// ends with this.
struct Session {
    network: Network,
    gateway: Child,
    server: Child,
    _options: File,
}

impl Session {
    fn start() -> Self {
        let network = Network::new();
        let topology = &network.topology;
        // The daemon takes options for its pppd only in a file, and the usual file asks the
        // gateway for a password.
        let mut options = File::from(memfd_create("options", MFdFlags::empty()).unwrap());
        options.write_all(b"noauth\n+ipv6\n").unwrap();
        let server = start(
            &topology.server,
            "pppoe-server",
            &format!(
                "-F -I server0 -L 192.0.2.2 -R 192.0.2.1 -N 1 -O /proc/{}/fd/{}",
                std::process::id(),
                options.as_raw_fd(),
            ),
        );
        let gateway = start(
            &topology.gateway,
            "pppd",
            &format!("plugin pppoe.so nic-{WAN} noauth nodetach +ipv6 persist maxfail 0 holdoff 1"),
        );
        let session = Self {
            network,
            gateway,
            server,
            _options: options,
        };
        let topology = &session.network.topology;
        for namespace in [&topology.gateway, &topology.server] {
            wait_until("the session", || is_up(namespace));
        }
        route_to_server(topology, ["dev ppp0"; 2]);
        route_to_clients(topology, ["dev ppp0"; 2]);
        session
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for daemon in [&mut self.gateway, &mut self.server] {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}

fn start(namespace: &Namespace, program: &str, arguments: &str) -> Child {
    let mut command = Command::new(program);
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        // pppd tells there what it negotiates.
        .stdout(Stdio::null());
    namespace.spawn(command).unwrap()
}

/// Whether both network protocols are negotiated: each gives the interface an address.
fn is_up(namespace: &Namespace) -> bool {
    let addresses = tool(namespace, "ip", &["-oneline", "address"]);
    let of_ppp = || addresses.lines().filter(|line| line.contains(PPP));
    of_ppp().any(|line| line.contains("inet ")) && of_ppp().any(|line| line.contains("inet6 "))
}

#[test]
#[ignore = "needs pppoe: cargo xtask vm"]
fn the_interface_of_a_pppoe_session_is_served_by_tc() {
    let mut session = Session::start();
    assert_cured_on(&mut session.network, PPP, tc(), &[]);
}

#[test]
#[ignore = "needs pppoe: cargo xtask vm"]
fn session_frames_on_the_ethernet_below_are_served_by_xdp() {
    let mut session = Session::start();
    assert_cured_on(&mut session.network, WAN, xdp(), &[]);
}
