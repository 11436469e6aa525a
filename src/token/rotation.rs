//! Rotating an app's client secret at Amazon.
//!
//! Job: ask SP-API to issue a new client secret.
//! Invariants: the call carries a grantless token of the rotation scope and nothing else; the new secret is not in the answer
//! (Amazon sends it to the queue that is registered for it), so that nothing here ever holds it.
//! Failure mode: [`RotationFailure`], with what to do.
//! Source: Application Management API 2023-11-30 `rotateApplicationClientSecret` (204; once a minute; production apps only; the
//! old secret works for seven more days).

use bytes::Bytes;

use super::Cause;
use super::exchange::{Lwa, Post, Transport};
use crate::config::InjectHeader;
use crate::name::Authority;
use crate::tenant::AppId;

/// The scope of the token that the call takes.
const SCOPE: &str = "sellingpartnerapi::client_credential:rotation";

/// Where it goes.
const PATH: &str = "/applications/2023-11-30/clientSecret";

/// Why Amazon issued no new secret.
#[derive(Debug, thiserror::Error)]
pub enum RotationFailure {
    /// There is no token to ask with.
    #[error("no token of the rotation scope: {0}")]
    Token(#[from] Cause),
    /// It could not be asked.
    #[error(
        "SP-API could not be reached: {0}; nothing is known of a rotation, and asking again in a minute does no harm"
    )]
    Unreachable(String),
    /// It was asked less than a minute ago.
    #[error("SP-API takes this call once a minute; try again then")]
    Throttled,
    /// It refused.
    #[error(
        "SP-API refused to rotate (status {0}); the app has to be a production app, and a queue for new secrets has to be registered in the developer console first"
    )]
    Refused(u16),
    /// It answered something else.
    #[error(
        "SP-API answered {0} instead of 204; look into the developer console whether there is a new secret"
    )]
    Unexpected(u16),
}

/// Has a new client secret issued for an app, by the host of one of its regions.
///
/// # Errors
/// [`RotationFailure`].
pub async fn rotate(
    lwa: &Lwa,
    transport: &dyn Transport,
    inject: &[InjectHeader],
    host: &Authority,
    app: &AppId,
) -> Result<(), RotationFailure> {
    let token = lwa.grantless(app, SCOPE).await?;
    let fields = inject.iter().map(|field| match field {
        InjectHeader::Authorization => (http::header::AUTHORIZATION, token.expose_bearer()),
        InjectHeader::XAmzAccessToken => (
            http::HeaderName::from_static("x-amz-access-token"),
            token.expose_plain(),
        ),
    });
    let post = Post {
        to: host,
        target: PATH,
        content_type: "application/json",
        fields: fields.collect(),
        body: Bytes::new(),
    };
    let answer = transport
        .post(post)
        .await
        .map_err(RotationFailure::Unreachable)?;
    match answer.status {
        204 => Ok(()),
        429 => Err(RotationFailure::Throttled),
        status @ 400..=499 => Err(RotationFailure::Refused(status)),
        status => Err(RotationFailure::Unexpected(status)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::runtime::Handle;

    use super::*;
    use crate::config;
    use crate::secret::Opaque;
    use crate::store::memory::MemoryStore;
    use crate::store::{BoxFuture, Expect, Fields, GrantStore as _, RecordKey};
    use crate::task::Tasks;
    use crate::telemetry::event::Events;
    use crate::token::exchange::Answer;

    /// LWA, which grants, and SP-API, which answers with a status.
    #[derive(Debug, Default)]
    struct Amazon {
        status: AtomicU16,
        asked: Mutex<Vec<String>>,
    }

    impl Transport for Amazon {
        fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
            let (status, body) = if post.target == PATH {
                let of = |(name, value): &(http::HeaderName, http::HeaderValue)| {
                    format!("{name}: {}", value.to_str().unwrap())
                };
                let fields: Vec<String> = post.fields.iter().map(of).collect();
                assert!(post.body.is_empty());
                self.asked.lock().unwrap().push(fields.join(", "));
                (self.status.load(Ordering::Relaxed), "canary")
            } else {
                let body = String::from_utf8_lossy(&post.body).into_owned();
                assert!(body.contains("scope=sellingpartnerapi%3A%3Aclient_credential%3Arotation"));
                (200, r#"{"access_token":"Atc|r","expires_in":3600}"#)
            };
            let answer = Answer {
                status,
                date: None,
                body: body.into(),
            };
            Box::pin(std::future::ready(Ok(answer)))
        }
    }

    #[tokio::test]
    async fn a_rotation_carries_a_token_of_its_scope_and_every_answer_but_204_is_a_failure_of_its_own()
     {
        let erp = AppId::parse("erp").unwrap();
        let store = Arc::new(MemoryStore::default());
        let fields = [("client_id", "amzn1.x"), ("client_secret", "s")]
            .map(|(name, value)| (name.to_owned(), Opaque::new(value.to_owned())));
        let place = RecordKey::App(erp.clone());
        store
            .write(&place, Fields::from(fields), Expect::Absent)
            .await
            .unwrap();
        let amazon = Arc::new(Amazon::default());
        let config = config::Lwa {
            token_url: "https://api.amazon.com/auth/o2/token".parse().unwrap(),
            refresh_at: 0.5,
            clock_skew: Duration::ZERO,
            timeout: Duration::from_secs(10),
        };
        let transport = Arc::clone(&amazon) as Arc<dyn Transport>;
        let tasks = Tasks::new(Handle::current());
        let lwa = Lwa::new(config, store, transport, tasks, Events::default()).unwrap();
        let host = Authority::parse("sellingpartnerapi-na.amazon.com:443").unwrap();
        let inject = [InjectHeader::XAmzAccessToken, InjectHeader::Authorization];
        for (status, want) in [
            (204, None),
            (200, Some("answered 200 instead of 204")),
            (400, Some("refused to rotate (status 400)")),
            (403, Some("refused to rotate (status 403)")),
            (429, Some("once a minute")),
            (500, Some("answered 500 instead of 204")),
        ] {
            amazon.status.store(status, Ordering::Relaxed);
            let said = rotate(&lwa, &*amazon, &inject, &host, &erp).await;
            let said = said.err().map(|failure| failure.to_string());
            assert_eq!(said.is_some(), want.is_some(), "{status}: {said:?}");
            let said = said.unwrap_or_default();
            assert!(said.contains(want.unwrap_or_default()), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
        for fields in &*amazon.asked.lock().unwrap() {
            assert_eq!(
                fields,
                "x-amz-access-token: Atc|r, authorization: Bearer Atc|r"
            );
        }
    }
}
