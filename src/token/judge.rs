//! What an answer of SP-API means for the token it was asked with.
//!
//! Job: tell a refusal of the token from every other answer.
//! Invariants: only a 401, or a 403 whose `details` say that the access token has expired or is revoked, malformed or invalid,
//! counts; the lapse of a client secret does not (no exchange helps against it); the answer itself is not changed.
//! Source: SP-API facts, section 4 (an expired token is reported as 403); CONTRACT section 3.4.

use serde::Deserialize;

use crate::outcome::Denial;

/// Most bytes of a 403 that are read ahead to judge it: SP-API's error bodies are a few hundred.
pub const READ_AHEAD: usize = 32 << 10;

/// Judges the body of a 403.
#[must_use]
pub fn forbidden(body: &[u8]) -> Denial {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow, default)]
        errors: Vec<Entry<'a>>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow, default)]
        message: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow, default)]
        details: Option<std::borrow::Cow<'a, str>>,
    }
    let Ok(Wire { errors }) = serde_json::from_slice(body) else {
        return Denial::Role;
    };
    errors
        .iter()
        .find_map(|entry| {
            let says = |text: Option<&str>| text.and_then(words);
            says(entry.details.as_deref()).or_else(|| says(entry.message.as_deref()))
        })
        .unwrap_or(Denial::Role)
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
    } else if has("marketplace") && has("region") {
        Some(Denial::Region)
    } else if has("forbidden") {
        Some(Denial::Forbidden)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_about_the_access_token_count() {
        for (details, want) in [
            (
                "The access token you provided has expired.",
                Denial::TokenExpired,
            ),
            (
                "The access token you provided is revoked, malformed or invalid.",
                Denial::TokenInvalid,
            ),
            (
                "The LWA secret token you provided has expired.",
                Denial::SecretLapsed,
            ),
            (
                "Access token is missing in the request header.",
                Denial::Role,
            ),
            ("", Denial::Role),
            (
                "The marketplaces you provided are not valid for region.",
                Denial::Region,
            ),
        ] {
            let body = serde_json::json!({"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": details}]}).to_string();
            assert_eq!(forbidden(body.as_bytes()), want, "{details}");
        }
        assert_eq!(
            forbidden(b"<html>the access token has expired</html>"),
            Denial::Role
        );
    }
}
