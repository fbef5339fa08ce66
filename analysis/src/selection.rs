//! Which packets of a capture belong to findings, for whoever reads it a second time.

use std::collections::HashMap;

use filter_common::{Direction, FlowKey, segment::words, wire};

use crate::{
    capture::{Packet, link},
    findings::Span,
};

/// The packets of some connections.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// First and last frames, by the key of either direction; in order, and none within another, as a
    /// connection begins when the one before it with these ports is over.
    spans: HashMap<FlowKey, Vec<(u64, u64)>>,
    last: u64,
}

impl Selection {
    /// Those of these spans.
    #[must_use]
    pub fn new<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Self {
        let mut selection = Self::default();
        for span in spans {
            let ends = [span.endpoints.client, span.endpoints.server];
            for [source, destination] in [ends, [ends[1], ends[0]]] {
                let [a, b] = source.port().to_be_bytes();
                let [c, d] = destination.port().to_be_bytes();
                let key = FlowKey {
                    client: words(source.ip()),
                    server: words(destination.ip()),
                    ports: u32::from_ne_bytes([a, b, c, d]),
                };
                let frames = selection.spans.entry(key).or_default();
                frames.push((span.first, span.last));
            }
            selection.last = selection.last.max(span.last);
        }
        selection
    }

    /// Whether a packet is one of them.
    #[must_use]
    pub fn has(&self, packet: &Packet<'_>) -> bool {
        if self.is_past(packet.number) {
            return false;
        }
        let key = link::view(packet).ok().and_then(|(view, link)| {
            let located = wire::locate(&view, link, Direction::FromClient, 0).ok()?;
            wire::key(&view, &located, Direction::FromClient).ok()
        });
        let spans = key.and_then(|key| self.spans.get(&key));
        spans.is_some_and(|spans| {
            let begun = spans.partition_point(|(first, _)| *first <= packet.number);
            let latest = spans[..begun].last();
            latest.is_some_and(|(_, last)| packet.number <= *last)
        })
    }

    /// Whether none of them comes with this number or later.
    #[must_use]
    pub const fn is_past(&self, number: u64) -> bool {
        number > self.last
    }
}
