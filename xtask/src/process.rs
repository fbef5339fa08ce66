//! Running programs: quietly with the end of their output on failure, or in full view.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _, stderr},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How much of a failed command's output is shown.
const TAIL: usize = 25;

type Lines = Arc<Mutex<VecDeque<String>>>;

/// Runs a command unseen; on a terminal the seconds pass by. Its last lines are in the error.
pub(crate) fn quietly(command: &mut Command, shown: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let lines = Lines::default();
    let readers = [
        child.stdout.take().map(|stdout| keep_tail(stdout, &lines)),
        child.stderr.take().map(|stderr| keep_tail(stderr, &lines)),
    ];
    let clock = Clock::start();
    let status = loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("cannot wait for `{shown}`"))?
        {
            break status;
        }
        clock.show();
        thread::sleep(Duration::from_millis(50));
    };
    clock.clear();
    for reader in readers.into_iter().flatten() {
        // A reader that panicked has kept what it read until then.
        drop(reader.join());
    }
    if status.success() {
        return Ok(());
    }
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    let tail = lines
        .iter()
        .fold(String::new(), |tail, line| tail + "\n    " + line);
    bail!("`{shown}` failed ({}){tail}", in_words(status))
}

/// Runs a command in full view, after a line that says which.
pub(crate) fn visibly(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", in_shell(command));
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", in_shell(command)))?;
    if status.success() {
        Ok(())
    } else {
        bail!("`{}` failed ({})", in_shell(command), in_words(status))
    }
}

/// "exit status 1" or "signal 9".
pub(crate) fn in_words(status: ExitStatus) -> String {
    status.to_string().replace("exit status: ", "exit status ")
}

fn in_shell(command: &Command) -> String {
    let program = command.get_program();
    // The full path of the running cargo says nothing to anyone.
    let program = Path::new(program).file_name().unwrap_or(program);
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn keep_tail(from: impl Read + Send + 'static, lines: &Lines) -> thread::JoinHandle<()> {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.is_empty() {
                continue;
            }
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == TAIL {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    })
}

/// The seconds that a quiet step has taken, on a terminal only.
pub(crate) struct Clock {
    started: Instant,
    terminal: bool,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            terminal: stderr().is_terminal(),
        }
    }

    pub(crate) fn show(&self) {
        let seconds = self.started.elapsed().as_secs();
        // The first two seconds stay free: sudo may be asking for a password.
        if self.terminal && seconds >= 2 {
            eprint!("\r  {seconds} s");
            drop(stderr().flush());
        }
    }

    pub(crate) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
            drop(stderr().flush());
        }
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_says_nothing() {
        quietly(Command::new("sh").args(["-c", "echo noise"]), "sh").unwrap();
    }

    #[test]
    fn failure_shows_the_last_lines_and_the_status() {
        let script = "for i in $(seq 40); do echo line $i; done; exit 3";
        let error = quietly(Command::new("sh").args(["-c", script]), "the script").unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.starts_with("`the script` failed (exit status 3)"),
            "{error}"
        );
        assert!(
            error.contains("line 40") && error.contains("line 16"),
            "{error}"
        );
        assert!(!error.contains("line 15"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = quietly(&mut Command::new("no-such-program"), "no-such-program x").unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot start `no-such-program x`"));
    }
}
