//! wireguard, which carries bare IP.

use filter_user::lab::namespace::Namespace;

use super::{
    assert_cured_on, assert_unharmed_on,
    instance::{
        tool,
        wiring::{
            BACK_BY_SECOND, BY_SECOND, Network, address_second, ip, route_to_clients,
            route_to_server,
        },
    },
    tc,
};

const WG: &str = "wg0";
const GATEWAY: &str = "203.0.113.1";
/// The server's usual address is behind the tunnel, so its end has another.
const SERVER: &str = "203.0.113.3";

/// The lab's network with a tunnel between the gateway and the server.
fn tunnelled() -> Network {
    let network = Network::new();
    let topology = &network.topology;
    let (gateway, server) = (&topology.gateway, &topology.server);
    ip(server, &[&format!("address add {SERVER}/24 dev server0")]);
    let [gateway_key, server_key] =
        [gateway, server].map(|namespace| shell(namespace, "wg genkey"));
    configure(gateway, &gateway_key, &server_key, SERVER);
    configure(server, &server_key, &gateway_key, GATEWAY);
    address_second(topology, (WG, WG));
    route_to_server(topology, BY_SECOND);
    route_to_clients(topology, BACK_BY_SECOND);
    network
}

/// Makes one end of the tunnel.
fn configure(namespace: &Namespace, key: &str, peer_key: &str, endpoint: &str) {
    let peer = shell(namespace, &format!("echo {peer_key} | wg pubkey"));
    ip(namespace, &[&format!("link add {WG} type wireguard")]);
    shell(
        namespace,
        &format!(
            "echo {key} | wg set {WG} listen-port 51820 private-key /dev/stdin \
             peer {peer} endpoint {endpoint}:51820 allowed-ips 0.0.0.0/0,::/0"
        ),
    );
    ip(namespace, &[&format!("link set {WG} up")]);
}

fn shell(namespace: &Namespace, command: &str) -> String {
    tool(namespace, "sh", &["-c", command]).trim().to_owned()
}

#[test]
#[ignore = "needs wireguard: cargo xtask vm"]
fn wireguard_is_served_by_tc() {
    let mut network = tunnelled();
    assert_cured_on(&mut network, WG, tc(), &[]);
}

#[test]
#[ignore = "needs wireguard: cargo xtask vm"]
fn large_transfers_are_unharmed_in_wireguard() {
    let mut network = tunnelled();
    assert_unharmed_on(&mut network, WG);
}
