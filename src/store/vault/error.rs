//! From what Vault says, or fails to say, to a [`StoreError`].
//!
//! Job: one place that reads status codes and error texts.
//! Invariants: a text names the call and Vault's own words, bounded and on one line; a body is never quoted.
//! Failure mode: none; what is not known is `Protocol` or `Unavailable`, never success.
//! Sources: Vault's HTTP API, status codes; OpenBao 2.7's answers where it differs.

use std::error::Error as _;

use serde::Deserialize;

use crate::store::StoreError;

/// Longest text of Vault's that is passed on: enough for its own messages, little for a page of HTML.
const LONGEST_TEXT: usize = 300;

/// Why a call brought no answer to use.
#[derive(Debug)]
pub(super) enum Fault {
    /// An answer with an error status.
    Refused(Refusal),
    /// No whole answer, or none that makes sense. Whether a write was done is then unknown.
    Lost(StoreError),
}

/// An answer with an error status.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Method and path of the call.
    pub(super) place: String,
    /// The status code.
    pub(super) status: u16,
    /// Vault's words; empty for a plain "not found", and for an answer that is not Vault's.
    errors: Vec<String>,
    /// Of a record that is deleted: the version that check-and-set has to name.
    pub(super) deleted_version: Option<u64>,
}

#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<String>,
    data: Option<ErrorDetail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    metadata: Option<Metadata>,
    #[serde(default)]
    batch_results: Vec<BatchError>,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

#[derive(Deserialize)]
struct BatchError {
    error: Option<String>,
}

impl Refusal {
    pub(super) fn read(place: String, status: u16, body: &[u8]) -> Self {
        let ErrorBody { mut errors, data } = serde_json::from_slice(body).unwrap_or_default();
        let mut deleted_version = None;
        if let Some(detail) = data {
            deleted_version = detail.metadata.map(|metadata| metadata.version);
            errors.extend(detail.batch_results.into_iter().filter_map(|one| one.error));
        }
        Self {
            place,
            status,
            errors,
            deleted_version,
        }
    }

    /// Whether there simply is no such record: never written, or deleted. An unknown mount is 404 as well, with words.
    pub(super) fn is_absent(&self) -> bool {
        self.status == 404 && self.errors.is_empty()
    }

    /// Whether Vault's words hold these.
    pub(super) fn says(&self, words: &str) -> bool {
        self.errors.iter().any(|error| error.contains(words))
    }

    /// Whether the write needs a version, by the mount's or the record's own setting.
    pub(super) fn wants_version(&self) -> bool {
        self.status == 400 && self.says("check-and-set parameter required")
    }

    /// Call, status and Vault's words, on one line.
    pub(super) fn text(&self) -> String {
        let words: String = self
            .errors
            .join("; ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST_TEXT)
            .collect();
        format!("{}: {} {words}", self.place, self.status)
            .trim_end()
            .to_owned()
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refusal) => refusal.into(),
            Fault::Lost(error) => error,
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.text();
        match refusal.status {
            // only the words tell a lost check-and-set from a malformed request
            400 if refusal.says("check-and-set parameter did not match") => {
                Self::Conflict(refusal.place)
            }
            400 if refusal.says("pgrading") => Self::Unavailable(text),
            401 | 403 => Self::Denied(text),
            // a standby without words, or a quota with them
            429 if refusal.errors.is_empty() => Self::NotLeader(text),
            429 => Self::Throttled(text),
            // redirects to the active node are not followed: the token would go along
            301 | 302 | 307 | 308 | 412 | 472 | 473 => Self::NotLeader(text),
            500 if refusal.says("local node not active") => Self::NotLeader(text),
            503 if refusal.says("sealed") => Self::Sealed(text),
            504 => Self::Timeout(text),
            500..=599 => Self::Unavailable(text),
            404 => Self::Protocol(format!("{text} (check kv_mount and the auth mounts)")),
            _ => Self::Protocol(text),
        }
    }
}

/// A call that brought no whole answer.
pub(super) fn lost(place: &str, error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut text = format!("{place}: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Fault::Lost(if error.is_timeout() {
        StoreError::Timeout(text)
    } else {
        StoreError::Unavailable(text)
    })
}

/// An answer that cannot be read. The parser's own text would quote the answer.
pub(super) fn senseless(place: &str, what: &str) -> Fault {
    Fault::Lost(StoreError::Protocol(format!("{place}: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> &'static str {
        let refusal = Refusal::read("GET secret/data/x".to_owned(), status, body.as_bytes());
        StoreError::from(refusal).cause()
    }

    #[test]
    fn every_answer_has_one_meaning() {
        let cas = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
        let upgrading = r#"{"errors":["Upgrading from non-versioned to versioned data."]}"#;
        let not_active =
            r#"{"errors":["local node not active but active cluster node not found"]}"#;
        for (status, body, want) in [
            (400, cas, "store_conflict"),
            (400, r#"{"errors":["missing data"]}"#, "store_protocol"),
            (400, upgrading, "store_unreachable"),
            (403, r#"{"errors":["permission denied"]}"#, "store_denied"),
            (
                404,
                r#"{"errors":["no handler for route"]}"#,
                "store_protocol",
            ),
            (
                429,
                r#"{"errors":["request path: rate limit quota exceeded"]}"#,
                "store_throttled",
            ),
            (429, r#"{"errors":[]}"#, "store_standby"),
            (307, "", "store_standby"),
            (412, r#"{"errors":[]}"#, "store_standby"),
            (473, "", "store_standby"),
            (500, not_active, "store_standby"),
            (
                500,
                r#"{"errors":["value being too large"]}"#,
                "store_unreachable",
            ),
            (503, r#"{"errors":["Vault is sealed"]}"#, "store_sealed"),
            (
                503,
                "<html>no server is available</html>",
                "store_unreachable",
            ),
            (504, "", "store_timeout"),
            (418, "teapot", "store_protocol"),
        ] {
            assert_eq!(kind(status, body), want, "{status} {body}");
        }
    }

    #[test]
    fn a_deleted_record_is_absent_and_names_its_version() {
        let body = br#"{"data":{"data":null,"metadata":{"version":4,"destroyed":false}}}"#;
        let refusal = Refusal::read(String::new(), 404, body);
        assert!(refusal.is_absent());
        assert_eq!(refusal.deleted_version, Some(4));
        assert!(Refusal::read(String::new(), 404, br#"{"errors":[]}"#).is_absent());
        assert!(!Refusal::read(String::new(), 404, br#"{"errors":["no handler"]}"#).is_absent());
    }

    #[test]
    fn a_page_that_is_not_vaults_is_never_quoted() {
        let refusal = Refusal::read("GET x".to_owned(), 502, b"<html>canary</html>");
        assert_eq!(refusal.text(), "GET x: 502");
        let long = format!(r#"{{"errors":["a\n\tb {}"]}}"#, "x".repeat(1000));
        let text = Refusal::read("GET x".to_owned(), 500, long.as_bytes()).text();
        assert!(text.starts_with("GET x: 500 a b x"), "{text}");
        assert!(text.len() < 400);
    }
}
