//! Keeps every named interface served: attaches to those that come, lets go of those that went.

use std::time::Duration;

use log::{info, warn};
use tokio::time::{Instant, sleep_until};

use crate::{
    datapath::{Attachment, Changes, Condition, Datapath, DatapathError, Interface},
    stream::Stream,
};

/// Least time between two looks, so that a storm of changes costs little.
const PAUSE: Duration = Duration::from_millis(100);
/// Most time between two looks: what nobody is told of, such as a link that was detached by
/// force, is found then.
const ROUND: Duration = Duration::from_secs(10);
/// How long after a failed attempt the next is made; doubled each time. An attempt can make a
/// driver set its queues up anew.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(64);

/// What is done about interfaces that come and go.
pub(super) struct Keeper {
    interfaces: Vec<Kept>,
    changes: Changes,
    looked: Instant,
}

struct Kept {
    name: String,
    /// Where it is served: as it was last.
    condition: Option<Condition>,
    failure: Option<Failure>,
    /// Why it cannot be told whether it still is served.
    doubt: Option<String>,
}

/// An attempt to attach that went wrong.
struct Failure {
    /// To what.
    sight: Option<Interface>,
    error: String,
    delay: Duration,
    again: Instant,
}

impl Keeper {
    /// Keeps what `datapath` is to serve, and says what it serves already.
    pub(super) fn new(datapath: &Datapath, changes: Changes, stream: &mut Stream) -> Self {
        let attachments = datapath.attachments();
        for attachment in &attachments {
            announce(attachment, stream);
        }
        let kept = |name: String| {
            let attachment = attachments.iter().find(|there| there.interface == name);
            if attachment.is_none() {
                info!("{name}: not there yet; attaching when it comes");
                stream.waiting(&name);
            }
            Kept {
                name,
                condition: attachment.map(|attachment| attachment.condition),
                failure: None,
                doubt: None,
            }
        };
        let names = datapath.presences().into_iter();
        let interfaces = names.map(|presence| presence.interface).map(kept).collect();
        Self {
            interfaces,
            changes,
            looked: Instant::now(),
        }
    }

    /// Waits until it is time to [`look`](Self::look).
    pub(super) async fn due(&self) {
        let retries = self
            .interfaces
            .iter()
            .filter_map(|kept| Some(kept.failure.as_ref()?.again));
        let latest = retries.fold(self.looked + ROUND, Instant::min);
        tokio::select! {
            () = self.changes.wait() => sleep_until(self.looked + PAUSE).await,
            () = sleep_until(latest) => {}
        }
    }

    /// Brings what is served into line with the interfaces that there are.
    pub(super) fn look(&mut self, datapath: &mut Datapath, stream: &mut Stream) {
        self.changes.clear();
        // Two may have changed names, so that all are let go of before any is attached to.
        for kept in &mut self.interfaces {
            if datapath.serves(&kept.name) {
                kept.check(datapath, stream);
            }
        }
        for kept in &mut self.interfaces {
            if !datapath.serves(&kept.name) {
                kept.attach(datapath, stream);
            }
        }
        self.looked = Instant::now();
    }
}

impl Kept {
    fn check(&mut self, datapath: &mut Datapath, stream: &mut Stream) {
        let name = &self.name;
        match datapath.check(name) {
            Ok(Ok(condition)) => {
                if let Some(before) = self.condition.replace(condition)
                    && before != condition
                {
                    report(name, before, condition);
                    stream.link(name, condition);
                }
            }
            Ok(Err(loss)) => {
                warn!("{name}: {loss}");
                stream.lost(name, &loss);
                self.condition = None;
            }
            Err(error) => {
                let error = error.to_string();
                if self.doubt.as_ref() != Some(&error) {
                    warn!("{name}: {error}");
                }
                self.doubt = Some(error);
                return;
            }
        }
        self.doubt = None;
    }

    fn attach(&mut self, datapath: &mut Datapath, stream: &mut Stream) {
        let sight = Datapath::sight(&self.name);
        let failed = self.failure.take();
        if let Some(failure) = &failed
            && failure.stands(sight.as_ref())
        {
            self.failure = failed;
            return;
        }
        match datapath.attach(&self.name) {
            Ok(attachment) => {
                announce(&attachment, stream);
                self.condition = Some(attachment.condition);
            }
            Err(DatapathError::NoInterface(_)) => {}
            Err(error) => {
                let error = error.to_string();
                if failed.as_ref().is_none_or(|failed| failed.error != error) {
                    warn!("{error}; trying again");
                    stream.failed(&self.name, &error);
                }
                self.failure = Some(Failure::new(sight, error, failed.as_ref()));
            }
        }
    }
}

impl Failure {
    fn new(sight: Option<Interface>, error: String, before: Option<&Self>) -> Self {
        let delay = match before {
            Some(before) if before.sight == sight => (before.delay * 2).min(LONGEST_DELAY),
            _ => FIRST_DELAY,
        };
        Self {
            sight,
            error,
            delay,
            again: Instant::now() + delay,
        }
    }

    /// Whether another attempt would be too early: nothing has changed, and little time is over.
    fn stands(&self, sight: Option<&Interface>) -> bool {
        self.sight.as_ref() == sight && Instant::now() < self.again
    }
}

fn announce(attachment: &Attachment, stream: &mut Stream) {
    let hooks: Vec<_> = attachment
        .attached
        .iter()
        .map(|attached| attached.hook.as_str())
        .collect();
    let name = &attachment.interface;
    info!("{name}: attached to {}", hooks.join(" and "));
    if let Some(note) = &attachment.note {
        info!("{name}: no native XDP: {note}");
    }
    stream.attached(attachment);
}

fn report(name: &str, before: Condition, now: Condition) {
    if now.state != before.state {
        info!("{name}: {}", now.state);
    }
    if now.mtu != before.mtu {
        info!(
            "{name}: its MTU is {} octets, after {}",
            now.mtu, before.mtu
        );
    }
}
