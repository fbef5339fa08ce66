//! A terminal with a command in it: tmux, driven from outside.

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use filter_user::lab::namespace::Namespace;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const DEADLINE: Duration = Duration::from_secs(20);
/// What is on the screen before the command, and must be again after it.
const BEFORE: &str = "what was there before";

/// Ends, with all that is in it, when it is dropped or this process ends.
pub(crate) struct Terminal {
    server: Child,
    directory: PathBuf,
}

impl Terminal {
    /// Runs a command of lastack in a new terminal. A command with `NO_COLOR` in a comment gets
    /// that variable.
    pub(crate) fn start(namespace: &Namespace, columns: u16, lines: u16, command: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("lastack-tmux-{}-{number}", process::id()));
        fs::create_dir(&directory).unwrap();
        let mut server = Command::new("tmux");
        // Not a daemon, which would outlive this process.
        server.arg("-S").arg(directory.join("socket"));
        server.args(["-f", "/dev/null", "-D"]);
        server
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("TMUX");
        server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let terminal = Self {
            server: namespace.spawn(server).unwrap(),
            directory,
        };
        let start = Instant::now();
        while !terminal.tmux(&["set-option", "-g", "status", "off"]).0 {
            assert!(start.elapsed() < DEADLINE, "tmux does not start");
            thread::sleep(Duration::from_millis(20));
        }
        let colour = if command.contains("NO_COLOR") {
            "NO_COLOR=1"
        } else {
            ""
        };
        let script = format!(
            "echo {BEFORE}; {colour} {} {command}\n echo ended with $?; \
             stty -a | grep -qw -- -echo || echo echo is on; exec sleep 1000",
            env!("CARGO_BIN_EXE_lastack")
        );
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let session = ["new-session", "-d", "-x", &columns, "-y", &lines, &script];
        assert!(terminal.tmux(&session).0, "no session");
        terminal
    }

    /// Presses a key, by tmux's name of it.
    pub(crate) fn press(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).0);
    }

    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        assert!(
            self.tmux(&["resize-window", "-x", &columns, "-y", &lines])
                .0
        );
    }

    /// Sends a signal to the lastack in it.
    pub(crate) fn signal(&self, signal: Signal) {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]).1;
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let child = Pid::from_raw(children.unwrap().trim().parse().unwrap());
        kill(child, signal).unwrap();
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).1
    }

    /// The same with the sequences that make its colours.
    pub(crate) fn screen_with_colours(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"]).1
    }

    /// Waits until the screen is as it should be, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if is_right(&screen) {
                return screen;
            }
            assert!(start.elapsed() < DEADLINE, "no {what} in:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the command has ended with this status, and sees that all is as it was before.
    #[track_caller]
    pub(crate) fn assert_restored(&self, status: i32) {
        let status = format!("ended with {status}");
        let screen = self.wait_for(&status, |screen| screen.contains("echo is on"));
        let is_restored = screen.contains(BEFORE) && screen.contains(&status);
        assert!(is_restored, "{screen}");
        assert!(!screen.contains("Clients with the fault"), "{screen}");
        let cursor = self
            .tmux(&["display-message", "-p", "#{cursor_flag} #{alternate_on}"])
            .1;
        assert_eq!(
            cursor.trim(),
            "1 0",
            "the cursor is seen, on the first screen"
        );
    }

    /// Whether a command of tmux succeeds, and what it prints.
    fn tmux(&self, arguments: &[&str]) -> (bool, String) {
        let mut tmux = Command::new("tmux");
        // -N: where there is no server, none is started.
        tmux.arg("-N")
            .arg("-u")
            .arg("-S")
            .arg(self.directory.join("socket"));
        let output = tmux.args(arguments).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), printed)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
        self.server.kill().ok();
        self.server.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}
