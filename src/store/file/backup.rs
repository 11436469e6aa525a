//! A copy of the sealed file, and the way back.
//!
//! Job: write all records, sealed with the same key, to another file; put such a file in the store's place.
//! Invariants: what is written is ciphertext, its owner's alone, on disk when this returns, and whole or not there; a copy is
//! opened before anything is replaced; nothing that exists is replaced, unless a restore is told to.
//! Failure mode: [`StoreError::Local`] with the file and the remedy; nothing has changed then.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;

use zeroize::Zeroizing;

use super::{FileStore, Header, Seen, Shared, read_header, read_key, read_records, seal};
use crate::config;
use crate::durable;
use crate::store::StoreError;
use crate::store::memory::Records;

impl FileStore {
    /// Writes a sealed copy of all records to a file that does not exist yet; how many there are.
    ///
    /// # Errors
    /// When there is nothing to copy, the file exists already or cannot be written, or the store cannot be read.
    pub fn back_up(&self, to: &Path) -> Result<usize, StoreError> {
        let seen = self.shared.fresh()?;
        if seen.header.is_none() {
            return Err(StoreError::Local(format!(
                "{} does not exist yet: there is nothing to back up",
                self.shared.path.display()
            )));
        }
        let (header, sealed) = self.shared.sealed(&seen.records)?;
        durable::write_new(to, 0o600, &[&header, &sealed]).map_err(|error| {
            StoreError::Local(if error.kind() == ErrorKind::AlreadyExists {
                format!("{} exists already; name another file", to.display())
            } else {
                format!("{} was not written: {error}", to.display())
            })
        })?;
        Ok(seen.records.0.len())
    }
}

/// Puts a copy in the place of a store, whose own file may be missing or damaged; how many records it holds.
///
/// # Errors
/// When the copy cannot be read or opened with the store's key, when the store exists and is not to be replaced, and when it
/// cannot be written.
pub fn restore(
    config: &config::FileStore,
    from: &Path,
    replace: bool,
) -> Result<usize, StoreError> {
    let shared = Shared {
        path: config.path.clone(),
        key_file: config.key_file.clone(),
        key: read_key(&config.key_file)?,
        writing: Mutex::default(),
        seen: Mutex::new(Seen::default()),
    };
    let records = shared.opened(from)?;
    let _lock = shared.lock_file()?;
    if shared.path.symlink_metadata().is_ok() && !replace {
        return Err(StoreError::Local(format!(
            "{} exists already, and a restore takes its place with all that was written since the backup; say so with --force",
            shared.path.display()
        )));
    }
    let (header, sealed) = shared.sealed(&records)?;
    shared
        .replace(&header, &sealed)
        .map_err(|error| shared.unwritable(&error))?;
    Ok(records.0.len())
}

impl Shared {
    /// Records, sealed anew.
    pub(super) fn sealed(
        &self,
        records: &Records,
    ) -> Result<(Header, Zeroizing<Vec<u8>>), StoreError> {
        seal::seal(&self.key, records)
            .ok_or_else(|| StoreError::Local(format!("{}: sealing failed", self.path.display())))
    }

    /// What a copy holds, whoever may read it: it is ciphertext.
    fn opened(&self, from: &Path) -> Result<Records, StoreError> {
        let mut file = File::open(from).map_err(|error| {
            StoreError::Local(format!("{} cannot be read: {error}", from.display()))
        })?;
        let opened = read_header(&mut file)
            .and_then(|header| read_records(&self.key, &header, file))
            .map_err(|error| {
                StoreError::Local(if error.kind() == ErrorKind::UnexpectedEof {
                    format!(
                        "{} is no backup of a store: it is cut short",
                        from.display()
                    )
                } else {
                    format!("{} cannot be read: {error}", from.display())
                })
            })?;
        opened.ok_or_else(|| {
            StoreError::Local(format!(
                "{} cannot be opened with the key in {}: it was made with another key, or it is damaged or no backup; \
                 put the key that it was made with in that place",
                from.display(),
                self.key_file.display()
            ))
        })
    }
}
