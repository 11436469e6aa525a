//! The admin token: who may change anything.
//!
//! Job: make the token at the first start, and compare what callers send with it.
//! Invariants: the file is its owner's alone, and is read at each use, so that a new token is in force at once; comparison
//! takes the same time wherever two tokens differ; guessing is slow: a wrong token is answered after [`WRONG_COSTS`], and
//! while [`MOST_WRONG`] such answers are due nothing more is compared. Whoever can keep that up can keep operators out
//! of this listener, and not out of the store, where a command writes the same record.
//! Failure mode: [`Denied`]; a file that cannot be read lets nobody in.

use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::durable;
use crate::secret::Opaque;

/// How long a wrong token waits for its answer.
const WRONG_COSTS: Duration = Duration::from_secs(1);

/// Most wrong tokens that wait at once.
const MOST_WRONG: usize = 8;

/// Shortest token that is accepted from a file: one that somebody chose has to be no word.
const SHORTEST: usize = 16;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("listen.admin_token_file: {0}")]
pub struct TokenFileError(String);

/// Why a caller is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// No token was sent.
    Missing,
    /// Not the token.
    Wrong,
    /// Too many wrong ones at once.
    TooMany,
    /// The token itself cannot be read.
    Unreadable,
}

/// See the module.
#[derive(Debug)]
pub struct AdminToken {
    path: PathBuf,
    wrong: Semaphore,
}

impl AdminToken {
    /// The token in a file; made where there is none.
    ///
    /// # Errors
    /// When the file cannot be made, or is open to others than its owner.
    pub fn open(path: &Path) -> Result<Self, TokenFileError> {
        match make(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(TokenFileError(format!(
                    "{} cannot be made: {error}; choose a folder that this user may write",
                    path.display()
                )));
            }
            Ok(()) | Err(_) => {}
        }
        let _usable = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            wrong: Semaphore::new(MOST_WRONG),
        })
    }

    /// Compares what a caller sent.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn check(&self, sent: Option<&Opaque>) -> Result<(), Denied> {
        let Ok(_due) = self.wrong.try_acquire() else {
            return Err(Denied::TooMany);
        };
        let Some(sent) = sent else {
            return Err(Denied::Missing);
        };
        let path = self.path.clone();
        let held = tokio::task::spawn_blocking(move || read(&path)).await;
        let held = match held.map_err(|ended| TokenFileError(ended.to_string())) {
            Ok(Ok(mut held)) => Opaque::new(std::mem::take(&mut *held)),
            Ok(Err(error)) | Err(error) => {
                tracing::error!(%error, "the admin token cannot be read: nobody is let in");
                return Err(Denied::Unreadable);
            }
        };
        if held.same_as(sent) {
            return Ok(());
        }
        tracing::warn!("a wrong admin token was sent");
        tokio::time::sleep(WRONG_COSTS).await;
        Err(Denied::Wrong)
    }
}

/// The token in a file.
///
/// # Errors
/// When it cannot be read, is open to others than its owner, or too short.
pub fn read(path: &Path) -> Result<Zeroizing<String>, TokenFileError> {
    let wrong = |what: String| TokenFileError(format!("{}: {what}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mode = file
        .metadata()
        .map_err(|error| wrong(error.to_string()))?
        .mode();
    if mode & 0o077 != 0 {
        return Err(wrong(format!(
            "it is open to others than its owner (mode {:03o}); run `chmod 600 {}`",
            mode & 0o777,
            path.display()
        )));
    }
    let mut text = Zeroizing::new(String::with_capacity(512));
    file.take(512)
        .read_to_string(&mut text)
        .map_err(|error| wrong(error.to_string()))?;
    let token = Zeroizing::new(text.trim_end().to_owned());
    let fits = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() < SHORTEST || !fits {
        return Err(wrong(format!(
            "it holds no token of {SHORTEST} or more visible characters; delete it, and the next start makes one"
        )));
    }
    Ok(token)
}

fn make(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut random = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(random.as_mut_slice())
        .map_err(|_unspecified| std::io::Error::other("no randomness"))?;
    let mut text = Zeroizing::new(String::with_capacity(65));
    for nibble in random.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.extend(char::from_digit(u32::from(nibble), 16));
    }
    text.push('\n');
    // whole or not at all: a start that is killed on the way must not leave a part of a token, which no later start would take
    durable::write_new(path, 0o600, &[text.as_bytes()])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn sent(text: &str) -> Opaque {
        Opaque::new(text.to_owned())
    }

    #[tokio::test]
    async fn the_token_is_made_once_for_its_owner_alone_and_only_it_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.token");
        AdminToken::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let made = read(&path).unwrap();
        let token = AdminToken::open(&path).unwrap();
        assert_eq!(*read(&path).unwrap(), *made);
        assert_eq!(token.check(Some(&sent(&made))).await, Ok(()));
        assert_eq!(token.check(None).await, Err(Denied::Missing));
        for wrong in ["", "x", made.get(1..).unwrap(), &format!("{}x", *made)] {
            let denied = token.check(Some(&sent(wrong))).await;
            assert_eq!(denied, Err(Denied::Wrong), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_new_token_in_the_file_is_in_force_at_once_and_an_open_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let token = AdminToken::open(&path).unwrap();
        std::fs::write(&path, "a-token-of-my-own\n").unwrap();
        let mine = sent("a-token-of-my-own");
        assert_eq!(token.check(Some(&mine)).await, Ok(()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(token.check(Some(&mine)).await, Err(Denied::Unreadable));
        assert!(AdminToken::open(&path).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short\n").unwrap();
        assert!(AdminToken::open(&path).is_err());
    }

    #[tokio::test]
    async fn guessing_is_bounded_however_many_guess_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let token = AdminToken::open(&folder.path().join("admin.token")).unwrap();
        let guess = sent("a-guess-at-the-token");
        let guesses = (0..100).map(|_| token.check(Some(&guess)));
        let denied = futures_util::future::join_all(guesses).await;
        let compared = denied.iter().filter(|one| **one == Err(Denied::Wrong));
        assert_eq!(compared.count(), MOST_WRONG);
    }
}
