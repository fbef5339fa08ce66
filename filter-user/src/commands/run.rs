//! `lastack run`: attach, stream counters until a signal, detach.

mod answering;
mod changes;
mod decisions;
mod events;
mod keeper;
mod options;
mod reload;
mod signals;
mod told;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use log::{info, warn};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, interval_at},
};

use self::{
    answering::Answering, keeper::Keeper, options::MetricsAddress, reload::Asked, signals::Signals,
    told::Told,
};
pub use self::{
    changes::{OptionChange, OptionChanges, OptionValue},
    options::Arguments,
};
use crate::{
    control,
    datapath::{Changes, Datapath, DatapathError, Pins},
    metrics::Metrics,
    one_sided::OneSided,
    privilege, server,
    service::Service,
    settings::Settings,
    stream::Stream,
};

/// Between two looks for closes of which one direction is seen.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(serve(arguments));
    // A full table takes a while to count, and nobody wants to know any more.
    runtime.shutdown_background();
    ended
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    // Before anything is attached: a signal from now on ends in good order.
    let reloads = arguments.config().is_some();
    let mut signals = Signals::new(reloads).context("cannot listen for signals")?;
    let mut service = Service::from_environment();
    let settings = arguments.settings();
    // Before anything is attached: the name is the lock.
    let questions = control::server::claim(&arguments.instance).await?;
    let listener = match arguments.metrics_addr {
        MetricsAddress::Off => None,
        MetricsAddress::At(address) => Some(bind(address)?),
    };
    // Before it is looked which interfaces there are.
    let changes = Changes::listen(&settings).context("cannot watch the interfaces")?;
    let mut datapath = load(arguments, &settings)?;
    if let Err(error) = attach_all(&mut datapath, &arguments.iface, arguments.wait) {
        datapath.abandon();
        return Err(error.into());
    }
    // Before anything starts a thread.
    if let Err(error) = privilege::give_up(|| datapath.unserved_counters().is_ok()) {
        warn!("capabilities stay as they are: {error:#}");
    }
    let mut stream = Stream::new(arguments.output);
    let mut keeper = Keeper::new(&datapath, changes, &mut stream);
    let (stop, stopped) = watch::channel(());
    let datapath = Arc::new(Mutex::new(datapath));
    let (watchers, mut events) = broadcast::channel(events::BACKLOG);
    let told = Told::by(&datapath, &watchers);
    let mut told = told.inspect_err(|_| lock(&datapath).abandon())?;
    let one_sided = Arc::new(Mutex::new(OneSided::default()));
    let server = match listener {
        Some(listener) => {
            if let Ok(address) = listener.local_addr() {
                info!("metrics at http://{address}/metrics");
            }
            let one_sided = Arc::clone(&one_sided);
            let metrics = Metrics::new(Arc::clone(&datapath), one_sided);
            Some(tokio::spawn(server::serve(listener, metrics, stopped)))
        }
        None => None,
    };

    let (answering, mut removals) = Answering::new(arguments, &datapath, &watchers);
    let control = questions.map(|questions| {
        let stopped = stop.subscribe();
        tokio::spawn(control::server::serve(questions, answering, stopped))
    });

    let mut asked = Asked::at_start(arguments);
    service.ready(&lock(&datapath));
    let mut ticks = every(arguments.interval);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            _ = ticks.tick() => print(&mut stream, &datapath),
            _ = looks.tick() => {
                look(&mut stream, &datapath, &one_sided);
                service.report(&lock(&datapath));
            }
            event = events.recv() => events::print(&mut stream, event, &mut events),
            () = keeper.due() => {
                privilege::raised(|| keeper.look(&mut lock(&datapath), &mut stream));
            }
            () = service.due() => service.alive(),
            signal = signals.next() => match signal {
                signals::Asked::End(signal) => break (signal, None),
                signals::Asked::Reload => {
                    service.reloading();
                    let has_changed =
                        privilege::raised(|| asked.reload(&mut lock(&datapath), &mut stream));
                    if has_changed {
                        // First the new ones, so that their buffers are not full before they are read.
                        let now = Told::by(&datapath, &watchers);
                        let now = now.unwrap_or_else(|error| {
                            warn!("{error:#}; going on without it");
                            Told::default()
                        });
                        std::mem::replace(&mut told, now).end().await?;
                        ticks = every(asked.now().interval);
                    }
                    service.ready(&lock(&datapath));
                }
            },
            Some(removal) = removals.recv() => break ("lastack detach", Some(removal)),
        }
    };
    let (reason, removal) = ended;
    service.stopping();
    print(&mut stream, &datapath);
    let ended = privilege::raised(|| end(&mut lock(&datapath), reason, removal.is_some()));
    told.end().await?;
    events::print_rest(&mut stream, &mut events);
    stream.ended(arguments.pin && removal.is_none());
    // Those that ask from now on are not left waiting.
    drop(removals);
    if let Some(removal) = removal {
        removal.done(&ended);
    }
    drop(stop);
    if let Some(control) = control {
        control.await?;
    }
    if let Some(server) = server {
        server.await?;
    }
    Ok(ended?)
}

/// Loads the programs, pinned if that was asked for.
fn load(arguments: &Arguments, settings: &Settings) -> Result<Datapath, DatapathError> {
    let pins = Pins::new(&arguments.pin_dir, &arguments.instance);
    if arguments.pin {
        Datapath::load_pinned(settings, pins)
    } else {
        Datapath::refuse_left_behind(&pins)?;
        Datapath::load(settings)
    }
}

fn every(time: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + time, time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

fn bind(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot serve metrics at {address}; --metrics-addr takes another address, or off")
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

/// Detaches, or leaves what is pinned at work unless it was asked to detach.
fn end(
    datapath: &mut Datapath,
    reason: &str,
    was_asked_to_detach: bool,
) -> Result<(), DatapathError> {
    match datapath.pins() {
        Some(pins) if !was_asked_to_detach => info!(
            "{reason}: leaving the programs at work, pinned in {}; `lastack detach` takes them off",
            pins.directory().display()
        ),
        _ => info!("{reason}: detaching"),
    }
    if was_asked_to_detach {
        datapath.detach()
    } else {
        datapath.leave()
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
