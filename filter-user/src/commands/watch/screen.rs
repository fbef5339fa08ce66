//! The terminal: set up, kept up to date, and given back as it was.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use log::LevelFilter;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep,
};

use super::{
    feed::{Feed, Update},
    model::Model,
    view::{Section, View},
};

/// Between two pictures, at the most.
const LOOK: Duration = Duration::from_secs(1);

/// Shows what `feed` gives until a key or a signal ends it.
pub(super) async fn show(feed: Feed) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    // Lines of the log would be written across the screen.
    log::set_max_level(LevelFilter::Off);
    let mut screen = Screen::new(feed.name().to_string());
    // From here on also a panic gives it back.
    let terminal = ratatui::try_init().context("cannot use the terminal")?;
    let shown = screen.run(terminal, feed, &mut signals).await;
    let restored = ratatui::try_restore();
    shown?;
    // What has gone away needs nothing back.
    restored.or_else(|error| match error.raw_os_error() {
        Some(nix::libc::EIO) => Ok(()),
        _ => Err(error).context("cannot give the terminal back as it was"),
    })
}

struct Screen {
    live: Model,
    /// What is shown while it is paused.
    paused: Option<Model>,
    view: View,
}

impl Screen {
    fn new(name: String) -> Self {
        Self {
            live: Model::default(),
            paused: None,
            view: View::new(name),
        }
    }

    async fn run(
        &mut self,
        mut terminal: DefaultTerminal,
        feed: Feed,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        let interval = feed.interval();
        let mut updates = feed.start()?;
        let mut inputs = inputs()?;
        loop {
            let is_paused = self.paused.is_some();
            let model = self.paused.as_ref().unwrap_or(&self.live);
            self.view.silence = self.live.silence(Instant::now(), interval);
            terminal
                .draw(|frame| self.view.draw(frame, model, is_paused))
                .context("cannot write to the terminal")?;
            tokio::select! {
                () = signals.any() => return Ok(()),
                // An instance that does not answer makes no update.
                () = sleep(LOOK) => {}
                input = inputs.recv() => match input {
                    Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                        if self.ends(key) {
                            return Ok(());
                        }
                        if is_redraw(key) {
                            terminal.clear().context("cannot write to the terminal")?;
                        }
                    }
                    // A new size, among others: drawn anew.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error).context("cannot read the keyboard"),
                    None => return Ok(()),
                },
                Some(update) = updates.recv() => match update {
                    Update::Snapshot(snapshot) => self.live.take(snapshot, Instant::now()),
                    Update::Gone(why) => self.live.lose(why),
                },
            }
        }
    }

    /// Does what a key asks for; tells whether that is to end.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a terminal has many keys, and most do nothing here"
    )]
    fn ends(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if self.view.is_helping && !control {
            self.view.is_helping = false;
            return false;
        }
        match key.code {
            KeyCode::Char('c' | 'd') if control => return true,
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('p' | ' ') => {
                self.paused = match self.paused {
                    Some(_) => None,
                    None => Some(self.live.clone()),
                };
            }
            KeyCode::Char('r') => self.live.forget_rates(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.view.is_helping = true,
            KeyCode::Tab => self.view.focus = self.view.focus.next(),
            KeyCode::BackTab => self.view.focus = self.view.focus.next().next(),
            KeyCode::Up | KeyCode::Char('k') => self.view.scroll(-1),
            KeyCode::Down | KeyCode::Char('j') => self.view.scroll(1),
            KeyCode::PageUp => self.view.scroll(-10),
            KeyCode::PageDown => self.view.scroll(10),
            KeyCode::Home => self.view.scroll(isize::MIN),
            KeyCode::End => self.view.scroll(isize::MAX),
            _ => {}
        }
        false
    }
}

/// Ctrl-L, for a screen across which something else has written.
fn is_redraw(key: KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('l')
}

// Three sections: back is forth twice.
const _: () = assert!(Section::ALL.len() == 3);

/// What the terminal sends, from a thread that waits for it.
fn inputs() -> anyhow::Result<mpsc::Receiver<io::Result<Event>>> {
    let (inputs, receiver) = mpsc::channel(16);
    let read = move || {
        loop {
            let input = event::read();
            let is_over = input.is_err();
            if inputs.blocking_send(input).is_err() || is_over {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("inputs".to_owned())
        .spawn(read)
        .context("cannot start a thread")?;
    Ok(receiver)
}

/// Those that would end the process and leave the terminal as it is.
struct Signals([tokio::signal::unix::Signal; 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
            signal(SignalKind::terminate())?,
        ]))
    }

    async fn any(&mut self) {
        let [hangup, interrupt, quit, terminate] = &mut self.0;
        tokio::select! {
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
