//! Clients that say nothing, too much, or nonsense stop nobody.

use std::{
    fs,
    io::Write as _,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixStream},
    },
    time::Duration,
};

use filter_user::lab::{namespace::Namespace, topology::WAN};

use super::{
    instance::{Instance, cure, sample, tool, wait_until, wiring::Network},
    json, say,
};

const CLIENTS: usize = 200;

fn connect(namespace: &Namespace) -> UnixStream {
    namespace.run(|| {
        let address = SocketAddr::from_abstract_name("lastack/default").unwrap();
        let stream = UnixStream::connect_addr(&address).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_write_timeout(patience).unwrap();
        stream
    })
}

fn descriptors(instance: &Instance) -> usize {
    fs::read_dir(format!("/proc/{}/fd", instance.id()))
        .unwrap()
        .count()
}

#[test]
fn hostile_clients_keep_neither_the_client_from_being_cured_nor_anybody_from_asking() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let options = ["--instance", "default", "--interval", "100ms"];
    let instance = Instance::start(gateway, &[WAN], &options);
    json(gateway, &["status"]);
    let before = descriptors(&instance);

    let connections: Vec<_> = (0..CLIENTS).map(|_| connect(gateway)).collect();
    for (index, mut connection) in connections.iter().enumerate() {
        // Those that were ended for others' sake take nothing.
        match index % 4 {
            0 => {}
            1 => drop(connection.write_all(&vec![b'x'; 1 << 20])),
            2 => drop(connection.write_all(b"\xff\x00{}[]\n\n\n")),
            // And never reads.
            _ => drop(connection.write_all(b"{\"ask\":\"watch\",\"interval\":1,\"hosts\":1}\n")),
        }
    }
    let outcomes = cure::run(&mut client);
    let sent: u64 = outcomes.iter().map(|it| it.seen.spurious_acks).sum();
    assert_eq!(outcomes.iter().map(|it| it.seen.resets).sum::<u64>(), 0);
    let status = json(gateway, &["status"]);
    assert_eq!(status["interfaces"][0]["spurious_acks_dropped"], sent);
    assert!(say(gateway, &["flows"]).starts_with("client"));
    let metrics = tool(
        gateway,
        "curl",
        &["--silent", "--fail", "http://127.0.0.1:9433/metrics"],
    );
    let closed = sample(&metrics, "lastack_flows_closed_total");
    assert_eq!(closed, u64::from(cure::CONNECTIONS));
    while instance.line()["spurious_acks_dropped"] != sent {}

    drop(connections);
    wait_until("its descriptors are closed", || {
        descriptors(&instance) <= before
    });
    let (status, _) = instance.stop(nix::sys::signal::Signal::SIGTERM);
    assert!(status.success(), "{status}");
}
