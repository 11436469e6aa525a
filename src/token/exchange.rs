//! The POST to the token endpoint.
//!
//! Job: read the grant and the app's credentials from the store, exchange them at LWA, check the answer strictly.
//! Invariants: the body is zeroized after use; an answer larger than [`ANSWER_BYTES`] or without a believable life is
//! refused; of LWA's words only the closed list of RFC 6749 section 5.2 goes on; a changed refresh token is in the store
//! before the old one is forgotten, see `settle`.
//! Failure mode: [`Cause`]. With `client_secret_next` in the store, `invalid_client` leads to one try with it, and to its
//! promotion when that works, so that a rotation costs no failed call.
//! Sources: RFC 6749 sections 4.4.2, 5.1, 5.2 and 6; SP-API facts, section 3 (LWA takes forms and JSON; `expires_in` 3600).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::cache::{Fetch, next_generation};
use super::lifetime::Life;
use super::settle::{self, Replacement, Replacements};
use super::{AccessKey, Cause, Issued, Standing};
use crate::config;
use crate::name::Authority;
use crate::secret::{AccessToken, ClientSecret, Opaque, RefreshToken};
use crate::store::record::{AppCredentials, Grant};
use crate::store::{BoxFuture, Expect, GrantStore, Record, RecordKey, StoreError};
use crate::task::Tasks;
use crate::telemetry;
use crate::telemetry::event::Events;
use crate::tenant::{AppId, GrantKind, TenantId};

mod redeem;

/// Largest answer of a token endpoint that is read: two tokens of 2048 bytes each, several times over.
pub const ANSWER_BYTES: usize = 64 << 10;

/// One POST to an origin that is neither the store nor a collector.
#[derive(Debug)]
pub struct Post<'a> {
    /// Whom.
    pub to: &'a Authority,
    /// Path and query.
    pub target: &'a str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Further fields.
    pub fields: Vec<(http::HeaderName, HeaderValue)>,
    /// The body, zeroized after use.
    pub body: Bytes,
}

/// One GET to an origin that is neither the store nor a collector.
#[derive(Debug)]
pub struct Get<'a> {
    /// Whom.
    pub to: &'a Authority,
    /// Path and query.
    pub target: &'a str,
    /// Further fields.
    pub fields: Vec<(http::HeaderName, HeaderValue)>,
}

/// An answer, read whole; that to a GET as far as [`ANSWER_BYTES`].
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Date` field.
    pub date: Option<HeaderValue>,
    /// Its body, at most [`ANSWER_BYTES`]. Holds tokens: never printed.
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Posts to origins; the composition root makes one from the upstream client, tests from a function.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Posts and reads the whole answer, within the bound on one exchange.
    fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>>;

    /// Gets, within the same bound. Token requests are posted: a transport for them alone does not.
    fn get<'a>(&'a self, _get: Get<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        let why = "this transport is for token requests alone".to_owned();
        Box::pin(std::future::ready(Err(why)))
    }
}

/// The token endpoint.
#[derive(Debug)]
pub struct Lwa {
    endpoint: Authority,
    target: String,
    config: config::Lwa,
    store: Arc<dyn GrantStore>,
    transport: Arc<dyn Transport>,
    tasks: Tasks,
    replacements: Replacements,
}

impl Lwa {
    /// An exchanger for the configured endpoint; `tasks` runs what has to be written down whoever waits, and `events` hear where
    /// that lasts.
    ///
    /// # Errors
    /// When `token_url` has no host.
    pub fn new(
        config: config::Lwa,
        store: Arc<dyn GrantStore>,
        transport: Arc<dyn Transport>,
        tasks: Tasks,
        events: Events,
    ) -> Result<Self, crate::name::NameError> {
        let host = config.token_url.host_str().unwrap_or_default();
        let endpoint = Authority::parse_with_default(
            &format!(
                "{host}:{}",
                config.token_url.port_or_known_default().unwrap_or(443)
            ),
            443,
        )?;
        let target = config.token_url.path().to_owned();
        Ok(Self {
            endpoint,
            target,
            config,
            store,
            transport,
            tasks,
            replacements: Replacements::new(events),
        })
    }

    /// Whose new refresh tokens the store has not taken yet: they are lost with this process.
    #[must_use]
    pub fn not_stored(&self) -> Vec<TenantId> {
        self.replacements.tenants()
    }

    /// The rules of a life.
    pub(super) const fn config(&self) -> &config::Lwa {
        &self.config
    }

    /// One exchange. `send_by` is the last moment at which it may be sent, judged right before it is.
    ///
    /// # Errors
    /// [`Cause`]; [`StoreError::Timeout`] in it when it was too late to send.
    pub(super) async fn exchange(
        &self,
        key: &AccessKey,
        send_by: Option<Instant>,
    ) -> Result<Exchanged, Cause> {
        let tenant = &key.tenant.id;
        let credentials = self.credentials(&key.tenant.app).await?;
        let (form, spent) = match &key.grant.kind {
            GrantKind::Refresh => {
                let spent = self.refresh_token(tenant).await?;
                (Form::Refresh(spent.clone()), Some(spent))
            }
            GrantKind::Grantless(scope) => (Form::Grantless(Arc::clone(scope)), None),
        };
        let (granted, asked) = self
            .ask_with_either_secret(&key.tenant.app, &credentials, &form, send_by)
            .await?;
        let replaced = spent
            .zip(granted.refresh_token)
            .filter(|(spent, fresh)| !spent.same_as(fresh))
            .map(|(spent, fresh)| self.replacements.hold(tenant, spent, fresh));
        let life = Life::parse(
            asked,
            granted.expires_in,
            self.config.refresh_at,
            self.config.clock_skew,
            rand::random(),
        )
        .map_err(|_absurd| Cause::Nonsense("an answer whose expires_in is not believable"));
        Ok(Exchanged {
            token: granted.access_token,
            expires_in: Duration::from_secs(granted.expires_in),
            asked,
            life,
            replaced,
        })
    }

    /// A grantless token of an app that no tenant stands for, kept nowhere.
    ///
    /// # Errors
    /// [`Cause`].
    pub async fn grantless(&self, app: &AppId, scope: &str) -> Result<AccessToken, Cause> {
        let credentials = self.credentials(app).await?;
        let form = Form::Grantless(Arc::from(scope));
        let (granted, _asked) = self
            .ask_with_either_secret(app, &credentials, &form, None)
            .await?;
        Ok(granted.access_token)
    }

    /// An app's credentials, and the record that they stand in.
    async fn credentials(&self, app: &AppId) -> Result<(AppCredentials, Record), Cause> {
        let record = self
            .store
            .read(&RecordKey::App(app.clone()))
            .await?
            .ok_or_else(|| Cause::NoApp(app.clone()))?;
        Ok((AppCredentials::from_record(app, &record)?, record))
    }

    /// What LWA grants, and when it was asked: with the secret or, where that is refused, with the next one.
    async fn ask_with_either_secret(
        &self,
        app: &AppId,
        (credentials, record): &(AppCredentials, Record),
        form: &Form,
        send_by: Option<Instant>,
    ) -> Result<(Granted, Instant), Cause> {
        let asked = in_time(send_by, app)?;
        let body = form.body(credentials, &credentials.client_secret);
        let refused = match self.ask(body).await {
            Err(Cause::ClientRefused(why)) => why,
            other => return other.map(|granted| (granted, asked)),
        };
        let Some(next) = &credentials.client_secret_next else {
            return Err(Cause::ClientRefused(refused));
        };
        let asked = in_time(send_by, app)?;
        let granted = self.ask(form.body(credentials, next)).await?;
        self.promote(app, record).await;
        Ok((granted, asked))
    }

    /// The refresh token to exchange: the store's, or the one that LWA put in its place and that is not written down yet.
    async fn refresh_token(&self, tenant: &TenantId) -> Result<RefreshToken, Cause> {
        let (grant, _version) = Grant::load(&*self.store, tenant)
            .await?
            .ok_or_else(|| Cause::NoGrant(tenant.clone()))?;
        Ok(self.replacements.instead_of(tenant, grant.refresh_token))
    }

    /// An exchange whose refresh token, where LWA replaced it, is on its way into the store.
    async fn exchange_alone(&self, key: &AccessKey, forced: bool) -> Result<Issued, Cause> {
        let Exchanged {
            token,
            expires_in,
            asked,
            life,
            replaced,
        } = self.exchange(key, None).await?;
        if let Some(replaced) = replaced {
            let kept = replaced.keep(Arc::clone(&self.store), self.tasks.clone());
            settle::patiently(&self.tasks, "keep-grant", kept).await;
        }
        let life = life?;
        tracing::info!(tenant = %key.tenant.id, kind = key.grant.kind.as_str(), expires_in_s = expires_in.as_secs(), forced, "token exchanged");
        Ok(Issued {
            token,
            generation: next_generation(),
            issued: asked,
            life,
            standing: Standing::default(),
        })
    }

    async fn ask(&self, body: Bytes) -> Result<Granted, Cause> {
        let post = Post {
            to: &self.endpoint,
            target: &self.target,
            content_type: "application/x-www-form-urlencoded;charset=UTF-8",
            fields: Vec::new(),
            body,
        };
        let answer = self
            .transport
            .post(post)
            .await
            .map_err(Cause::Unreachable)?;
        match answer.status {
            200 => Granted::parse(&answer.body),
            400..=403 => Err(refusal(&answer.body)),
            429 => Err(Cause::Refused("throttled")),
            500..=599 => Err(Cause::Unreachable(format!("it answered {}", answer.status))),
            _ => Err(Cause::Nonsense("an answer with an unexpected status")),
        }
    }

    /// Makes `client_secret_next` the client secret: it is the one that works. Losing the race to another sidecar is fine.
    async fn promote(&self, app: &AppId, record: &Record) {
        let mut fields = record.fields.clone();
        let Some(next) = fields.remove("client_secret_next") else {
            return;
        };
        fields.insert("client_secret".to_owned(), next);
        // its age counts from the day on which it was put here; today is the latest that this can have been
        let since = fields.remove("client_secret_next_at").unwrap_or_else(|| {
            let now = humantime::format_rfc3339_seconds(telemetry::now()).to_string();
            Opaque::new(now.split('T').next().unwrap_or_default().to_owned())
        });
        fields.insert("rotated_at".to_owned(), since);
        match self
            .store
            .write(
                &RecordKey::App(app.clone()),
                fields,
                Expect::Version(record.version),
            )
            .await
        {
            Ok(_) => tracing::info!(%app, "client_secret_next works and was promoted"),
            Err(error) => {
                tracing::warn!(%app, %error, "client_secret_next works but could not be promoted")
            }
        }
    }
}

impl Fetch<AccessKey> for Lwa {
    fn fetch<'a>(
        &'a self,
        key: &'a AccessKey,
        forced: bool,
    ) -> BoxFuture<'a, Result<Issued, Cause>> {
        Box::pin(self.exchange_alone(key, forced))
    }
}

/// What an exchange brought.
pub(super) struct Exchanged {
    pub(super) token: AccessToken,
    /// The token's whole life, as LWA says it.
    pub(super) expires_in: Duration,
    /// When it was asked for: its life began no earlier.
    pub(super) asked: Instant,
    /// When it may be used; or that its life is absurd, and it may not.
    pub(super) life: Result<Life, Cause>,
    /// The refresh token that came with it, where it is another one. It is worth more than the access token: it has to be
    /// written down whatever becomes of the rest.
    pub(super) replaced: Option<Arc<Replacement>>,
}

/// Now, if there is time left to send.
fn in_time(send_by: Option<Instant>, app: &AppId) -> Result<Instant, Cause> {
    let now = Instant::now();
    match send_by {
        Some(send_by) if now >= send_by => Err(Cause::Store(StoreError::Timeout(format!(
            "a lease on a token of app {app} would end before LWA answered; nothing was sent"
        )))),
        Some(_) | None => Ok(now),
    }
}

/// What LWA is asked for.
enum Form {
    Refresh(RefreshToken),
    Grantless(Arc<str>),
}

impl Form {
    fn body(&self, app: &AppCredentials, secret: &ClientSecret) -> Bytes {
        let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(4096));
        match self {
            Self::Refresh(token) => {
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", token.expose());
            }
            Self::Grantless(scope) => {
                form.append_pair("grant_type", "client_credentials")
                    .append_pair("scope", scope);
            }
        }
        form.append_pair("client_id", app.client_id.expose())
            .append_pair("client_secret", secret.expose());
        Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()))
    }
}

struct Granted {
    access_token: AccessToken,
    refresh_token: Option<RefreshToken>,
    expires_in: u64,
}

impl Granted {
    fn parse(body: &[u8]) -> Result<Self, Cause> {
        #[derive(Deserialize)]
        struct Wire {
            access_token: Zeroizing<String>,
            #[serde(default)]
            refresh_token: Option<Zeroizing<String>>,
            expires_in: u64,
            #[serde(default)]
            token_type: Option<String>,
        }
        // the parser's own message could quote the body
        let wire: Wire = serde_json::from_slice(body)
            .map_err(|_quotes_the_body| Cause::Nonsense("an answer that is not a token"))?;
        if wire
            .token_type
            .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
        {
            return Err(Cause::Nonsense("a token that is not a bearer token"));
        }
        let access_token = AccessToken::new(&wire.access_token)
            .map_err(|_bad| Cause::Nonsense("a token that no header can carry"))?;
        let refresh_token = wire
            .refresh_token
            .filter(|token| !token.is_empty())
            .map(|token| RefreshToken::new((*token).clone()));
        Ok(Self {
            access_token,
            refresh_token,
            expires_in: wire.expires_in,
        })
    }
}

/// LWA's refusal, by the closed list of its error codes (RFC 6749 section 5.2, and what LWA adds).
fn refusal(body: &[u8]) -> Cause {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        error: std::borrow::Cow<'a, str>,
    }
    let Ok(Wire { error }) = serde_json::from_slice(body) else {
        return Cause::Nonsense("a refusal that is not in its own shape");
    };
    match &*error {
        "invalid_grant" => Cause::GrantRevoked,
        "invalid_client" => Cause::ClientRefused("invalid_client"),
        "unauthorized_client" => Cause::ClientRefused("unauthorized_client"),
        "access_denied" => Cause::Refused("access_denied"),
        "invalid_request" => Cause::Refused("invalid_request"),
        "invalid_scope" => Cause::Refused("invalid_scope"),
        "unsupported_grant_type" => Cause::Refused("unsupported_grant_type"),
        "server_error" | "temporarily_unavailable" => {
            Cause::Unreachable("it says that it is unavailable".to_owned())
        }
        _ => Cause::Nonsense("a refusal with an unknown code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_answer_is_read() {
        let granted = Granted::parse(br#"{"access_token":"Atza|x","refresh_token":"Atzr|y","token_type":"bearer","expires_in":3600}"#).unwrap();
        assert_eq!(
            (granted.access_token.expose(), granted.expires_in),
            ("Atza|x", 3600)
        );
        assert_eq!(granted.refresh_token.unwrap().expose(), "Atzr|y");
    }

    #[test]
    fn an_answer_is_printed_without_what_it_holds() {
        let answer = Answer {
            status: 200,
            date: None,
            body: Bytes::from_static(b"Atza|canary"),
        };
        assert_eq!(format!("{answer:?}"), "Answer { status: 200, .. }");
    }

    #[test]
    fn an_answer_that_is_not_a_token_is_refused_without_being_quoted() {
        for body in [
            &b"<html>canary</html>"[..],
            br#"{"access_token":"","expires_in":3600}"#,
            br#"{"access_token":"can ary","expires_in":3600}"#,
            br#"{"access_token":"canary","expires_in":"3600"}"#,
            br#"{"access_token":"canary","expires_in":-1}"#,
            br#"{"access_token":"canary","expires_in":3600,"token_type":"mac"}"#,
        ] {
            let Err(cause) = Granted::parse(body) else {
                panic!("accepted {}", String::from_utf8_lossy(body))
            };
            assert!(!cause.to_string().contains("canary"), "{cause}");
        }
    }

    #[test]
    fn refusals_are_classified_by_code_alone() {
        for (code, want) in [
            ("invalid_grant", "grant_revoked"),
            ("invalid_client", "client_refused"),
            ("invalid_scope", "lwa_refused"),
            ("server_error", "lwa_unreachable"),
            ("canary", "lwa_nonsense"),
        ] {
            let cause =
                refusal(format!(r#"{{"error":"{code}","error_description":"canary"}}"#).as_bytes());
            assert_eq!(cause.as_str(), want);
            assert!(!cause.to_string().contains("canary"), "{cause}");
        }
    }
}
