//! What the programs log: the fields of each decision, and the line that is made of them.

#![expect(
    unsafe_code,
    reason = "registering a descriptor is a promise to keep it open"
)]

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use filter_common::Flags;
use log::{Log, Metadata, Record};
use tokio::{io::unix::AsyncFd, sync::watch, task::JoinHandle};

use crate::datapath::Datapath;

/// Takes what the programs log and hands it to our log, until the sender of `stopped` goes
/// away. `name` gives the name of an interface by its index.
pub(super) fn log_decisions(
    datapath: &mut Datapath,
    name: impl FnMut(u32) -> Option<String> + Send + 'static,
    mut stopped: watch::Receiver<()>,
) -> anyhow::Result<JoinHandle<()>> {
    let decisions = Decisions {
        name: Mutex::new(name),
    };
    let logger = EbpfLogger::init_with_logger(datapath.object(), decisions);
    let logger = logger.context("cannot read the programs' log")?;
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

/// Our log, with lines for people.
struct Decisions<N> {
    name: Mutex<N>,
}

impl<N: FnMut(u32) -> Option<String> + Send> Log for Decisions<N> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let fields = record.args().to_string();
        let name = |index| self.name.lock().unwrap_or_else(PoisonError::into_inner)(index);
        // What cannot be read is better told as it is than not at all.
        let line = line(&fields, name).unwrap_or(fields);
        log::logger().log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .args(format_args!("{line}"))
                .build(),
        );
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

/// The line for the fields that the programs give.
fn line(fields: &str, name: impl FnOnce(u32) -> Option<String>) -> Option<String> {
    let fields: Vec<_> = fields.split(' ').collect();
    let [
        index,
        from,
        from_port,
        to,
        to_port,
        seq,
        ack,
        flags,
        payload,
        reason,
    ] = fields[..]
    else {
        return None;
    };
    let index = index.parse().ok()?;
    let name = name(index).unwrap_or_else(|| format!("interface {index}"));
    let (from, to) = (socket(from, from_port)?, socket(to, to_port)?);
    let flags = flags_text(u16::from_str_radix(flags, 16).ok()?);
    Some(format!(
        "{name}: {from} > {to} flags [{flags}] seq {seq} ack {ack} payload {payload}: {reason}"
    ))
}

/// As every other command shows it.
fn socket(address: &str, port: &str) -> Option<SocketAddr> {
    let address: Ipv6Addr = address.parse().ok()?;
    Some(SocketAddr::new(address.to_canonical(), port.parse().ok()?))
}

/// Flags as tcpdump(8) writes them.
fn flags_text(bits: u16) -> String {
    const LETTERS: [(Flags, char); 9] = [
        (Flags::FIN, 'F'),
        (Flags::SYN, 'S'),
        (Flags::RST, 'R'),
        (Flags::PSH, 'P'),
        (Flags::ACK, '.'),
        (Flags::URG, 'U'),
        (Flags::ECE, 'E'),
        (Flags::CWR, 'W'),
        (Flags::AE, 'e'),
    ];
    let set = LETTERS.iter().filter(|(flag, _)| bits & flag.bits() != 0);
    let text: String = set.map(|(_, letter)| letter).collect();
    if text.is_empty() {
        return "none".to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_names_the_interface_both_ends_and_the_flags() {
        let name = |index| (index == 7).then(|| "wan0".to_owned());
        assert_eq!(
            line(
                "7 ::ffff:10.7.2.2 8080 ::ffff:10.7.1.2 60912 21 42 11 1448 server_fin",
                name
            )
            .unwrap(),
            "wan0: 10.7.2.2:8080 > 10.7.1.2:60912 flags [F.] seq 21 ack 42 payload 1448: server_fin"
        );
        assert_eq!(
            line("8 2001:db8::2 80 fd00::2 1 0 0 0 0 no_flow", name).unwrap(),
            "interface 8: [2001:db8::2]:80 > [fd00::2]:1 flags [none] seq 0 ack 0 payload 0: no_flow"
        );
    }

    #[test]
    fn what_is_no_decision_is_not_read_as_one() {
        for text in [
            "",
            "a word",
            "x :: 1 :: 2 0 0 0 0 reason",
            "7 :: 1 :: x 0 0 0 0 reason",
        ] {
            assert_eq!(line(text, |_| None), None, "{text}");
        }
    }
}
