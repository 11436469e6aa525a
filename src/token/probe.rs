//! A call that only asks, with a tenant's own token.
//!
//! Job: one GET to SP-API, to see whether Amazon takes the token for it.
//! Invariants: the token goes into the fields of `inject.headers` and nowhere else; nothing of the answer is kept here.
//! Failure mode: one line of text where there is no answer.

use http::{HeaderName, HeaderValue};

use super::exchange::{Answer, Get, Transport};
use crate::config::InjectHeader;
use crate::name::Authority;
use crate::secret::AccessToken;

/// Asks.
///
/// # Errors
/// What kept an answer from coming.
pub async fn ask(
    transport: &dyn Transport,
    inject: &[InjectHeader],
    to: &Authority,
    target: &str,
    token: &AccessToken,
) -> Result<Answer, String> {
    let fields = fields(inject, token);
    transport.get(Get { to, target, fields }).await
}

/// The fields that carry a token.
pub(super) fn fields(
    inject: &[InjectHeader],
    token: &AccessToken,
) -> Vec<(HeaderName, HeaderValue)> {
    let one = |field: &InjectHeader| match field {
        InjectHeader::Authorization => (http::header::AUTHORIZATION, token.expose_bearer()),
        InjectHeader::XAmzAccessToken => (
            HeaderName::from_static("x-amz-access-token"),
            token.expose_plain(),
        ),
    };
    inject.iter().map(one).collect()
}
