//! `lastack watch` on a real terminal: a tmux of its own, in the gateway's namespace. Needs root
//! and tmux.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "../instance/mod.rs"]
mod instance;
mod terminal;

use filter_user::lab::topology::WAN;
use nix::sys::signal::Signal;

use instance::{Instance, bpffs::BpfFileSystem, cure, wiring::Network};
use terminal::Terminal;

const OPTIONS: [&str; 4] = ["--metrics-addr", "off", "--instance", "default"];
const WATCH: &str = "watch --interval 200ms";
const KEYS: &str = " q  quit";

fn start(network: &Network, options: &[&str]) -> Instance {
    let options = [&OPTIONS, options].concat();
    Instance::start(&network.topology.gateway, &[WAN], &options)
}

/// The line in which all of these words are.
fn has_line(screen: &str, words: &[&str]) -> bool {
    screen
        .lines()
        .any(|line| words.iter().all(|word| line.contains(word)))
}

fn last_line(screen: &str) -> &str {
    screen.trim_end().lines().last().unwrap_or_default()
}

#[test]
fn it_shows_what_the_client_did_at_any_size_and_gives_the_terminal_back() {
    let mut network = Network::new();
    let mut client = network.client();
    let instance = start(&network, &[]);
    let terminal = Terminal::start(&network.topology.gateway, 80, 24, WATCH);
    terminal.wait_for("an empty view", |screen| {
        has_line(screen, &["none has sent a spurious ACK"])
            && has_line(screen, &["ACKs dropped", "0.0/s"])
    });
    cure::run(&mut client);
    let drops = cure::CONNECTIONS.to_string();
    let each = (cure::CONNECTIONS / 2).to_string();
    let hook = instance.hooks()[0].clone();
    let shows_all = |screen: &str| {
        has_line(screen, &[" lastack default", "enforce, wan", "process"])
            && has_line(screen, &["flows 16 of 65536"])
            && has_line(screen, &["ACKs dropped", "/s", &format!(" {drops}")])
            && has_line(screen, &["resets passed", "0.0/s", " 0"])
            && has_line(screen, &[&format!(" {WAN} "), &format!(" {drops} "), &hook])
            && has_line(screen, &[" 10.0.0.2 ", &format!(" {each} ")])
            && has_line(screen, &["--events"])
            && last_line(screen).starts_with(KEYS)
    };
    let screen = terminal.wait_for("all that the client did", shows_all);
    assert_eq!(screen.lines().count(), 24, "{screen}");
    assert!(has_bar(&screen, "ACKs dropped"), "{screen}");

    terminal.resize(160, 50);
    terminal.wait_for("a bigger one", |screen| {
        shows_all(screen) && screen.lines().count() == 50
    });
    terminal.resize(40, 10);
    terminal.wait_for("that it is too small", |screen| {
        screen.contains("this view needs 60 and 18")
    });
    terminal.resize(80, 24);
    terminal.wait_for("the first size again", shows_all);

    terminal.press("?");
    terminal.wait_for("help", |screen| screen.contains("any key closes this"));
    terminal.press("x");
    terminal.press("p");
    terminal.wait_for("a pause", |screen| screen.contains("PAUSED"));
    terminal.press("p");
    terminal.wait_for("no pause", |screen| !screen.contains("PAUSED"));
    terminal.press("q");
    terminal.assert_restored(0);
}

fn has_bar(screen: &str, name: &str) -> bool {
    let line = screen.lines().find(|line| line.contains(name)).unwrap();
    line.chars().any(|sign| ('▁'..='█').contains(&sign))
}

#[test]
fn events_are_shown_if_the_instance_reports_them() {
    let mut network = Network::new();
    let mut client = network.client();
    let _instance = start(&network, &["--events"]);
    let terminal = Terminal::start(&network.topology.gateway, 80, 24, WATCH);
    terminal.wait_for("an empty list", |screen| {
        has_line(screen, &["none since this view was opened"])
    });
    cure::run(&mut client);
    let v4 = ["10.0.0.2:20", "203.0.113.2:", WAN, "spurious ack dropped"];
    let v6 = ["[fd00::2]:20", "[2001:db8::2]:", WAN, "spurious ack"];
    let shows_all = |screen: &str| {
        has_line(screen, &["Last events"]) && has_line(screen, &v4) && has_line(screen, &v6)
    };
    let screen = terminal.wait_for("events", shows_all);
    assert!(screen.lines().all(|line| line.chars().count() <= 80));
    terminal.resize(160, 50);
    terminal.wait_for("events beside clients", |screen| {
        let all = screen
            .lines()
            .filter(|line| line.contains("spurious ack dropped"));
        has_line(screen, &["Clients with the fault", "Last events"])
            && all.count() == usize::from(cure::CONNECTIONS)
    });
}

#[test]
fn every_way_to_end_it_gives_the_terminal_back() {
    let network = Network::new();
    let _instance = start(&network, &[]);
    let gateway = &network.topology.gateway;
    let end = |how: &dyn Fn(&Terminal)| {
        let terminal = Terminal::start(gateway, 80, 24, WATCH);
        terminal.wait_for("the view", |screen| last_line(screen).starts_with(KEYS));
        how(&terminal);
        terminal.assert_restored(0);
    };
    for key in ["Escape", "C-c"] {
        end(&|terminal| terminal.press(key));
    }
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        end(&|terminal| terminal.signal(signal));
    }
}

#[test]
fn an_instance_that_ends_is_told_and_one_that_comes_back_is_shown() {
    let network = Network::new();
    let instance = start(&network, &[]);
    let gateway = &network.topology.gateway;
    let terminal = Terminal::start(gateway, 80, 24, WATCH);
    let shows = |instance: &Instance| {
        let process = format!("process {}", instance.id());
        move |screen: &str| has_line(screen, &[" lastack default", &process])
    };
    terminal.wait_for("the first", shows(&instance));
    instance.stop(Signal::SIGKILL);
    terminal.wait_for("that it is gone", |screen| {
        has_line(
            screen,
            &["lastack default", " gone since ", "looking for it again"],
        ) && has_line(
            screen,
            &["no instance called default runs in this network namespace"],
        ) && screen.contains("/sys/fs/bpf/lastack")
    });
    let instance = start(&network, &["--mode", "monitor"]);
    let screen = terminal.wait_for("the second", shows(&instance));
    assert!(has_line(&screen, &["monitor, wan"]), "{screen}");
    terminal.press("q");
    terminal.assert_restored(0);
}

#[test]
fn an_instance_that_does_not_answer_is_told() {
    let network = Network::new();
    let instance = start(&network, &[]);
    let terminal = Terminal::start(&network.topology.gateway, 80, 24, WATCH);
    terminal.wait_for("the view", |screen| has_line(screen, &[" wan0 "]));
    instance.signal(Signal::SIGSTOP);
    terminal.wait_for("its silence", |screen| screen.contains(" no answer for "));
    instance.signal(Signal::SIGCONT);
    terminal.wait_for("its answers", |screen| !screen.contains(" no answer for "));
    terminal.press("q");
    terminal.assert_restored(0);
}

#[test]
fn what_a_killed_instance_has_pinned_is_shown_until_a_process_serves_it_again() {
    let mut network = Network::new();
    let mut client = network.client();
    let file_system = BpfFileSystem::new();
    let directory = file_system.path().to_str().unwrap();
    let options = ["--pin", "--pin-dir", directory];
    let instance = start(&network, &options);
    let gateway = &network.topology.gateway;
    let command = format!("{WATCH} --pin-dir {directory}");
    let terminal = Terminal::start(gateway, 80, 24, &command);
    terminal.wait_for("a process", |screen| {
        has_line(screen, &["process", &instance.id().to_string()])
    });
    instance.stop(Signal::SIGKILL);
    terminal.wait_for("no process", |screen| {
        has_line(screen, &["lastack default", "pinned for", "no process"])
    });
    cure::run(&mut client);
    let drops = cure::CONNECTIONS.to_string();
    terminal.wait_for("what is dropped without a process", |screen| {
        has_line(screen, &["ACKs dropped", &format!(" {drops}")]) && has_line(screen, &["10.0.0.2"])
    });
    let instance = start(&network, &options);
    terminal.wait_for("the next process", |screen| {
        has_line(screen, &["process", &instance.id().to_string()])
            && has_line(screen, &["ACKs dropped", &format!(" {drops}")])
    });
    terminal.press("q");
    terminal.assert_restored(0);
}

#[test]
fn without_an_instance_it_is_one_line() {
    let network = Network::new();
    let terminal = Terminal::start(&network.topology.gateway, 80, 24, WATCH);
    terminal.assert_restored(1);
    let screen = terminal.screen();
    assert!(screen.contains("lastack: no instance runs"), "{screen}");
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let network = Network::new();
    let _instance = start(&network, &[]);
    let gateway = &network.topology.gateway;
    for (command, is_coloured) in [
        (WATCH.to_owned(), true),
        (format!("{WATCH} # NO_COLOR"), false),
    ] {
        let terminal = Terminal::start(gateway, 80, 24, &command);
        terminal.wait_for("the view", |screen| has_line(screen, &[" wan0 "]));
        let screen = terminal.screen_with_colours();
        // Either way to say green.
        let is_green = screen.contains("[32m") || screen.contains("38;5;2m");
        assert_eq!(is_green, is_coloured, "{screen:?}");
    }
}
