//! `--client` and `--port`: whose FIN makes a flow.

use filter_common::{
    Phase, Reason,
    Verdict::{Drop, Pass},
};
use filter_user::settings::{Role, Settings};

use crate::{
    frames::V6,
    row::{CLIENT_FIN, LAST_ACK, Row, Shape},
};

fn row(name: &str, clients: &[&str], ports: &[u16]) -> Row {
    let clients: Vec<_> = clients
        .iter()
        .map(|text| text.parse().expect("a prefix"))
        .collect();
    let scoped = move |settings: &mut Settings| {
        settings.clients.clone_from(&clients);
        settings.ports = ports.to_vec();
    };
    Row::new(name).settings(scoped)
}

fn v6() -> Shape {
    Shape {
        ip: V6,
        ..Shape::default()
    }
}

/// The flow is made, closes, and its spurious ACK is dropped.
fn in_scope(row: Row) -> Row {
    row.closed()
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
}

/// No flow is made, so nothing is dropped or counted.
fn out_of_scope(row: Row) -> Row {
    row.client(CLIENT_FIN, Pass, Reason::OutOfScope)
        .client(LAST_ACK, Pass, Reason::NoFlow)
}

#[test]
fn clients_in_a_prefix_are_in_scope_and_others_are_not() {
    let only_v4 = row("a prefix of IPv4", &["192.0.2.0/24"], &[]);
    out_of_scope(in_scope(only_v4).shape(v6())).leaves(&[Phase::Closed]);
    let only_v6 = row("a prefix of IPv6", &["2001:db8:1::/48"], &[]);
    in_scope(out_of_scope(only_v6).shape(v6())).leaves(&[Phase::Closed]);
    let both = row("two prefixes", &["2001:db8:1::/48", "192.0.2.1/32"], &[]);
    in_scope(in_scope(both).shape(v6())).leaves(&[Phase::Closed, Phase::Closed]);
    out_of_scope(row("another prefix", &["192.0.3.0/24"], &[])).leaves(&[]);
    out_of_scope(row("the server's prefix", &["198.51.100.0/24"], &[])).leaves(&[]);
}

#[test]
fn all_of_ipv6_is_nothing_of_ipv4() {
    let all_v6 = row("all of IPv6", &["::/0"], &[]);
    in_scope(out_of_scope(all_v6).shape(v6())).leaves(&[Phase::Closed]);
}

#[test]
fn ports_are_the_servers() {
    in_scope(row("its port", &[], &[443, 80])).leaves(&[Phase::Closed]);
    out_of_scope(row("another port", &[], &[443])).leaves(&[]);
    out_of_scope(row("the client's port", &[], &[49_152])).leaves(&[]);
}

#[test]
fn client_and_port_both_have_to_be_in_scope() {
    in_scope(row("both", &["192.0.2.0/24"], &[80])).leaves(&[Phase::Closed]);
    out_of_scope(row("the client alone", &["192.0.2.0/24"], &[81])).leaves(&[]);
    out_of_scope(row("the port alone", &["192.0.3.0/24"], &[80])).leaves(&[]);
}

#[test]
fn clients_are_those_of_the_role() {
    let lan = row("towards the clients", &["192.0.2.0/24"], &[80])
        .settings(|settings| settings.role = Role::Lan);
    in_scope(lan).leaves(&[Phase::Closed]);
}
