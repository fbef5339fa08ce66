//! What runs on each kernel: that the programs load, attach, decide and cure, in a selection that is
//! quick enough where every instruction is emulated.

use anyhow::{Context as _, Result, bail};

use super::binaries::Binary;

/// The kernels of a run that names none: the oldest that lastack supports first.
pub(super) const MATRIX: [&str; 5] = ["5.10", "6.1", "6.12", "newest", "host"];

/// Tests of one target.
struct Part {
    target: &'static str,
    /// What is in their names.
    tests: &'static [&'static str],
}

/// The selection.
const PARTS: [Part; 8] = [
    Part {
        target: "verdicts",
        tests: &[
            "loading::programs_that_log",
            "closes::enforce_drops",
            "buffers::tc_understands",
            "tables::flows_are_told",
            "scope::client_and_port",
            "long_traces_towards_servers_with_tc",
            "long_traces_towards_clients_with_xdp",
            "long_traces_without_ethernet_headers_towards_servers",
            "long_traces_where_servers_close_too_towards_servers",
        ],
    },
    Part {
        target: "kernels",
        tests: &[""],
    },
    Part {
        target: "check",
        tests: &["machine::a_good_machine"],
    },
    Part {
        target: "demo",
        tests: &["the_text_shows_every_phase", "enforce_drops_every"],
    },
    Part {
        target: "links",
        tests: &["on_a_tun_interface_clsact"],
    },
    Part {
        target: "pinned",
        tests: &["pinned_programs_go_on_without", "filters_in_clsact_go_on"],
    },
    Part {
        target: "reload",
        tests: &["a_close_that_was_seen_in_monitor_mode"],
    },
    Part {
        target: "control",
        tests: &["status_tells_what", "detach_leaves_nothing_pinned"],
    },
];

/// What is set for them: long tests are shorter, and print what they leave out.
pub(super) const SETTINGS: &str = "export LASTACK_TEST_SHORT=1\n";

/// Their targets.
pub(super) fn targets() -> Vec<String> {
    PARTS.iter().map(|part| part.target.to_owned()).collect()
}

/// A test binary and what it is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) binary: Binary,
    pub(super) arguments: Vec<String>,
}

/// The selection, as it is called. Each of its names has to mean a test.
pub(super) fn jobs(binaries: &[Binary]) -> Result<Vec<Job>> {
    let jobs = PARTS.iter().map(|part| {
        let binary = binaries.iter().find(|binary| binary.name == part.target);
        let binary = binary.with_context(|| format!("there is no test {}", part.target))?;
        let names = binary.tests(&[])?;
        if let Some(test) = missing(part, &names) {
            bail!("{} has no test with {test} in its name", part.target);
        }
        // What passing tests print, too: which hooks were taken, and what was left out.
        let arguments = std::iter::once(&"--show-output").chain(part.tests);
        Ok(Job {
            binary: binary.clone(),
            arguments: arguments
                .filter(|argument| !argument.is_empty())
                .map(|&argument| argument.to_owned())
                .collect(),
        })
    });
    jobs.collect()
}

fn missing(part: &Part, names: &[String]) -> Option<&'static str> {
    let mut tests = part.tests.iter();
    tests
        .find(|&&test| !names.iter().any(|name| name.contains(test)))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_begins_with_the_oldest_kernel_that_is_supported() {
        let floor = include_str!("../../../filter-user/src/datapath/kernel.rs");
        let series = MATRIX[0].replace('.', ", ");
        let expected = format!("const FLOOR: Series = Series({series});");
        assert!(floor.contains(&expected), "no {expected}");
    }

    #[test]
    fn a_name_that_means_no_test_is_found() {
        let part = Part {
            target: "verdicts",
            tests: &["loading::", "closes::enforce"],
        };
        let names = ["loading::all", "closes::enforce_drops"].map(str::to_owned);
        assert_eq!(missing(&part, &names), None);
        assert_eq!(missing(&part, &names[..1]), Some("closes::enforce"));
    }
}
