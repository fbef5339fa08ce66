//! `lastack flows`: closing connections that an instance knows.

use clap::{Args, builder::RangedU64ValueParser};
use ipnet::IpNet;
use serde_json::Value;

use super::{
    asking::Asking,
    prefix,
    table::{seconds, table},
};
use crate::{
    control::protocol::{FlowsQuery, MOST},
    report::{Flow, Flows, Status},
    stream::Output,
};

/// Lists the closing connections that an instance knows, last touched first
///
/// A connection is half_closed from the first FIN on, last_ack when the server waits for the
/// client's last ACK, and closed when that was forwarded. Its drops are those segments that were
/// dropped, or that would have been, in monitor mode.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only those of these clients (10.0.0.0/8, 2001:db8::1); may be repeated
    #[arg(long, value_name = "CIDR", value_parser = prefix, value_delimiter = ',')]
    client: Vec<IpNet>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "50",
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(MOST)))]
    limit: u32,
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let query = FlowsQuery {
        clients: arguments.client.clone(),
        limit: arguments.limit,
    };
    let asking = &arguments.asking;
    let flows = asking.choose()?.flows(query)?;
    // Objects have the same fields whatever the mode is.
    let is_monitor = asking.output == Output::Text && is_monitor(&asking.choose()?.status()?);
    asking.print(&flows, |flows| text(flows, is_monitor))?;
    Ok(())
}

fn is_monitor(status: &Status) -> bool {
    let mode = status.settings.get("mode");
    mode.and_then(Value::as_str) == Some("monitor")
}

fn text(Flows { flows, total }: &Flows, is_monitor: bool) -> String {
    if flows.is_empty() {
        return "no closing connections\n".to_owned();
    }
    let drops = if is_monitor { "would drop" } else { "drops" };
    let head = [
        "client", "server", "state", "idle", "expires", drops, "iface",
    ];
    let mut table = table(head, &[3, 4, 5]);
    for flow in flows {
        let Flow {
            client,
            client_port,
            server,
            server_port,
            state,
            idle_seconds,
            expires_in_seconds,
            drops,
            iface,
        } = flow;
        table.add_row([
            std::net::SocketAddr::from((*client, *client_port)).to_string(),
            std::net::SocketAddr::from((*server, *server_port)).to_string(),
            state.clone(),
            seconds(*idle_seconds),
            seconds(*expires_in_seconds),
            drops.to_string(),
            iface.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let more = match total.saturating_sub(flows.len() as u64) {
        0 => String::new(),
        more => format!("{more} more; --limit N shows them\n"),
    };
    format!("{}\n{more}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_how_many_flows_it_leaves_out() {
        let flow = Flow {
            client: "10.0.0.2".parse().unwrap(),
            client_port: 20_000,
            server: "203.0.113.2".parse().unwrap(),
            server_port: 80,
            state: "closed".to_owned(),
            idle_seconds: 1.5,
            expires_in_seconds: 238.5,
            drops: 1,
            iface: Some("wan0".to_owned()),
        };
        let v6 = Flow {
            client: "fd00::2".parse().unwrap(),
            server: "2001:db8::2".parse().unwrap(),
            state: "half_closed".to_owned(),
            iface: None,
            ..flow.clone()
        };
        let flows = Flows {
            flows: vec![flow, v6],
            total: 7,
        };
        assert_eq!(
            text(&flows, false),
            "client           server            state        idle  expires  drops  iface\n\
             10.0.0.2:20000   203.0.113.2:80    closed         1s   3m 58s      1  wan0\n\
             [fd00::2]:20000  [2001:db8::2]:80  half_closed    1s   3m 58s      1  -\n\
             5 more; --limit N shows them\n"
        );
        let head = text(&flows, true);
        assert!(head.contains("  expires  would drop  iface\n"), "{head}");
        assert_eq!(text(&Flows::default(), false), "no closing connections\n");
    }
}
