//! `lastack watch`: what an instance does, live, on a terminal.

mod feed;
mod model;
mod screen;
mod view;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;

use self::feed::{Feed, Update};
use super::{asking::Asking, span};
use crate::{runtime, stream::Output};

/// Shows live what an instance does: rates, interfaces, clients with the fault, last events
///
/// The keys are shown on the screen; q ends it. With --output json it needs no terminal, and
/// prints one object a line, once each interval.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How often it looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let asking = &arguments.asking;
    // Whoever pipes it somewhere is told before anything is asked.
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if asking.output == Output::Text && !is_terminal {
        bail!(
            "watch needs a terminal; `lastack watch --output json` and `lastack status` need none"
        );
    }
    let feed = Feed::new(asking.choose()?, &asking.pin_dir, arguments.interval);
    let runtime = runtime::of_this_thread().context("cannot start")?;
    match asking.output {
        Output::Text => runtime.block_on(screen::show(feed)),
        Output::Json => runtime.block_on(print(feed, asking)),
    }
}

async fn print(feed: Feed, asking: &Asking) -> anyhow::Result<()> {
    let mut updates = feed.start()?;
    while let Some(update) = updates.recv().await {
        match update {
            Update::Snapshot(snapshot) => {
                if !asking.print(&*snapshot, |_| String::new())? {
                    return Ok(());
                }
            }
            Update::Gone(why) => bail!(why),
        }
    }
    Ok(())
}

/// A time that leaves the instance, and who looks, time for something else.
fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_hours(1);
    let interval = span(text)?;
    if interval < SHORTEST || interval > LONGEST {
        return Err("must be between 100ms and 1h".to_owned());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_neither_too_short_nor_too_long() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["99ms", "2h", "1"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
