//! `tenants/ID/tokens/KIND`: token and lease in one record, so that whoever wins check-and-set on a version has read the
//! latest token.
//!
//! Job: give the record's fields their types, and back.
//! Invariants: times of other machines are for people and for bounds, never for the lease; a field that cannot be read counts
//! as absent, so that a record that somebody wrote by hand keeps nobody from writing a good one.
//! Failure mode: none; what is not readable is not there.
//! Source: CONTRACT section 4, store layout; besides its fields, `expires_in` (the token's whole life), `lease` (how long the
//! holder's lease is) and `failed`, `failures`, `retry_at` (how the last exchange failed).

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::secret::{AccessToken, Opaque};
use crate::store::{Fields, Record};

/// Longest lease that is believed: three times the longest `lwa.timeout`.
const LONGEST_LEASE: Duration = Duration::from_mins(30);

/// Bytes of a nonce, drawn anew for every acquisition.
const NONCE_BYTES: usize = 16;

/// What a record says.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenRecord {
    /// The store's version.
    pub(super) version: u64,
    /// How many tokens this record has seen.
    pub(super) generation: u64,
    pub(super) token: Option<Shared>,
    pub(super) lease: Option<Lease>,
    pub(super) failure: Option<Failure>,
}

/// A token that the fleet shares.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) token: AccessToken,
    /// When it ends, by the wall clock of whoever got it.
    pub(super) expires_at: SystemTime,
    /// How long it lives in all.
    pub(super) expires_in: Duration,
}

/// Who exchanges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lease {
    /// Host and process, for people.
    pub(super) holder: String,
    /// What proves it.
    pub(super) nonce: Nonce,
    /// When it ends by the holder's wall clock, for people.
    pub(super) until: SystemTime,
    /// How long it lasts.
    pub(super) length: Duration,
}

/// How the last exchange failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// The word of [`crate::token::Cause::as_str`].
    pub(super) word: String,
    /// How many failed in a row.
    pub(super) failures: u32,
    /// When to try again, by the wall clock of whoever failed.
    pub(super) retry_at: SystemTime,
}

/// Names an acquisition. No secret, and no word of its own in logs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Nonce(String);

impl Nonce {
    pub(super) fn draw() -> Self {
        let bytes: [u8; NONCE_BYTES] = rand::random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl TokenRecord {
    pub(super) fn read(record: &Record) -> Self {
        let text = |name: &str| {
            let text = record.fields.get(name)?.expose().trim();
            (!text.is_empty()).then_some(text)
        };
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        let moment = |name: &str| humantime::parse_rfc3339_weak(text(name)?).ok();
        let shared = || {
            let token = Zeroizing::new(text("token")?.to_owned());
            Some(Shared {
                token: AccessToken::new(&token).ok()?,
                expires_at: moment("expires_at")?,
                // written by hand it may be missing, and then is what LWA says of every token
                expires_in: Duration::from_secs(number("expires_in").unwrap_or(3600)),
            })
        };
        let lease = || {
            let length = number("lease").map_or(Duration::ZERO, Duration::from_secs);
            Some(Lease {
                holder: text("holder").unwrap_or_default().to_owned(),
                nonce: Nonce(text("nonce")?.to_owned()),
                until: moment("lease_until").unwrap_or(SystemTime::UNIX_EPOCH),
                length: length.min(LONGEST_LEASE),
            })
        };
        let failure = || {
            Some(Failure {
                word: text("failed")?.to_owned(),
                failures: u32::try_from(number("failures")?).ok()?,
                retry_at: moment("retry_at")?,
            })
        };
        Self {
            version: record.version,
            generation: number("generation").unwrap_or(0),
            token: shared(),
            lease: lease(),
            failure: failure(),
        }
    }

    /// The fields to write.
    pub(super) fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        let mut put = |name: &str, text: String| {
            fields.insert(name.to_owned(), Opaque::new(text));
        };
        put("generation", self.generation.to_string());
        if let Some(shared) = &self.token {
            put("token", shared.token.expose().to_owned());
            put("expires_at", moment(shared.expires_at));
            put("expires_in", shared.expires_in.as_secs().to_string());
        }
        if let Some(lease) = &self.lease {
            put("holder", lease.holder.clone());
            put("nonce", lease.nonce.0.clone());
            put("lease_until", moment(lease.until));
            put("lease", lease.length.as_secs().to_string());
        }
        if let Some(failure) = &self.failure {
            put("failed", failure.word.clone());
            put("failures", failure.failures.to_string());
            put("retry_at", moment(failure.retry_at));
        }
        fields
    }

    /// Whether this is what another record was to be: the same token of the same generation, or none, and nobody's lease.
    pub(super) fn is_as_written(&self, written: &Self) -> bool {
        let token = |record: &Self| record.token.as_ref().map(|shared| shared.token.clone());
        let same = match (token(self), token(written)) {
            (Some(one), Some(other)) => one.expose() == other.expose(),
            (one, other) => one.is_none() && other.is_none(),
        };
        same && self.generation == written.generation && self.lease.is_none()
    }

    /// Whether the lease is held by this acquisition.
    pub(super) fn is_held_by(&self, nonce: &Nonce) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.nonce == *nonce)
    }
}

fn moment(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let token = AccessToken::new(&Zeroizing::new("Atza|canary".to_owned())).unwrap();
        let written = TokenRecord {
            version: 7,
            generation: 3,
            token: Some(Shared {
                token,
                expires_at: at(1_800_000_000),
                expires_in: Duration::from_secs(3600),
            }),
            lease: Some(Lease {
                holder: "host/7".to_owned(),
                nonce: Nonce::draw(),
                until: at(1_700_000_000),
                length: Duration::from_secs(30),
            }),
            failure: Some(Failure {
                word: "lwa_unreachable".to_owned(),
                failures: 2,
                retry_at: at(1_700_000_001),
            }),
        };
        let fields = written.fields();
        let read = TokenRecord::read(&Record { fields, version: 7 });
        assert_eq!(
            read.token.map(|shared| (
                shared.token.expose().to_owned(),
                shared.expires_at,
                shared.expires_in
            )),
            Some((
                "Atza|canary".to_owned(),
                at(1_800_000_000),
                Duration::from_secs(3600)
            ))
        );
        assert_eq!((read.version, read.generation), (7, 3));
        assert_eq!((read.lease, read.failure), (written.lease, written.failure));
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let fields = [
            ("generation", "many"),
            ("token", "with a space"),
            ("expires_at", "soon"),
            ("nonce", " "),
            ("failed", "lwa_refused"),
            ("failures", "-1"),
        ];
        let fields = fields
            .map(|(name, text)| (name.to_owned(), Opaque::new(text.to_owned())))
            .into();
        let read = TokenRecord::read(&Record { fields, version: 1 });
        assert_eq!(read.generation, 0);
        assert!(read.token.is_none() && read.lease.is_none() && read.failure.is_none());
    }

    #[test]
    fn no_lease_is_believed_for_longer_than_half_an_hour() {
        let fields = [("nonce", "n"), ("lease", "999999")]
            .map(|(name, text)| (name.to_owned(), Opaque::new(text.to_owned())))
            .into();
        let read = TokenRecord::read(&Record { fields, version: 1 });
        assert_eq!(read.lease.unwrap().length, LONGEST_LEASE);
    }
}
