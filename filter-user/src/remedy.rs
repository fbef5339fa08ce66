//! What to do about an error of the kernel's, and how errors of libraries are told.

use std::{error::Error, io};

use anyhow::Chain;
use nix::libc;

/// What helps where nothing better is known.
const ANYTHING: &str = "try again, and ask `lastack check` what this machine lacks";

/// What to do about this answer of the kernel's, whatever it was asked for.
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::EPERM => "look for a security module or a container that forbids it",
        libc::ENOMEM => {
            "free some memory, or the process of a limit; a lower --max-flows needs less"
        }
        libc::E2BIG => "a lower --max-flows is smaller",
        libc::ENOSPC => "make room there",
        libc::EROFS => "mount it again so that it can be written to",
        libc::EMFILE | libc::ENFILE => "allow this process more open files (`ulimit -n`)",
        libc::EBUSY => "something else has it: try again when that is done",
        _ => return None,
    })
}

/// The kernel's answer and what to do about it.
pub(crate) fn answer(error: &io::Error) -> String {
    format!("{error}; {}", remedy(error).unwrap_or(ANYTHING))
}

/// An error with its causes, each said once, and what to do about the last.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for text in Chain::new(error).map(ToString::to_string) {
        // Some errors of libraries say what caused them, and then the cause is asked, too.
        if let Some(last) = said.last_mut()
            && last.ends_with(&text)
        {
            *last = text;
        } else {
            said.push(text);
        }
    }
    let root = Chain::new(error)
        .last()
        .and_then(|root| root.downcast_ref());
    let remedy = root.and_then(remedy).unwrap_or(ANYTHING);
    format!("{}; {remedy}", said.join(": "))
}

#[cfg(test)]
mod tests {
    use aya::{EbpfError, maps::MapError};

    use super::*;

    #[test]
    fn each_cause_is_told_once_and_then_what_to_do() {
        let error = EbpfError::MapError(MapError::CreateError {
            name: "FLOWS".to_owned(),
            io_error: io::Error::from_raw_os_error(libc::ENOMEM),
        });
        assert_eq!(
            told(&error),
            "failed to create map `FLOWS`: Cannot allocate memory (os error 12); free some memory, \
             or the process of a limit; a lower --max-flows needs less"
        );
        assert!(told(&MapError::KeyNotFound).contains("lastack check"));
    }

    #[test]
    fn what_is_no_answer_of_the_kernel_has_no_remedy_of_its_own() {
        assert_eq!(remedy(&io::Error::other("anything")), None);
        assert!(answer(&io::Error::other("anything")).contains("lastack check"));
    }
}
