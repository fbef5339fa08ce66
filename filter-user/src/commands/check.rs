//! `lastack check`: can this machine run it, and would it see what it has to see?
//!
//! The probes gather facts; the modules here judge them.

mod facts;
mod hidden;
mod hooks;
mod ingress;
mod machine;
mod place;
mod report;
mod routes;

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueHint, builder::RangedU64ValueParser};
use filter_common::wire::Link as Header;
use netlink_packet_route::AddressFamily;

use self::{
    facts::Facts,
    report::{Finding, Report},
    routes::Routes,
};
use super::{
    FileOptions,
    attaching::{Attaching, Contradiction},
    identity::{Identity, MetricsAddress},
    interface_name, is_read,
    run::CloserName,
};
use crate::{
    datapath::{DatapathError, Interface},
    probe::{
        flowtables::flowtables,
        links::{Link, Links},
        machine::Machine,
        programs::Program,
        routes::default_routes,
    },
    settings::{Role, Settings},
    stream::Output,
};

/// Tells whether this machine can run it: each line ok, warning or error, and what to do
///
/// Looks at the kernel, at the interfaces, and at what could carry packets past the filter.
/// Loads the packet programs, if it may, but attaches none. Exit status 1 if a line is an error.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file of options that `lastack run` is to have; those below are taken from it
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        env = "LASTACK_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// An interface to be served (repeatable); without it, those that default routes lead by
    #[arg(
        long,
        value_name = "IF",
        env = "LASTACK_IFACE",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = interface_name
    )]
    iface: Vec<String>,
    /// Where the interfaces lead: to the servers (wan) or to the clients (lan)
    #[arg(
        long,
        value_enum,
        default_value = "wan",
        env = "LASTACK_ROLE",
        hide_env_values = true
    )]
    role: Role,
    /// Whose FIN makes a connection known; what is pinned has to agree
    #[arg(
        long,
        value_enum,
        default_value = "client",
        env = "LASTACK_CLOSER",
        hide_env_values = true
    )]
    closer: CloserName,
    /// How many closing connections are known at once; what is pinned has to agree
    #[arg(long, value_name = "N", default_value = "65536", env = "LASTACK_MAX_FLOWS", hide_env_values = true,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=1 << 24))]
    max_flows: u32,
    #[command(flatten)]
    attaching: Attaching,
    /// Where Prometheus is to scrape /metrics, or off
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9433",
        env = "LASTACK_METRICS_ADDR",
        hide_env_values = true
    )]
    metrics_addr: MetricsAddress,
    /// How it is printed; json is one object
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "LASTACK_OUTPUT",
        hide_env_values = true
    )]
    output: Output,
    #[command(flatten)]
    identity: Identity,
}

impl FileOptions for Arguments {
    fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn interfaces(&self) -> &[String] {
        &self.iface
    }

    fn contradiction(&self) -> Option<Contradiction> {
        self.attaching.contradiction()
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let attaching = arguments.attaching;
    let settings = Settings {
        role: arguments.role,
        closer: arguments.closer.into(),
        max_flows: arguments.max_flows,
        ingress: attaching.ingress,
        xdp_mode: attaching.xdp_mode,
        tc_mode: attaching.tc_mode,
        ..Settings::default()
    };
    let report = Report::new(findings(arguments, &settings));
    let output = io::stdout().lock();
    let written = match arguments.output {
        Output::Text => report.write_text(output),
        Output::Json => report.write_json(output),
    };
    is_read(written).context("could not write what was found")?;
    match report.errors() {
        0 => Ok(()),
        errors => bail!(
            "{errors} of {} checks failed; their lines say what to do",
            report.checks.len()
        ),
    }
}

fn findings(arguments: &Arguments, settings: &Settings) -> Vec<Finding> {
    let names = &arguments.iface;
    let links = Links::read();
    let known = links
        .as_ref()
        .map_or_else(|_| Links::default(), Clone::clone);
    let routes: Routes = [AddressFamily::Inet, AddressFamily::Inet6].map(default_routes);
    let names = if names.is_empty() && settings.role == Role::Wan {
        let uplinks = routes::uplinks(&routes);
        uplinks.into_iter().map(|index| known.name(index)).collect()
    } else {
        names.clone()
    };
    let (served, refused) = find(&names);

    let mut findings = machine::judge(&Machine::read(settings, &headers(&served)));
    findings.extend(place::judge(
        &arguments.identity,
        arguments.metrics_addr,
        settings,
    ));
    if let Err(error) = &links {
        findings.push(Finding::unseen("interfaces", "how they are stacked", error));
    }
    let indices: Vec<_> = served.iter().map(|interface| interface.index).collect();
    // Of what is not there nothing can be said.
    if names.is_empty() || !indices.is_empty() {
        findings.push(routes::judge(settings.role, &indices, &known, &routes));
    }
    findings.push(hidden::redirects(&foreign(&known, &indices)));
    if names.is_empty() {
        findings.push(Finding::warning(
            "interface",
            "none was looked at, since none was named and no default route tells",
            "name it: `lastack check --iface IF`",
        ));
    }
    let flowtables = flowtables();
    for interface in &served {
        let facts = Facts::gather(interface, &known, settings.tc_mode);
        findings.extend(hooks::judge(&facts, settings));
        findings.extend(hidden::judge(&facts, &flowtables));
    }
    findings.extend(refused);
    findings
}

/// Those that can be served, and what is wrong with the others.
fn find(names: &[String]) -> (Vec<Interface>, Vec<Finding>) {
    let mut found: Vec<Interface> = Vec::new();
    let mut refused = Vec::new();
    for name in names {
        let interface = Interface::find(name).and_then(|interface| {
            if found.iter().any(|other| other.index == interface.index) {
                return Err(DatapathError::Twice(interface.name));
            }
            Ok(interface)
        });
        match interface {
            Ok(interface) => found.push(interface),
            Err(error) => refused.push(Finding::refused("interface", &error).on(name)),
        }
    }
    (found, refused)
}

/// What packets on these interfaces begin with; whatever they may, if there are none.
fn headers(served: &[Interface]) -> Vec<Header> {
    let all = [Header::Ethernet, Header::Ip].into_iter();
    all.filter(|&header| {
        served.is_empty() || served.iter().any(|interface| interface.link == header)
    })
    .collect()
}

/// The other interfaces with an XDP program.
fn foreign<'a>(links: &'a Links, served: &[u32]) -> Vec<(&'a Link, Program)> {
    let others = links.0.iter().filter(|link| !served.contains(&link.index));
    others
        .filter_map(|link| Some((link, Program::find(link.xdp?))))
        .collect()
}
