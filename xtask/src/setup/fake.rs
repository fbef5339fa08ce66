//! A machine made of answers, for the tests of what is chosen and installed.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::machine::{Call, Machine};

/// How a linker is asked for its LLVM.
pub(crate) const LINKER_PROBE: &str = "--llvm-args=--version -o /nonexistent/out /nonexistent/in";

#[derive(Clone, Default)]
struct State {
    answers: HashMap<String, String>,
    programs: HashSet<String>,
    files: HashSet<PathBuf>,
}

/// What is there once a call has succeeded.
type Effect = (&'static str, fn(Fake) -> Fake);

#[derive(Default)]
pub(crate) struct Fake {
    root: bool,
    state: RefCell<State>,
    effects: Vec<Effect>,
    failing: Vec<&'static str>,
    said: RefCell<Vec<String>>,
    changes: RefCell<Vec<String>>,
}

impl Fake {
    pub(crate) fn user() -> Self {
        Self::default()
    }

    pub(crate) fn root() -> Self {
        Self {
            root: true,
            ..Self::default()
        }
    }

    pub(crate) fn program(mut self, name: &str) -> Self {
        self.state.get_mut().programs.insert(name.to_owned());
        self
    }

    pub(crate) fn file(mut self, path: &str) -> Self {
        self.state.get_mut().files.insert(path.into());
        self
    }

    pub(crate) fn answer(mut self, call: &str, output: &str) -> Self {
        self.state
            .get_mut()
            .answers
            .insert(call.to_owned(), output.to_owned());
        self
    }

    /// Calls that contain this text fail.
    pub(crate) fn failing(mut self, part: &'static str) -> Self {
        self.failing.push(part);
        self
    }

    /// Calls that contain this text make these things appear.
    pub(crate) fn effect(mut self, part: &'static str, then: fn(Self) -> Self) -> Self {
        self.effects.push((part, then));
        self
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.borrow().clone()
    }

    pub(crate) fn changes(&self) -> Vec<String> {
        self.changes.borrow().clone()
    }
}

impl Machine for Fake {
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let call = Call::new(program, arguments).to_string();
        self.state.borrow().answers.get(&call).cloned()
    }

    fn change(&self, call: &Call) -> Result<()> {
        let call = call.to_string();
        self.changes.borrow_mut().push(call.clone());
        if self.failing.iter().any(|part| call.contains(part)) {
            bail!("`{call}` failed");
        }
        for (_, then) in self.effects.iter().filter(|(part, _)| call.contains(part)) {
            let state = then(Self {
                state: self.state.clone(),
                ..Self::default()
            });
            self.state.replace(state.state.into_inner());
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.state.borrow().files.contains(path)
    }

    fn names_in(&self, directory: &Path) -> Vec<String> {
        let state = self.state.borrow();
        let inside = state
            .files
            .iter()
            .filter(|file| file.parent() == Some(directory));
        inside
            .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
            .collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/someone".to_owned())
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let state = self.state.borrow();
        state
            .programs
            .contains(name)
            .then(|| Path::new("/bin").join(name))
    }

    fn is_root(&self) -> bool {
        self.root
    }

    fn say(&self, line: &str) {
        self.said.borrow_mut().push(line.to_owned());
    }
}
