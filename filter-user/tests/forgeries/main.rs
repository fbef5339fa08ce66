//! Forged segments for a connection that is closing: a guesser who knows the addresses and ports,
//! or one number more, and somebody who knows everything. Needs root, nft, tcpdump and ethtool.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod blind;
mod download;
mod forger;
#[path = "../instance/mod.rs"]
mod instance;
mod on_path;
mod witness;

use std::time::Duration;

use filter_common::Reason;
use filter_user::{
    counters::Counters,
    datapath::Datapath,
    lab::{
        server::Server,
        topology::{Host, Topology, WAN},
    },
    settings::{Role, Settings},
};

use download::RECEIVE_BUFFERS;
use forger::throw_away;
use instance::wiring::features;

/// A gateway between a host and the server, who throw away what is forged.
struct Scene {
    // Detached before its interfaces go.
    datapath: Datapath,
    settings: Settings,
    _server: Server,
    topology: Topology,
    host: Host,
}

impl Scene {
    /// With the filter at work on the interface that the role says.
    fn new(settings: Settings) -> Self {
        let mut topology = Topology::new().unwrap();
        let host = topology.add_host().unwrap();
        let server = Server::start(&topology.server).unwrap();
        let gateway = &topology.gateway;
        for (namespace, parameter, value) in [
            (&host.namespace, "ipv4/tcp_rmem", RECEIVE_BUFFERS),
            // What claims to be the client may come from anywhere, and the client does not
            // believe that it should send elsewhere for that.
            (gateway, "ipv4/conf/all/rp_filter", "0"),
            (gateway, "ipv4/conf/wan0/rp_filter", "0"),
            (&host.namespace, "ipv4/conf/eth0/accept_redirects", "0"),
            (&host.namespace, "ipv6/conf/eth0/accept_redirects", "0"),
        ] {
            namespace.sysctl(parameter, value).unwrap();
        }
        // A segment is the same frame on both sides.
        let all_off = "tso off gso off gro off";
        features(&host.namespace, "eth0", all_off);
        features(&topology.server, "server0", all_off);
        for interface in [host.gateway_interface.as_str(), WAN] {
            features(gateway, interface, all_off);
        }
        for namespace in [&host.namespace, &topology.server] {
            throw_away(namespace);
        }
        let interface = match settings.role {
            Role::Wan => WAN.to_owned(),
            Role::Lan => host.gateway_interface.clone(),
        };
        let loaded = settings.clone();
        let datapath = gateway.run(move || {
            let mut datapath = Datapath::load(&loaded).unwrap();
            datapath.attach(&interface).unwrap();
            datapath
        });
        Self {
            datapath,
            settings,
            _server: server,
            topology,
            host,
        }
    }

    /// The interface that is served.
    fn interface(&self) -> &str {
        match self.settings.role {
            Role::Wan => WAN,
            Role::Lan => &self.host.gateway_interface,
        }
    }

    fn counters(&self) -> Counters {
        let [served] = &self.datapath.counters().unwrap()[..] else {
            panic!("one interface is served");
        };
        served.counters
    }
}

/// Segments that the filter says that it has dropped.
fn drops(counters: &Counters) -> u64 {
    let resets = [
        Reason::ResetAfterSpuriousAckSuppressed,
        Reason::ResetAfterCloseSuppressed,
    ];
    let resets = resets.iter().map(|reason| counters.of(*reason));
    counters.dropped_acks() + resets.sum::<u64>()
}

/// What not even a busy machine's client misses.
fn patient() -> Settings {
    Settings {
        window: Duration::from_secs(10),
        ..Settings::default()
    }
}
