//! The file that comes with lastack.

use std::fs;

use clap::{Arg, Args as _, Command};
use filter_user::{commands::run::Arguments, config::ConfigFile};

use super::instance::file::OwnFile;

const EXAMPLE: &str = include_str!("../../lastack.toml");

/// Those that have no default; in the file is an example.
const WITHOUT_DEFAULT: [&str; 3] = ["iface", "client", "port"];

fn options() -> Command {
    Arguments::augment_args(Command::new("lastack run"))
}

/// The file with everything in it that is commented out.
fn uncommented() -> String {
    let lines = EXAMPLE.lines();
    lines
        .map(|line| match line.strip_prefix('#') {
            Some(option) if !option.is_empty() && !option.starts_with(' ') => option,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn defaults(option: &Arg) -> Vec<String> {
    let values = option.get_default_values().iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn as_it_comes_it_sets_nothing() {
    let file = OwnFile::new(EXAMPLE);
    let with_file = ConfigFile::read(file.path(), &options())
        .unwrap()
        .defaults(options());
    for (bare, option) in options().get_arguments().zip(with_file.get_arguments()) {
        assert_eq!(defaults(bare), defaults(option), "{option}");
    }
}

#[test]
fn it_tells_every_option_and_its_default() {
    let file = OwnFile::new(uncommented());
    let read = ConfigFile::read(file.path(), &options()).unwrap();
    let text = fs::read_to_string(file.path()).unwrap();
    let with_file = read.defaults(options());
    for (bare, option) in options().get_arguments().zip(with_file.get_arguments()) {
        let name = option.get_long().unwrap();
        if name == "config" {
            continue;
        }
        let key = format!("{name} = ");
        assert!(text.lines().any(|line| line.starts_with(&key)), "no {name}");
        if WITHOUT_DEFAULT.contains(&name) {
            assert!(defaults(bare).is_empty(), "{name} has a default");
        } else {
            assert_eq!(defaults(bare), defaults(option), "{name}");
        }
    }
}

const DAMAGE: [char; 15] = [
    '"', '\'', '[', ']', '{', '=', '.', '#', '\n', '\\', '0', '-', 'ü', '日', '\u{0}',
];

#[test]
fn a_damaged_file_is_read_or_refused_with_its_place() {
    let options = options();
    let whole: Vec<_> = uncommented().chars().collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut refused = 0;
    for _ in 0..200 {
        let mut damaged = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..damaged.len());
            match random.u8(..3) {
                0 => damaged.truncate(at.max(1)),
                1 => damaged[at] = random.choice(DAMAGE).unwrap(),
                _ => drop(damaged.remove(at)),
            }
        }
        let file = OwnFile::new(damaged.into_iter().collect::<String>());
        if let Err(error) = ConfigFile::read(file.path(), &options) {
            let line = format!("{error:#}");
            let place = line.strip_prefix(&format!("{}:", file.as_str())).unwrap();
            let mut numbers = place.splitn(3, ':').take(2);
            assert!(
                numbers.all(|number| number.parse::<usize>().is_ok()),
                "{line}"
            );
            assert!(!line.contains('\n'), "{line}");
            refused += 1;
        }
    }
    assert!(refused > 20, "{refused}");
}
