//! How wide the columns of events are: what happened is always shown, and of addresses as much as
//! there is room for beside it.

use std::net::{IpAddr, SocketAddr};

use ratatui::{
    layout::Constraint,
    text::Line,
    widgets::{Cell, Row},
};

use super::{super::model::Model, clock, fit, shorten};
use crate::report::Event;

/// An IPv4 address with its port.
const ADDRESS: usize = 21;
/// The least that still tells of an address.
const LEAST: usize = 16;
/// From here on times have milliseconds.
const PRECISE: usize = 80;

/// Widths, without the space between columns.
pub(super) struct EventColumns {
    time: usize,
    client: usize,
    /// None where there is no room for it.
    server: Option<usize>,
    iface: usize,
    what: usize,
}

impl EventColumns {
    /// For the events that are known, so that columns stand when they are scrolled.
    pub(super) fn of(model: &Model, width: usize) -> Self {
        let widest = |of: fn(&Event) -> String| {
            let widths = model.events.iter().map(|event| of(event).chars().count());
            widths.max().unwrap_or(0)
        };
        let client = widest(client).max(LEAST);
        let server = widest(server).max(LEAST);
        let iface = widest(|event| event.iface.clone()).clamp(5, 8);
        let time = if width < PRECISE { 9 } else { 13 };
        let what = widest(what);
        // Both addresses, and the spaces around them, if all of `what` is there.
        let room = width.saturating_sub(time + iface + what + 4);
        if client + server <= room {
            return Self {
                time,
                client,
                server: Some(server),
                iface,
                what: width.saturating_sub(time + client + server + iface + 4),
            };
        }
        if 2 * LEAST <= room {
            // What one does not need is the other's.
            let half = room / 2;
            let client = client.min(half.max(room.saturating_sub(server)));
            return Self {
                time,
                client,
                server: Some(server.min(room - client)),
                iface,
                what,
            };
        }
        let client = client.min((room + 1).max(ADDRESS));
        Self {
            time,
            client,
            server: None,
            iface,
            what: width.saturating_sub(time + client + iface + 3),
        }
    }

    pub(super) fn constraints(&self) -> Vec<Constraint> {
        let length = |width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX));
        let server = self.server.map(length).into_iter();
        [length(self.time), length(self.client)]
            .into_iter()
            .chain(server)
            .chain([length(self.iface), Constraint::Fill(1)])
            .collect()
    }

    pub(super) fn event<'a>(&self, event: &Event) -> Row<'a> {
        self.row([
            format!(" {}", clock(event.time, self.time - 1)),
            client(event),
            server(event),
            event.iface.clone(),
            what(event),
        ])
    }

    /// Of time, client, server, interface, and what happened.
    pub(super) fn row<'a>(&self, [time, client, server, iface, what]: [String; 5]) -> Row<'a> {
        let server = self.server.map(|width| shorten(&server, width));
        let cells = [Some(time), Some(shorten(&client, self.client)), server];
        let cells = cells.into_iter().flatten();
        let cells = cells.chain([fit(&iface, self.iface), fit(&what, self.what)]);
        Row::new(cells.map(|text| Cell::from(Line::raw(text))))
    }
}

fn client(event: &Event) -> String {
    endpoint(event.client, event.client_port)
}

fn server(event: &Event) -> String {
    endpoint(event.server, event.server_port)
}

fn what(event: &Event) -> String {
    event.reason.replace('_', " ")
}

fn endpoint(address: IpAddr, port: u16) -> String {
    SocketAddr::from((address, port)).to_string()
}
