//! What an instance is called.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of an instance: unique in a network namespace among those that run, and in a pin
/// directory among those that are pinned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct InstanceName(String);

/// More than anybody types.
const LONGEST: usize = 32;

impl InstanceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for InstanceName {
    /// That of an instance that was given none.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for InstanceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A BPF file system refuses dots, and a path could leave its directory.
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "not 1 to {LONGEST} of the characters a-z, A-Z, 0-9, - and _"
            ))
        }
    }
}

impl TryFrom<String> for InstanceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_that_a_bpf_file_system_takes() {
        for right in ["default", "wan-1", "A_b", &"x".repeat(32)] {
            assert_eq!(right.parse::<InstanceName>().unwrap().as_str(), right);
        }
        for wrong in ["", ".", "..", "eth0.1", "a/b", "a b", "ä", &"x".repeat(33)] {
            assert!(wrong.parse::<InstanceName>().is_err(), "{wrong}");
        }
    }
}
