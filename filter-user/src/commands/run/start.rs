//! What is made ready before an instance serves.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use log::{info, warn};

use super::options::Arguments;
use crate::{
    commands::{identity::MetricsAddress, instances::beside},
    datapath::{Datapath, DatapathError, Pins, uses_tcx},
    settings::Settings,
    stream::Stream,
};

/// Where metrics are to be served, if they are.
pub(super) fn listen(arguments: &Arguments) -> anyhow::Result<Option<tokio::net::TcpListener>> {
    match arguments.metrics_addr {
        MetricsAddress::Off => Ok(None),
        MetricsAddress::At(address) => bind(address).map(Some),
    }
}

/// Loads the programs and attaches them to all interfaces, or to none. `has_name`: no other process
/// has the instance's name.
pub(super) fn attached(
    arguments: &Arguments,
    settings: &Settings,
    has_name: bool,
) -> Result<Datapath, DatapathError> {
    let mut datapath = load(arguments, settings)?;
    let named = if has_name {
        datapath.take_name(&arguments.identity.instance)
    } else {
        warn_of_filters(arguments, settings);
        Ok(())
    };
    match named.and_then(|()| attach_all(&mut datapath, &arguments.iface, arguments.wait)) {
        Ok(()) => Ok(datapath),
        Err(error) => {
            datapath.abandon();
            Err(error)
        }
    }
}

/// What is wrong with interfaces that are served all the same.
pub(super) fn warnings(datapath: &Datapath) -> Vec<(String, String)> {
    let attachments = datapath.attachments().into_iter();
    let warnings = attachments
        .filter_map(|attachment| Some((attachment.interface.clone(), beside(&attachment)?)));
    warnings.collect()
}

/// Says what was taken over from an earlier process, if anything was.
pub(super) fn tell_of_takeover(datapath: &Datapath, stream: &mut Stream) {
    let (Some(version), Some(pins)) = (datapath.took_over(), datapath.pins()) else {
        return;
    };
    let directory = pins.directory();
    let policy = datapath.configuration().policy();
    match datapath.tables().count_flows(&policy) {
        Ok(flows) => {
            let connections = if flows == 1 {
                "connection"
            } else {
                "connections"
            };
            info!(
                "took over {flows} closing {connections} and the counters of lastack {version}, \
                 pinned in {}",
                directory.display()
            );
            stream.taken_over(flows, version, directory);
        }
        Err(error) => warn!("{error}"),
    }
}

/// Says where metrics are, and what it means if others reach them.
pub(super) fn tell_of_metrics(address: SocketAddr) {
    info!("metrics at http://{address}/metrics");
    if !address.ip().to_canonical().is_loopback() {
        warn!(
            "whoever reaches {address} reads the metrics, without a password and unencrypted: \
             interfaces, settings and counters; let only your Prometheus through the firewall, \
             or have --metrics-addr on loopback"
        );
    }
}

/// Loads the programs, pinned if that was asked for.
fn load(arguments: &Arguments, settings: &Settings) -> Result<Datapath, DatapathError> {
    let pins = Pins::new(&arguments.identity.pin_dir, &arguments.identity.instance);
    if arguments.identity.pin {
        Datapath::load_pinned(settings, pins)
    } else {
        Datapath::refuse_left_behind(&pins)?;
        Datapath::load(settings)
    }
}

/// Says what it means for filters in clsact that their instance has no name of its own.
fn warn_of_filters(arguments: &Arguments, settings: &Settings) {
    if !arguments.identity.pin && !uses_tcx(settings.tc_mode) {
        warn!(
            "without a name of its own nothing knows its filters in clsact: if this process is \
             killed, they stay and go on dropping, and `lastack check` says how to take them off"
        );
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot serve metrics at {address} (--metrics-addr takes another address, or off)")
    })?;
    listener.set_nonblocking(true)?;
    Ok(tokio::net::TcpListener::from_std(listener)?)
}

fn attach_all(
    datapath: &mut Datapath,
    interfaces: &[String],
    wait: bool,
) -> Result<(), DatapathError> {
    // Before anything changes of what is at work already.
    for interface in interfaces.iter().filter(|_| !wait) {
        Datapath::find(interface)?;
    }
    for interface in interfaces {
        attach(datapath, interface, wait)?;
    }
    datapath.settle()
}

/// Attaches to an interface, or to none if one that is not there is to be waited for.
fn attach(datapath: &mut Datapath, interface: &str, wait: bool) -> Result<(), DatapathError> {
    match datapath.attach(interface) {
        Err(DatapathError::NoInterface(_)) if wait => datapath.expect(interface),
        attached => attached.map(drop),
    }
}
