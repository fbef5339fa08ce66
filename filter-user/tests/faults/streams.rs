//! Standard streams that are closed, full, or read by nobody.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{
    instance::wait_until,
    stage::{Stage, XDP, wrapped},
};

/// Starts it with these redirections of the shell's; it filters, and ends in good order.
fn assert_serves(stage: &mut Stage, redirections: &str, cures: bool) {
    let mut shell = Command::new("sh");
    shell.arg("-c");
    shell.arg(format!("exec \"$0\" \"$@\" {redirections}"));
    let mut command = wrapped(shell, &stage.running());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = stage.gateway().spawn(command).unwrap();
    // Pipes that nobody reads, as far as they were not redirected.
    drop((child.stdout.take(), child.stderr.take()));
    wait_until(redirections, || stage.served() == [1, 1]);
    if cures {
        stage.assert_cured();
    }
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{redirections}: {status}");
    wait_until(redirections, || stage.is_empty());
}

#[test]
fn closed_full_or_broken_streams_neither_stop_it_nor_leave_anything() {
    let mut stage = Stage::new(XDP);
    for redirections in [
        "",
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>/dev/full",
    ] {
        let is_worst = redirections.matches("full").count() == 2;
        assert_serves(&mut stage, redirections, is_worst);
    }
}
