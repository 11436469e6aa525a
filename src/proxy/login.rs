//! Proxy logins: `Proxy-Authorization: Basic tenant:key`.
//!
//! Job: say whose connection this is, by a key whose hash the store holds.
//! Invariants: an unreadable or wrong login is refused and never becomes the default tenant; hashes are compared in constant
//! time; a wrong login, of whatever kind, is answered after [`WRONG_COSTS`]; a look-up in the store happens once a minute for a
//! tenant, whatever is guessed, and never for an unknown tenant.
//! Failure mode: 407; a store that is away is outlived with the hash it last gave; a login that it never confirmed is
//! [`Login::Unconfirmed`], and its calls are refused as `token_unavailable` inside TLS.
//! Sources: RFC 7617 (Basic), RFC 9110 section 11.7.2.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::World;
use crate::config::ProxyAuth;
use crate::outcome::{Failure, Reason};
use crate::roster::Missing;
use crate::secret::ProxyKey;
use crate::store::record::ProxyKeyHash;
use crate::store::{GrantStore, RecordKey, StoreError};
use crate::task::Tasks;
use crate::tenant::TenantId;

/// How long a hash from the store is believed; a new key is in force within this time.
const BELIEVED: Duration = Duration::from_secs(60);

/// How long a wrong login waits for its answer. It holds one of the places for connections meanwhile, which are counted.
const WRONG_COSTS: Duration = Duration::from_secs(1);

/// What a connection's login came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// There was none, and none was required.
    Missing,
    /// It is this tenant's.
    Tenant(TenantId),
    /// The store cannot say now whether it is right: nobody's, and not the default tenant's either.
    Unconfirmed,
}

impl Login {
    /// The tenant, where it is known.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Missing | Self::Unconfirmed => None,
        }
    }
}

/// What a caller is told whose login the store cannot confirm.
#[must_use]
pub fn unconfirmed() -> Failure {
    Failure::new(
        Reason::TokenUnavailable,
        "The store cannot say whether the proxy login is right.",
        "store: the login's hash could not be read; open the connection again.",
    )
    .retry_after(2)
}

/// Checks logins.
#[derive(Debug)]
pub struct Logins {
    store: Arc<dyn GrantStore>,
    tasks: Tasks,
    known: Mutex<HashMap<TenantId, (Instant, Option<ProxyKeyHash>)>>,
}

impl Logins {
    /// Hashes come from `store`, read apart from the callers.
    #[must_use]
    pub fn new(store: Arc<dyn GrantStore>, tasks: Tasks) -> Self {
        Self {
            store,
            tasks,
            known: Mutex::default(),
        }
    }

    /// What the login in `Proxy-Authorization` comes to.
    ///
    /// # Errors
    /// When a login is required and missing, or sent and wrong; two of them are as good as none.
    pub async fn check(&self, world: &World, fields: &HeaderMap) -> Result<Login, Failure> {
        let login = self.compare(world, fields).await;
        if let Err(failure) = &login
            && failure.reason == Reason::ProxyAuthFailed
        {
            tokio::time::sleep(WRONG_COSTS).await;
        }
        login
    }

    async fn compare(&self, world: &World, fields: &HeaderMap) -> Result<Login, Failure> {
        let mut sent = fields.get_all(header::PROXY_AUTHORIZATION).iter();
        let Some(field) = sent.next() else {
            return match world.config.listen.proxy_auth {
                ProxyAuth::Optional => Ok(Login::Missing),
                ProxyAuth::Required => Err(Failure::new(
                    Reason::ProxyAuthRequired,
                    "This proxy requires a login.",
                    "Set HTTPS_PROXY=http://TENANT:KEY@host:port; `spapi-sidecar tenant proxy-key TENANT` makes a key.",
                )),
            };
        };
        if sent.next().is_some() {
            return Err(wrong());
        }
        let (tenant, key) = parse(field).ok_or_else(wrong)?;
        match world.tenants.find(&tenant).await {
            // what is wrong with a profile is said inside TLS
            Ok(_) | Err(Missing::Broken(_)) => {}
            Err(Missing::Unknown) => return Err(wrong()),
            Err(Missing::Store(error)) => {
                tracing::warn!(%tenant, %error, cause = error.cause(), "the store cannot say whether there is such a tenant");
                return Ok(Login::Unconfirmed);
            }
        }
        match self.hash_of(&tenant).await {
            Ok(Some(held)) if held.matches(&key) => Ok(Login::Tenant(tenant)),
            Ok(_) => Err(wrong()),
            Err(error) => {
                tracing::warn!(%tenant, %error, cause = error.cause(), "the store cannot say whether a proxy login is right");
                Ok(Login::Unconfirmed)
            }
        }
    }

    async fn hash_of(&self, tenant: &TenantId) -> Result<Option<ProxyKeyHash>, StoreError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .cloned();
        if let Some((since, hash)) = &known
            && since.elapsed() < BELIEVED
        {
            return Ok(hash.clone());
        }
        let (store, owner) = (Arc::clone(&self.store), tenant.clone());
        let read = self.tasks.control("proxy-key", async move {
            let record = store.read(&RecordKey::ProxyKey(owner.clone())).await?;
            record
                .map(|record| ProxyKeyHash::from_record(&owner, &record))
                .transpose()
        });
        let read = read.await.unwrap_or_else(|_aborted| {
            Err(StoreError::Timeout(
                "the look-up was interrupted".to_owned(),
            ))
        });
        let hash = match (read, known) {
            (Ok(hash), _) => hash,
            // a store that is away is no reason to turn a known caller out
            (Err(error), Some((_, hash @ Some(_)))) if is_away(&error) => {
                tracing::warn!(%tenant, %error, "the store is away; the proxy key it last gave is believed");
                hash
            }
            (Err(error), _) => return Err(error),
        };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant.clone(), (Instant::now(), hash.clone()));
        Ok(hash)
    }
}

/// Whether the store said nothing, as opposed to no.
const fn is_away(error: &StoreError) -> bool {
    match error {
        StoreError::Throttled(_)
        | StoreError::Sealed(_)
        | StoreError::NotLeader(_)
        | StoreError::Timeout(_)
        | StoreError::Unavailable(_) => true,
        StoreError::Conflict(_)
        | StoreError::Denied(_)
        | StoreError::Protocol(_)
        | StoreError::Local(_) => false,
    }
}

fn wrong() -> Failure {
    Failure::new(
        Reason::ProxyAuthFailed,
        "The proxy login is not right.",
        "It has to be `Basic` with TENANT:KEY, of a tenant in the configuration and its key; `spapi-sidecar tenant proxy-key TENANT` makes a new one.",
    )
}

fn parse(field: &HeaderValue) -> Option<(TenantId, ProxyKey)> {
    let text = field.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(
        base64::engine::general_purpose::STANDARD
            .decode(encoded.trim())
            .ok()?,
    );
    let text = std::str::from_utf8(&decoded).ok()?;
    let (tenant, key) = text.split_once(':')?;
    Some((TenantId::parse(tenant).ok()?, ProxyKey::new(key.to_owned())))
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{BoxFuture, Expect, Fields, Folder, Record};

    /// A store that says this once it is told to.
    #[derive(Debug, Default)]
    struct Store {
        records: MemoryStore,
        trouble: Mutex<Option<StoreError>>,
    }

    impl GrantStore for Store {
        fn read<'a>(
            &'a self,
            key: &'a RecordKey,
        ) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
            match self.trouble.lock().unwrap().clone() {
                Some(trouble) => Box::pin(std::future::ready(Err(trouble))),
                None => self.records.read(key),
            }
        }

        fn write<'a>(
            &'a self,
            key: &'a RecordKey,
            fields: Fields,
            expect: Expect,
        ) -> BoxFuture<'a, Result<u64, StoreError>> {
            self.records.write(key, fields, expect)
        }

        fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
            self.records.list(folder)
        }

        fn describe(&self) -> String {
            "memory".to_owned()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_the_store_gave_is_believed_while_it_says_nothing_and_not_once_it_says_no() {
        let store = Arc::new(Store::default());
        let logins = Logins::new(
            Arc::clone(&store) as Arc<dyn GrantStore>,
            Tasks::new(Handle::current()),
        );
        let tenant = |id: &str| TenantId::parse(id).unwrap();
        let key = ProxyKey::new("k7Zq2mXw".to_owned());
        let fields = ProxyKeyHash::of(&key).into_fields();
        let place = RecordKey::ProxyKey(tenant("acme"));
        store.write(&place, fields, Expect::Absent).await.unwrap();
        let opens = async || {
            let held = logins.hash_of(&tenant("acme")).await;
            held.map(|held| held.is_some_and(|held| held.matches(&key)))
        };
        assert!(opens().await.unwrap());
        assert!(logins.hash_of(&tenant("beta")).await.unwrap().is_none());
        let text = String::new;
        for (trouble, believed) in [
            (StoreError::Throttled(text()), true),
            (StoreError::Sealed(text()), true),
            (StoreError::NotLeader(text()), true),
            (StoreError::Timeout(text()), true),
            (StoreError::Unavailable(text()), true),
            (StoreError::Conflict(text()), false),
            (StoreError::Denied(text()), false),
            (StoreError::Protocol(text()), false),
            (StoreError::Local(text()), false),
        ] {
            *store.trouble.lock().unwrap() = Some(trouble.clone());
            assert!(opens().await.unwrap(), "{trouble}: it is not even asked");
            tokio::time::advance(BELIEVED).await;
            assert_eq!(opens().await.ok(), believed.then_some(true), "{trouble}");
            let other = logins.hash_of(&tenant("beta")).await;
            assert!(other.is_err(), "{trouble}: nobody's key was ever held");
            *store.trouble.lock().unwrap() = None;
            tokio::time::advance(BELIEVED).await;
            assert!(opens().await.unwrap());
        }
    }

    #[test]
    fn only_a_whole_basic_login_is_read() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let read = |value: String| {
            parse(&HeaderValue::from_str(&value).unwrap())
                .map(|(tenant, key)| format!("{tenant} {}", key.expose()))
        };
        assert_eq!(
            read(format!("Basic {}", encode("acme:k:1"))),
            Some("acme k:1".to_owned())
        );
        assert_eq!(
            read(format!("bAsIc {}", encode("acme:"))),
            Some("acme ".to_owned())
        );
        for bad in [
            "Basic".to_owned(),
            "Basic !!!".to_owned(),
            format!("Bearer {}", encode("acme:k")),
            format!("Basic {}", encode("acme")),
            format!("Basic {}", encode("AC ME:k")),
        ] {
            assert_eq!(read(bad.clone()), None, "{bad}");
        }
    }
}
