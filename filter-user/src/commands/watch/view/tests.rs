use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::*;
use crate::{
    control::by_option,
    report::{Event, HookStatus, Host, Hosts, InterfaceStatus, Snapshot, Status, Timestamp},
    settings::Settings,
};

fn interface(name: &str, drops: u64) -> InterfaceStatus {
    let hooks = [("xdp-native", 123), ("tcx-egress", 124)];
    InterfaceStatus {
        iface: name.to_owned(),
        ifindex: Some(4),
        hooks: hooks
            .map(|(hook, program_id)| HookStatus {
                hook: hook.to_owned(),
                program_id,
            })
            .to_vec(),
        note: None,
        trouble: None,
        losses: 0,
        spurious_acks_dropped: drops,
        spurious_acks_observed: 0,
        packets: BTreeMap::from([("first_ack".to_owned(), drops + 7)]),
    }
}

fn event(number: u16, client: &str, server: &str) -> Event {
    Event {
        time: "2026-11-27T12:34:56.789Z".to_owned().try_into().unwrap(),
        iface: "wan0".to_owned(),
        client: client.parse().unwrap(),
        client_port: number,
        server: server.parse().unwrap(),
        server_port: 80,
        seq: 1,
        ack: 2,
        reason: "spurious_ack_dropped".to_owned(),
    }
}

fn snapshot(drops: u64) -> Box<Snapshot> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    let gone = InterfaceStatus {
        hooks: Vec::new(),
        ..interface("wan1", 0)
    };
    let host = |number: u8| Host {
        client: [10, 0, 0, number].into(),
        spurious_acks: drops / u64::from(number),
        redundant_acks: 1,
        resets: 0,
        last_seen: Timestamp(now - Duration::from_secs(3)),
    };
    Box::new(Snapshot {
        time: Timestamp(now),
        status: Status {
            instance: "default".parse().unwrap(),
            pid: Some(1234),
            version: "0.1.0".to_owned(),
            since: Timestamp(now - Duration::from_mins(125)),
            age_seconds: None,
            pinned: None,
            settings: by_option(&Settings {
                events: true,
                ..Settings::default()
            }),
            interfaces: vec![interface("wan0", drops), gone],
            flows: Some(32_768),
            flows_capacity: 65_536,
            events_lost: 0,
        },
        hosts: Hosts {
            hosts: (1..=40).map(host).collect(),
            total: 90,
        },
        events: vec![
            event(20_000, "10.0.0.2", "203.0.113.2"),
            event(20_001, "fd00::2", "2001:db8::2"),
        ],
        events_skipped: 5,
    })
}

/// After a minute in which one more was dropped each second than in the one before.
fn model() -> Model {
    let mut model = Model::default();
    let start = Instant::now();
    let mut drops = 0;
    for second in 0..60 {
        drops += second;
        let mut snapshot = snapshot(drops);
        if second < 59 {
            snapshot.events.clear();
            snapshot.events_skipped = 0;
        }
        model.take(snapshot, start + Duration::from_secs(second));
    }
    model
}

fn draw(view: &mut View, model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| view.draw(frame, model, false))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let lines = buffer.content.chunks(width);
    lines
        .map(|cells| {
            let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

fn view(is_coloured: bool) -> View {
    View {
        palette: Palette::new(is_coloured),
        ..View::new("default".to_owned())
    }
}

#[test]
fn eighty_columns_and_twenty_four_lines_show_all_that_matters() {
    let lines = lines(&draw(&mut view(true), &model(), 80, 24));
    let screen = lines.join("\n");
    for line in [
        " lastack default enforce, wan  up 2h 5m, process 1234",
        " Rates ",
        " ACKs dropped           59.0/s ",
        " wan0            1777      1770         0         0  xdp-native, tcx-egress",
        " wan1               7         0         0         0  not served: not there",
        " 10.0.0.1 ",
        "1-4 of 40",
        " 12:34:56.789",
        "[fd00::2]:20001",
        "5 left out",
        " q  quit",
    ] {
        assert!(screen.contains(line), "no {line} in:\n{screen}");
    }
    assert!(lines[1].contains("flows 32768 of 65536"), "{screen}");
    let drops = &lines[4];
    assert!(
        drops.ends_with(" 1770") && drops.contains('▃') && drops.contains('█'),
        "{screen}"
    );
    let rising = drops.find('▃') < drops.find('█');
    assert!(rising, "the latest is not to the right:\n{screen}");
}

#[test]
fn any_size_is_drawn_and_one_that_is_too_small_is_told() {
    let model = model();
    for (width, height) in [
        (1, 1),
        (59, 24),
        (80, 17),
        (60, 18),
        (80, 24),
        (149, 50),
        (300, 90),
    ] {
        let lines = lines(&draw(&mut view(true), &model, width, height));
        let is_told = lines.iter().any(|line| line.contains("terminal"));
        let fits = width >= WIDTH && height >= HEIGHT;
        assert!(
            is_told != fits || width == 1,
            "{width}x{height}: {lines:#?}"
        );
        if fits {
            assert!(lines.last().unwrap().contains(" q  quit"), "{lines:#?}");
            assert!(
                lines.iter().any(|line| line.contains("10.0.0.1 ")),
                "{lines:#?}"
            );
        }
    }
}

#[test]
fn colours_are_red_and_green_or_none() {
    let model = model();
    for (is_coloured, allowed) in [
        (true, &[Color::Reset, Color::Red, Color::Green][..]),
        (false, &[Color::Reset]),
    ] {
        let buffer = draw(&mut view(is_coloured), &model, 80, 24);
        for cell in &buffer.content {
            assert!(allowed.contains(&cell.fg), "{cell:?}");
            assert_eq!(cell.bg, Color::Reset, "{cell:?}");
        }
        let red = buffer.content.iter().any(|cell| cell.fg == Color::Red);
        assert_eq!(red, is_coloured);
    }
}

#[test]
fn scrolling_ends_with_the_last_line() {
    let (mut view, model) = (view(true), model());
    view.scroll(isize::MAX);
    let screen = lines(&draw(&mut view, &model, 80, 24)).join("\n");
    assert!(screen.contains("10.0.0.40"), "{screen}");
    assert!(screen.contains("37-40 of 40"), "{screen}");
    view.scroll(-1);
    let screen = lines(&draw(&mut view, &model, 80, 24)).join("\n");
    assert!(screen.contains("36-39 of 40"), "{screen}");
}

#[test]
fn an_instance_that_has_gone_is_told_and_one_that_returned_begins_anew() {
    let mut model = model();
    model.lose("the instance default has ended".to_owned());
    let since = model.gone.clone().unwrap().since;
    // Longer than a line.
    let why = "no instance called default runs in this network namespace, and none is pinned in \
               /sys/fs/bpf/lastack; start one: `lastack run --iface IF`";
    model.lose(why.to_owned());
    assert_eq!(model.gone.as_ref().unwrap().since, since);
    let buffer = draw(&mut view(true), &model, 80, 24);
    let lines = lines(&buffer);
    let title = format!(" lastack default  gone since {} UTC ", clock(since, 8));
    assert!(lines[0].starts_with(&title), "{lines:#?}");
    assert!(lines[0].contains("looking for it again"), "{lines:#?}");
    assert_eq!([&lines[2], &lines[3]].map(|it| it.trim()).join(" "), why);
    for cell in &buffer.content[4 * 80..23 * 80] {
        assert!(cell.modifier.contains(Modifier::DIM), "{lines:#?}");
    }
    let mut returned = snapshot(3);
    returned.status.pid = Some(1235);
    model.take(returned, Instant::now());
    assert_eq!(model.gone, None);
    assert!(model.rates.is_empty());
}

#[test]
fn help_says_what_keys_do() {
    let mut view = view(true);
    view.is_helping = true;
    let screen = lines(&draw(&mut view, &model(), 80, 24)).join("\n");
    for line in HELP {
        assert!(screen.contains(line), "no {line} in:\n{screen}");
    }
}

#[test]
fn long_addresses_leave_room_for_what_happened_and_for_ports() {
    let mut model = model();
    let long = "2001:db8:1234:5678:9abc:def0:1234:5678";
    let mut snapshot = snapshot(1);
    snapshot.hosts.hosts[0].client = long.parse().unwrap();
    snapshot.events = vec![event(65_535, long, long), event(1, long, long)];
    snapshot.events[0].reason = "reset_after_spurious_ack_suppressed".to_owned();
    model.take(snapshot, Instant::now());
    for (width, has_server) in [(60, false), (80, false), (149, true)] {
        let lines = lines(&draw(&mut view(true), &model, width, 40));
        let screen = lines.join("\n");
        let line = |words: &[&str]| {
            let has_all = |line: &&String| words.iter().all(|word| line.contains(word));
            assert!(
                lines.iter().any(|line| has_all(&line)),
                "{words:?}:\n{screen}"
            );
        };
        line(&["[2001:db8:", "]:65535 ", "wan0", "reset after spurious "]);
        line(&["[2001:db8:", "]:1 ", "wan0", "spurious ack dropped"]);
        // In the list of clients.
        line(&[" 2001:db", "5678 ", "3s ago"]);
        let head = lines.iter().find(|line| line.contains("what")).unwrap();
        assert_eq!(head.contains("server"), has_server, "{screen}");
    }
    for event in &mut model.events {
        event.reason = "spurious_ack_dropped".to_owned();
    }
    let lines = lines(&draw(&mut view(true), &model, 80, 24));
    let both = |line: &String| line.matches("[2001:db8…").count() == 2 && line.ends_with("dropped");
    assert!(lines.iter().any(both), "{lines:#?}");
}

#[test]
fn keys_are_shown_whole_and_help_is_among_them() {
    for (width, last) in [(60, "scroll"), (80, "restart rates")] {
        let lines = lines(&draw(&mut view(true), &model(), width, 24));
        let keys = lines.last().unwrap();
        assert!(keys.contains(" ?  help") && keys.ends_with(last), "{keys}");
    }
}
