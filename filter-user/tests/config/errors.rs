//! What is wrong with a file is one line that says where, and nothing is attached.

use std::process::{Command, Output};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};

use super::instance::{file::OwnFile, hooks, lastack, output};

/// Content of a file, and the line and column and message that it must give.
const WRONG: &[(&str, &str)] = &[
    // Syntax.
    (
        "mode = monitor",
        "1:8: string values must be quoted, expected literal string",
    ),
    (
        "window = 500ms",
        "1:10: string values must be quoted, expected literal string",
    ),
    (
        "iface = \"wan0",
        "1:14: invalid basic string, expected `\"`",
    ),
    (
        "iface = [\"wan0\"\nmode = \"monitor\"",
        "2:1: missing comma between array elements, expected `,`",
    ),
    ("mode \"monitor\"", "1:6: key with no value, expected `=`"),
    ("budget = 3\n\nbudget = 3", "3:1: duplicate key"),
    // Keys.
    (
        "modee = \"monitor\"",
        "1:1: no option is called modee; did you mean mode?",
    ),
    (
        "# one\n  rst_guard = true",
        "2:3: no option is called rst_guard; did you mean rst-guard?",
    ),
    (
        "iface = \"wan0\"\nmtu = 1500",
        "2:1: no option is called mtu; `lastack run --help` lists them",
    ),
    (
        "config = \"other.toml\"",
        "1:1: config cannot be in a file; it is what names this one",
    ),
    (
        "help = true",
        "1:1: no option is called help; `lastack run --help` lists them",
    ),
    (
        "[run]\nmode = \"monitor\"",
        "1:2: there are no sections; options are at the top level",
    ),
    (
        "window.max = \"1s\"",
        "1:1: window takes a value, not a table",
    ),
    // The first one is told.
    (
        "wait = 1\nmodee = 1\nbudget = 0",
        "1:8: wait = 1: must be true or false, without quotes",
    ),
    // Types.
    (
        "window = 500",
        "1:10: window = 500: not a time with its unit (500ms, 4m)",
    ),
    (
        "rst-guard = \"yes\"",
        "1:13: rst-guard = \"yes\": must be true or false, without quotes",
    ),
    (
        "budget = \"3\"",
        "1:10: budget = \"3\": must be a whole number, without quotes",
    ),
    (
        "budget = 1.5",
        "1:10: budget = 1.5: must be a whole number, without quotes",
    ),
    ("iface = 5", "1:9: iface = 5: must be in quotes: \"5\""),
    (
        "mode = [\"monitor\"]",
        "1:8: mode = [\"monitor\"]: takes one value, not a list",
    ),
    (
        "iface = [[\"wan0\"]]",
        "1:10: iface = [\"wan0\"]: a list within a list",
    ),
    (
        "metrics-addr = 9433",
        "1:16: metrics-addr = 9433: neither an address with a port (127.0.0.1:9433, [::1]:9433) nor off",
    ),
    // Values.
    (
        "window = \"25h\"",
        "1:10: window = \"25h\": must not be more than 1day",
    ),
    ("budget = 0", "1:10: budget = 0: 0 is not in 1..=255"),
    ("budget = -1", "1:10: budget = -1: -1 is not in 1..=255"),
    (
        "max-flows = 99_999_999_999_999_999_999_999",
        "1:13: max-flows = 99_999_999_999_999_999_999_999: 99999999999999999999999 is not in 1..=16777216",
    ),
    (
        "port = [\n  80,\n  65536,\n]",
        "3:3: port = 65536: 65536 is not in 1..=65535",
    ),
    (
        "mode = \"off\"",
        "1:8: mode = \"off\": must be one of enforce, monitor",
    ),
    (
        "iface = [\"wan0\", \"\"]",
        "1:18: iface = \"\": must not be empty",
    ),
    (
        "client = \"10.0.0.0/8,fd00::/8\"",
        "1:10: client = \"10.0.0.0/8,fd00::/8\": several values are a list: [\"one\", \"other\"]",
    ),
    (
        "instance = \"a b\"",
        "1:12: instance = \"a b\": not 1 to 32 of the characters a-z, A-Z, 0-9, - and _",
    ),
    // Columns count characters.
    (
        "client = [\"10.0.0.0/8\", \"ü\", \"lan\"]",
        "1:25: client = \"ü\": neither an address nor a prefix (10.0.0.0/8, 2001:db8::/32)",
    ),
    (
        "# größer\r\niface = [\"größe\", \"日本\", \"\"]",
        "2:25: iface = \"\": must not be empty",
    ),
    (
        "\u{feff}modee = 1",
        "1:1: no option is called modee; did you mean mode?",
    ),
    // Options that contradict each other.
    (
        "ingress = \"tc\"\nxdp-mode = \"native\"",
        "2:12: xdp-mode cannot be used with ingress tc, which attaches no XDP",
    ),
];

#[test]
fn an_error_in_a_file_is_one_line_with_its_line_and_column_and_nothing_is_attached() {
    let topology = Topology::new().unwrap();
    let before = hooks(&topology.gateway, WAN);
    for (content, says) in WRONG {
        let file = OwnFile::new(content);
        for command in ["run", "check"] {
            let stderr = refused(&topology.gateway, &[command, "--config", file.as_str()]);
            assert_eq!(
                stderr,
                format!("lastack: {}:{says}\n", file.as_str()),
                "{content}"
            );
        }
    }
    assert_eq!(hooks(&topology.gateway, WAN), before);
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_one_line() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let directory = std::env::temp_dir();
    let missing = directory.join("lastack-there-is-no-such-file.toml");
    for (path, says) in [
        (missing.as_path(), "No such file or directory (os error 2)"),
        (directory.as_path(), "Is a directory (os error 21)"),
    ] {
        let path = path.to_str().unwrap();
        let stderr = refused(gateway, &["run", "--config", path]);
        assert_eq!(stderr, format!("lastack: cannot read {path}: {says}\n"));
    }
    let file = OwnFile::new(b"mode = \"monitor\"\n# \xc3\xbc \xff");
    let stderr = refused(gateway, &["run", "--config", file.as_str()]);
    assert_eq!(
        stderr,
        format!("lastack: {}:2:5: not UTF-8\n", file.as_str())
    );
}

#[test]
fn without_an_interface_anywhere_the_file_is_told_to_lack_it() {
    let topology = Topology::new().unwrap();
    let file = OwnFile::new("mode = \"monitor\"\niface = []");
    for command in ["run", "check"] {
        let stderr = refused(&topology.gateway, &[command, "--config", file.as_str()]);
        assert_eq!(
            stderr,
            format!(
                "lastack: {}: no interface to serve: add iface = [\"wan0\"], or give --iface\n",
                file.as_str()
            )
        );
    }
}

#[test]
fn a_flag_that_contradicts_the_file_is_told_with_the_place_in_the_file() {
    let topology = Topology::new().unwrap();
    for (content, flag, place) in [
        ("xdp-mode = \"native\"", ["--ingress", "tc"], "1:12"),
        ("\n ingress = \"tc\"", ["--xdp-mode", "native"], "2:12"),
    ] {
        let file = OwnFile::new(content);
        let mut arguments = vec!["run", "--iface", WAN, "--config", file.as_str()];
        arguments.extend(flag);
        let stderr = refused(&topology.gateway, &arguments);
        let says = "xdp-mode cannot be used with ingress tc, which attaches no XDP";
        assert_eq!(
            stderr,
            format!("lastack: {}:{place}: {says}\n", file.as_str())
        );
    }
}

/// What it says when it fails, which it must.
#[track_caller]
fn refused(gateway: &Namespace, arguments: &[&str]) -> String {
    // One that goes on instead ends, and with another status.
    let mut command = Command::new("timeout");
    let lastack = lastack(arguments);
    command.arg("20").arg(lastack.get_program()).args(arguments);
    let Output {
        status,
        stdout,
        stderr,
    } = output(gateway, command);
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    stderr
}
