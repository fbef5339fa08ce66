//! Links and routes beyond those of the lab's topology.

use std::os::fd::{AsFd as _, AsRawFd as _};

use filter_user::lab::{client::Client, namespace::Namespace, server::Server, topology::Topology};

use super::tool;

/// The lab's network with its server at work.
pub(crate) struct Network {
    _server: Server,
    pub(crate) topology: Topology,
}

impl Network {
    pub(crate) fn new() -> Self {
        let topology = Topology::new().unwrap();
        let server = Server::start(&topology.server).unwrap();
        Self {
            _server: server,
            topology,
        }
    }

    /// The client with the fault, behind the gateway.
    pub(crate) fn client(&mut self) -> Client {
        Client::new(self.topology.add_client().unwrap()).unwrap()
    }
}

/// Runs `ip` with each of these lines as its arguments.
pub(crate) fn ip(namespace: &Namespace, lines: &[&str]) {
    for line in lines {
        tool(namespace, "ip", &words(line));
    }
}

/// Switches features of an interface, such as `tso off gso off`.
pub(crate) fn features(namespace: &Namespace, interface: &str, switches: &str) {
    let mut arguments = vec!["-K", interface];
    arguments.extend(words(switches));
    tool(namespace, "ethtool", &arguments);
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Moves an interface to another namespace.
pub(crate) fn hand_over(from: &Namespace, interface: &str, to: &Namespace) {
    ip(from, &[&format!("link set {interface} netns {}", path(to))]);
}

/// Connects two namespaces by a veth pair, up at both ends.
pub(crate) fn connect((near, port): (&Namespace, &str), (far, peer): (&Namespace, &str)) {
    let pair = format!(
        "link add {port} type veth peer name {peer} netns {}",
        path(far)
    );
    ip(near, &[&pair, &format!("link set {port} up")]);
    ip(far, &[&format!("link set {peer} up")]);
}

/// What `ip` can open in another process.
fn path(namespace: &Namespace) -> String {
    let descriptor = namespace.as_fd().as_raw_fd();
    format!("/proc/{}/fd/{descriptor}", std::process::id())
}

/// Sends all from the gateway to the server through one of its interfaces: `how` is what `ip`
/// takes, over IPv4 and IPv6.
pub(crate) fn route_to_server(topology: &Topology, how: [&str; 2]) {
    for (destination, how) in ["203.0.113.2/32", "2001:db8::2/128"].iter().zip(how) {
        let route = format!("route replace {destination} {how}");
        ip(&topology.gateway, &[&route]);
    }
}

/// Sends all from the server to the clients through one of its interfaces.
pub(crate) fn route_to_clients(topology: &Topology, how: [&str; 2]) {
    for (destination, how) in ["10.0.0.0/16", "fd00::/32"].iter().zip(how) {
        // As long as in the lab: a busy machine must not make the server repeat its FIN.
        let route = format!("route replace {destination} {how} rto_min 2s");
        ip(&topology.server, &[&route]);
    }
}

/// The second uplink's routes, from the gateway to the server.
pub(crate) const BY_SECOND: [&str; 2] = ["via 198.51.100.2", "via 2001:db8:0:2::2"];
/// And back.
pub(crate) const BACK_BY_SECOND: [&str; 2] = ["via 198.51.100.1", "via 2001:db8:0:2::1"];

/// Gives addresses to the interfaces at both ends of a second link to the server.
pub(crate) fn address_second(topology: &Topology, (near, far): (&str, &str)) {
    for (namespace, interface, host) in [(&topology.gateway, near, 1), (&topology.server, far, 2)] {
        ip(
            namespace,
            &[
                &format!("address add 198.51.100.{host}/24 dev {interface}"),
                &format!("-6 address add 2001:db8:0:2::{host}/64 dev {interface} nodad"),
            ],
        );
    }
}
