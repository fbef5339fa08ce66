//! `cargo xtask VERB`: everything that is done to this project, one file per verb.

mod apt;
mod bench;
mod build;
mod build_and_run;
mod ci;
mod conf;
mod crates;
mod faults;
mod fleet;
mod flood;
mod footprint;
mod fuzz;
mod linker;
mod lint;
mod loss;
mod machine;
mod model;
mod package;
mod process;
mod program;
mod record;
mod setup;
mod soak;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs and checks lastack; installs what that needs.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Finds, or installs, what builds the packet programs
    Setup,
    /// Builds the lastack binary and prints its path
    Build(build::Arguments),
    /// Builds lastack, then runs `lastack demo` or the lastack command given after `--`
    BuildAndRun(build_and_run::Arguments),
    /// Runs the tests, those that need root included
    Test(test::Arguments),
    /// Runs tests on other kernels, Debian's in a virtual machine: without options on a matrix
    Vm(vm::Arguments),
    /// Makes the Debian package and the tarball, and prints their paths
    Package(package::Arguments),
    /// Explores every run of a small close through the state machine, then breaks it
    Model(model::Arguments),
    /// Feeds arbitrary bytes to the parser and the state machine, for a while
    Fuzz(fuzz::Arguments),
    /// Runs real stacks through links that lose and reorder, with and without the filter
    Loss(loss::Arguments),
    /// Has each system call that lastack makes fail, and kill it, one at a time
    Faults(faults::Arguments),
    /// Keeps a gateway under all loads at once, with and without the filter, for an hour
    Soak(soak::Arguments),
    /// Floods both hooks of a gateway while connections go on through it
    Flood(flood::Arguments),
    /// Measures what packets, flows and a start cost (docs/performance.md)
    Bench(bench::Arguments),
    /// Records the captures that the tests of `lastack analyze` read, in the lab
    Record(record::Arguments),
    /// Packages the crates that can be published, without publishing them
    Crates(crates::Arguments),
    /// Compares how large the packet programs are with docs/footprint.txt
    Footprint(footprint::Arguments),
    /// Checks format, clippy (host and BPF target), dependencies, documentation, packages and footprint
    Lint(lint::Arguments),
    /// What continuous integration runs: lint, then test and vm, and model beside them
    Ci,
}

fn main() -> ExitCode {
    let done = match Command::parse().verb {
        Verb::Setup => setup::run(),
        Verb::Build(arguments) => build::run(&arguments),
        Verb::BuildAndRun(arguments) => build_and_run::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Vm(arguments) => vm::run(&arguments),
        Verb::Package(arguments) => package::run(&arguments),
        Verb::Model(arguments) => model::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Loss(arguments) => loss::run(&arguments),
        Verb::Faults(arguments) => faults::run(&arguments),
        Verb::Soak(arguments) => soak::run(&arguments),
        Verb::Flood(arguments) => flood::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Record(arguments) => record::run(&arguments),
        Verb::Crates(arguments) => crates::run(&arguments),
        Verb::Footprint(arguments) => footprint::run(&arguments),
        Verb::Lint(arguments) => lint::run(&arguments),
        Verb::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    #[test]
    fn contributing_lists_every_verb() {
        let text = fs::read_to_string(workspace::root().join("CONTRIBUTING.md")).unwrap();
        let (_, table) = text.split_once("\n| verb | does |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
        let cells: Vec<_> = rows.filter_map(|row| row.split('|').nth(1)).collect();
        let listed: BTreeSet<_> = cells
            .iter()
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        let command = Command::command();
        let verbs = command.get_subcommands().map(clap::Command::get_name);
        assert_eq!(listed, verbs.collect());
    }

    #[test]
    fn commands_are_as_documents_write_them() {
        let root = workspace::root();
        let docs = fs::read_dir(root.join("docs")).unwrap();
        let docs = docs.map(|entry| entry.unwrap().path());
        let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name));
        let mut seen = 0;
        for path in docs.chain(others) {
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // In blocks, and between backquotes.
            let typed = text.split("cargo xtask ").skip(1);
            for line in typed.map(|rest| rest.split(['\n', '`', '#', '|', '"']).next().unwrap()) {
                let words = ["xtask"].into_iter().chain(line.split_whitespace());
                // "cargo xtask VERB" and prose.
                if line.starts_with(|first: char| !first.is_ascii_lowercase()) {
                    continue;
                }
                seen += 1;
                if let Err(error) = Command::try_parse_from(words) {
                    let is_help = error.kind() == ErrorKind::DisplayHelp;
                    assert!(is_help, "{}: {line}: {error}", path.display());
                }
            }
        }
        assert!(seen > 30, "{seen} commands");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn what_follows_the_dashes_is_lastacks() {
        let command =
            Command::try_parse_from(["xtask", "build-and-run", "--", "run", "--iface", "wan0"])
                .unwrap();
        let Verb::BuildAndRun(arguments) = command.verb else {
            panic!("{:?}", command.verb)
        };
        assert_eq!(arguments.lastack, ["run", "--iface", "wan0"]);
    }
}
