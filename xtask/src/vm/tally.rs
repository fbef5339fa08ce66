//! What the tests print: shown as it comes, and counted.

use std::io::{Read, Write as _, stdout};

use anyhow::{Result, bail};

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    /// Test binaries of which no test ran.
    pub(super) empty: u32,
    /// That were taken, in the order in which they were.
    pub(super) hooks: Vec<String>,
}

impl Tally {
    /// Shows what comes, to its end.
    pub(super) fn show(from: impl Read) -> Self {
        Self::show_each(from, |_| true)
    }

    /// The same; `told` has what was counted each time that more has come, until it wants no more.
    pub(super) fn show_each(mut from: impl Read, told: impl Fn(&Self) -> bool) -> Self {
        let mut tally = Self::default();
        let mut buffer = [0; 4096];
        let mut line = Vec::new();
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let read = buffer.get(..length).unwrap_or_default();
            // Nobody may be there to see it.
            stdout()
                .write_all(read)
                .and_then(|()| stdout().flush())
                .ok();
            for &octet in read {
                if octet == b'\n' {
                    tally.count(&String::from_utf8_lossy(&line));
                    line.clear();
                } else {
                    line.push(octet);
                }
            }
            if !told(&tally) {
                break;
            }
        }
        tally.count(&String::from_utf8_lossy(&line));
        tally
    }

    /// An error where of a part nothing ran: what was chosen has come to be ignored.
    pub(super) fn assert_ran(&self) -> Result<()> {
        if self.empty > 0 || self.passed + self.failed == 0 {
            bail!("no test ran in a part: what it names is ignored");
        }
        Ok(())
    }

    fn count(&mut self, line: &str) {
        if let Some(hooks) = line.strip_prefix("hooks: ") {
            for hook in hooks.trim().split(", ") {
                if !self.hooks.iter().any(|known| known == hook) {
                    self.hooks.push(hook.to_owned());
                }
            }
        } else if let Some(result) = line.strip_prefix("test result: ") {
            let [passed, failed] = [" passed;", " failed;"].map(|it| number_before(result, it));
            self.passed += passed;
            self.failed += failed;
            self.empty += u32::from(passed + failed == 0);
        }
    }
}

fn number_before(line: &str, word: &str) -> u32 {
    let number = line
        .split_once(word)
        .and_then(|(before, _)| before.rsplit(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_and_each_hook_is_named_once() {
        let printed = "test a ... ok\n---- a stdout ----\nhooks: xdp-native, tcx-egress\n\
            hooks: tcx-ingress, tcx-egress\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out\n\
            test result: \x1b[31mFAILED\x1b[m. 1 passed; 2 failed; 0 ignored\r\n";
        let tally = Tally::show(printed.as_bytes());
        assert_eq!(tally.passed, 4);
        assert_eq!(tally.failed, 2);
        assert!(tally.assert_ran().is_ok());
        assert_eq!(tally.hooks, ["xdp-native", "tcx-egress", "tcx-ingress"]);
    }

    #[test]
    fn a_part_of_which_nothing_ran_is_an_error() {
        let ran = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured\n";
        let ignored = "test result: ok. 0 passed; 0 failed; 2 ignored; 0 measured\n";
        for printed in [format!("{ran}{ignored}"), String::new()] {
            let ran = Tally::show(printed.as_bytes()).assert_ran();
            assert!(
                ran.unwrap_err().to_string().contains("ignored"),
                "{printed}"
            );
        }
    }
}
