//! `lwa`, `inject`, `throttle`, `alerts`, `telemetry` and `audit`.

use std::time::Duration;

use crate::config::location::{SECURE_URL, URL};
use crate::config::read::{List, Section, Shape};
use crate::config::value::{Count, OneOf, PATH, Percent, Span, WORDS, days, seconds};
use crate::config::{
    Alerts, Audit, AuditRequests, InjectHeader, LogFormat, LogLevel, Lwa, PathParams,
    QuarantineCause, Telemetry, Throttle, ThrottleMode, Webhook,
};

/// `lwa`.
pub(super) fn lwa(s: &mut Section<'_>) -> Option<Lwa> {
    let token_url = s.or(
        "token_url",
        "https://api.amazon.com/auth/o2/token",
        &SECURE_URL,
        "the token endpoint",
    );
    let refresh_at = s.or(
        "refresh_at",
        "50%",
        &Percent { whole: false },
        "share of a token's life after which it is renewed; the rest is the outage that can be ridden out",
    );
    let clock_skew = s.or(
        "clock_skew",
        "30s",
        &Span::none_to(seconds(600)),
        "tolerated difference between the clocks",
    );
    let timeout = s.or(
        "timeout",
        "10s",
        &Span::up_to(seconds(600)),
        "bound on one exchange",
    );
    Some(Lwa {
        token_url: token_url?,
        refresh_at: refresh_at?,
        clock_skew: clock_skew?,
        timeout: timeout?,
    })
}

/// `inject`.
pub(super) fn inject(s: &mut Section<'_>) -> Option<Vec<InjectHeader>> {
    s.or(
        "headers",
        "[authorization, x-amz-access-token]",
        &List::set(OneOf(&[
            ("authorization", InjectHeader::Authorization),
            ("x-amz-access-token", InjectHeader::XAmzAccessToken),
        ]))
        .at_least_one(),
        "what the app sent in either is dropped",
    )
}

/// `throttle`.
pub(super) fn throttle(s: &mut Section<'_>) -> Option<Throttle> {
    let mode = s.or(
        "mode",
        "pace",
        &OneOf(&[("pace", ThrottleMode::Pace), ("pass", ThrottleMode::Pass)]),
        "pace: hold requests back to the learned rate; pass: let them through",
    );
    let max_wait = s.or(
        "max_wait",
        "20s",
        &Span::none_to(days(1)),
        "longest that a request is held, pacing and back-off together",
    );
    let max_attempts = s.or(
        "max_attempts",
        "4",
        &Count {
            least: 1,
            most: 100,
        },
        "most attempts for one request, the first included",
    );
    Some(Throttle {
        mode: mode?,
        max_wait: max_wait?,
        max_attempts: max_attempts?,
    })
}

/// `alerts`.
pub(super) fn alerts(s: &mut Section<'_>) -> Option<Alerts> {
    let webhook = s.optional(
        "webhook",
        &Shape(webhook),
        "where alerts are posted as JSON, signed with HMAC-SHA256",
    );
    let auth_errors = s.nested(
        "auth_errors",
        auth_errors,
        "401s and 403s of one tenant that raise an alert",
    );
    let refresh_failures = s.or(
        "refresh_failures",
        "2",
        &Count {
            least: 1,
            most: 1000,
        },
        "failed refreshes in a row, for one tenant",
    );
    let freshness_slo = s.or(
        "freshness_slo",
        "99.9%",
        &Percent { whole: true },
        "share of requests that found a fresh token waiting",
    );
    let reminders = s.or(
        "reminders",
        "[60d, 30d, 7d]",
        &List::set(Span::up_to(days(3650))),
        "how long before a due date to remind",
    );
    let quarantine_on = s.or(
        "quarantine_on",
        "[charge_method_lapsed, vendor_link_broken, grant_revoked]",
        &List::set(OneOf(&[
            ("charge_method_lapsed", QuarantineCause::ChargeMethodLapsed),
            ("vendor_link_broken", QuarantineCause::VendorLinkBroken),
            ("grant_revoked", QuarantineCause::GrantRevoked),
        ])),
        "which causes set a tenant aside by themselves",
    );
    Some(Alerts {
        webhook: webhook?,
        auth_errors: auth_errors?,
        refresh_failures: refresh_failures?,
        freshness_slo: freshness_slo?,
        reminders: reminders?,
        quarantine_on: quarantine_on?,
    })
}

fn webhook(s: &mut Section<'_>) -> Option<Webhook> {
    let url = s.required("url", &SECURE_URL, "where to");
    let secret_file = s.required("secret_file", &PATH, "file that holds the HMAC secret");
    Some(Webhook {
        url: url?,
        secret_file: secret_file?,
    })
}

fn auth_errors(s: &mut Section<'_>) -> Option<(u32, Duration)> {
    let count = s.or(
        "count",
        "10",
        &Count {
            least: 1,
            most: 1_000_000,
        },
        "how many",
    );
    let window = s.or(
        "window",
        "5m",
        &Span {
            least: seconds(1),
            most: days(30),
        },
        "in which window",
    );
    Some((count?, window?))
}

/// `telemetry`.
pub(super) fn telemetry(s: &mut Section<'_>) -> Option<Telemetry> {
    let log = s.nested("log", log, "log lines");
    let otlp = s.optional("otlp", &Shape(otlp), "where traces and metrics are sent");
    let release = s.or(
        "release",
        "dev",
        &WORDS,
        "stamped on logs, metrics and traces, to see a regression against a deploy",
    );
    let Log {
        format,
        level,
        path_params,
    } = log?;
    Some(Telemetry {
        log_format: format,
        log_level: level,
        path_params,
        otlp: otlp?,
        release: release?,
    })
}

struct Log {
    format: LogFormat,
    level: LogLevel,
    path_params: PathParams,
}

fn log(s: &mut Section<'_>) -> Option<Log> {
    let format = s.or(
        "format",
        "json",
        &OneOf(&[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)]),
        "shape of log lines",
    );
    let level = s.or(
        "level",
        "info",
        &OneOf(&[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ]),
        "least severe level that is written",
    );
    let path_params = s.or(
        "path_params",
        "mask",
        &OneOf(&[("mask", PathParams::Mask), ("keep", PathParams::Keep)]),
        "whether path parameters are masked",
    );
    Some(Log {
        format: format?,
        level: level?,
        path_params: path_params?,
    })
}

fn otlp(s: &mut Section<'_>) -> Option<url::Url> {
    s.required("endpoint", &URL, "OTLP endpoint")
}

/// `audit`.
pub(super) fn audit(s: &mut Section<'_>) -> Option<Audit> {
    let path_is_named = s.names("path");
    let path = s.or(
        "path",
        "/var/lib/spapi-sidecar/audit.jsonl",
        &PATH,
        "the hash-chained file",
    );
    let requests = s.or(
        "requests",
        "restricted",
        &OneOf(&[
            ("restricted", AuditRequests::Restricted),
            ("all", AuditRequests::All),
            ("none", AuditRequests::None),
        ]),
        "which calls get a line before they leave",
    );
    Some(Audit {
        path: path?,
        path_is_named,
        requests: requests?,
    })
}
