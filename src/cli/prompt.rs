//! Secrets that a person types, or a program pipes in.
//!
//! Job: one secret a line, from a terminal without echo or from standard input.
//! Invariants: a secret never comes from an argument or the environment and is never written back; line ends are
//! stripped, nothing else is; the terminal echoes again whatever happens.
//! Failure mode: a [`Complaint`] that names what was missing.

use std::io::{BufRead, IsTerminal, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Complaint;

/// Longest line that is read; refresh tokens have fewer than 1000 characters.
const LONGEST_LINE: u64 = 16 * 1024;

/// Most that is read of what is piped in: a queue's message has at most 256 KiB.
const LONGEST_PIPE: usize = 512 * 1024;

/// Lines that hold a secret each.
pub(super) struct SecretLines<R> {
    input: R,
    is_terminal: bool,
}

impl SecretLines<std::io::StdinLock<'static>> {
    /// Standard input; where it is a terminal, a prompt is shown and what is typed is not.
    pub(super) fn from_stdin() -> Self {
        let stdin = std::io::stdin();
        Self {
            is_terminal: stdin.is_terminal(),
            input: stdin.lock(),
        }
    }
}

impl<R: BufRead> SecretLines<R> {
    /// The next secret; `what` is what it is called in the prompt and in a complaint.
    pub(super) fn next(&mut self, what: &str) -> Result<Zeroizing<String>, Complaint> {
        let _silence = if self.is_terminal {
            prompt(&format!("{what}: "));
            Silence::begin()
        } else {
            None
        };
        // large enough from the start, so that no copy is left behind by growing
        let mut line = Zeroizing::new(String::with_capacity(2048));
        self.input
            .by_ref()
            .take(LONGEST_LINE)
            .read_line(&mut line)
            .map_err(|error| Complaint::while_doing(&format!("reading the {what}"), error))?;
        if self.is_terminal {
            prompt("\n");
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(Complaint(format!(
                "the {what} is empty; type it at the prompt, or pipe it in as a line of its own"
            )));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl<R: BufRead> SecretLines<R> {
    /// All that is piped in; one line of a terminal.
    pub(super) fn whole(&mut self, what: &str) -> Result<Zeroizing<String>, Complaint> {
        if self.is_terminal {
            return self.next(what);
        }
        let mut text = Zeroizing::new(String::with_capacity(LONGEST_PIPE));
        self.input
            .by_ref()
            .take(LONGEST_PIPE as u64)
            .read_to_string(&mut text)
            .map_err(|error| Complaint::while_doing(&format!("reading the {what}"), error))?;
        Ok(text)
    }
}

fn prompt(text: &str) {
    // without a prompt the command still works
    let _unseen = std::io::stderr().write_all(text.as_bytes());
}

/// A terminal that does not echo, until this is dropped.
struct Silence {
    before: Termios,
}

impl Silence {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // there is nobody to tell
        let _unchanged = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> SecretLines<&[u8]> {
        SecretLines {
            input: text.as_bytes(),
            is_terminal: false,
        }
    }

    #[test]
    fn line_ends_are_stripped_and_nothing_else() {
        let mut lines = lines("amzn1.x\r\n spaced \nlast");
        for want in ["amzn1.x", " spaced ", "last"] {
            assert_eq!(*lines.next("secret").unwrap(), want);
        }
    }

    #[test]
    fn an_empty_or_missing_line_is_refused_by_name() {
        for text in ["", "\n", "\r\nlater\n"] {
            let complaint = lines(text).next("client_secret").unwrap_err();
            assert!(complaint.0.starts_with("the client_secret is empty"));
        }
    }
}
