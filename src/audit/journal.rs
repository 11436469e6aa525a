//! The file that lines are appended to.
//!
//! Job: open and lock it, carry on where it ended, append a batch and bring it to disk, begin a new file when it is large.
//! Invariants: [`Journal::append`] returns once its lines are on disk, and after an error none of them is in the file as far as
//! the disk lets us take them out; one process writes a file at a time; the chain goes on over restarts, new files and files
//! that somebody took away. A file found shorter than its head goes on from the head: the gap stays to be seen for ever.
//! Failure mode: [`JournalError`]; whoever holds the journal drops it and opens it again.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::chain::Link;
use super::files::{self, beside};
use super::line::Text;
use crate::durable::folder_of;

/// Size at which a file is closed and the next one begun, in bytes: some hundred thousand lines, small enough to copy, to read
/// and to compress in one go, large enough that a year of a busy sidecar is some hundred files.
pub(super) const FILE_BYTES: u64 = 64 << 20;

/// Errors of the file system that a person can do something about, by one word each.
const CAUSES: [(io::ErrorKind, &str); 6] = [
    (io::ErrorKind::StorageFull, "disk_full"),
    (io::ErrorKind::QuotaExceeded, "disk_full"),
    (io::ErrorKind::FileTooLarge, "disk_full"),
    (io::ErrorKind::ReadOnlyFilesystem, "read_only"),
    (io::ErrorKind::PermissionDenied, "permission_denied"),
    (io::ErrorKind::NotFound, "not_found"),
];

/// Why there is no journal, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process writes it.
    #[error("{} is written by another process: give each sidecar an `audit.path` of its own", .0.display())]
    Locked(PathBuf),
    /// The file system says no.
    #[error("{}: {what}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// Somebody else changed the file while we had it open.
    #[error("{} was moved, removed or changed by somebody else", .0.display())]
    Disturbed(PathBuf),
}

impl JournalError {
    /// Whether another place may do where this one does not: not ours to write, or another's already.
    pub(super) fn is_not_for_us(&self) -> bool {
        match self {
            Self::Locked(_) => true,
            Self::Io { error, .. } => matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ),
            Self::Disturbed(_) => false,
        }
    }

    /// One constant word for the alert and the status.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Locked(_) => "locked",
            Self::Disturbed(_) => "disturbed",
            Self::Io { error, .. } => CAUSES
                .iter()
                .find(|(kind, _)| *kind == error.kind())
                .map_or("io_error", |(_, cause)| cause),
        }
    }
}

/// A line that waits to be sealed.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    /// When it happened.
    pub(super) at: SystemTime,
    /// Its members.
    pub(super) text: &'a str,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    head: File,
    /// Bytes that are on disk.
    length: u64,
    /// The last line that is.
    link: Link,
    /// Size at which the next file begins.
    limit: u64,
    /// What opening it brought to light: lines to write first.
    found: Vec<Text>,
}

impl Journal {
    /// Opens a file, or makes it, mode 0600. `with_folder` makes the folder too: at the first attempt of a process alone, since
    /// later a folder that is missing is a disk that is not mounted.
    pub(super) fn open(path: &Path, limit: u64, with_folder: bool) -> Result<Self, JournalError> {
        let failed = |path: PathBuf, what| move |error| JournalError::Io { path, what, error };
        if with_folder {
            make_folder(path).map_err(failed(folder_of(path).to_owned(), "making the folder"))?;
        }
        let head_path = beside(path, "head");
        let head = private(OpenOptions::new().read(true).write(true), &head_path)
            .map_err(failed(head_path.clone(), "opening"))?;
        match head.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(head_path, "locking")(error)),
        }
        let mut file = private(OpenOptions::new().read(true).append(true), path)
            .map_err(failed(path.to_owned(), "opening"))?;
        sync_folder(path).map_err(failed(path.to_owned(), "making it last"))?;
        let mut found = Vec::new();
        let end = files::end(&mut file).map_err(failed(path.to_owned(), "reading"))?;
        if !end.torn.is_empty() {
            save_torn(path, &end.torn).map_err(failed(beside(path, "torn"), "writing"))?;
            file.set_len(end.whole)
                .and_then(|()| file.sync_data())
                .map_err(failed(path.to_owned(), "cutting a torn line off"))?;
            found.push(Text::repaired(end.torn.len()));
        }
        let anchor = files::head(&head).map_err(failed(head_path, "reading"))?;
        let before = if end.whole == 0 {
            let older = files::older(path).map_err(failed(path.to_owned(), "listing"))?;
            continued(older.last().map(|(_, path)| &**path), anchor, &mut found)
        } else {
            end.link
        };
        let link = agreed(before, end.whole > 0, anchor, &mut found);
        // a disk without room for the head has none for lines
        files::write_head(&head, anchor.unwrap_or(link))
            .map_err(failed(beside(path, "head"), "writing"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            head,
            length: end.whole,
            link,
            limit,
            found,
        })
    }

    /// The last line on disk.
    pub(super) const fn link(&self) -> Link {
        self.link
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What opening it brought to light, for the log; it is written with the first batch.
    pub(super) fn found(&self) -> impl Iterator<Item = &Text> {
        self.found.iter()
    }

    /// Seals lines, appends them and waits until they are on disk.
    pub(super) fn append(&mut self, lines: &[Waiting<'_>]) -> Result<(), JournalError> {
        self.is_as_it_was_left()?;
        if self.length >= self.limit {
            self.next_file()?;
        }
        let now = lines.first().map_or(SystemTime::UNIX_EPOCH, |line| line.at);
        let own = self.found.iter().map(|text| Waiting {
            at: now,
            text: text.as_str(),
        });
        let (mut bytes, mut link) = (Vec::new(), self.link);
        for line in own.chain(lines.iter().map(|line| Waiting { ..*line })) {
            link = link.seal(line.at, line.text, &mut bytes);
        }
        let written = self
            .file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // best effort: what stays behind is lines of calls that were then refused, which their next lines say
            let _stays = self.file.set_len(self.length);
            return Err(self.failed("writing", error));
        }
        self.length += u64::try_from(bytes.len()).unwrap_or(0);
        self.link = link;
        self.found.clear();
        Ok(())
    }

    /// Writes the head, and waits until it is on disk where that is wanted. After a crash it may be a little behind the file,
    /// and never before it.
    pub(super) fn mark(&self, on_disk: bool) -> io::Result<()> {
        files::write_head(&self.head, self.link)?;
        if on_disk {
            self.head.sync_data()?;
        }
        Ok(())
    }

    fn failed(&self, what: &'static str, error: io::Error) -> JournalError {
        JournalError::Io {
            path: self.path.clone(),
            what,
            error,
        }
    }

    /// Whether the path still leads to the file that we have, and nobody else wrote to it.
    fn is_as_it_was_left(&self) -> Result<(), JournalError> {
        let disturbed = || JournalError::Disturbed(self.path.clone());
        let own = self
            .file
            .metadata()
            .map_err(|error| self.failed("looking at", error))?;
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(disturbed()),
            Err(error) => return Err(self.failed("looking at", error)),
        };
        let same = (own.dev(), own.ino(), self.length) == (there.dev(), there.ino(), there.len());
        if same { Ok(()) } else { Err(disturbed()) }
    }

    /// Gives the file its number and begins the next one.
    fn next_file(&mut self) -> Result<(), JournalError> {
        let begun = (|| {
            let newest = files::older(&self.path)?.last().map_or(0, |(n, _)| *n);
            let name = beside(&self.path, &(newest + 1).to_string());
            std::fs::rename(&self.path, &name)?;
            let file = private(OpenOptions::new().read(true).append(true), &self.path)?;
            sync_folder(&self.path)?;
            Ok((name, file))
        })();
        let (name, file) =
            begun.map_err(|error| self.failed("beginning the next file of", error))?;
        self.file = file;
        self.length = 0;
        self.found.insert(0, Text::continued(Some(&name)));
        Ok(())
    }
}

/// Makes the folder of a file, for its owner alone.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder_of(path))
}

/// A file for its owner alone; one that is there keeps its mode.
fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.create(true).mode(0o600).open(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn save_torn(path: &Path, torn: &[u8]) -> io::Result<()> {
    let mut file = private(OpenOptions::new().append(true), &beside(path, "torn"))?;
    file.write_all(torn)?;
    file.write_all(b"\n")?;
    file.sync_data()
}

/// The last line before an empty file, and the line with which that one begins.
fn continued(newest: Option<&Path>, anchor: Option<Link>, found: &mut Vec<Text>) -> Option<Link> {
    let before = newest
        .and_then(|path| files::end(&mut File::open(path).ok()?).ok())
        .and_then(|end| end.link);
    if before.or(anchor).is_some_and(|link| link.seq > 0) {
        found.insert(0, Text::continued(newest));
    }
    before
}

/// Where the chain goes on: after the file's last line, unless the head knows of later ones.
fn agreed(
    file: Option<Link>,
    holds_lines: bool,
    head: Option<Link>,
    found: &mut Vec<Text>,
) -> Link {
    match (file, head) {
        (Some(file), Some(head)) if head.seq > file.seq => {
            found.push(Text::cut(file.seq, head.seq));
            head
        }
        (Some(file), Some(head)) if head.seq == file.seq && head != file => {
            found.push(Text::replaced(file.seq));
            file
        }
        (Some(file), Some(_)) => file,
        (Some(file), None) => {
            found.push(Text::unanchored());
            file
        }
        (None, Some(head)) if head.seq > 0 => {
            found.push(Text::cut(0, head.seq));
            head
        }
        (None, _) => {
            if holds_lines {
                found.push(Text::replaced(0));
            }
            Link::START
        }
    }
}

#[cfg(test)]
mod tests;
