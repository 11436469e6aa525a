//! What an answer of SP-API means for the token it was asked with.
//!
//! Job: give each answer of SP-API its [`Meaning`], by its status first, then by its words, then by what was asked.
//! Invariants: only a 401, or a 403 whose words say that the access token has expired or is revoked, malformed or invalid, is
//! about a token that an exchange may mend; the lapse of a client secret is not. Codes are not relied on: they differ by API.
//! The answer itself is not changed.
//! Failure mode: a 403 that says nothing known is a missing role, unless the catalog knows better.
//! Sources: SP-API facts, section 4 (an expired token is reported as 403; an unknown path too); CONTRACT section 3.4. Every
//! answer of that section stands in `tests/corpus/answers/`, and the table below says what it is.

use std::borrow::Cow;

use http::Method;
use serde::Deserialize;

use crate::catalog::{Catalog, RdtWhen};
use crate::outcome::Denial;

/// Most bytes of a 403 that are read ahead to judge it: SP-API's error bodies are a few hundred.
pub const READ_AHEAD: usize = 32 << 10;

/// What an answer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// The call was carried out: Amazon took the token.
    Taken,
    /// An answer that says nothing of the authorization.
    Neutral,
    /// The authorization was refused, or the quota is used up.
    Denied(Denial),
    /// 400 with a page instead of JSON: the gateway did not understand the request, and SP-API has not seen it.
    Malformed,
    /// 5xx: the trouble is Amazon's.
    Trouble,
}

/// What is known of the call that an answer answers.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its raw path.
    pub path: &'a str,
    /// The kind of token it was made with: `access`, `grantless` or `rdt`.
    pub token_kind: &'static str,
    /// Whether the same operation was answered 429 a short while ago.
    pub throttled_lately: bool,
}

/// Judges an answer. `body` is needed for a 403, and of use for a 400; otherwise it may be empty.
#[must_use]
pub fn judge(status: u16, content_type: Option<&[u8]>, body: &[u8], call: &Call<'_>) -> Meaning {
    match status {
        200..=299 => Meaning::Taken,
        401 => Meaning::Denied(Denial::Unauthenticated),
        403 => Meaning::Denied(forbidden(body, call)),
        429 => Meaning::Denied(Denial::Throttled),
        400 if content_type.is_some_and(is_a_page) => Meaning::Malformed,
        400 if names_data_elements(body) => Meaning::Denied(Denial::DataElements),
        500..=599 => Meaning::Trouble,
        _ => Meaning::Neutral,
    }
}

fn is_a_page(content_type: &[u8]) -> bool {
    content_type
        .get(..9)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
}

/// A 400 of the Tokens API about data that the application may not have.
fn names_data_elements(body: &[u8]) -> bool {
    entries(body).iter().any(|entry| {
        entry
            .texts()
            .any(|text| text.contains("requested data elements"))
    })
}

/// Judges a 403.
fn forbidden(body: &[u8], call: &Call<'_>) -> Denial {
    let said = entries(body)
        .iter()
        .find_map(|entry| entry.texts().find_map(words).or_else(|| entry.code()));
    match said {
        Some(Denial::Forbidden) if call.throttled_lately => Denial::ThrottledAsForbidden,
        Some(denial) => denial,
        None => unexplained(call),
    }
}

/// A 403 without a reason: what the catalog knows of the call.
fn unexplained(call: &Call<'_>) -> Denial {
    let Some(operation) = Catalog::embedded().find(call.method, call.path) else {
        return Denial::UnknownPath;
    };
    let fits = match (&operation.grantless_scope, call.token_kind) {
        (Some(_), kind) => kind == "grantless",
        (None, "grantless") => false,
        (None, kind) => kind == "rdt" || operation.rdt_when != Some(RdtWhen::Always),
    };
    if fits {
        Denial::Role
    } else {
        Denial::WrongKind
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    errors: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    details: Option<Cow<'a, str>>,
}

impl Entry<'_> {
    /// Details first: they are the more precise.
    fn texts(&self) -> impl Iterator<Item = &str> {
        [self.details.as_deref(), self.message.as_deref()]
            .into_iter()
            .flatten()
    }

    fn code(&self) -> Option<Denial> {
        (self.code.as_deref() == Some("MissingAuthenticationToken")).then_some(Denial::TokenMissing)
    }
}

fn entries(body: &[u8]) -> Vec<Entry<'_>> {
    serde_json::from_slice::<Wire<'_>>(body).map_or_else(|_not_json| Vec::new(), |wire| wire.errors)
}

fn words(text: &str) -> Option<Denial> {
    let text = text.to_ascii_lowercase();
    let has = |word: &str| text.contains(word);
    let of_the_token = has("access token");
    if has("secret token") && has("expired") {
        Some(Denial::SecretLapsed)
    } else if of_the_token && has("expired") {
        Some(Denial::TokenExpired)
    } else if of_the_token && (has("revoked") || has("malformed") || has("invalid")) {
        Some(Denial::TokenInvalid)
    } else if of_the_token && has("missing") {
        Some(Denial::TokenMissing)
    } else if has("spsa2043") || has("vendor group") {
        Some(Denial::VendorLink)
    } else if has("marketplace") && has("region") {
        Some(Denial::Region)
    } else if has("forbidden") {
        Some(Denial::Forbidden)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
