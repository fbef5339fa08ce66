//! Judges what an instance needs for itself: its name, the address of its metrics, and where it is
//! pinned.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::report::Finding;
use crate::{
    commands::identity::{Identity, MetricsAddress},
    control::{Connection, Unreachable},
    datapath::{Datapath, DatapathError, Pins},
    instance::InstanceName,
    settings::Settings,
};

pub(super) fn judge(
    identity: &Identity,
    metrics: MetricsAddress,
    settings: &Settings,
) -> Vec<Finding> {
    let opened = Connection::open(&identity.instance);
    let runs = !matches!(opened, Err(Unreachable::NotThere(_)));
    let pins = Pins::new(&identity.pin_dir, &identity.instance);
    vec![
        name(&identity.instance, opened.as_ref().err(), runs),
        match metrics {
            MetricsAddress::Off => Finding::ok("metrics", "not to be served"),
            MetricsAddress::At(address) => listening(address, &identity.instance, runs),
        },
        pinning(identity.pin, settings, &pins),
    ]
}

fn name(name: &InstanceName, error: Option<&Unreachable>, runs: bool) -> Finding {
    if !runs {
        return Finding::ok("name", format!("no other instance is called {name}"));
    }
    if let Some(Unreachable::Untrusted { uid, pid, .. }) = error {
        return Finding::warning(
            "name",
            format!(
                "user {uid} holds the name {name}, process {pid}: nobody could ask the instance for its status"
            ),
            "end that process, or give another name: --instance NAME",
        );
    }
    Finding::warning(
        "name",
        format!("an instance called {name} runs already"),
        "end it first, or give another name: --instance NAME",
    )
}

/// `runs`: somebody has the name, and may well have the address, too.
fn listening(address: SocketAddr, name: &InstanceName, runs: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("metrics", format!("{address} is free")),
        Err(error) if runs && error.kind() == io::ErrorKind::AddrInUse => Finding::ok(
            "metrics",
            format!("{address} is taken, as is to be expected while {name} runs"),
        ),
        Err(error) => Finding::error(
            "metrics",
            format!("they cannot be served at {address}: {error}"),
            "--metrics-addr takes another address, or off",
        ),
    }
}

fn pinning(pin: bool, settings: &Settings, pins: &Pins) -> Finding {
    let directory = pins.directory().display();
    if !pin {
        return match Datapath::refuse_left_behind(pins) {
            Ok(()) => Finding::ok("pins", format!("nothing is left in {directory}")),
            Err(error) => Finding::refused("pins", &error),
        };
    }
    match Datapath::foresee(settings, pins) {
        Ok(None) => Finding::ok("pins", format!("{directory} is to be had")),
        Ok(Some(version)) => Finding::ok(
            "pins",
            format!("what lastack {version} left in {directory} can be taken over"),
        ),
        Err(DatapathError::Pins { error, .. })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            Finding::unseen("pins", "what is pinned", &error)
        }
        Err(error) => Finding::refused("pins", &error),
    }
}
