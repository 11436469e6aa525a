//! A store that forgets: the in-memory twin of the others, for tests and rehearsals.
//!
//! Job: the contract of [`GrantStore`] with nothing behind it. `Records` is also what the sealed file holds.
//! Invariants: a record's version starts at 1 and grows by one with every write; a refused write changes nothing.
//! Failure mode: [`StoreError::Conflict`] alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BoxFuture, Expect, Fields, Folder, GrantStore, Record, RecordKey, StoreError};
use crate::tenant::{AppId, TenantId};

/// Records in this process's memory, gone with it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: Mutex<Records>,
}

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, Records> {
        // a panic cannot leave the map half changed: every change is one insert
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl MemoryStore {
    /// Deletes records whose path holds this text, and their versions with them.
    pub(crate) fn forget_all(&self, text: &str) {
        self.records().0.retain(|path, _| !path.contains(text));
    }
}

impl GrantStore for MemoryStore {
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(async move { Ok(self.records().read(key)) })
    }

    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move { self.records().write(key, fields, expect) })
    }

    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(async move { Ok(self.records().list(folder)) })
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

/// Every record, by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(pub(super) BTreeMap<String, Record>);

impl Records {
    pub(super) fn read(&self, key: &RecordKey) -> Option<Record> {
        self.0.get(&key.path()).cloned()
    }

    pub(super) fn write(
        &mut self,
        key: &RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> Result<u64, StoreError> {
        let path = key.path();
        let current = self.0.get(&path).map(|record| record.version);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Version(version) => current == Some(version),
        };
        if !holds {
            return Err(StoreError::Conflict(path));
        }
        let version = current.unwrap_or(0) + 1;
        self.0.insert(path, Record { fields, version });
        Ok(version)
    }

    pub(super) fn list(&self, folder: Folder) -> Vec<String> {
        // the map is sorted by path, but `a-b/` sorts before `a/`: ids are sorted on their own
        let mut ids: Vec<String> = self
            .0
            .keys()
            .filter_map(|path| id_in(folder, path))
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// The folder's name in a path.
pub(super) const fn folder_name(folder: Folder) -> &'static str {
    match folder {
        Folder::Apps => "apps",
        Folder::Tenants => "tenants",
    }
}

/// The id that a name in a folder stands for, if it is one.
pub(super) fn readable_id(folder: Folder, name: &str) -> Option<String> {
    let good = match folder {
        Folder::Apps => AppId::parse(name).is_ok(),
        Folder::Tenants => TenantId::parse(name).is_ok(),
    };
    good.then(|| name.to_owned())
}

fn id_in(folder: Folder, path: &str) -> Option<String> {
    let rest = path.strip_prefix(folder_name(folder))?.strip_prefix('/')?;
    let name = rest.split('/').next()?;
    readable_id(folder, name)
}
