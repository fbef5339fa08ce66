//! Findings and the clients that they are of, no more than there is room for.

use std::{collections::HashMap, net::IpAddr};

use filter_common::{Fault, Reason};

use crate::{
    capture::Time,
    closing::{At, Closing, Unsolicited},
    connections::End,
    report::{Cure, Finding, Host, Kind},
    segments::Endpoints,
};

/// Clients that are counted each.
const MOST_HOSTS: usize = 65_536;

/// The frames of one connection with findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its client and its server.
    pub endpoints: Endpoints,
    /// The first frame.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// All of a capture.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    most: usize,
    list: Vec<Finding>,
    pub(crate) spans: Vec<Span>,
    pub(crate) left_out: u64,
    hosts: HashMap<IpAddr, Host>,
    pub(crate) hosts_left_out: u64,
}

impl Findings {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Counts an ACK that nothing asked for, and keeps it if there is room.
    pub(crate) fn unsolicited(
        &mut self,
        endpoints: Endpoints,
        unsolicited: &Unsolicited,
        (closing, client): (&mut Closing, End),
        first_frame: u64,
    ) {
        let is_first = closing.is_first_finding(client);
        let is_cured = unsolicited.reason.fault().is_some();
        if let Some(host) = self.count(endpoints.client.ip(), unsolicited.kind, is_first) {
            host.cured_by_r1 += u64::from(is_cured);
        }
        if let Some(finding) = self.keep(endpoints, unsolicited, closing, first_frame) {
            closing.found(client, finding);
        }
    }

    /// Counts an ACK that nothing asked for and the reset that followed it, of a close that is not
    /// served.
    pub(crate) fn unserved(
        &mut self,
        endpoints: Endpoints,
        unsolicited: &Unsolicited,
        (closing, client): (&mut Closing, End),
        first_frame: u64,
        reset: At,
    ) {
        let is_first = closing.is_first_finding(client);
        // R2 stays out of such closes.
        let is_cured = unsolicited.reason.fault().is_some();
        if let Some(host) = self.count(endpoints.client.ip(), unsolicited.kind, is_first) {
            host.resets += 1;
            host.cured_by_either += u64::from(is_cured);
            host.not_cured += u64::from(!is_cured);
        }
        let kept = self.keep(endpoints, unsolicited, closing, first_frame);
        if let Some(finding) = kept.and_then(|place| self.list.get_mut(place)) {
            let after = reset.time.since(unsolicited.time);
            finding.reset_frame = Some(reset.frame);
            finding.reset_after_seconds = Some(after.as_secs_f64());
            if is_cured {
                finding.reason = "closer";
                finding.cure = Cure::Either;
            } else {
                finding.cure = Cure::None;
            }
        }
    }

    /// Keeps a finding, if there is room, and gives its place.
    fn keep(
        &mut self,
        endpoints: Endpoints,
        unsolicited: &Unsolicited,
        closing: &mut Closing,
        first_frame: u64,
    ) -> Option<usize> {
        if self.list.len() >= self.most {
            self.left_out += 1;
            return None;
        }
        let span = *closing.span.get_or_insert_with(|| {
            self.spans.push(Span {
                endpoints,
                first: first_frame,
                last: unsolicited.frame,
            });
            self.spans.len() - 1
        });
        let since = unsolicited.time.since(unsolicited.last_ack);
        let is_cured = unsolicited.reason.fault().is_some();
        self.list.push(Finding {
            number: 0,
            client: endpoints.client,
            server: endpoints.server,
            frame: unsolicited.frame,
            time: unsolicited.time,
            kind: unsolicited.kind,
            seconds_after_ack: since.as_secs_f64(),
            reason: reason(unsolicited.reason),
            reset_frame: None,
            reset_after_seconds: None,
            cure: if is_cured { Cure::R1 } else { Cure::NotNeeded },
            span,
        });
        Some(self.list.len() - 1)
    }

    /// A reset followed; `guarded`: R2 drops it.
    pub(crate) fn followed(
        &mut self,
        client: IpAddr,
        unsolicited: &Unsolicited,
        frame: u64,
        time: Time,
        guarded: bool,
    ) {
        let cure = match (unsolicited.reason.fault(), guarded) {
            (Some(_), _) => Cure::R1,
            (None, true) => Cure::R2,
            (None, false) => Cure::None,
        };
        if let Some(host) = self.hosts.get_mut(&client) {
            host.resets += 1;
            match cure {
                Cure::R2 => host.cured_by_r2 += 1,
                Cure::None => host.not_cured += 1,
                Cure::R1 | Cure::Either | Cure::NotNeeded => {}
            }
        }
        if let Some(finding) = unsolicited
            .finding
            .and_then(|place| self.list.get_mut(place))
        {
            finding.reset_frame = Some(frame);
            finding.reset_after_seconds = Some(time.since(unsolicited.time).as_secs_f64());
            finding.cure = cure;
        }
    }

    /// Counts an ACK of a client, if there is room for it; `is_first` is the first of its connection.
    fn count(&mut self, client: IpAddr, kind: Kind, is_first: bool) -> Option<&mut Host> {
        if self.hosts.len() >= MOST_HOSTS && !self.hosts.contains_key(&client) {
            self.hosts_left_out += u64::from(is_first);
            return None;
        }
        let host = self.hosts.entry(client);
        let host = host.or_insert_with(|| Host {
            client,
            connections: 0,
            spurious_acks: 0,
            redundant_acks: 0,
            resets: 0,
            cured_by_r1: 0,
            cured_by_r2: 0,
            cured_by_either: 0,
            not_cured: 0,
        });
        host.connections += u64::from(is_first);
        match kind {
            Kind::Spurious => host.spurious_acks += 1,
            Kind::Redundant => host.redundant_acks += 1,
        }
        Some(host)
    }

    /// All findings, in the order of their frames.
    pub(crate) fn list(&mut self) -> Vec<Finding> {
        let mut list = std::mem::take(&mut self.list);
        list.sort_by_key(|finding| finding.frame);
        for (number, finding) in (1..).zip(&mut list) {
            finding.number = number;
        }
        list
    }

    /// The clients, the worst first.
    pub(crate) fn hosts(&mut self) -> Vec<Host> {
        let mut hosts: Vec<_> = self.hosts.drain().map(|(_, host)| host).collect();
        hosts.sort_by_key(|host| {
            let Host {
                client,
                spurious_acks,
                redundant_acks,
                resets,
                ..
            } = *host;
            let harm = (spurious_acks > 0, resets, spurious_acks, redundant_acks);
            (std::cmp::Reverse(harm), client)
        });
        hosts
    }
}

/// How a finding names it: what the filter would do, not what it was told to do here.
fn reason(reason: Reason) -> &'static str {
    match reason.fault() {
        Some(Fault::SpuriousAck) => "spurious_ack",
        Some(Fault::RedundantAck) => "redundant_ack",
        Some(Fault::Reset) | None => reason.as_str(),
    }
}
