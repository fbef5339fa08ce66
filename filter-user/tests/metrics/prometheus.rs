//! What a real Prometheus makes of the metrics.

use filter_user::lab::topology::WAN;

use crate::instance::{
    Instance,
    cure::{CONNECTIONS, resets},
    prometheus::Prometheus,
    wait_until,
    wiring::Network,
};

#[test]
fn prometheus_takes_open_metrics_and_knows_how_many_acks_were_dropped() {
    let mut network = Network::new();
    let mut client = network.client();
    let _instance = Instance::start(&network.topology.gateway, &[WAN], &[]);
    let prometheus = Prometheus::start(&network.topology.gateway, &[]);
    wait_until("Prometheus scrapes", || {
        prometheus.query("up{job='lastack'}").as_deref() == Some("1")
    });
    assert_eq!(resets(&mut client), 0);
    let expected = CONNECTIONS.to_string();
    for expression in [
        "sum(lastack_spurious_acks_total{action='dropped',iface='wan0'})",
        "lastack_flows_closed_total",
    ] {
        wait_until(expression, || {
            prometheus.query(expression) == Some(expected.clone())
        });
    }
    // Only in OpenMetrics is a counter called that.
    let metadata = prometheus.ask("targets/metadata", "metric=lastack_spurious_acks");
    let metadata = metadata.unwrap();
    assert_eq!(metadata[0]["type"], "counter", "{metadata}");
}
