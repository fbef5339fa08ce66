//! What tshark reads and the rules' own words give is what the program finds.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use filter_user::lab::{
    impairment::Impairment,
    namespace::Namespace,
    topology::WAN,
    trial::{Clients, Filter, Results, Trial},
};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use tempfile::NamedTempFile;

use crate::{
    analyze, capture,
    expected::{Figures, goldens},
    oracle, tshark,
};

fn witnessed(file: &Path) -> Figures {
    let (packets, rows) = tshark::read(file);
    oracle::figures(packets, &rows)
}

#[test]
fn tshark_finds_in_golden_captures_what_was_done_there() {
    for golden in goldens() {
        let found = witnessed(&capture(golden.file));
        assert_eq!(found, golden.figures, "{}", golden.file);
    }
}

#[test]
fn tshark_agrees_on_faulty_clients_between_links_that_lose_copy_and_reorder() {
    let (results, figures) = agree(Clients::Faulty, WAN, 0.01, 1);
    // Not one was sent that was not found, unless it got lost before the gateway.
    assert!(figures.spurious_acks > results.spurious_acks / 2);
    assert!(figures.reacks_elicited > 0 && figures.resets_after_spurious_ack > 0);
}

#[test]
fn tshark_agrees_on_correct_clients_between_links_that_lose_copy_and_reorder() {
    let (_, figures) = agree(Clients::Correct, WAN, 0.01, 2);
    assert!(figures.closed > 0 && figures.reacks_elicited > 0 && figures.copies > 0);
}

#[test]
fn tshark_agrees_where_each_frame_is_captured_on_two_interfaces() {
    let (_, figures) = agree(Clients::Faulty, "any", 0.0, 3);
    assert!(figures.spurious_acks > 0 && figures.copies > figures.segments / 4);
}

#[test]
fn clients_without_the_fault_have_no_spurious_acks_however_much_gets_lost() {
    let (_, figures) = agree(Clients::Correct, WAN, 0.0, 4);
    assert_eq!(figures.spurious_acks, 0, "{:?}", figures.findings);
}

/// Records what some connections come to, and has both look at it.
fn agree(clients: Clients, interface: &str, copies: f64, seed: u64) -> (Results, Figures) {
    let links = Impairment {
        copies,
        ..Impairment::one_of_two(0.05, seed)
    };
    let trial = Trial {
        clients,
        filter: Filter::Off,
        loss: links.loss,
        connections: 120,
        seed,
    };
    let file = NamedTempFile::new().unwrap();
    let mut recording = None;
    let results = trial.run_between(links, |gateway| {
        recording = Some(Recording::start(gateway, interface, file.path()));
        Ok(())
    });
    let results = results.unwrap();
    recording.unwrap().stop();
    let witnessed = witnessed(file.path());
    let found = Figures::of(&analyze(file.path()));
    assert_eq!(found, witnessed);
    (results, found)
}

/// A tcpdump that writes a file.
struct Recording {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Recording {
    /// Starts it. It outlives the namespace's other inhabitants, and not this process.
    fn start(gateway: &Namespace, interface: &str, file: &Path) -> Self {
        let descriptor = gateway.as_fd().as_raw_fd();
        let namespace = format!("--net=/proc/{}/fd/{descriptor}", std::process::id());
        let mut command = Command::new("nsenter");
        let options = "tcpdump -n --immediate-mode -U -s 128 -B 65536 -Z root -i";
        command.arg(namespace).args(options.split(' '));
        command.args([interface, "-w"]).arg(file).arg("tcp");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: prctl(2) is async-signal-safe, and nothing else is called.
        unsafe {
            command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "tcpdump ended");
        }
        Self { child, said }
    }

    /// Ends it, unless its interface has gone before.
    fn stop(mut self) {
        // It leaves what it has not read yet.
        thread::sleep(Duration::from_millis(200));
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        let mut summary = String::new();
        self.said.read_to_string(&mut summary).unwrap();
        self.child.wait().unwrap();
        assert!(
            summary.contains("\n0 packets dropped by kernel"),
            "{summary}"
        );
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
