//! A store that is watched.
//!
//! Job: pass every call on, and say when the store begins to answer and when it stops.
//! Invariants: a conflict, a request to slow down and an absent record are answers; said at each change alone, and once for
//! the first answer.
//! Failure mode: that of the store itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::rights::Right;
use super::{BoxFuture, Expect, Fields, Folder, GrantStore, Record, RecordKey, StoreError};
use crate::config::Tenant;
use crate::telemetry::event::{Event, Events};

/// Nobody has asked yet.
const UNKNOWN: u8 = 0;
/// The last call was answered.
const UP: u8 = 1;
/// It was not.
const DOWN: u8 = 2;

/// A store, and who hears of its ups and downs.
#[derive(Debug)]
pub struct Watched {
    store: Arc<dyn GrantStore>,
    events: Events,
    state: AtomicU8,
}

impl Watched {
    /// Watches a store.
    #[must_use]
    pub fn over(store: Arc<dyn GrantStore>, events: &Events) -> Arc<dyn GrantStore> {
        Arc::new(Self {
            store,
            events: events.clone(),
            state: AtomicU8::new(UNKNOWN),
        })
    }

    fn saw<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let cause = result.as_ref().err().and_then(absence);
        let now = if cause.is_none() { UP } else { DOWN };
        if self.state.swap(now, Ordering::Relaxed) != now {
            self.events.note(&Event::Store {
                up: cause.is_none(),
                cause,
            });
        }
        result
    }
}

/// The cause, where an error means that the store cannot be used now.
const fn absence(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Conflict(_) | StoreError::Throttled(_) => None,
        StoreError::Denied(_)
        | StoreError::Sealed(_)
        | StoreError::NotLeader(_)
        | StoreError::Timeout(_)
        | StoreError::Unavailable(_)
        | StoreError::Protocol(_)
        | StoreError::Local(_) => Some(error.cause()),
    }
}

impl GrantStore for Watched {
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(async move { self.saw(self.store.read(key).await) })
    }

    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move { self.saw(self.store.write(key, fields, expect).await) })
    }

    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(async move { self.saw(self.store.list(folder).await) })
    }

    fn rights<'a>(
        &'a self,
        tenant: &'a Tenant,
    ) -> BoxFuture<'a, Result<Option<Vec<Right>>, StoreError>> {
        self.store.rights(tenant)
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn keep_alive(&self) -> BoxFuture<'_, ()> {
        self.store.keep_alive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::telemetry::event::Observer;

    /// A store that answers what it is told to.
    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<StoreError>>);

    impl GrantStore for Told {
        fn read<'a>(
            &'a self,
            _key: &'a RecordKey,
        ) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
            let told = self.0.lock().unwrap().pop();
            Box::pin(async move { told.map_or(Ok(None), Err) })
        }

        fn write<'a>(
            &'a self,
            _key: &'a RecordKey,
            _fields: Fields,
            _expect: Expect,
        ) -> BoxFuture<'a, Result<u64, StoreError>> {
            Box::pin(async { Ok(1) })
        }

        fn list(&self, _folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn describe(&self) -> String {
            String::new()
        }
    }

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<(bool, Option<&'static str>)>>);

    impl Observer for Heard {
        fn note(&self, event: &Event<'_>) {
            if let Event::Store { up, cause } = event {
                self.0.lock().unwrap().push((*up, *cause));
            }
        }
    }

    #[tokio::test]
    async fn a_change_is_said_once_and_a_conflict_is_none() {
        let (told, heard, events) = (
            Arc::<Told>::default(),
            Arc::<Heard>::default(),
            Events::default(),
        );
        events.observe(vec![Arc::clone(&heard) as _]);
        let store = Watched::over(Arc::clone(&told) as _, &events);
        let text = || "here".to_owned();
        for answer in [
            None,
            Some(StoreError::Conflict(text())),
            Some(StoreError::Sealed(text())),
            Some(StoreError::Sealed(text())),
            None,
        ] {
            told.0.lock().unwrap().extend(answer);
            let _answered = store.read(&RecordKey::Fleet).await;
        }
        assert_eq!(
            *heard.0.lock().unwrap(),
            [(true, None), (false, Some("store_sealed")), (true, None)]
        );
    }
}
