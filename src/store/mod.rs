//! Where credentials live: one contract, three doors (Vault, sealed file, memory).
//!
//! Job: read and write small records of named secret fields, each with a version for check-and-set.
//! Invariants: paths are made from typed keys, never from text; a write with [`Expect::Version`] succeeds only if nobody
//! wrote since; what was acknowledged is durable. Every implementation passes `tests/it/store`'s one set of contract tests.
//! Failure mode: [`StoreError`], a closed list that an operator can act on; its text names the path, never a value.
//! Source: CONTRACT section 4, store layout.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::config;
use crate::secret::Opaque;
use crate::tenant::{AppId, GrantKind, TenantId};

pub mod file;
pub mod fleet;
pub mod memory;
pub mod preflight;
pub mod profile;
pub mod record;
pub mod rights;
pub mod roll;
pub mod vault;
pub mod watched;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Names one record.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RecordKey {
    /// `apps/ID`: {`client_id`, `client_secret`, `client_secret_next`, `rotated_at`}.
    App(AppId),
    /// `tenants/ID/grant`: {`refresh_token`, `selling_partner_id`, `authorized_at`}.
    Grant(TenantId),
    /// `tenants/ID/profile`.
    Profile(TenantId),
    /// `tenants/ID/preflight`: {`passed_at`, `by`, `profile`}, see [`preflight::Passed`].
    Preflight(TenantId),
    /// `tenants/ID/proxy_key`: {hash}.
    ProxyKey(TenantId),
    /// `tenants/ID/tokens/KIND`: token and lease in one record.
    Token(TenantId, GrantKind),
    /// `fleet`: states and break-glass, see [`fleet::FleetRecord`].
    Fleet,
    /// `members`: the sidecars that announce themselves, see [`roll::Roll`].
    Members,
    /// `phantom`: {key}.
    Phantom,
}

impl RecordKey {
    /// The path below the prefix.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::App(id) => format!("apps/{id}"),
            Self::Grant(id) => format!("tenants/{id}/grant"),
            Self::Profile(id) => format!("tenants/{id}/profile"),
            Self::Preflight(id) => format!("tenants/{id}/preflight"),
            Self::ProxyKey(id) => format!("tenants/{id}/proxy_key"),
            Self::Token(id, GrantKind::Refresh) => format!("tenants/{id}/tokens/access"),
            Self::Token(id, GrantKind::Grantless(scope)) => {
                format!("tenants/{id}/tokens/{}", path_safe(scope))
            }
            Self::Fleet => "fleet".to_owned(),
            Self::Members => "members".to_owned(),
            Self::Phantom => "phantom".to_owned(),
        }
    }

    /// The tenant whose transit key seals the record's values, if it belongs to one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Grant(id)
            | Self::Profile(id)
            | Self::Preflight(id)
            | Self::ProxyKey(id)
            | Self::Token(id, _) => Some(id),
            Self::App(_) | Self::Fleet | Self::Members | Self::Phantom => None,
        }
    }
}

/// `sellingpartnerapi::notifications` → `grantless-sellingpartnerapi--notifications`.
fn path_safe(scope: &str) -> String {
    let safe: String = scope
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("grantless-{safe}")
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// The fields of a record. Values are secret until a room gives them a type; numbers and booleans that were written by
/// hand arrive as their text.
pub type Fields = BTreeMap<String, Opaque>;

/// A record as it was read.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its fields.
    pub fields: Fields,
    /// What check-and-set compares. Grows with every write of this record.
    pub version: u64,
}

/// What a write requires of the record it replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing: last write wins.
    Any,
    /// That the record does not exist.
    Absent,
    /// That the record is still this version.
    Version(u64),
}

/// Which ids to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Folder {
    /// `apps/`.
    Apps,
    /// `tenants/`.
    Tenants,
}

/// The contract of a credential store.
pub trait GrantStore: Send + Sync + fmt::Debug {
    /// Reads a record; `None` where it was never written or is deleted.
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>>;

    /// Writes a whole record and returns its new version. The write is durable when this returns.
    ///
    /// [`StoreError::Conflict`] when `expect` does not hold; then nothing has changed.
    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Lists the ids in a folder, sorted. Unreadable names are left out.
    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// What this login may do with a tenant's records, place by place; `None` where the store knows no policies.
    fn rights<'a>(
        &'a self,
        _tenant: &'a config::Tenant,
    ) -> BoxFuture<'a, Result<Option<Vec<rights::Right>>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What an operator calls this store: `vault https://…` or `file /path`; no secret.
    fn describe(&self) -> String;

    /// Keeps the access to the store alive for as long as it is polled: the composition root runs it as a task of its
    /// own, next to everything else. Never ends; where there is nothing to keep alive, it only waits.
    fn keep_alive(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The store that a configuration names. Nothing goes over the network yet; files are read.
///
/// # Errors
/// [`StoreError::Local`] when a file that the configuration names is not usable.
pub fn open(config: &config::Store) -> Result<Arc<dyn GrantStore>, StoreError> {
    Ok(match config {
        config::Store::Vault(config) => Arc::new(vault::VaultStore::new(config)?),
        config::Store::File(config) => Arc::new(file::FileStore::open(config)?),
    })
}

/// Why the store did not do it. The text says where and what to do, and never holds a value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Check-and-set lost.
    #[error("{0}: somebody else wrote this record first")]
    Conflict(String),
    /// The store refused us.
    #[error("the store denies access: {0}")]
    Denied(String),
    /// The store asks us to slow down.
    #[error("the store is rate-limiting: {0}")]
    Throttled(String),
    /// The store is sealed.
    #[error("the store is sealed: {0}")]
    Sealed(String),
    /// The node cannot serve writes now.
    #[error("the store has no active node: {0}")]
    NotLeader(String),
    /// The store did not answer in time.
    #[error("the store did not answer in time: {0}")]
    Timeout(String),
    /// The store cannot be reached.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The store answered something that makes no sense.
    #[error("the store's answer makes no sense: {0}")]
    Protocol(String),
    /// A file or value on this machine is not usable.
    #[error("{0}")]
    Local(String),
}

impl StoreError {
    /// One constant word for logs and `token_unavailable`.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "store_conflict",
            Self::Denied(_) => "store_denied",
            Self::Throttled(_) => "store_throttled",
            Self::Sealed(_) => "store_sealed",
            Self::NotLeader(_) => "store_standby",
            Self::Timeout(_) => "store_timeout",
            Self::Unavailable(_) => "store_unreachable",
            Self::Protocol(_) => "store_protocol",
            Self::Local(_) => "store_local",
        }
    }

    /// What a person does about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "nothing, unless it lasts: the sidecar tries again by itself",
            Self::Denied(_) => {
                "check the sidecar's login to the store and its policy there (deploy/vault/policy.hcl says what it needs)"
            }
            Self::Throttled(_) => {
                "raise the rate-limit quota on the sidecar's paths in Vault (`sys/quotas/rate-limit`); the sidecar tries again by itself"
            }
            Self::Sealed(_) => "unseal Vault; the sidecar goes on by itself",
            Self::NotLeader(_) => {
                "see why Vault's cluster has no leader (`vault operator raft list-peers`); the sidecar goes on by itself"
            }
            Self::Timeout(_) => {
                "see what slows the store down, or what holds back the packets to it; the sidecar tries again by itself"
            }
            Self::Unavailable(_) => {
                "check that the store is up and that this machine reaches it; the sidecar tries again by itself"
            }
            Self::Protocol(_) => {
                "check `address`, `kv_mount` and `auth` of the store in the configuration; the sidecar's log says what it answered"
            }
            Self::Local(_) => {
                "see the sidecar's log: a file or a value that the store needs is not as it has to be"
            }
        }
    }
}
