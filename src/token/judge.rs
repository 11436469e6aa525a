//! What an answer of SP-API means for the token it was asked with.
//!
//! Job: tell a refusal of the token from every other answer.
//! Invariants: only a 401, or a 403 whose `details` say that the access token has expired or is revoked, malformed or invalid,
//! counts; the lapse of a client secret does not (no exchange helps against it); the answer itself is not changed.
//! Source: SP-API facts, section 4 (an expired token is reported as 403); CONTRACT section 3.4.

use serde::Deserialize;

/// Most bytes of a 403 that are read ahead to judge it: SP-API's error bodies are a few hundred.
pub const READ_AHEAD: usize = 32 << 10;

/// What to make of a 403.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not about the token.
    Pass,
    /// The token was refused: a new one may help.
    TokenRefused,
    /// The app's client secret has lapsed: no token helps.
    SecretLapsed,
}

/// Judges the body of a 403.
#[must_use]
pub fn forbidden(body: &[u8]) -> Verdict {
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
        return Verdict::Pass;
    };
    let says = |text: Option<&str>| text.map_or(Verdict::Pass, words);
    errors
        .iter()
        .map(|entry| match says(entry.details.as_deref()) {
            Verdict::Pass => says(entry.message.as_deref()),
            other @ (Verdict::TokenRefused | Verdict::SecretLapsed) => other,
        })
        .find(|verdict| *verdict != Verdict::Pass)
        .unwrap_or(Verdict::Pass)
}

fn words(text: &str) -> Verdict {
    let text = text.to_ascii_lowercase();
    let has = |word: &str| text.contains(word);
    if has("secret token") && has("expired") {
        Verdict::SecretLapsed
    } else if has("access token")
        && (has("expired") || has("revoked") || has("malformed") || has("invalid"))
    {
        Verdict::TokenRefused
    } else {
        Verdict::Pass
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
                Verdict::TokenRefused,
            ),
            (
                "The access token you provided is revoked, malformed or invalid.",
                Verdict::TokenRefused,
            ),
            (
                "The LWA secret token you provided has expired.",
                Verdict::SecretLapsed,
            ),
            (
                "Access token is missing in the request header.",
                Verdict::Pass,
            ),
            ("", Verdict::Pass),
            (
                "The marketplaces you provided are not valid for region.",
                Verdict::Pass,
            ),
        ] {
            let body = serde_json::json!({"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": details}]}).to_string();
            assert_eq!(forbidden(body.as_bytes()), want, "{details}");
        }
        assert_eq!(
            forbidden(b"<html>the access token has expired</html>"),
            Verdict::Pass
        );
    }
}
