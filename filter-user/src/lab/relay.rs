//! A link between two network cards that is impaired, and remembers each segment.

use std::{
    fs::File,
    io::{self, PipeWriter, Read as _, Write as _, pipe},
    os::fd::AsFd,
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::{Context as _, anyhow};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use super::{
    frame::Headers,
    impairment::{Channel, Impairment},
};

/// An Ethernet frame without its checksum.
const MTU: usize = 1514;
/// How many frames are taken from one card before the other has its turn.
const BATCH: usize = 64;

/// Which way a frame travels on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// The gateway.
    Gateway,
    /// Its neighbour.
    Neighbour,
}

/// Which end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it is sent; it may get lost from there on.
    Sender,
    /// Where it arrives.
    Receiver,
}

/// A segment at one end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Just after it was sent, or just before it was handed over.
    pub at: Instant,
    /// When it, or what it is a copy of, was sent into this link.
    pub sent: Instant,
    /// Its way.
    pub towards: Towards,
    /// Where it was seen.
    pub end: End,
    /// What was seen.
    pub headers: Headers,
}

/// A thread that carries frames between two cards. Dropping it cuts the link.
pub struct Relay {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<io::Result<Vec<Sighting>>>>,
}

impl Relay {
    /// Starts it. Both cards are nonblocking and hand over a frame with each call.
    pub fn start(gateway: File, neighbour: File, impairment: Impairment) -> anyhow::Result<Self> {
        let (stopped, stop) = pipe().context("could not make a pipe")?;
        let mut link = Link {
            cards: [neighbour, gateway],
            channels: [Channel::new(impairment), Channel::new(impairment)],
            sightings: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || {
                while !link.step(&stopped)? {}
                Ok(link.sightings)
            })
            .context("could not start a thread")?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Cuts the link, and gives every segment that was seen at either end, in the order of time.
    pub fn cut(mut self) -> anyhow::Result<Vec<Sighting>> {
        self.stop = None;
        let thread = self.thread.take().context("the link was cut before")?;
        thread
            .join()
            .map_err(|_| anyhow!("the link's thread panicked"))?
            .context("the link failed")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Nobody asks what it saw.
            drop(thread.join());
        }
    }
}

/// The frames from `cards[i]` travel on `channels[i]` to the other card.
struct Link {
    cards: [File; 2],
    channels: [Channel; 2],
    sightings: Vec<Sighting>,
}

/// From the neighbour's card, and from the gateway's.
const TOWARDS: [Towards; 2] = [Towards::Gateway, Towards::Neighbour];

impl Link {
    /// Waits for something to do and does it. Whether it is over.
    fn step(&mut self, stopped: &impl AsFd) -> io::Result<bool> {
        let next = self.channels.iter().filter_map(Channel::next).min();
        let timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
        let [neighbour, gateway] = &self.cards;
        let mut ready = [
            PollFd::new(neighbour.as_fd(), PollFlags::POLLIN),
            PollFd::new(gateway.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut ready, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if ready[2].any() == Some(true) {
            return Ok(true);
        }
        for way in 0..TOWARDS.len() {
            if self.take(way)? {
                return Ok(true);
            }
            self.deliver(way)?;
        }
        Ok(false)
    }

    /// Whether it is over.
    fn take(&mut self, way: usize) -> io::Result<bool> {
        let mut buffer = [0; MTU];
        for _ in 0..BATCH {
            let length = match (&self.cards[way]).read(&mut buffer) {
                // Whoever had the other card is gone.
                Ok(0) => return Ok(true),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            let frame = buffer[..length].to_vec();
            self.sightings
                .extend(see(way, End::Sender, (now, now), &frame));
            self.channels[way].send(frame, now);
        }
        Ok(false)
    }

    fn deliver(&mut self, way: usize) -> io::Result<()> {
        loop {
            let now = Instant::now();
            let Some((sent, frame)) = self.channels[way].receive(now) else {
                return Ok(());
            };
            match (&self.cards[1 - way]).write(&frame) {
                Ok(_) => self
                    .sightings
                    .extend(see(way, End::Receiver, (now, sent), &frame)),
                // A full queue loses frames, as any card's.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn see(way: usize, end: End, (at, sent): (Instant, Instant), frame: &[u8]) -> Option<Sighting> {
    Some(Sighting {
        at,
        sent,
        towards: TOWARDS[way],
        end,
        headers: Headers::parse(frame)?,
    })
}
