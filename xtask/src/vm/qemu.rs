//! QEMU: what the guest's machine is made of, and how the guest ended.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::tally::Tally;
use crate::process::in_words;

pub(super) const PROGRAM: &str = "qemu-system-x86_64";
/// More than the guest gets for its tests: it tells by itself that they take too long.
const GRACE: Duration = Duration::from_mins(1);
/// How much is shown of what a kernel said that died.
const TAIL: usize = 30;
/// Of the guest; what is written to its files is in there, too.
const MEMORY: &str = "2G";
const MOST_PROCESSORS: usize = 4;

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU.
    Tcg,
}

impl Accelerator {
    /// KVM if it works here: the device alone says little where the machine is virtual itself.
    pub(super) fn find() -> Self {
        let probe = Command::new(PROGRAM)
            .args(["-accel", "kvm", "-cpu", "host", "-nodefaults"])
            .args(["-display", "none", "-serial", "none", "-monitor", "stdio"])
            // At the end of its input the monitor waits for more, so it gets a command.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let answered = probe.is_ok_and(|mut qemu| {
            use std::io::Write as _;
            let asked = qemu
                .stdin
                .take()
                .map(|mut input| input.write_all(b"quit\n"));
            let ended = qemu.wait();
            matches!(asked, Some(Ok(()))) && ended.is_ok_and(|status| status.success())
        });
        if answered { Self::Kvm } else { Self::Tcg }
    }

    const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg", "-cpu", "max"],
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation",
        }
    }
}

/// A guest that is to be booted.
pub(super) struct Guest {
    pub(super) accelerator: Accelerator,
    pub(super) image: PathBuf,
    pub(super) initramfs: PathBuf,
    /// What the kernel says.
    pub(super) console: PathBuf,
    /// How it ended, in the guest's own words.
    pub(super) result: PathBuf,
    /// How long the tests may take.
    pub(super) limit: Duration,
}

impl Guest {
    /// Boots it, shows and counts what the tests print, and gives an error unless all of them passed.
    pub(super) fn run(&self, tally: &mut Tally) -> Result<()> {
        // The last guest's words must not pass for this one's.
        for file in [&self.console, &self.result] {
            fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut qemu = self.command();
        let mut child = qemu.spawn().with_context(|| {
            format!("cannot start {PROGRAM}; as root: apt-get install qemu-system-x86")
        })?;
        let shown = child.stdout.take();
        let shown = shown.map(|stdout| thread::spawn(move || Tally::show(stdout)));
        let ended = self.wait(&mut child);
        if let Some(Ok(counted)) = shown.map(thread::JoinHandle::join) {
            *tally = counted;
        }
        ended?;
        let result = fs::read_to_string(&self.result).unwrap_or_default();
        let console = fs::read(&self.console).unwrap_or_default();
        judge(&result, &String::from_utf8_lossy(&console), &self.console)
    }

    fn command(&self) -> Command {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new("setpriv");
        command
            // Nothing goes on when this process has been killed.
            .args(["--pdeathsig", "KILL", PROGRAM])
            .args(self.accelerator.arguments())
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-m", MEMORY, "-smp"])
            .arg(processors.min(MOST_PROCESSORS).to_string())
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(&self.initramfs)
            // A kernel that finds fault with itself ends, and so does QEMU.
            .args([
                "-append",
                "console=ttyS0 loglevel=5 panic=-1 oops=panic rdinit=/init",
            ])
            .args(["-serial", &format!("file:{}", self.console.display())])
            .args(["-serial", "stdio"])
            .args(["-serial", &format!("file:{}", self.result.display())])
            .args([
                "-virtfs",
                "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    fn wait(&self, qemu: &mut Child) -> Result<()> {
        let deadline = Instant::now() + self.limit + GRACE;
        loop {
            if let Some(status) = qemu.try_wait().context("cannot wait for QEMU")? {
                if !status.success() {
                    bail!("QEMU failed ({})", in_words(status));
                }
                return Ok(());
            }
            if Instant::now() > deadline {
                qemu.kill().and_then(|()| qemu.wait()).ok();
                let limit = self.limit.as_secs();
                bail!(
                    "the guest hangs: it was not done after {limit} s (--timeout), and did not say so"
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What the guest's result means.
fn judge(result: &str, console: &str, path: &Path) -> Result<()> {
    let result = result.trim();
    if let Some(error) = result.strip_prefix("error: ") {
        bail!("in the guest: {error}");
    }
    match result.strip_prefix("exit ") {
        Some("0") => Ok(()),
        Some(_) => bail!("tests failed"),
        None => {
            let lines: Vec<_> = console.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n    ");
            bail!(
                "the guest died; its console is in {} and ends so:\n    {tail}",
                path.display()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(result: &str) -> Option<String> {
        let console = "[ 0.0] Linux\n[ 2.0] Kernel panic - not syncing\n";
        let judged = judge(result, console, Path::new("/t/console"));
        judged.err().map(|error| error.to_string())
    }

    #[test]
    fn only_a_guest_that_says_so_has_passed() {
        assert_eq!(judged("exit 0\r\n"), None);
        assert_eq!(judged("exit 1\r\n").unwrap(), "tests failed");
        assert_eq!(
            judged("error: not done after 9 s\n").unwrap(),
            "in the guest: not done after 9 s"
        );
    }

    #[test]
    fn a_guest_that_says_nothing_has_died_and_its_console_is_shown() {
        for result in ["", "exit"] {
            let error = judged(result).unwrap();
            assert!(error.contains("/t/console and ends so"), "{error}");
            assert!(error.ends_with("Kernel panic - not syncing"), "{error}");
        }
    }
}
