//! A store on this machine: one sealed file and its key.
//!
//! Job: the contract of [`GrantStore`] over a file that the CLI may write while a sidecar runs.
//! Invariants: both files are the owner's alone; the file is replaced by rename, so that a reader sees one whole state
//! and a crash leaves the old or the new one; writers of all processes take turns by a lock file; what is held in
//! memory is trusted only while the file's header, new and random at every write, is still the one that was read.
//! Failure mode: [`StoreError::Local`] with the file and the remedy; a lost lock race is [`StoreError::Timeout`].

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use super::memory::Records;
use super::record::unhex;
use super::{BoxFuture, Expect, Fields, Folder, GrantStore, Record, RecordKey, StoreError};
use crate::config;
use crate::durable::{beside, folder_of};

mod backup;
mod seal;

pub use backup::restore;

use seal::{HEADER_BYTES, Header};

/// Largest sealed file that is read: a thousand tenants come to about 1 MiB.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How often the lock is tried; with [`LOCK_PAUSE`], five seconds. A write takes milliseconds.
const LOCK_TRIES: u32 = 500;
/// Time between two tries of the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A sealed file on this machine.
#[derive(Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    key_file: PathBuf,
    key: Zeroizing<[u8; 32]>,
    /// Held while this process writes, so that its own writers do not spin on the lock file.
    writing: Mutex<()>,
    seen: Mutex<Seen>,
}

/// The state of the file that was last read or written.
#[derive(Default)]
struct Seen {
    header: Option<Header>,
    records: Records,
}

impl FileStore {
    /// Reads the key, and the file where it exists; a file that does not is an empty store.
    ///
    /// # Errors
    /// When either is unreadable, open to others than its owner, or the key does not open the file.
    pub fn open(config: &config::FileStore) -> Result<Self, StoreError> {
        let shared = Shared {
            path: config.path.clone(),
            key_file: config.key_file.clone(),
            key: read_key(&config.key_file)?,
            writing: Mutex::new(()),
            seen: Mutex::new(Seen::default()),
        };
        shared.refresh(&mut shared.seen())?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Runs file work where blocking is allowed. Once begun it is finished, whether or not the caller stays.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(outcome) => outcome,
            Err(ended) => Err(StoreError::Local(format!(
                "{}: the work on it ended early: {ended}",
                self.shared.path.display()
            ))),
        }
    }
}

impl GrantStore for FileStore {
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let key = key.clone();
        Box::pin(self.blocking(move |shared| Ok(shared.fresh()?.records.read(&key))))
    }

    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let key = key.clone();
        Box::pin(self.blocking(move |shared| shared.write(&key, fields, expect)))
    }

    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(self.blocking(move |shared| Ok(shared.fresh()?.records.list(folder))))
    }

    fn describe(&self) -> String {
        format!("file {}", self.shared.path.display())
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // a panic cannot leave it half changed: it is replaced whole
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file holds now.
    fn fresh(&self) -> Result<MutexGuard<'_, Seen>, StoreError> {
        let mut seen = self.seen();
        self.refresh(&mut seen)?;
        Ok(seen)
    }

    fn refresh(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let Some(mut file) = open_private(&self.path)? else {
            *seen = Seen::default();
            return Ok(());
        };
        let header = read_header(&mut file).map_err(|error| self.unreadable(&error))?;
        if seen.header == Some(header) {
            return Ok(());
        }
        let records =
            read_records(&self.key, &header, file).map_err(|error| self.unreadable(&error))?;
        let records = records.ok_or_else(|| {
            StoreError::Local(format!(
                "{} cannot be opened with the key in {}: the key is another store's, or the file is damaged; restore \
                 the pair from a backup, or delete the file and put the secrets again",
                self.path.display(),
                self.key_file.display()
            ))
        })?;
        *seen = Seen {
            header: Some(header),
            records,
        };
        Ok(())
    }

    fn write(&self, key: &RecordKey, fields: Fields, expect: Expect) -> Result<u64, StoreError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = self.lock_file()?;
        let mut records = self.fresh()?.records.clone();
        let version = records.write(key, fields, expect)?;
        let (header, sealed) = self.sealed(&records)?;
        self.replace(&header, &sealed)
            .map_err(|error| self.unwritable(&error))?;
        *self.seen() = Seen {
            header: Some(header),
            records,
        };
        Ok(version)
    }

    /// Takes the lock that all processes share; it falls with the file handle, also when a process dies.
    fn lock_file(&self) -> Result<File, StoreError> {
        let path = beside(&self.path, ".lock");
        let unusable =
            |error: &std::io::Error| StoreError::Local(format!("{}: {error}", path.display()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| unusable(&error))?;
        for _try in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => return Err(unusable(&error)),
            }
        }
        Err(StoreError::Timeout(format!(
            "another process holds {}",
            path.display()
        )))
    }

    /// Puts a new state in the file's place: durable when this returns, whole at every moment.
    fn replace(&self, header: &Header, sealed: &[u8]) -> std::io::Result<()> {
        // one name will do, since the lock is held; what a crash left there is overwritten
        let temporary = beside(&self.path, ".tmp");
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(header)?;
        file.write_all(sealed)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        File::open(folder_of(&self.path))?.sync_all()
    }

    fn unreadable(&self, error: &std::io::Error) -> StoreError {
        if error.kind() == ErrorKind::UnexpectedEof {
            StoreError::Local(format!(
                "{} is not a store: it is cut short; restore it from a backup, or delete it and put the secrets again",
                self.path.display()
            ))
        } else {
            StoreError::Local(format!("{}: {error}", self.path.display()))
        }
    }

    fn unwritable(&self, error: &std::io::Error) -> StoreError {
        StoreError::Local(format!("{} was not written: {error}", self.path.display()))
    }
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileStore({})", self.shared.path.display())
    }
}

fn read_header(file: &mut File) -> std::io::Result<Header> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    Ok(header)
}

/// What follows a header; `None` where the key does not open it.
fn read_records(key: &[u8; 32], header: &Header, file: File) -> std::io::Result<Option<Records>> {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut sealed = Zeroizing::new(Vec::with_capacity(
        usize::try_from(length.min(MAX_BYTES)).unwrap_or(0),
    ));
    file.take(MAX_BYTES).read_to_end(&mut sealed)?;
    Ok(seal::open(key, header, &mut sealed))
}

fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let wrong = |what: &str| StoreError::Local(format!("{} {what}", path.display()));
    let file = open_private(path)?.ok_or_else(|| {
        wrong("does not exist: it holds the store's key; `spapi-sidecar init DIR` makes one")
    })?;
    let mut text = Zeroizing::new(String::with_capacity(128));
    file.take(128)
        .read_to_string(&mut text)
        .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    unhex(text.trim_end_matches(['\r', '\n'])).ok_or_else(|| {
        wrong("does not hold a key of 64 hexadecimal digits; `spapi-sidecar init DIR` makes one")
    })
}

/// Opens a regular file that its owner alone may touch; `None` where there is none.
fn open_private(path: &Path) -> Result<Option<File>, StoreError> {
    let unusable =
        |error: &std::io::Error| StoreError::Local(format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&error)),
    };
    let metadata = file.metadata().map_err(|error| unusable(&error))?;
    if !metadata.is_file() {
        return Err(StoreError::Local(format!(
            "{} is not a file",
            path.display()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(StoreError::Local(format!(
            "{} is open to others than its owner (mode {:03o}); run `chmod 600 {}`",
            path.display(),
            metadata.mode() & 0o777,
            path.display()
        )));
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests;
