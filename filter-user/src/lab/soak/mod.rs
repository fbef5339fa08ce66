//! Everything at once, for as long as one likes: streams, many short connections, correct
//! half-closing clients and the client with the fault, through two gateways, of which one is
//! served.
//!
//! Needs nginx, iperf3, nft and ethtool.

mod process;
mod site;
mod traffic;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;

pub use self::{process::Watched, traffic::Traffic};
use self::{
    process::{Lastack, Watch},
    site::Site,
};

/// How long what is still under way in the end may take.
const ON_ITS_WAY: Duration = Duration::from_secs(2);
/// What is let pass before memory and descriptors are compared with what was.
const WARM_UP: Duration = Duration::from_mins(1);

/// A soak.
#[derive(Clone, Copy, Debug)]
pub struct Soak<'a> {
    /// The binary.
    pub lastack: &'a Path,
    /// How long, but for the beginning and the end.
    pub duration: Duration,
    /// How long the streams go through one gateway before the other has its turn.
    pub block: Duration,
}

/// Bits of the streams a second, both directions together, through the one gateway and then
/// through the other, or the other way round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pair {
    /// With the filter.
    pub with: f64,
    /// Without it.
    pub without: f64,
}

/// What it gave.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    /// In seconds.
    pub took: u64,
    /// In the order of time.
    pub pairs: Vec<Pair>,
    /// Through the gateway with the filter.
    pub with: Traffic,
    /// Through the other.
    pub without: Traffic,
    /// Of lastack.
    pub watched: Watched,
    /// TCP segments that the gateway with the filter has forwarded and that did not reach the
    /// server, by the kernel's count on both sides.
    pub kept: u64,
    /// Frames of the server that XDP has dropped, by the driver's count.
    pub dropped_by_xdp: u64,
    /// What is not as it has to be.
    pub broken: Vec<String>,
}

impl Soak<'_> {
    /// Runs it in namespaces of its own; as root.
    ///
    /// # Errors
    ///
    /// Where something cannot be set up, or ends early. What is not as it has to be is in the
    /// results.
    pub fn run(&self) -> Result<Results> {
        let start = Instant::now();
        let with = Site::new()?;
        let without = Site::new()?;
        let lastack = Lastack::start(self.lastack, &with.topology.gateway)?;
        let warm_up = WARM_UP.min(self.duration / 4);
        let mut results = Results::default();
        let watch = Watch::new(&lastack, warm_up);
        let (traffic, streamed, watched) = thread::scope(|scope| {
            let watching = scope.spawn(|| watch.run());
            let traffics = [&with, &without].map(Site::begin);
            let streamed = self.stream([&with, &without], &mut results);
            let traffic = traffics.map(|traffic| traffic.and_then(site::Running::finish));
            watch.stop();
            (traffic, streamed, watching.join())
        });
        streamed?;
        let [used, unused] = traffic;
        (results.with, results.without) = (used?, unused?);
        results.watched = watched.map_err(|_| anyhow::anyhow!("the watch panicked"))??;
        thread::sleep(ON_ITS_WAY);
        results.watched.settle(&lastack)?;
        results.kept = with.kept()?;
        results.dropped_by_xdp = with.dropped_by_xdp()?;
        lastack.stop()?;
        results.took = start.elapsed().as_secs();
        results.judge();
        Ok(results)
    }

    fn stream(&self, [with, without]: [&Site; 2], results: &mut Results) -> Result<()> {
        let start = Instant::now();
        while results.pairs.is_empty() || start.elapsed() + self.block * 2 <= self.duration {
            let number = results.pairs.len();
            let pair = if number.is_multiple_of(2) {
                let with = with.stream(number, self.block)?;
                let without = without.stream(number, self.block)?;
                Pair { with, without }
            } else {
                let without = without.stream(number, self.block)?;
                let with = with.stream(number, self.block)?;
                Pair { with, without }
            };
            results.pairs.push(pair);
        }
        Ok(())
    }
}

impl Results {
    fn judge(&mut self) {
        let Self {
            with,
            without,
            watched,
            kept,
            dropped_by_xdp,
            ..
        } = &*self;
        let sent = with.spurious_acks;
        let claims = [
            (
                // A busy machine's server repeats a FIN, which draws ACKs from anybody.
                (sent..=sent + watched.redundant).contains(&watched.dropped),
                format!(
                    "{} ACKs were dropped, {} of them redundant, and {sent} spurious ones were sent",
                    watched.dropped, watched.redundant
                ),
            ),
            (
                *kept == watched.dropped,
                format!(
                    "{kept} segments did not come out of the gateway, and {} ACKs were dropped",
                    watched.dropped
                ),
            ),
            (
                *dropped_by_xdp == 0,
                format!("XDP dropped {dropped_by_xdp} of the server's frames"),
            ),
            (
                with.resets == 0,
                format!("{} clients with the fault were reset", with.resets),
            ),
            (
                without.resets > 0 && without.resets == without.faulty,
                format!(
                    "of {} clients with the fault {} were reset without the filter: the fault is \
                     not there",
                    without.faulty, without.resets
                ),
            ),
        ];
        let claims = claims.into_iter().filter(|(holds, _)| !holds);
        let claims = claims.map(|(_, broken)| broken);
        let failures = [("with", with), ("without", without)];
        let failures = failures.into_iter().flat_map(|(filter, traffic)| {
            let failures = traffic.failures.iter();
            failures.map(move |failure| format!("{filter} the filter: {failure}"))
        });
        let broken = claims.chain(failures).chain(watched.broken.clone());
        self.broken = broken.collect();
    }
}
