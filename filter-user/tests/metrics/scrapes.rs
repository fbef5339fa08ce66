//! Many scrapes, and counters that are exact.

use std::{
    collections::HashMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::signal::Signal,
    unistd::Pid,
};

use crate::{
    METRICS, descriptors,
    instance::{
        Instance,
        cure::{CONNECTIONS, resets},
        sample, tool, wait_until,
        wiring::Network,
    },
    samples, scrape,
};

/// So many scrapes, over one connection as far as the server keeps it, or each over its own.
fn scrape_often(gateway: &Namespace, times: u32, connection: &str) {
    let options = "--silent --show-error --fail --output /dev/null --header";
    let mut arguments: Vec<_> = options.split(' ').collect();
    let field = format!("Connection: {connection}");
    let urls = format!("{METRICS}?[1-{times}]");
    arguments.extend([&*field, &urls]);
    tool(gateway, "curl", &arguments);
}

/// KiB of memory that an instance has for itself.
fn memory(instance: &Instance) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", instance.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.unwrap()
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn ten_thousand_scrapes_leave_no_descriptor_and_no_memory_behind() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let instance = Instance::start(gateway, &[WAN], &[]);
    let before = descriptors(&instance);
    for connection in ["keep-alive", "close"] {
        scrape_often(gateway, 1_000, connection);
    }
    let warm = memory(&instance);
    for connection in ["keep-alive", "close"] {
        scrape_often(gateway, 5_000, connection);
    }
    let grown = memory(&instance).saturating_sub(warm);
    assert!(grown < 2_048, "by {grown} KiB from {warm} KiB");
    wait_until("every connection is closed", || {
        descriptors(&instance) == before
    });
    let (status, _) = instance.stop(Signal::SIGINT);
    assert!(status.success(), "{status}");
}

/// The CPUs that this process may use; the first two.
fn cpus() -> Vec<CpuSet> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let numbers = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap());
    let alone = |cpu| {
        let mut set = CpuSet::new();
        set.set(cpu).unwrap();
        set
    };
    numbers.take(2).map(alone).collect()
}

/// The client sends, and the programs judge its packets, on one CPU and then on another.
#[test]
fn counters_are_the_sum_over_cpus_and_never_go_back() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let instance = Instance::start(gateway, &[WAN], &[]);
    let cpus = cpus();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraping = scope.spawn(|| assert_never_back(gateway, &is_over));
        for cpu in &cpus {
            let work = || {
                sched_setaffinity(Pid::from_raw(0), cpu).unwrap();
                resets(&mut client)
            };
            let resets = thread::scope(|alone| alone.spawn(work).join());
            assert_eq!(resets.unwrap(), 0);
        }
        is_over.store(true, Ordering::Relaxed);
        scraping.join().unwrap();
    });
    let sent = u64::from(CONNECTIONS) * u64::try_from(cpus.len()).unwrap();
    let metrics = scrape(gateway, None);
    let dropped = ["spurious", "redundant"].map(|kind| {
        let labels = format!("{{action=\"dropped\",iface=\"{WAN}\",kind=\"{kind}\"}}");
        sample(&metrics, &format!("lastack_spurious_acks_total{labels}"))
    });
    assert_eq!(dropped.iter().sum::<u64>(), sent, "{metrics}");
    for name in ["lastack_flows_created_total", "lastack_flows_closed_total"] {
        assert_eq!(sample(&metrics, name), sent, "{name}");
    }
    // Counted now and then only; those that are closed are known for minutes.
    wait_until("flows are counted", || {
        sample(&scrape(gateway, None), "lastack_flows") == sent
    });
    drop(instance);
}

fn assert_never_back(gateway: &Namespace, is_over: &AtomicBool) {
    let mut before = HashMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let metrics = scrape(gateway, None);
        let is_counter = |name: &str| name.split('{').next().unwrap().ends_with("_total");
        for (name, value) in samples(&metrics).filter(|(name, _)| is_counter(name)) {
            let earlier = before.insert(name.to_owned(), value);
            assert!(
                earlier.is_none_or(|earlier| earlier <= value),
                "{name}: {earlier:?}, {value}"
            );
        }
    }
}
