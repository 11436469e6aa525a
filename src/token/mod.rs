//! Access tokens: from memory when they are fresh, from LWA when they are not, once for everybody who waits.
//!
//! Job: [`TokenSource`] answers with a usable token for a grant or a restricted resource.
//! Invariants: an expired token is never returned; at most one exchange for a key is under way in a process; an exchange is a
//! task of its own that no caller can end; every token carries a generation, and only the generation that was refused is dropped.
//! Failure mode: [`TokenFailure`], whose cause names store, LWA or grant; failures are remembered for a growing while.
//! Sources: RFC 6749 sections 4.4, 5 and 6; SP-API Tokens API 2021-03-01; CONTRACT section 3.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Tenant;
use crate::secret::AccessToken;
use crate::store::StoreError;
use crate::task::Tasks;
use crate::telemetry::event::Events;
use crate::tenant::{GrantKey, GrantKind, TenantId};

mod batch;
pub mod cache;
mod desk;
pub mod exchange;
pub mod incident;
pub mod judge;
pub mod lease;
pub mod lifetime;
pub mod probe;
mod refusal;
pub mod report;
pub mod restricted;
pub mod rotation;
mod settle;

use batch::Batches;
use cache::{Fetch, Subject, TokenCache};
use exchange::Lwa;
use lease::Leases;
use refusal::Refusals;
use restricted::{Resource, Restricted};

/// A token with its life and its generation.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: AccessToken,
    /// Grows with every token of this process: names the token without showing it.
    pub generation: u64,
    /// When it was issued.
    pub issued: Instant,
    /// How long it may be used.
    pub life: lifetime::Life,
    /// What came of using it.
    pub standing: Standing,
}

/// What is known of a token's use. Clones speak of the same token.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    accepted: Arc<AtomicBool>,
    /// How many refusals in a row, each soon after the issue, led to this token; 0 for one that replaced none.
    replaces: u32,
    /// The generation of the fleet's record that holds this token, where one does.
    fleet: Option<u64>,
    /// Whether it was taken from there, without asking Amazon.
    shared: bool,
}

impl Standing {
    /// Notes that Amazon took the token.
    pub fn accept(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    fn was_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Whether the token was taken from the fleet's record.
    #[must_use]
    pub const fn was_shared(&self) -> bool {
        self.shared
    }
}

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{cause}")]
pub struct TokenFailure {
    /// What is wrong.
    pub cause: Cause,
    /// How long until the next attempt is made.
    pub retry_in: Duration,
}

/// What stands between a grant and its token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Cause {
    /// The store did not give the grant.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The store holds no grant for this tenant.
    #[error("grant: the store holds none for tenant {0}")]
    NoGrant(TenantId),
    /// The store holds no credentials for this app.
    #[error("grant: the store holds no client id and secret for app {0}")]
    NoApp(crate::tenant::AppId),
    /// The endpoint could not be reached or did not answer in time.
    #[error("LWA: {0}")]
    Unreachable(String),
    /// `invalid_grant`: revoked, or never valid.
    #[error("grant: LWA says that it is revoked or invalid (invalid_grant)")]
    GrantRevoked,
    /// `invalid_client` or `unauthorized_client`: the app's id or secret is wrong or has lapsed.
    #[error("grant: LWA refuses the app's client id or secret ({0})")]
    ClientRefused(&'static str),
    /// Any other error code of RFC 6749 section 5.2.
    #[error("LWA: it refused the exchange ({0})")]
    Refused(&'static str),
    /// A status or a body that makes no sense.
    #[error("LWA: {0}")]
    Nonsense(&'static str),
    /// The Tokens API refused the data elements or the resource (400), or the call (403).
    #[error("Tokens API: it refused the restricted resource (status {0})")]
    RestrictedRefused(u16),
    /// The quota of createRestrictedDataToken is used up.
    #[error("Tokens API: its quota is used up")]
    RestrictedThrottled,
    /// The access token that the Tokens API was asked with was itself refused.
    #[error("Tokens API: it refused the access token")]
    AccessRefused,
    /// The task that made the exchange ended without an answer.
    #[error("the exchange was interrupted")]
    Interrupted,
    /// Another sidecar of the fleet has just found this out.
    #[error("{0} (found out by another sidecar of the fleet, a moment ago)")]
    Shared(Box<Self>),
}

impl Cause {
    /// One constant word for logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Store(error) => error.cause(),
            Self::NoGrant(_) => "grant_missing",
            Self::NoApp(_) => "app_missing",
            Self::Unreachable(_) => "lwa_unreachable",
            Self::GrantRevoked => "grant_revoked",
            Self::ClientRefused(_) => "client_refused",
            Self::Refused(_) => "lwa_refused",
            Self::Nonsense(_) => "lwa_nonsense",
            Self::RestrictedRefused(_) => "rdt_refused",
            Self::RestrictedThrottled => "rdt_throttled",
            Self::AccessRefused => "rdt_access_refused",
            Self::Interrupted => "interrupted",
            Self::Shared(cause) => cause.as_str(),
        }
    }

    /// Whether another sidecar found it out, and Amazon was not asked.
    #[must_use]
    pub const fn was_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// What a person does about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Store(error) => error.remedy().to_owned(),
            Self::NoGrant(tenant) => format!("run `spapi-sidecar tenant put-token {tenant}` with the refresh token of its authorization"),
            Self::NoApp(app) => format!("run `spapi-sidecar app put {app}` with its client id and client secret"),
            Self::GrantRevoked => "the selling partner has to authorize the application again; then store the new refresh token with `spapi-sidecar tenant put-token`".to_owned(),
            Self::ClientRefused(_) => "check the app's client id and secret in the developer console (secrets lapse after 180 days) and store them with `spapi-sidecar app put`".to_owned(),
            Self::Unreachable(_) | Self::Refused(_) | Self::Nonsense(_) | Self::Interrupted => "the sidecar tries again by itself; if it lasts, check the way to the token endpoint and Amazon's status".to_owned(),
            Self::RestrictedRefused(_) => "the application lacks a role for these data elements, or the route asks for more than it may have: see `rdt.data_elements` and `rdt.required`".to_owned(),
            Self::RestrictedThrottled => "Amazon lets an application make one such token a second: prefer `rdt: { per: template }`, where one serves every path, to `per: path`".to_owned(),
            Self::AccessRefused => "the sidecar tries again with a new token".to_owned(),
            Self::Shared(cause) => cause.remedy(),
        }
    }
}

/// Where the walk gets its tokens.
#[derive(Debug)]
pub struct TokenSource {
    access: TokenCache<AccessKey>,
    restricted: TokenCache<Resource>,
    batches: Batches,
    refusals: Refusals,
    lwa: Arc<Lwa>,
    leases: Option<Arc<Leases>>,
}

/// The key of the access-token cache, with the profile that an exchange needs.
#[derive(Clone)]
pub struct AccessKey {
    /// Whose, by which grant type.
    pub grant: GrantKey,
    /// Its profile.
    pub tenant: Arc<Tenant>,
}

impl PartialEq for AccessKey {
    fn eq(&self, other: &Self) -> bool {
        self.grant == other.grant
    }
}

impl Eq for AccessKey {}

impl std::hash::Hash for AccessKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.grant.hash(state);
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.grant.tenant, self.grant.kind.as_str())
    }
}

impl Subject for AccessKey {
    fn tenant(&self) -> &TenantId {
        &self.grant.tenant
    }

    fn app(&self) -> Option<&crate::tenant::AppId> {
        Some(&self.tenant.app)
    }

    fn kind(&self) -> &'static str {
        self.grant.kind.as_str()
    }
}

impl AccessKey {
    /// The key of a tenant's token.
    #[must_use]
    pub fn new(tenant: &Arc<Tenant>, kind: GrantKind) -> Self {
        Self {
            grant: GrantKey {
                tenant: tenant.id.clone(),
                kind,
            },
            tenant: Arc::clone(tenant),
        }
    }
}

impl TokenSource {
    /// `lwa` exchanges, `leases` shares the fleet's access tokens where that is wanted, `restricted` asks the Tokens API,
    /// `tasks` runs exchanges apart from their callers.
    #[must_use]
    pub fn new(
        lwa: Arc<Lwa>,
        leases: Option<Arc<Leases>>,
        restricted: Arc<Restricted>,
        tasks: &Tasks,
        events: &Events,
    ) -> Self {
        let access: Arc<dyn Fetch<AccessKey>> = match &leases {
            Some(leases) => Arc::clone(leases) as _,
            None => Arc::clone(&lwa) as _,
        };
        Self {
            access: TokenCache::new("exchange", access, tasks.clone(), events.clone()),
            restricted: TokenCache::new(
                "rdt",
                Arc::clone(&restricted) as Arc<dyn Fetch<Resource>>,
                tasks.clone(),
                events.clone(),
            ),
            batches: Batches::new(restricted, tasks.clone(), events.clone()),
            refusals: Refusals::default(),
            lwa,
            leases,
        }
    }

    /// Whether access tokens are shared with other sidecars.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.leases.is_some()
    }

    /// Whose refresh token LWA replaced without the store having taken the new one: it is lost with this process.
    #[must_use]
    pub fn not_stored(&self) -> Vec<TenantId> {
        self.lwa.not_stored()
    }

    /// A usable access token.
    ///
    /// # Errors
    /// When there is none and none can be had now.
    pub async fn access(&self, key: &AccessKey) -> Result<Issued, TokenFailure> {
        self.access.usable(key).await
    }

    /// Whether a usable access token is in memory; starts no exchange.
    #[must_use]
    pub fn is_fresh(&self, key: &AccessKey) -> bool {
        self.access.peek(key).is_some()
    }

    /// How long the access token in memory may still be used; starts no exchange.
    #[must_use]
    pub fn left(&self, key: &AccessKey) -> Option<Duration> {
        let held = self.access.peek(key)?;
        Some(held.life.end.saturating_duration_since(Instant::now()))
    }

    /// Whose tokens are in memory, of which kind, and how long each may still be used.
    #[must_use]
    pub fn lives(&self) -> Vec<(TenantId, &'static str, Duration)> {
        let mut lives = self.access.lives();
        lives.extend(self.restricted.lives());
        lives
    }

    /// Drops an access token that Amazon refused, so that the next [`TokenSource::access`] exchanges anew. Says whether
    /// another try makes sense: not when the refused token was itself a fresh replacement that Amazon never took.
    pub fn refuse(&self, key: &AccessKey, generation: u64) -> bool {
        self.access.refuse(key, generation)
    }

    /// A new access token, by one exchange that begins now, whatever is in memory or in the fleet's record. The old token is
    /// served until then, and where the exchange fails.
    ///
    /// # Errors
    /// When that exchange fails.
    pub async fn renew(&self, key: &AccessKey) -> Result<Issued, TokenFailure> {
        self.access.renew(key).await
    }

    /// Drops a tenant's tokens of every kind from memory, at once; their bytes are zeroized as soon as no request carries
    /// them. What an exchange brings that is under way is not kept either. Nothing keeps the next [`TokenSource::access`] from
    /// asking anew: whether the tenant is served at all is decided elsewhere.
    pub fn forget_tenant(&self, tenant: &TenantId) {
        self.access.forget(tenant);
        self.restricted.forget(tenant);
    }

    /// Empties a tenant's token records in the store, so that no sidecar takes a token from there, and none that exchanges
    /// just now puts one there. Does nothing where tokens are not shared.
    ///
    /// # Errors
    /// The store's, when a record could not be emptied. The others were tried all the same.
    pub async fn empty_records(&self, tenant: &Arc<Tenant>) -> Result<(), StoreError> {
        let Some(leases) = &self.leases else {
            return Ok(());
        };
        let known = self.access.keys_of(&tenant.id);
        leases
            .empty(&tenant.id, known.into_iter().map(|key| key.grant.kind))
            .await
    }

    /// A restricted data token for a path template, cached for its life.
    ///
    /// # Errors
    /// When the access token or the restricted token cannot be had.
    pub async fn restricted(
        &self,
        resource: &Resource,
        access: &AccessKey,
    ) -> Result<Issued, TokenFailure> {
        if let Some(issued) = self.restricted.fresh(resource) {
            return Ok(issued);
        }
        match self.with_access(resource, access, true).await {
            Ok(issued) => Ok(issued),
            // one that is inside its life needs no access token
            Err(failure) => self.restricted.peek(resource).ok_or(failure),
        }
    }

    /// A restricted data token for one call, kept nowhere. Callers that ask at the same time may share one.
    ///
    /// # Errors
    /// As [`TokenSource::restricted`].
    pub async fn restricted_once(
        &self,
        resource: &Resource,
        access: &AccessKey,
    ) -> Result<Issued, TokenFailure> {
        self.with_access(resource, access, false).await
    }

    /// Drops a restricted data token that Amazon refused; the next one is asked for with the access token in memory, and with
    /// a new one where the Tokens API refuses that too. Says whether another try makes sense.
    pub fn refuse_restricted(&self, resource: &Resource, generation: u64) -> bool {
        self.restricted.refuse(resource, generation)
    }

    /// Remembers for a while that Amazon refuses this application a resource's data.
    pub fn remember_refusal(&self, resource: &Resource) {
        self.refusals.remember(resource);
    }

    /// Whether Amazon has refused this application a resource's data a short while ago.
    #[must_use]
    pub fn was_refused_lately(&self, resource: &Resource) -> bool {
        self.refusals.holds(resource)
    }

    async fn with_access(
        &self,
        resource: &Resource,
        access: &AccessKey,
        keep: bool,
    ) -> Result<Issued, TokenFailure> {
        let mut last = None;
        // the second round is for an access token that expired on Amazon's side first
        for _ in 0..2 {
            let token = self.access(access).await?;
            let resource = resource.with_access(token.token.clone());
            let answer = if keep {
                self.restricted.usable(&resource).await
            } else {
                let issued = self.batches.one(resource.clone()).await;
                issued.map_err(cache::first_failure)
            };
            match answer {
                Err(failure) if matches!(failure.cause, Cause::AccessRefused) => {
                    let again = self.refuse(access, token.generation);
                    self.restricted.forget_failure(&resource);
                    last = Some(failure);
                    if !again {
                        break;
                    }
                }
                other => return other,
            }
        }
        Err(last.unwrap_or(TokenFailure {
            cause: Cause::AccessRefused,
            retry_in: Duration::from_secs(1),
        }))
    }
}
