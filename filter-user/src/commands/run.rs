//! `lastack run`: attach, stream counters until a signal, detach.

mod changes;
mod decisions;
mod keeper;
mod options;
mod signals;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use log::{info, warn};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};

pub use self::{
    changes::{OptionChange, OptionChanges, OptionValue},
    options::Arguments,
};
use self::{decisions::log_decisions, keeper::Keeper, options::MetricsAddress, signals::Signals};
use crate::{
    datapath::{Changes, Datapath, DatapathError},
    metrics::Metrics,
    one_sided::OneSided,
    privilege, server,
    service::Service,
    settings::LogDecisions,
    stream::Stream,
};

/// Between two looks for closes of which one direction is seen.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    // Before anything is attached: a signal from now on ends in good order.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut service = Service::from_environment();
    let settings = arguments.settings();
    let listener = match arguments.metrics_addr {
        MetricsAddress::Off => None,
        MetricsAddress::At(address) => Some(bind(address)?),
    };
    // Before it is looked which interfaces there are.
    let changes = Changes::listen(&settings).context("cannot watch the interfaces")?;
    let mut datapath = Datapath::load(&settings)?;
    for interface in &arguments.iface {
        attach(&mut datapath, interface, arguments.wait)?;
    }
    // Before anything starts a thread.
    if let Err(error) = privilege::give_up(|| datapath.unserved_counters().is_ok()) {
        warn!("capabilities stay as they are: {error:#}");
    }
    let mut stream = Stream::new(arguments.output);
    let mut keeper = Keeper::new(&datapath, changes, &mut stream);
    let (stop, stopped) = watch::channel(());
    let decisions = if settings.log_decisions == LogDecisions::Off {
        None
    } else {
        Some(log_decisions(&mut datapath, stopped.clone())?)
    };
    let datapath = Arc::new(Mutex::new(datapath));
    let one_sided = Arc::new(Mutex::new(OneSided::default()));
    let server = match listener {
        Some(listener) => {
            info!("metrics at http://{}/metrics", listener.local_addr()?);
            let one_sided = Arc::clone(&one_sided);
            let metrics = Metrics::new(Arc::clone(&datapath), one_sided);
            Some(tokio::spawn(server::serve(listener, metrics, stopped)))
        }
        None => None,
    };

    service.ready(&lock(&datapath));
    let mut ticks = interval_at(Instant::now() + arguments.interval, arguments.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let signal = loop {
        tokio::select! {
            _ = ticks.tick() => print(&mut stream, &datapath),
            _ = looks.tick() => {
                look(&mut stream, &datapath, &one_sided);
                service.report(&lock(&datapath));
            }
            () = keeper.due() => {
                privilege::raised(|| keeper.look(&mut lock(&datapath), &mut stream));
            }
            () = service.due() => service.alive(),
            signal = signals.next() => break signal,
        }
    };
    info!("{signal}: detaching");
    service.stopping();
    print(&mut stream, &datapath);
    let detached = privilege::raised(|| lock(&datapath).detach());
    stream.detached();
    drop(stop);
    if let Some(decisions) = decisions {
        decisions.await?;
    }
    if let Some(server) = server
        && let Err(error) = server.await?
    {
        warn!("metrics: {error}");
    }
    Ok(detached?)
}

fn bind(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot serve metrics at {address}; --metrics-addr takes another address, or off")
    })?;
    listener.set_nonblocking(true)?;
    Ok(tokio::net::TcpListener::from_std(listener)?)
}

/// Attaches to an interface, or to none if one that is not there is to be waited for.
fn attach(datapath: &mut Datapath, interface: &str, wait: bool) -> Result<(), DatapathError> {
    match datapath.attach(interface) {
        Err(DatapathError::NoInterface(_)) if wait => datapath.expect(interface),
        attached => attached.map(drop),
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Looks for interfaces of which one direction is seen.
fn look(stream: &mut Stream, datapath: &Mutex<Datapath>, one_sided: &Mutex<OneSided>) {
    let counters = match lock(datapath).counters() {
        Ok(counters) => counters,
        Err(error) => return warn!("{error}"),
    };
    for suspicion in lock(one_sided).look(std::time::Instant::now(), &counters) {
        warn!("{suspicion}");
        stream.one_sided(&suspicion);
    }
}

fn print(stream: &mut Stream, datapath: &Mutex<Datapath>) {
    match lock(datapath).counters() {
        Ok(counters) => stream.counters(&counters),
        Err(error) => warn!("{error}"),
    }
}
