//! Presigned URLs that SP-API handed out, and whether one may be used.
//!
//! Job: learn URLs from relayed answers; answer for one URL, tenant and moment.
//! Invariants: a URL is bound whole (host, port, path, query), to one tenant, until it expires; it is held as a hash, since
//! it is a credential itself; memory is bounded, the oldest go first.
//! Failure mode: an unknown or expired URL is not allowed; nothing is guessed from its shape.
//! Sources: CONTRACT section 2.9; AWS Signature Version 4 query parameters `X-Amz-Date` and `X-Amz-Expires`; SP-API facts, section 8.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::name::{Authority, Host};
use crate::tenant::TenantId;

/// Most URLs held at once: each lives minutes.
const MOST: usize = 65_536;

/// How long a URL without an expiry of its own is believed (SP-API facts, section 8: five minutes).
const DEFAULT_LIFE: Duration = Duration::from_secs(300);

type Digest = [u8; 32];

/// The URLs in force.
#[derive(Debug, Default)]
pub struct Documents(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    until: HashMap<Digest, SystemTime>,
    order: VecDeque<Digest>,
}

impl Documents {
    /// Binds a URL to a tenant. Says whether it was taken: https, with a canonical host.
    pub fn learn(&self, tenant: &TenantId, url: &str, now: SystemTime) -> bool {
        let Some((authority, target)) = split(url) else {
            return false;
        };
        let digest = digest(tenant, &authority, target);
        let until = expiry(target).unwrap_or(now + DEFAULT_LIFE);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.until.insert(digest, until).is_none() {
            held.order.push_back(digest);
        }
        while held.order.len() > MOST {
            if let Some(oldest) = held.order.pop_front() {
                held.until.remove(&oldest);
            }
        }
        true
    }

    /// Whether a tenant may use this URL now.
    #[must_use]
    pub fn may_use(
        &self,
        tenant: &TenantId,
        authority: &Authority,
        target: &str,
        now: SystemTime,
    ) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.until
            .get(&digest(tenant, authority, target))
            .is_some_and(|until| now < *until)
    }
}

/// Host and target of an https URL, byte for byte.
fn split(url: &str) -> Option<(Authority, &str)> {
    let rest = url.strip_prefix("https://")?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(at)?;
    let target = target.split('#').next().unwrap_or_default();
    let authority = Authority::parse_with_default(authority, 443).ok()?;
    matches!(authority.host, Host::Name(_))
        .then_some((authority, if target.is_empty() { "/" } else { target }))
}

fn digest(tenant: &TenantId, authority: &Authority, target: &str) -> Digest {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in [tenant.as_str(), &authority.to_string(), target] {
        context.update(part.as_bytes());
        context.update(b"\n");
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// `X-Amz-Date` plus `X-Amz-Expires`, where both are there and make sense.
fn expiry(target: &str) -> Option<SystemTime> {
    let (_, query) = target.split_once('?')?;
    let field = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let seconds: u64 = field("X-Amz-Expires")?
        .parse()
        .ok()
        .filter(|seconds| *seconds <= 604_800)?;
    let date = field("X-Amz-Date")?;
    // 20261123T081500Z
    let (day, time) = (date.get(..8)?, date.strip_suffix('Z')?.get(9..)?);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        day.get(..4)?,
        day.get(4..6)?,
        day.get(6..)?,
        time.get(..2)?,
        time.get(2..4)?,
        time.get(4..)?
    );
    humantime::parse_rfc3339(&text)
        .ok()?
        .checked_add(Duration::from_secs(seconds))
}

/// Where in an answer URLs of documents stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where {
    /// In fields of this name, whatever the case of its letters.
    Field(&'static str),
    /// Nobody knows: anywhere.
    Anywhere,
}

impl Where {
    fn takes(self, field: &str) -> bool {
        match self {
            Self::Field(name) => field.eq_ignore_ascii_case(name),
            Self::Anywhere => true,
        }
    }
}

/// How an https URL begins in base64.
pub const ENCODED: &str = "aHR0cHM6Ly";

/// Every https URL that is the whole text of a field, at any depth, base64-encoded ones included.
#[must_use]
pub fn urls(json: &serde_json::Value, place: Where) -> Vec<String> {
    let mut found = Vec::new();
    gather(json, "", place, &mut found);
    found
}

fn gather(json: &serde_json::Value, field: &str, place: Where, found: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) if place.takes(field) => found.extend(url_of(text)),
        serde_json::Value::Array(items) => {
            for item in items {
                gather(item, field, place, found);
            }
        }
        serde_json::Value::Object(fields) => {
            for (field, value) in fields {
                gather(value, field, place, found);
            }
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

fn url_of(text: &str) -> Option<String> {
    if text.starts_with("https://") {
        return Some(text.to_owned());
    }
    if !text.starts_with(ENCODED) {
        return None;
    }
    let decoded = STANDARD.decode(text).ok()?;
    String::from_utf8(decoded)
        .ok()
        .filter(|url| url.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://b.s3.amazonaws.com/doc/1?X-Amz-Date=20261123T081500Z&X-Amz-Expires=300&X-Amz-Signature=s";
    const TARGET: &str = "/doc/1?X-Amz-Date=20261123T081500Z&X-Amz-Expires=300&X-Amz-Signature=s";

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_url_is_good_for_its_tenant_whole_and_until_it_expires() {
        let (acme, beta) = (
            TenantId::parse("acme").unwrap(),
            TenantId::parse("beta").unwrap(),
        );
        let host = Authority::parse("b.s3.amazonaws.com:443").unwrap();
        let documents = Documents::default();
        assert!(documents.learn(&acme, URL, at("2026-11-23T08:15:01Z")));
        let now = at("2026-11-23T08:19:59Z");
        assert!(documents.may_use(&acme, &host, TARGET, now));
        assert!(
            !documents.may_use(&beta, &host, TARGET, now),
            "another tenant"
        );
        assert!(
            !documents.may_use(
                &acme,
                &Authority::parse("c.s3.amazonaws.com:443").unwrap(),
                TARGET,
                now
            ),
            "another bucket"
        );
        assert!(
            !documents.may_use(&acme, &host, "/doc/1", now),
            "another target"
        );
        assert!(
            !documents.may_use(&acme, &host, TARGET, at("2026-11-23T08:20:00Z")),
            "after its expiry"
        );
    }

    #[test]
    fn only_https_with_a_canonical_host_is_learnt() {
        let acme = TenantId::parse("acme").unwrap();
        for url in [
            "http://b.example/x",
            "https://127.0.0.1/x",
            "https://b..example/x",
            "ftp://b.example/x",
            "https://",
        ] {
            assert!(
                !Documents::default().learn(&acme, url, SystemTime::UNIX_EPOCH),
                "{url}"
            );
        }
    }

    #[test]
    fn urls_are_found_at_any_depth_in_the_fields_that_hold_them() {
        let answer = serde_json::json!({
            "payload": {"a": ["https://x.example/1", "text https://y.example"], "URL": "https://z.example"},
            "url": ["https://w.example", STANDARD.encode("https://v.example/?a"), STANDARD.encode("http://u.example")],
        });
        for (place, want) in [
            (
                Where::Field("url"),
                vec![
                    "https://v.example/?a",
                    "https://w.example",
                    "https://z.example",
                ],
            ),
            (Where::Field("a"), vec!["https://x.example/1"]),
            (Where::Field("payload"), vec![]),
            (
                Where::Anywhere,
                vec![
                    "https://v.example/?a",
                    "https://w.example",
                    "https://x.example/1",
                    "https://z.example",
                ],
            ),
        ] {
            let mut found = urls(&answer, place);
            found.sort();
            assert_eq!(found, want, "{place:?}");
        }
        assert!(STANDARD.encode("https://").starts_with(ENCODED));
    }
}
