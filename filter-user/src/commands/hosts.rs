//! `lastack hosts`: the clients with the fault.

use std::time::SystemTime;

use clap::{Args, builder::RangedU64ValueParser};

use super::{
    asking::Asking,
    table::{span, table},
};
use crate::{
    control::protocol::MOST,
    report::{Host, Hosts},
};

/// Lists the clients that send spurious ACKs, the worst first
///
/// Redundant ACKs, and resets, are listed too. The former are no fault of the client. The latter
/// are those that servers sent after ACKs which nothing had asked for, let through or suppressed;
/// with 0 spurious ACKs, these came later than --window.
#[derive(Debug, Args)]
pub struct Arguments {
    /// At most so many
    #[arg(long, value_name = "N", default_value = "50",
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(MOST)))]
    limit: u32,
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let hosts = arguments.asking.choose()?.hosts(arguments.limit)?;
    arguments
        .asking
        .print(&hosts, |hosts| text(hosts, SystemTime::now()))?;
    Ok(())
}

fn text(Hosts { hosts, total }: &Hosts, now: SystemTime) -> String {
    if hosts.is_empty() {
        return "no client has sent a spurious ACK\n".to_owned();
    }
    let head = [
        "client",
        "spurious ACKs",
        "redundant ACKs",
        "resets",
        "last seen",
    ];
    let mut table = table(head, &[1, 2, 3, 4]);
    for host in hosts {
        let Host {
            client,
            spurious_acks,
            redundant_acks,
            resets,
            last_seen,
        } = host;
        let ago = now.duration_since(last_seen.0).unwrap_or_default();
        table.add_row([
            client.to_string(),
            spurious_acks.to_string(),
            redundant_acks.to_string(),
            resets.to_string(),
            format!("{} ago", span(ago)),
        ]);
    }
    let more = match total.saturating_sub(hosts.len() as u64) {
        0 => String::new(),
        more => format!("{more} more; --limit N shows them\n"),
    };
    format!("{}\n{more}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::Timestamp;

    #[test]
    fn a_table_has_a_line_a_client() {
        let now = SystemTime::now();
        let hosts = Hosts {
            hosts: vec![Host {
                client: "10.0.0.2".parse().unwrap(),
                spurious_acks: 1200,
                redundant_acks: 3,
                resets: 1,
                last_seen: Timestamp(now - Duration::from_secs(61)),
            }],
            total: 2,
        };
        assert_eq!(
            text(&hosts, now),
            "client    spurious ACKs  redundant ACKs  resets  last seen\n\
             10.0.0.2           1200               3       1  1m 1s ago\n\
             1 more; --limit N shows them\n"
        );
    }
}
