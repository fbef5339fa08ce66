//! `lastack run`: attach, stream counters until a signal, detach.

mod answering;
mod changes;
mod decisions;
mod events;
mod keeper;
mod options;
mod reload;
mod serving;
mod signals;
mod start;
mod told;

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use log::warn;
use tokio::sync::{broadcast, watch};

pub(in crate::commands) use self::options::CloserName;
use self::{
    answering::Answering, keeper::Keeper, reload::Asked, serving::Serving, signals::Signals,
    told::Told,
};
pub use self::{
    changes::{OptionChange, OptionChanges, OptionValue},
    options::Arguments,
};
use crate::{
    commands::FileOptions as _, control, datapath::Changes, metrics::Metrics, one_sided::OneSided,
    privilege, runtime, server, service::Service, stream::Stream,
};

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = runtime::of_this_thread().context("cannot start")?;
    let ended = runtime.block_on(serve(arguments));
    // A full table takes a while to count, and nobody wants to know any more.
    runtime.shutdown_background();
    ended
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    // Before anything is attached: a signal from now on ends in good order.
    let reloads = arguments.config().is_some();
    let mut signals = Signals::new(reloads).context("cannot listen for signals")?;
    let settings = arguments.settings();
    // Before anything is attached: the name is the lock.
    let questions = control::server::claim(&arguments.identity.instance).await?;
    let listener = start::listen(arguments)?;
    // Before it is looked which interfaces there are.
    let changes = Changes::listen(&settings).context("cannot watch the interfaces")?;
    let datapath = start::attached(arguments, &settings, questions.is_some())?;
    // Later it may not see whose programs there are.
    let warnings = start::warnings(&datapath);
    // Before anything starts a thread.
    if let Err(error) = privilege::give_up(|| datapath.unserved_counters().is_ok()) {
        warn!("capabilities stay as they are: {error:#}");
    }
    let mut stream = Stream::new(arguments.output);
    let keeper = Keeper::new(&datapath, changes, &mut stream);
    start::tell_of_takeover(&datapath, &mut stream);
    for (interface, message) in warnings {
        warn!("{interface}: {message}");
        stream.warning(&interface, &message);
    }
    let datapath = Arc::new(Mutex::new(datapath));
    let (watchers, events) = broadcast::channel(events::BACKLOG);
    let told = Told::by(&datapath, &watchers).inspect_err(|_| {
        privilege::raised(|| lock(&datapath).abandon());
    })?;
    let one_sided = Arc::new(Mutex::new(OneSided::default()));
    let (stop, stopped) = watch::channel(());
    let server = listener.map(|listener| {
        if let Ok(address) = listener.local_addr() {
            start::tell_of_metrics(address);
        }
        let metrics = Metrics::new(Arc::clone(&datapath), Arc::clone(&one_sided));
        tokio::spawn(server::serve(listener, metrics, stopped))
    });
    let (answering, removals) = Answering::new(arguments, &datapath, &watchers);
    let control = questions.map(|questions| {
        let stopped = stop.subscribe();
        tokio::spawn(control::server::serve(questions, answering, stopped))
    });
    let serving = Serving {
        asked: Asked::at_start(arguments),
        datapath,
        one_sided,
        keeper,
        stream,
        service: Service::from_environment(),
        told,
        watchers,
        events,
    };
    let ended = serving.until_end(&mut signals, removals).await;
    drop(stop);
    if let Some(control) = control {
        control.await?;
    }
    if let Some(server) = server {
        server.await?;
    }
    ended
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
