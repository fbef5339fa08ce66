//! A reload that can neither replace the filters in clsact nor take the old ones off.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    instance::{Instance, traffic::Directory},
    stage::{CLSACT, Stage},
};

/// strace, which has messages of a process fail until it is ended.
struct Failing(Child);

impl Failing {
    /// Those with these numbers, from now on; the first is the one by which a signal wakes it.
    fn of(process: u32, numbers: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--output=/dev/null", "--trace=sendto"]);
        strace.arg(format!("--inject=sendto:error=ENOMEM:when={numbers}"));
        strace.arg(format!("--attach={process}"));
        let mut child = strace.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(" attached") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "strace has ended");
        }
        // It goes on to say which threads come.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self(child)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let strace = Pid::from_raw(self.0.id().try_into().unwrap());
        // Killed, it would leave threads stopped.
        kill(strace, Signal::SIGTERM).ok();
        self.0.wait().ok();
    }
}

/// One whose reload went wrong while messages with these numbers failed, and what it says.
struct Reloaded {
    stage: Stage,
    instance: Instance,
    failing: Failing,
    log: Directory,
}

impl Reloaded {
    fn while_failing(numbers: &str) -> Self {
        let stage = Stage::new(CLSACT);
        let log = Directory::new();
        let mut command = stage.running();
        command.stderr(File::create(log.0.join("said")).unwrap());
        let instance = Instance::spawn(stage.gateway(), command);
        assert_eq!(instance.line()["type"], "attached");
        // Until it has looked at what its own filters changed, so that it sends nothing else.
        thread::sleep(Duration::from_millis(500));
        let failing = Failing::of(instance.id(), numbers);
        stage.change_settings();
        instance.signal(Signal::SIGHUP);
        while instance.line()["type"] != "reloaded" {}
        Self {
            stage,
            instance,
            failing,
            log,
        }
    }

    /// After SIGTERM neither filters nor the qdisc are there, and the next start works.
    fn assert_leaves_nothing(self) {
        let Self {
            mut stage,
            instance,
            failing,
            log,
        } = self;
        drop(failing);
        let (status, _) = instance.stop(Signal::SIGTERM);
        let said = fs::read_to_string(log.0.join("said")).unwrap();
        assert!(status.success(), "{status}: {said}");
        assert!(stage.is_as_before(), "{:?} {said}", stage.served());
        for words in [
            "not all programs could be replaced",
            "could not be taken off",
        ] {
            assert!(said.contains(words), "{said}");
        }
        assert!(!said.contains("somebody"), "{said}");
        stage.assert_next_works(true);
    }
}

#[test]
fn a_filter_that_could_be_neither_replaced_nor_removed_does_not_stay_beside_the_next() {
    // Of each of the two: whether it is there, its replacement and its removal.
    let mut reloaded = Reloaded::while_failing("2..7");
    while reloaded.instance.line()["type"] != "attached" {}
    assert_eq!(reloaded.stage.served(), [1, 1]);
    reloaded.stage.assert_cured();
    reloaded.assert_leaves_nothing();
}

#[test]
fn filters_that_nothing_came_in_the_place_of_go_in_the_end() {
    let reloaded = Reloaded::while_failing("2+");
    assert_eq!(reloaded.stage.served(), [1, 1]);
    reloaded.assert_leaves_nothing();
}
