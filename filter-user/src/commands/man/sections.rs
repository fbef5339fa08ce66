//! The sections of a page that are not in the description of the command line.

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

/// Terms, each with its explanation.
type Entries = [(&'static str, &'static str)];

const EXIT_STATUS: &Entries = &[
    (
        "0",
        "Done. For lastack run: ended in good order by a signal.",
    ),
    (
        "1",
        "Failed; one line on standard error says what, on what, and what to do.",
    ),
    ("2", "Wrong usage."),
];

const ENVIRONMENT: &Entries = &[
    (
        "LASTACK_*",
        "Each option of lastack run by its long name, in capitals and with _ for -: \
         LASTACK_MODE=monitor. Switches take true or false. Several values are separated by commas. \
         A flag beats the environment; the environment beats the file that --config names.",
    ),
    (
        "RUST_LOG",
        "What is logged to standard error: error, warn, info or debug. Without it, info.",
    ),
];

const FILES: &Entries = &[
    (
        "The file that --config names",
        "TOML. Each key is the long name of an option of lastack run; options that may be repeated \
         take a list. A wrong file is told with the line and column, and nothing is attached.",
    ),
    (
        "/sys/fs/bpf/lastack",
        "Where lastack run --pin leaves programs and tables.",
    ),
];

const EXAMPLES: &Entries = &[
    (
        "lastack analyze trace.pcapng",
        "Is the fault there? Told from a capture, on any machine.",
    ),
    (
        "lastack check --iface wan0",
        "Can this machine run it, and would it see every packet that it has to see?",
    ),
    (
        "lastack run --iface wan0 --mode monitor",
        "Counts, and changes nothing on the wire.",
    ),
    ("lastack run --iface wan0", "The cure."),
    (
        "lastack run --config /etc/lastack.toml --mode monitor",
        "With the options of a file, but for the mode.",
    ),
];

/// What follows the options on the page of a command.
pub(super) fn after(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let is_main = command.has_subcommands();
    let takes_file = command
        .get_arguments()
        .any(|option| option.get_id() == "config");
    section(&mut roff, "EXIT STATUS", EXIT_STATUS);
    if is_main || takes_file {
        section(&mut roff, "ENVIRONMENT", ENVIRONMENT);
        section(&mut roff, "FILES", FILES);
        section(&mut roff, "EXAMPLES", EXAMPLES);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text(if is_main {
        vec![
            bold("tc"),
            roman("(8), "),
            bold("ip"),
            roman("(8), "),
            bold("bpftool"),
            roman("(8)"),
        ]
    } else {
        vec![bold("lastack"), roman("(1)")]
    });
    roff
}

fn section(roff: &mut Roff, title: &str, entries: &Entries) {
    roff.control("SH", [title]);
    for (term, explanation) in entries {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*explanation)]);
    }
}
