//! The POST to the token endpoint.
//!
//! Job: read the grant and the app's credentials from the store, exchange them at LWA, check the answer strictly.
//! Invariants: the body is zeroized after use; an answer larger than [`ANSWER_BYTES`] or without a believable life is
//! refused; of LWA's words only the closed list of RFC 6749 section 5.2 goes on; a changed refresh token is in the store
//! before the old one is forgotten.
//! Failure mode: [`Cause`]. With `client_secret_next` in the store, `invalid_client` leads to one try with it, and to its
//! promotion when that works, so that a rotation costs no failed call.
//! Sources: RFC 6749 sections 4.4.2, 5.1, 5.2 and 6; SP-API facts, section 3 (LWA takes forms and JSON; `expires_in` 3600).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::cache::{Fetch, next_generation};
use super::lifetime::Life;
use super::{AccessKey, Cause, Issued, Standing};
use crate::config;
use crate::name::Authority;
use crate::secret::{AccessToken, ClientSecret, Opaque, RefreshToken};
use crate::store::record::{AppCredentials, Grant};
use crate::store::{BoxFuture, Expect, GrantStore, Record, RecordKey};
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

/// An answer, read whole.
pub struct Answer {
    /// Its status.
    pub status: u16,
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
}

/// The token endpoint.
#[derive(Debug)]
pub struct Lwa {
    endpoint: Authority,
    target: String,
    config: config::Lwa,
    store: Arc<dyn GrantStore>,
    transport: Arc<dyn Transport>,
}

impl Lwa {
    /// An exchanger for the configured endpoint.
    ///
    /// # Errors
    /// When `token_url` has no host.
    pub fn new(
        config: config::Lwa,
        store: Arc<dyn GrantStore>,
        transport: Arc<dyn Transport>,
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
        })
    }

    async fn exchange(&self, key: &AccessKey, forced: bool) -> Result<Issued, Cause> {
        let (tenant, app) = (&key.tenant.id, &key.tenant.app);
        let app_key = RecordKey::App(app.clone());
        let app_record = self
            .store
            .read(&app_key)
            .await?
            .ok_or_else(|| Cause::NoApp(app.clone()))?;
        let credentials = AppCredentials::from_record(app, &app_record)?;
        let grant = match &key.grant.kind {
            GrantKind::Refresh => Some(self.grant(tenant).await?),
            GrantKind::Grantless(_) => None,
        };
        let ask = |secret: &ClientSecret| {
            self.body(
                &credentials,
                secret,
                &key.grant.kind,
                grant.as_ref().map(|(grant, _)| &grant.refresh_token),
            )
        };
        let asked = Instant::now();
        let mut answer = self.ask(ask(&credentials.client_secret)).await;
        if let (Err(Cause::ClientRefused(_)), Some(next)) =
            (&answer, &credentials.client_secret_next)
        {
            answer = self.ask(ask(next)).await;
            if answer.is_ok() {
                self.promote(app, &app_key, &app_record).await;
            }
        }
        let granted = answer?;
        if let (Some((_, record)), Some(replaced)) = (&grant, &granted.refresh_token) {
            self.keep(tenant, record, replaced).await?;
        }
        let life = Life::parse(
            asked,
            granted.expires_in,
            self.config.refresh_at,
            self.config.clock_skew,
            rand::random(),
        )
        .map_err(|_absurd| Cause::Nonsense("an answer whose expires_in is not believable"))?;
        tracing::info!(%tenant, kind = key.grant.kind.as_str(), expires_in_s = granted.expires_in, forced, "token exchanged");
        Ok(Issued {
            token: granted.access_token,
            generation: next_generation(),
            issued: asked,
            life,
            standing: Standing::default(),
        })
    }

    async fn grant(&self, tenant: &TenantId) -> Result<(Grant, Record), Cause> {
        let key = RecordKey::Grant(tenant.clone());
        let record = self
            .store
            .read(&key)
            .await?
            .ok_or_else(|| Cause::NoGrant(tenant.clone()))?;
        Ok((Grant::from_record(tenant, &record)?, record))
    }

    fn body(
        &self,
        app: &AppCredentials,
        secret: &ClientSecret,
        kind: &GrantKind,
        refresh: Option<&RefreshToken>,
    ) -> Bytes {
        let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(4096));
        match (kind, refresh) {
            (GrantKind::Refresh, refresh) => {
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", refresh.map_or("", RefreshToken::expose));
            }
            (GrantKind::Grantless(scope), _) => {
                form.append_pair("grant_type", "client_credentials")
                    .append_pair("scope", scope);
            }
        }
        form.append_pair("client_id", app.client_id.expose())
            .append_pair("client_secret", secret.expose());
        Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()))
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
    async fn promote(&self, app: &AppId, key: &RecordKey, record: &Record) {
        let mut fields = record.fields.clone();
        let Some(next) = fields.remove("client_secret_next") else {
            return;
        };
        fields.insert("client_secret".to_owned(), next);
        match self
            .store
            .write(key, fields, Expect::Version(record.version))
            .await
        {
            Ok(_) => tracing::info!(%app, "client_secret_next works and was promoted"),
            Err(error) => {
                tracing::warn!(%app, %error, "client_secret_next works but could not be promoted")
            }
        }
    }

    /// Stores a refresh token that LWA replaced. The old one stays in use where that fails, and the failure is loud.
    async fn keep(
        &self,
        tenant: &TenantId,
        record: &Record,
        replaced: &RefreshToken,
    ) -> Result<(), Cause> {
        let held = record.fields.get("refresh_token").map(Opaque::expose);
        if held == Some(replaced.expose()) {
            return Ok(());
        }
        let mut fields = record.fields.clone();
        fields.insert(
            "refresh_token".to_owned(),
            Opaque::new(replaced.expose().to_owned()),
        );
        self.store.write(&RecordKey::Grant(tenant.clone()), fields, Expect::Version(record.version)).await.inspect_err(|error| {
            tracing::error!(%tenant, %error, "LWA replaced the refresh token and the store did not take it");
        })?;
        tracing::info!(%tenant, "LWA replaced the refresh token; the store holds the new one");
        Ok(())
    }
}

impl Fetch<AccessKey> for Lwa {
    fn fetch<'a>(
        &'a self,
        key: &'a AccessKey,
        forced: bool,
    ) -> BoxFuture<'a, Result<Issued, Cause>> {
        Box::pin(self.exchange(key, forced))
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
