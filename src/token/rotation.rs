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
