//! What can be made to go wrong.
//!
//! Job: read faults from JSON, flags and code into one closed type.
//! A fault is a JSON object with exactly one of these keys, and any of the filters:
//!
//! | key | value | what happens |
//! |---|---|---|
//! | `expire_tokens_now` | true, or WHOM | once, at once: every token issued so far has expired |
//! | `revoke_grant` | true, or WHOM | LWA answers `invalid_grant`, calls with its tokens 403 "revoked, malformed or invalid" |
//! | `rotate_refresh_token` | true, or WHOM | LWA answers with a new refresh token, and refuses the one that was spent from then on |
//! | `revoke_scope` | role | operations that need the role answer 403; so do RDTs for its data elements, with 400 |
//! | `lapse_charge_method` | true, 401 or 403 | calls answer 403 (or 401) Unauthorized |
//! | `expire_client_secret` | true | calls answer 403 "The LWA secret token you provided has expired." |
//! | `unlink_vendor_group` | true, or WHOM | vendor operations answer 403 with SPSA2043 |
//! | `throttle` | factor | token buckets of the catalog's rates times the factor, 429 beyond |
//! | `status` | code | that answer; `details` and `retry_after` (seconds) may be given |
//! | `latency_ms` | milliseconds | before the answer |
//! | `reset_connections` | true, or a rate | the connection is reset instead of an answer |
//! | `lwa_down` | `refuse`, `hang`, `reset` | LWA answers 503, never, or with a reset |
//! | `clock_skew` | seconds, or less than 0 | LWA's `Date` is off by so much |
//! | `slow_body` | bytes a second | answers' bodies |
//! | `close_idle` | requests | the request after so many on a connection finds it closed |
//!
//! Filters: `rate` (0 to 1; evenly spread, so 0.1 is every tenth), `times`, `path_prefix`, `method`, `host` (a name, or
//! `*`). Without `host` a fault concerns SP-API hosts, `lwa_down` and `clock_skew`
//! LWA's. WHOM is a selling partner's name or the
//! fingerprint of its refresh token.
//! Failure mode: [`FaultError`], which names the key.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fault and whom it concerns.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault {
    pub(super) kind: FaultKind,
    pub(super) filter: Filter,
    /// The JSON it was read from, or would be.
    pub(super) spelling: Value,
}

/// What goes wrong.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum FaultKind {
    ExpireTokensNow(Whom),
    RevokeGrant(Whom),
    RotateRefreshToken(Whom),
    RevokeScope(String),
    LapseChargeMethod(StatusCode),
    ExpireClientSecret,
    UnlinkVendorGroup(Whom),
    Throttle(f64),
    Status {
        status: StatusCode,
        details: String,
        retry_after: Option<u64>,
    },
    Latency(Duration),
    ResetConnections,
    LwaDown(LwaDown),
    ClockSkew(i64),
    SlowBody(u64),
    CloseIdle(u32),
}

/// How LWA is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LwaDown {
    Refuse,
    Hang,
    Reset,
}

/// Whose grant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    Everybody,
    Named(String),
}

/// Which requests.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Filter {
    pub(super) rate: f64,
    pub(super) times: Option<u32>,
    pub(super) path_prefix: Option<String>,
    pub(super) method: Option<String>,
    pub(super) host: Option<String>,
}

/// A fault cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultError {
    /// Not JSON, an unknown key, or a value of the wrong type.
    #[error("a fault is one JSON object: {0}")]
    Json(String),
    /// No key that says what goes wrong, or two.
    #[error("a fault has exactly one key that says what goes wrong; this has {0}")]
    Keys(usize),
    /// A value out of its range.
    #[error("`{key}` has to be {want}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it takes.
        want: &'static str,
    },
}

/// The JSON form.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Spelling {
    expire_tokens_now: Option<Value>,
    revoke_grant: Option<Value>,
    rotate_refresh_token: Option<Value>,
    revoke_scope: Option<String>,
    lapse_charge_method: Option<Value>,
    expire_client_secret: Option<bool>,
    unlink_vendor_group: Option<Value>,
    throttle: Option<f64>,
    status: Option<u16>,
    latency_ms: Option<u64>,
    reset_connections: Option<Value>,
    lwa_down: Option<LwaDown>,
    clock_skew: Option<i64>,
    slow_body: Option<u64>,
    close_idle: Option<u32>,
    details: Option<String>,
    retry_after: Option<u64>,
    rate: Option<f64>,
    times: Option<u32>,
    path_prefix: Option<String>,
    method: Option<String>,
    host: Option<String>,
}

impl Fault {
    /// Reads a fault from JSON text, as in `{"status":503,"rate":0.1,"times":3,"path_prefix":"/orders"}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        let value = serde_json::from_str(text).map_err(|e| FaultError::Json(e.to_string()))?;
        Self::from_json(value)
    }

    /// Reads a fault from a JSON value, as in `json!({"lwa_down": "refuse"})`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(value: Value) -> Result<Self, FaultError> {
        let spelling: Spelling = serde_json::from_value(value.clone())
            .map_err(|error| FaultError::Json(error.to_string()))?;
        let rate_of_resets = spelling.reset_connections.as_ref().and_then(Value::as_f64);
        let mut kinds = spelling.kinds()?;
        let named = kinds.len();
        let (1, Some(kind)) = (named, kinds.pop()) else {
            return Err(FaultError::Keys(named));
        };
        let rate = spelling.rate.or(rate_of_resets).unwrap_or(1.0);
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(out_of_range("rate", "over 0 and at most 1"));
        }
        let filter = Filter {
            rate,
            times: spelling.times,
            path_prefix: spelling.path_prefix,
            method: spelling.method.map(|method| method.to_ascii_uppercase()),
            host: spelling.host.map(|host| host.to_ascii_lowercase()),
        };
        Ok(Self {
            kind,
            filter,
            spelling: value,
        })
    }
}

impl Spelling {
    /// Every kind that the object names.
    fn kinds(&self) -> Result<Vec<FaultKind>, FaultError> {
        let status = self.status.map(|code| self.answer(code)).transpose()?;
        let lapse = self.lapse_charge_method.as_ref();
        let lapse = lapse.map(lapse_status).transpose()?;
        let reset = self
            .reset_connections
            .as_ref()
            .map(check_reset)
            .transpose()?;
        let secret =
            (self.expire_client_secret == Some(true)).then_some(FaultKind::ExpireClientSecret);
        let throttle = self.throttle.map(check_factor).transpose()?;
        let slow = self.slow_body.map(check_pace).transpose()?;
        let all = [
            whom("expire_tokens_now", self.expire_tokens_now.as_ref())?
                .map(FaultKind::ExpireTokensNow),
            whom("revoke_grant", self.revoke_grant.as_ref())?.map(FaultKind::RevokeGrant),
            whom("rotate_refresh_token", self.rotate_refresh_token.as_ref())?
                .map(FaultKind::RotateRefreshToken),
            self.revoke_scope.clone().map(FaultKind::RevokeScope),
            lapse.map(FaultKind::LapseChargeMethod),
            secret,
            whom("unlink_vendor_group", self.unlink_vendor_group.as_ref())?
                .map(FaultKind::UnlinkVendorGroup),
            throttle,
            status,
            self.latency_ms
                .map(Duration::from_millis)
                .map(FaultKind::Latency),
            reset,
            self.lwa_down.map(FaultKind::LwaDown),
            self.clock_skew.map(FaultKind::ClockSkew),
            slow,
            self.close_idle.map(FaultKind::CloseIdle),
        ];
        Ok(all.into_iter().flatten().collect())
    }

    fn answer(&self, code: u16) -> Result<FaultKind, FaultError> {
        match StatusCode::from_u16(code) {
            Ok(status) if (400..600).contains(&code) => Ok(FaultKind::Status {
                status,
                details: self.details.clone().unwrap_or_default(),
                retry_after: self.retry_after,
            }),
            Ok(_) | Err(_) => Err(out_of_range("status", "from 400 to 599")),
        }
    }
}

fn whom(key: &'static str, value: Option<&Value>) -> Result<Option<Whom>, FaultError> {
    let Some(value) = value else {
        return Ok(None);
    };
    if value.as_bool() == Some(true) {
        return Ok(Some(Whom::Everybody));
    }
    match value.as_str() {
        Some(name) if !name.is_empty() => Ok(Some(Whom::Named(name.to_owned()))),
        Some(_) | None => Err(out_of_range(
            key,
            "true, a selling partner's name or the fingerprint of its refresh token",
        )),
    }
}

fn lapse_status(value: &Value) -> Result<StatusCode, FaultError> {
    if value.as_bool() == Some(true) || value.as_u64() == Some(403) {
        Ok(StatusCode::FORBIDDEN)
    } else if value.as_u64() == Some(401) {
        Ok(StatusCode::UNAUTHORIZED)
    } else {
        Err(out_of_range("lapse_charge_method", "true, 401 or 403"))
    }
}

fn check_reset(value: &Value) -> Result<FaultKind, FaultError> {
    if value.as_bool() == Some(true) || value.is_number() {
        Ok(FaultKind::ResetConnections)
    } else {
        Err(out_of_range("reset_connections", "true or a rate"))
    }
}

fn check_factor(factor: f64) -> Result<FaultKind, FaultError> {
    if factor > 0.0 && factor.is_finite() {
        Ok(FaultKind::Throttle(factor))
    } else {
        Err(out_of_range("throttle", "a factor over 0"))
    }
}

fn check_pace(bytes: u64) -> Result<FaultKind, FaultError> {
    if bytes > 0 {
        Ok(FaultKind::SlowBody(bytes))
    } else {
        Err(out_of_range("slow_body", "at least 1 byte a second"))
    }
}

const fn out_of_range(key: &'static str, want: &'static str) -> FaultError {
    FaultError::Value { key, want }
}

impl FaultKind {
    /// The key that switches it on.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::ExpireTokensNow(_) => "expire_tokens_now",
            Self::RevokeGrant(_) => "revoke_grant",
            Self::RotateRefreshToken(_) => "rotate_refresh_token",
            Self::RevokeScope(_) => "revoke_scope",
            Self::LapseChargeMethod(_) => "lapse_charge_method",
            Self::ExpireClientSecret => "expire_client_secret",
            Self::UnlinkVendorGroup(_) => "unlink_vendor_group",
            Self::Throttle(_) => "throttle",
            Self::Status { .. } => "status",
            Self::Latency(_) => "latency_ms",
            Self::ResetConnections => "reset_connections",
            Self::LwaDown(_) => "lwa_down",
            Self::ClockSkew(_) => "clock_skew",
            Self::SlowBody(_) => "slow_body",
            Self::CloseIdle(_) => "close_idle",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_one_thing_and_says_it_within_its_range() {
        for (text, want) in [
            (
                r#"{"status":503,"rate":0.1,"times":3,"path_prefix":"/orders"}"#,
                "ok",
            ),
            (r#"{"expire_tokens_now":true}"#, "ok"),
            (r#"{"revoke_grant":"acme"}"#, "ok"),
            (r#"{"lwa_down":"hang"}"#, "ok"),
            (r#"{"reset_connections":0.5}"#, "ok"),
            (r#"{"lapse_charge_method":401}"#, "ok"),
            (
                r#"{}"#,
                "exactly one key that says what goes wrong; this has 0",
            ),
            (r#"{"status":503,"latency_ms":5}"#, "this has 2"),
            (r#"{"status":200}"#, "`status` has to be from 400 to 599"),
            (r#"{"status":503,"rate":0}"#, "`rate` has to be"),
            (r#"{"revoke_grant":false}"#, "`revoke_grant` has to be"),
            (r#"{"lwa_down":"maybe"}"#, "unknown variant"),
            (r#"{"explode":true}"#, "unknown field"),
            (r#"{"slow_body":0}"#, "`slow_body` has to be"),
        ] {
            let said = Fault::parse(text).map_or_else(|error| error.to_string(), |_| "ok".into());
            assert!(said.contains(want), "{text}: {said}");
        }
    }
}
