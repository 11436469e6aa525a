//! The configuration, as the running sidecar reads it.
//!
//! Job: [`Config::parse`] turns the text of `proxy.yaml` into values that need no further checking.
//! Invariants: everything here is valid by construction; nothing here holds a secret; these types never serialise.
//! Failure mode: every mistake of a file at once, each with its line, column, path and remedy ([`error::Faults`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::name::{Authority, Host, HostName, HostPattern};
use crate::tenant::{AppId, TenantId};

pub mod advice;
pub mod error;
mod expand;
pub mod file;
mod location;
pub mod marketplace;
mod meaning;
mod nearest;
pub mod profile;
mod read;
pub mod schema;
mod section;
pub mod template;
mod tree;
mod value;

#[cfg(test)]
mod tests;

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where we listen, and the bounds there.
    pub listen: Listen,
    /// Our certificate authority.
    pub interception: Interception,
    /// How origins are reached.
    pub upstream: Upstream,
    /// Where credentials live.
    pub store: Store,
    /// The token endpoint.
    pub lwa: Lwa,
    /// Which header fields carry the token.
    pub inject: Vec<InjectHeader>,
    /// Which hosts may be reached, first match wins.
    pub egress: Vec<EgressRule>,
    /// LWA client registrations.
    pub apps: Vec<App>,
    /// Selling partners.
    pub tenants: Tenants,
    /// Whose request it is when nothing says so.
    pub default_tenant: Option<TenantId>,
    /// Whether the route policy refuses or only reports.
    pub policy: PolicyMode,
    /// What may be called.
    pub routes: Vec<RouteRule>,
    /// Pacing and back-off.
    pub throttle: Throttle,
    /// Thresholds and where alerts go.
    pub alerts: Alerts,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// The audit file.
    pub audit: Audit,
}

/// `listen`.
#[derive(Clone, Debug)]
pub struct Listen {
    /// CONNECT listeners.
    pub proxy: Vec<SocketAddr>,
    /// SNI listeners.
    pub transparent: Vec<SocketAddr>,
    /// Health, metrics, actions.
    pub admin: SocketAddr,
    /// Where the admin token is kept, mode 0600.
    pub admin_token_file: PathBuf,
    /// Whether a proxy login is required.
    pub proxy_auth: ProxyAuth,
    /// What happens to absolute-form requests.
    pub plaintext: Plaintext,
    /// Bounds on connections and heads.
    pub limits: Limits,
    /// How long a drain may take.
    pub drain_timeout: Duration,
}

/// `listen.proxy_auth`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyAuth {
    /// A login is honoured where it is sent.
    Optional,
    /// No login, no service.
    Required,
}

/// `listen.plaintext`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plaintext {
    /// Absolute-form requests are refused.
    Deny,
    /// Absolute-form requests to an inject host leave over TLS.
    Upgrade,
}

/// `listen.limits`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections beyond which accepting stops.
    pub max_connections: usize,
    /// Largest request head, in bytes.
    pub header_bytes: usize,
    /// Longest wait for a whole request head or a TLS handshake.
    pub header_timeout: Duration,
    /// Longest silence on a connection or a tunnel.
    pub idle_timeout: Duration,
    /// Largest request body kept for a replay, in bytes.
    pub replay_body: usize,
}

/// `interception`.
#[derive(Clone, Debug)]
pub struct Interception {
    /// Where the CA's keys live.
    pub mode: CaMode,
    /// Where the public root is written.
    pub cert_path: PathBuf,
    /// Where system roots plus our root are written.
    pub bundle_path: PathBuf,
    /// How long root and intermediate are valid.
    pub valid_for: Duration,
    /// How long a leaf is valid.
    pub leaf_valid_for: Duration,
}

/// `interception.ca.mode`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CaMode {
    /// Keys live in memory and are new at every start.
    Ephemeral,
    /// The intermediate and its key are kept in this file, mode 0600.
    File(PathBuf),
}

/// `upstream`.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Trust anchors.
    pub trust: Trust,
    /// Oldest TLS version spoken to an origin.
    pub min_tls: MinTls,
    /// SHA-256 of the SPKIs of which one has to be in the verified chain, by host.
    pub pins: BTreeMap<HostName, Vec<[u8; 32]>>,
    /// Certificate and key offered where an origin asks.
    pub client_cert: Option<KeyPair>,
    /// Authorities that are dialled elsewhere; exempt from the address check.
    pub connect_to: BTreeMap<Authority, SocketAddr>,
    /// How names are resolved.
    pub resolver: Resolver,
    /// Bound on TCP and TLS set-up.
    pub connect_timeout: Duration,
    /// Bound on the wait for a response head.
    pub response_timeout: Duration,
    /// Next-hop proxy.
    pub proxy: Option<Authority>,
}

/// Paths of a PEM certificate chain and its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPair {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// `upstream.trust`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// The operating system's roots.
    System,
    /// Exactly the certificates in this PEM file.
    File(PathBuf),
}

/// `upstream.min_tls`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MinTls {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// `upstream.resolver`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolver {
    /// The system's, hosts file included.
    System,
    /// DNS alone.
    Dns,
}

/// `store`.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it in a configuration"
)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Store {
    /// HashiCorp Vault or a server that speaks its API.
    Vault(VaultStore),
    /// A sealed file on this machine.
    File(FileStore),
}

/// `store.file`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStore {
    /// The sealed file.
    pub path: PathBuf,
    /// Its 32-byte key.
    pub key_file: PathBuf,
}

/// `store.vault`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultStore {
    /// `https://host:port`, or `http://` to loopback.
    pub address: url::Url,
    /// Namespace, sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// The one CA that is trusted; the system's roots when absent.
    pub ca_file: Option<PathBuf>,
    /// How we log in.
    pub auth: VaultAuth,
    /// Mount of the KV version 2 engine.
    pub kv_mount: String,
    /// Folder below the mount.
    pub prefix: String,
    /// Transit sealing, when set.
    pub transit: Option<Transit>,
    /// Whether access tokens and leases are shared through the store.
    pub share_tokens: bool,
    /// `upstream.proxy`: the way to a Vault that is not on this machine.
    pub next_hop: Option<Authority>,
}

/// `store.vault.transit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transit {
    /// Mount of the transit engine.
    pub mount: String,
    /// Key name; `{tenant}` stands for the tenant's id.
    pub key: String,
}

/// `store.vault.auth`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VaultAuth {
    /// `AppRole`.
    AppRole {
        /// File that holds the role id.
        role_id_file: PathBuf,
        /// File that holds the secret id, or the token that wraps it.
        secret_id_file: PathBuf,
        /// Whether `secret_id_file` holds a wrapping token.
        wrapped: bool,
        /// Mount of the auth method.
        mount: String,
    },
    /// Kubernetes service account.
    Kubernetes {
        /// Role to log in as.
        role: String,
        /// File that holds the service account's JWT; read anew at every login.
        jwt_file: PathBuf,
        /// Mount of the auth method.
        mount: String,
    },
    /// A token in a file, re-read when it changes.
    TokenFile(PathBuf),
    /// TLS client certificate.
    Cert {
        /// Certificate and key.
        pair: KeyPair,
        /// Role to log in as.
        role: String,
        /// Mount of the auth method.
        mount: String,
    },
}

/// `lwa`.
#[derive(Clone, Debug)]
pub struct Lwa {
    /// The token endpoint; always https.
    pub token_url: url::Url,
    /// The share of a token's life after which it is renewed, 0.0 to 1.0.
    pub refresh_at: f64,
    /// Tolerated difference between our clock and theirs.
    pub clock_skew: Duration,
    /// Bound on one exchange.
    pub timeout: Duration,
}

/// `inject.headers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InjectHeader {
    /// `Authorization: Bearer T` (RFC 6750 section 2.1).
    Authorization,
    /// `x-amz-access-token: T`, the one place that SP-API documents.
    XAmzAccessToken,
}

/// One line of `egress`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EgressRule {
    /// Which hosts.
    pub host: HostPattern,
    /// What happens there.
    pub mode: EgressMode,
    /// Which ports; 443 when the file names none.
    pub ports: Vec<u16>,
}

/// `egress[].mode`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EgressMode {
    /// Intercepted; a token is set.
    Inject,
    /// Intercepted; token requests are answered here.
    Lwa,
    /// Intercepted; presigned URLs alone, never a credential.
    Document,
    /// Copied blindly.
    Tunnel,
}

impl EgressMode {
    /// The mode as the file spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inject => "inject",
            Self::Lwa => "lwa",
            Self::Document => "document",
            Self::Tunnel => "tunnel",
        }
    }
}

/// One entry of `apps`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Its charge method.
    pub charge_method: Option<ChargeMethod>,
    /// When its client secret was made.
    pub client_secret_rotated: Option<Date>,
    /// When its developer profile is due for review.
    pub developer_profile_review: Option<Date>,
}

/// `apps[].charge_method`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChargeMethod {
    /// Whether the operator knows it to be good.
    pub status: ChargeStatus,
    /// The last day on which it is good.
    pub expires: Option<Date>,
    /// Who mends it.
    pub owner: Option<String>,
}

/// `apps[].charge_method.status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChargeStatus {
    /// Known to be good.
    Valid,
    /// Known to have been declined.
    Declined,
}

/// A day of the proleptic Gregorian calendar, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Date {
    /// Year.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day, 1 to 31.
    pub day: u8,
}

/// `tenants`.
#[derive(Clone, Debug)]
pub enum Tenants {
    /// Listed in the file.
    Listed(Vec<Arc<Tenant>>),
    /// Their profiles are in the store.
    FromStore,
}

/// One entry of `tenants`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The app whose client id and secret it uses.
    pub app: AppId,
    /// Seller or vendor.
    pub account: Account,
    /// Its region.
    pub region: Region,
    /// Production or sandbox.
    pub environment: Environment,
    /// Its marketplaces; empty when any will do.
    pub marketplaces: Vec<String>,
    /// Its vendor groups.
    pub vendor_groups: Vec<String>,
    /// The roles that its authorization covers.
    pub scopes: Vec<String>,
    /// Whether it has to pass `preflight` before it is served.
    pub preflight: Preflight,
}

/// `tenants[].preflight`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preflight {
    /// It is served at once.
    Optional,
    /// It is served once `spapi-sidecar preflight` has passed for its profile as it is.
    Required,
}

/// `tenants[].account`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account {
    /// Seller Central.
    Seller,
    /// Vendor Central.
    Vendor,
}

/// `tenants[].region` (FACTS section 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Region {
    /// North America.
    Na,
    /// Europe.
    Eu,
    /// Far East.
    Fe,
}

impl Region {
    /// The region as the file spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Na => "na",
            Self::Eu => "eu",
            Self::Fe => "fe",
        }
    }
}

/// `tenants[].environment`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Environment {
    /// The real thing.
    Production,
    /// Amazon's sandbox hosts.
    Sandbox,
}

impl Environment {
    /// The environment as the file spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }
}

/// `policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyMode {
    /// What no route names is refused.
    Enforce,
    /// What no route names is let through and recorded.
    Report,
}

/// One entry of `routes`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteRule {
    /// Method and path template of each call that is allowed.
    pub allow: Vec<Allow>,
    /// The role that the tenant's grant has to cover; none for a grantless route without one.
    pub scope: Option<String>,
    /// The scope of the client-credentials token to use instead of the tenant's.
    pub grantless: Option<String>,
    /// The restricted data token to swap in.
    pub rdt: Option<Rdt>,
    /// Whether `%2F` inside a segment is data on this route.
    pub encoded_slash: bool,
    /// Why this route exists.
    pub reason: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// One `METHOD /template` of a route.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Allow {
    /// The method.
    pub method: http::Method,
    /// The template, with `{parameters}`.
    pub template: String,
}

/// `routes[].rdt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rdt {
    /// `dataElements` of the Tokens API.
    pub data_elements: Vec<String>,
    /// One token for the template, or one for each call.
    pub per: RdtPer,
    /// Whether the plain token will not do.
    pub required: bool,
}

/// `routes[].rdt.per`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RdtPer {
    /// One for the path template, cached for its life.
    Template,
    /// One for each concrete path, destroyed after the call.
    Path,
}

/// `throttle`.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    /// Pace or pass.
    pub mode: ThrottleMode,
    /// Longest that one request is held.
    pub max_wait: Duration,
    /// Most attempts for one request, the first included.
    pub max_attempts: u32,
}

/// `throttle.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThrottleMode {
    /// Hold requests back to the learned rate.
    Pace,
    /// Let them through.
    Pass,
}

/// `alerts`.
#[derive(Clone, Debug)]
pub struct Alerts {
    /// Where alerts are posted.
    pub webhook: Option<Webhook>,
    /// How many 401s and 403s of one tenant, in which window.
    pub auth_errors: (u32, Duration),
    /// Failed refreshes in a row.
    pub refresh_failures: u32,
    /// Share of requests that found a fresh token, 0.0 to 1.0.
    pub freshness_slo: f64,
    /// How long before a due date to remind.
    pub reminders: Vec<Duration>,
    /// Which causes set a tenant aside by themselves.
    pub quarantine_on: Vec<QuarantineCause>,
}

/// `alerts.webhook`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// Where to.
    pub url: url::Url,
    /// File that holds the HMAC secret.
    pub secret_file: PathBuf,
}

/// `alerts.quarantine_on[]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum QuarantineCause {
    /// The app's charge method has lapsed.
    ChargeMethodLapsed,
    /// The vendor group link is broken.
    VendorLinkBroken,
    /// The grant was revoked.
    GrantRevoked,
}

impl QuarantineCause {
    /// The cause as the file spells it; also the reason of an automatic quarantine.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChargeMethodLapsed => "charge_method_lapsed",
            Self::VendorLinkBroken => "vendor_link_broken",
            Self::GrantRevoked => "grant_revoked",
        }
    }
}

/// `telemetry`.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Shape of log lines.
    pub log_format: LogFormat,
    /// Least severe level that is written.
    pub log_level: LogLevel,
    /// Whether path parameters are masked.
    pub path_params: PathParams,
    /// OTLP endpoint.
    pub otlp: Option<url::Url>,
    /// The deploy's name.
    pub release: String,
}

/// `telemetry.log.format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Pretty,
}

/// `telemetry.log.level`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// Errors alone.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to see.
    Info,
    /// And what a developer wants to see.
    Debug,
    /// Everything.
    Trace,
}

/// `telemetry.log.path_params`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathParams {
    /// Parameters are replaced by their names.
    Mask,
    /// Parameters are shown.
    Keep,
}

/// `audit`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The hash-chained file.
    pub path: PathBuf,
    /// Whether the file names it; else another place will do where the usual one is not ours to write.
    pub path_is_named: bool,
    /// Which calls get a line before they leave.
    pub requests: AuditRequests,
}

impl Audit {
    /// The places of the file, in the order in which they are tried: the one that the file names; else the usual one and,
    /// where that is not ours to write or another sidecar's, the working folder.
    #[must_use]
    pub fn places(&self) -> Vec<PathBuf> {
        let mut places = vec![self.path.clone()];
        if !self.path_is_named {
            places.push("audit.jsonl".into());
        }
        places
    }
}

/// `audit.requests`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditRequests {
    /// Calls that can return personal data.
    Restricted,
    /// Every call.
    All,
    /// None.
    None,
}

impl Config {
    /// Parses the text of a configuration file. `file` is the name that mistakes are reported under; `env` looks up
    /// `${NAME}`.
    ///
    /// # Errors
    /// Every mistake found, in the order of the file.
    pub fn parse(
        file: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, error::Faults> {
        file::parse(file, text, env)
    }

    /// Days before a due date from which it is spoken of: the longest of `alerts.reminders`.
    #[must_use]
    pub fn remind_within(&self) -> i64 {
        let longest = self.alerts.reminders.iter().max();
        let days = longest.map_or(0, |longest| longest.as_secs() / 86_400);
        i64::try_from(days).unwrap_or(i64::MAX)
    }

    /// The hosts whose TLS ends here: what our intermediate is constrained to (RFC 5280 section 4.2.1.10).
    #[must_use]
    pub fn intercepted(&self) -> Vec<HostName> {
        let mut names: Vec<HostName> = self
            .egress
            .iter()
            .filter(|rule| rule.mode != EgressMode::Tunnel)
            .filter_map(|rule| match &rule.host {
                HostPattern::Exact(Host::Name(name)) | HostPattern::Under(name) => {
                    Some(name.clone())
                }
                HostPattern::Exact(Host::Ip(_)) => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}
