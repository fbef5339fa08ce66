//! How it went on each kernel, as a table.

use anyhow::Error;

use super::tally::Tally;

/// One kernel's line.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What was asked for, and the release once that is known.
    pub(super) kernel: String,
    pub(super) tally: Tally,
    pub(super) seconds: u64,
    /// Why it did not pass.
    pub(super) error: Option<Error>,
}

/// The table, with a line for each.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let head = ["kernel", "hooks", "tests", "seconds", ""].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(outcomes.iter().map(cells))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let [first, second, third, fourth] = [0, 1, 2, 3].map(width);
    let mut table = String::new();
    for [kernel, hooks, tests, seconds, error] in &rows {
        let line =
            format!("{kernel:first$}  {hooks:second$}  {tests:third$}  {seconds:fourth$}  {error}");
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn cells(outcome: &Outcome) -> [String; 5] {
    let Tally {
        passed,
        failed,
        hooks,
        ..
    } = &outcome.tally;
    let hooks = if hooks.is_empty() {
        "-".to_owned()
    } else {
        hooks.join(" ")
    };
    let tests = if *failed == 0 {
        format!("{passed} passed")
    } else {
        format!("{passed} passed, {failed} failed")
    };
    let error = outcome.error.as_ref().map(|error| format!("{error:#}"));
    // What a kernel said last has been shown already.
    let error = error.as_deref().and_then(|error| error.lines().next());
    [
        outcome.kernel.clone(),
        hooks,
        tests,
        outcome.seconds.to_string(),
        error.unwrap_or_default().trim_end_matches(':').to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn each_kernel_has_a_line_and_says_why_it_did_not_pass() {
        let outcome = |kernel: &str, hooks: &[&str], (passed, failed), error| Outcome {
            kernel: kernel.to_owned(),
            tally: Tally {
                passed,
                failed,
                hooks: hooks.iter().map(|&hook| hook.to_owned()).collect(),
                ..Tally::default()
            },
            seconds: 100,
            error,
        };
        let outcomes = [
            outcome(
                "5.10.0-46-amd64",
                &["xdp-native", "tcx-egress"],
                (9, 0),
                None,
            ),
            outcome("6.1", &[], (8, 1), Some(anyhow!("tests failed"))),
            outcome("7", &[], (0, 0), Some(anyhow!("no kernel 7:\n    more"))),
        ];
        assert_eq!(
            table(&outcomes),
            "kernel           hooks                  tests               seconds\n\
             5.10.0-46-amd64  xdp-native tcx-egress  9 passed            100\n\
             6.1              -                      8 passed, 1 failed  100      tests failed\n\
             7                -                      0 passed            100      no kernel 7\n"
        );
    }
}
