//! The machine that is being set up, as far as the choice of tools asks about it: a trait, so
//! that the choice can be tested on machines that are not at hand.

use std::{
    env,
    fmt::{self, Display, Formatter},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::process;

/// A program call that changes the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

impl Call {
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Display for Call {
    /// As a shell would take it; the environment is left out.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {argument}"))
    }
}

/// What is there, and how it is changed.
pub(crate) trait Machine {
    /// The standard output of a call that succeeds.
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String>;
    /// Runs a call; shows the end of what it printed only if it fails.
    fn change(&self, call: &Call) -> Result<()>;
    fn exists(&self, path: &Path) -> bool;
    /// The names in a directory; none if it cannot be read.
    fn names_in(&self, directory: &Path) -> Vec<String>;
    fn variable(&self, name: &str) -> Option<String>;
    /// Where a program is.
    fn program(&self, name: &str) -> Option<PathBuf>;
    fn is_root(&self) -> bool;
    /// One line for the person who waits.
    fn say(&self, line: &str);
}

/// The machine that this runs on.
#[derive(Debug)]
pub(crate) struct Here;

impl Machine for Here {
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let output = Command::new(program).args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn change(&self, call: &Call) -> Result<()> {
        let mut command = Command::new(&call.program);
        command
            .args(&call.arguments)
            .envs(call.environment.iter().map(|(name, value)| (name, value)))
            // What is installed is not built among this project's own artefacts.
            .env_remove("CARGO_TARGET_DIR");
        process::quietly(&mut command, &call.to_string())
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn names_in(&self, directory: &Path) -> Vec<String> {
        fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        // An ordinary user's PATH often lacks the directories of nft, nginx and bpftool.
        env::split_paths(&path)
            .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
            .map(|directory| directory.join(name))
            .find(|file| file.is_file())
    }

    fn is_root(&self) -> bool {
        fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
    }

    fn say(&self, line: &str) {
        eprintln!("{line}");
    }
}
