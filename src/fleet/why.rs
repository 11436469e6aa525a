//! Why something was done, and who did it.
//!
//! Job: two texts that go into the store's record, the audit, the log and refusals.
//! Invariants: neither is empty, each is on one line and bounded; a word that looks like a credential is masked: people paste.
//! Failure mode: [`Unexplained`].

use crate::redact;

/// Longest reason, in characters.
const LONGEST_REASON: usize = 300;

/// Longest name, in characters.
const LONGEST_NAME: usize = 100;

/// Who asks for a change, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Why {
    reason: String,
    by: String,
}

/// No reason, or no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unexplained {
    /// The reason is empty or longer than 300 characters.
    #[error("a reason is 1 to 300 characters that say why, for whoever reads the audit")]
    Reason,
    /// The name is empty or longer than 100 characters.
    #[error("`by` is 1 to 100 characters that name who does it")]
    Name,
}

impl Why {
    /// A reason and a name.
    ///
    /// # Errors
    /// When one of them is empty or too long.
    pub fn new(reason: &str, by: &str) -> Result<Self, Unexplained> {
        let one_line = |text: &str, longest: usize| {
            let words: Vec<&str> = text
                .split(|c: char| c.is_whitespace() || c.is_control())
                .filter(|word| !word.is_empty())
                .map(|word| {
                    if redact::looks_secret(word) {
                        "[redacted]"
                    } else {
                        word
                    }
                })
                .collect();
            let line = words.join(" ");
            (!line.is_empty() && line.chars().count() <= longest).then_some(line)
        };
        Ok(Self {
            reason: one_line(reason, LONGEST_REASON).ok_or(Unexplained::Reason)?,
            by: one_line(by, LONGEST_NAME).ok_or(Unexplained::Name)?,
        })
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Who.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_and_says_something() {
        assert_eq!(
            Why::new(" leaked\n\ton \u{7}github ", "ada")
                .unwrap()
                .reason(),
            "leaked on github"
        );
        let pasted = Why::new("Atzr|IwEBIcanary leaked, INC0012345", "ada@example.com").unwrap();
        assert_eq!(
            (pasted.reason(), pasted.by()),
            ("[redacted] leaked, INC0012345", "ada@example.com")
        );
        assert_eq!(Why::new(" \n", "ada"), Err(Unexplained::Reason));
        assert_eq!(
            Why::new(&"so ".repeat(101), "ada"),
            Err(Unexplained::Reason)
        );
        assert_eq!(Why::new("x", ""), Err(Unexplained::Name));
    }
}
