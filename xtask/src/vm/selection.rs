//! What runs on each kernel: that the programs load, attach, decide and cure, in a selection that is
//! quick enough where every instruction is emulated.

use anyhow::{Context as _, Result, bail};

use super::binaries::Binary;

/// The kernels of a run that names none: the oldest that lastack supports first.
pub(super) const MATRIX: [&str; 5] = ["5.10", "6.1", "6.12", "newest", "host"];

/// Tests of one target.
pub(super) struct Part {
    target: &'static str,
    /// What is in their names.
    tests: &'static [&'static str],
}

/// What runs on each kernel of the matrix.
pub(super) const ON_EACH: &[Part] = &[
    Part {
        target: "verdicts",
        tests: &[
            "closes::enforce_drops",
            "buffers::tc_understands",
            "tables::flows_are_told",
            "long_traces_towards_servers_with_tc",
            "long_traces_towards_clients_with_xdp",
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
        tests: &["scope_changes_too"],
    },
    Part {
        target: "control",
        tests: &["status_tells_what", "detach_leaves_nothing_pinned"],
    },
];

/// What continuous integration has time for on an old kernel.
pub(super) const IN_CI: &[Part] = &[
    Part {
        target: "kernels",
        tests: &["takes_all_programs", "on_every_hook"],
    },
    Part {
        target: "verdicts",
        tests: &[
            "closes::enforce_drops",
            "long_traces_towards_servers_with_tc",
        ],
    },
    Part {
        target: "demo",
        tests: &["the_text_shows_every_phase"],
    },
];

/// What is set for them: long tests are shorter, and print what they leave out.
pub(super) const SETTINGS: &str = "export LASTACK_TEST_SHORT=1\n";

/// Their targets.
pub(super) fn targets(parts: &[Part]) -> Vec<String> {
    parts.iter().map(|part| part.target.to_owned()).collect()
}

/// A test binary and what it is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) binary: Binary,
    pub(super) arguments: Vec<String>,
}

/// A selection, as it is called. Each of its names has to mean a test.
pub(super) fn jobs(parts: &[Part], binaries: &[Binary]) -> Result<Vec<Job>> {
    let jobs = parts.iter().map(|part| {
        let binary = binaries.iter().find(|binary| binary.name == part.target);
        let binary = binary.with_context(|| format!("there is no test {}", part.target))?;
        let ignored = binary.tests(&["--ignored".to_owned()])?;
        let mut names = binary.tests(&[])?;
        names.retain(|name| !ignored.contains(name));
        if let Some(test) = missing(part, &names) {
            bail!(
                "{} has no test with {test} in its name, or ignores it",
                part.target
            );
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
