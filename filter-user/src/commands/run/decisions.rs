//! What the programs log.

use anyhow::Context as _;
use aya_log::EbpfLogger;
use tokio::{io::unix::AsyncFd, sync::watch, task::JoinHandle};

use crate::datapath::Datapath;

/// Takes what the programs log and hands it to our log, until the sender of `stopped` goes
/// away.
pub(super) fn log_decisions(
    datapath: &mut Datapath,
    mut stopped: watch::Receiver<()>,
) -> anyhow::Result<JoinHandle<()>> {
    let logger = EbpfLogger::init(datapath.object()).context("cannot read the programs' log")?;
    // SAFETY: the logger owns its descriptor and gives the same one for as long as it lives.
    let logger = unsafe { AsyncFd::register(logger) };
    let mut logger = logger.context("cannot wait for the programs' log")?;
    Ok(tokio::spawn(async move {
        loop {
            tokio::select! {
                Ok(mut ready) = logger.readable_mut() => {
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
                _ = stopped.changed() => break logger.get_mut().flush(),
            }
        }
    }))
}
