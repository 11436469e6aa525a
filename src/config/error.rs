//! Mistakes in a configuration file: where, what is wrong, what to write.

use std::fmt;

/// One mistake. `path` is the place in the document, as in `tenants[2].region`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Place in the document; empty for the document itself.
    pub path: String,
    /// What is wrong. Never holds a value that came from the environment.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// Every mistake of one file, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Faults {
    /// The file's name, as the user gave it.
    pub file: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            let path = if fault.path.is_empty() {
                "(document)"
            } else {
                &fault.path
            };
            write!(
                f,
                "{newline}{}:{}:{}: {path}: {}; {}",
                self.file, fault.line, fault.column, fault.problem, fault.remedy
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// What is wrong with one value, before anybody has said where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl Wrong {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
