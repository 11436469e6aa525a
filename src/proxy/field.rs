//! Which fields go on, and which end here.
//!
//! Job: drop hop-by-hop fields, what Connection names, every spelling of a credential, and what only a hop before Amazon
//! could truly say (`Forwarded`, `X-Forwarded-*`), from heads and trailers.
//! Invariants: what is not dropped goes on unchanged, in order; what frames a message cannot be named away.
//! Failure mode: a field that asks for another method or target is refused, not dropped: the request without it is not the
//! one that is meant.
//! Sources: RFC 9110 sections 6.5.1 (trailers) and 7.6.1 (Connection); RFC 7239 (Forwarded); CONTRACT section 2.6.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::outcome::{Failure, Reason};

/// What becomes of a field.
enum Fate {
    Keep,
    Drop,
    Credential,
    Misleads,
}

/// Drops hop-by-hop fields, what Connection names, what only a hop of Amazon's could say, and every spelling of a
/// credential, which is handed over. Gives back what Connection names: it goes for the trailers too.
///
/// # Errors
/// When a field asks for another method or target than the request line's.
pub fn clean(
    fields: &mut HeaderMap,
    credentials: &mut Vec<HeaderValue>,
) -> Result<Vec<HeaderName>, Failure> {
    let trailers = fields.get_all(header::TE).iter().any(|te| {
        te.to_str().is_ok_and(|te| {
            te.split(',')
                .any(|one| one.trim().eq_ignore_ascii_case("trailers"))
        })
    });
    let named = named_by_connection(fields);
    let mut doomed = Vec::new();
    for (name, value) in &*fields {
        match fate(name.as_str()) {
            Fate::Keep => {}
            Fate::Drop => doomed.push(name.clone()),
            Fate::Credential => {
                credentials.push(value.clone());
                doomed.push(name.clone());
            }
            Fate::Misleads => return Err(misleading(name)),
        }
    }
    for name in named.iter().chain(&doomed) {
        // Connection cannot name a field that the message needs (RFC 9110 section 7.6.1)
        if name != header::HOST && name != header::CONTENT_LENGTH {
            fields.remove(name);
        }
    }
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(named)
}

/// Without the field, upstream would carry out a request that the program does not mean; with it, one that policy has not
/// seen.
fn misleading(name: &HeaderName) -> Failure {
    Failure::new(
        Reason::BadRequest,
        format!(
            "The request carries {name}, by which a server may take another method or path than its own."
        ),
        "Send the method and the path that are meant in the request line, and leave the field out.",
    )
}

/// Drops from a request's trailers what would be dropped from its head, what its Connection field named, and what may not
/// come so late; `None` when nothing is left.
#[must_use]
pub fn clean_trailers(mut fields: HeaderMap, named: &[HeaderName]) -> Option<HeaderMap> {
    let doomed: Vec<HeaderName> = fields
        .keys()
        .filter(|name| {
            !matches!(fate(name.as_str()), Fate::Keep) || named.contains(name) || comes_late(name)
        })
        .cloned()
        .collect();
    for name in doomed {
        fields.remove(name);
    }
    (!fields.is_empty()).then_some(fields)
}

/// What frames, routes or describes a message has to stand in its head (RFC 9110 section 6.5.1).
fn comes_late(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "content-encoding"
            | "content-type"
            | "content-range"
            | "trailer"
            | "via"
    )
}

/// The fields that Connection says are for us alone (RFC 9110 section 7.6.1). `close` is no field, and `Keep-Alive` ends here in
/// any case: they are most of what Connection ever says.
fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let names_a_field = |option: &&str| {
        !option.eq_ignore_ascii_case("keep-alive") && !option.eq_ignore_ascii_case("close")
    };
    fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .filter(names_a_field)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect()
}

fn fate(name: &str) -> Fate {
    if name.contains('_') {
        // some servers read `_` as `-` (CGI): then these are the same fields
        return match &*name.replace('_', "-") {
            "content-length" => Fate::Drop,
            other => fate(other),
        };
    }
    match name {
        "authorization" | "x-amz-access-token" | "x-amz-security-token" => Fate::Credential,
        "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade" | "http2-settings"
        | "forwarded" => Fate::Drop,
        "x-http-method"
        | "x-http-method-override"
        | "x-method-override"
        | "x-original-url"
        | "x-rewrite-url" => Fate::Misleads,
        _ if name.starts_with("proxy-") || name.starts_with("x-forwarded") => Fate::Drop,
        _ => Fate::Keep,
    }
}

/// Drops an answer's hop-by-hop fields: they end here.
pub fn clean_answer(fields: &mut HeaderMap) {
    for name in named_by_connection(fields) {
        if name != header::CONTENT_LENGTH {
            fields.remove(name);
        }
    }
    let ends_here = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "connection"
                | "transfer-encoding"
                | "upgrade"
                | "te"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-connection"
        )
    };
    // looked for once: each removal hashes its name, and most answers have none of them
    if fields.keys().any(ends_here) {
        let doomed: Vec<HeaderName> = fields
            .keys()
            .filter(|name| ends_here(name))
            .cloned()
            .collect();
        for name in doomed {
            fields.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(fields: &[(&str, &str)]) -> (Vec<String>, usize) {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut credentials = Vec::new();
        clean(&mut map, &mut credentials).unwrap();
        let mut left: Vec<String> = map
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        left.sort();
        (left, credentials.len())
    }

    #[test]
    fn every_spelling_of_a_credential_is_dropped_and_handed_over() {
        for name in [
            "Authorization",
            "X-Amz-Access-Token",
            "x_amz_access_token",
            "x-amz_access-token",
            "X-Amz-Security-Token",
            "x_amz_security_token",
        ] {
            assert_eq!(
                cleaned(&[(name, "Atza|x"), ("accept", "a")]),
                (vec!["accept: a".to_owned()], 1),
                "{name}"
            );
        }
    }

    #[test]
    fn hop_by_hop_fields_end_here_and_so_does_what_connection_names() {
        let (left, _) = cleaned(&[
            ("connection", "keep-alive, x-mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("upgrade", "websocket"),
            ("proxy-connection", "close"),
            ("proxy_authorization", "x"),
            ("x-other", "2"),
        ]);
        assert_eq!(left, ["x-other: 2"]);
    }

    #[test]
    fn connection_cannot_take_away_what_frames_the_message() {
        assert_eq!(
            cleaned(&[
                ("connection", "host, content-length"),
                ("host", "a"),
                ("content-length", "3")
            ])
            .0,
            ["content-length: 3", "host: a"]
        );
    }

    #[test]
    fn an_answers_hop_by_hop_fields_end_here() {
        let mut fields = HeaderMap::new();
        for name in [
            "transfer-encoding",
            "upgrade",
            "te",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "x-named",
            "connection",
        ] {
            fields.append(
                HeaderName::from_static(name),
                HeaderValue::from_static("x-named, content-length"),
            );
        }
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("3"));
        clean_answer(&mut fields);
        assert_eq!(fields.keys().collect::<Vec<_>>(), [header::CONTENT_LENGTH]);
    }

    #[test]
    fn te_survives_as_trailers_alone() {
        assert_eq!(cleaned(&[("te", "gzip, trailers")]).0, ["te: trailers"]);
        assert_eq!(cleaned(&[("te", "gzip")]).0, Vec::<String>::new());
    }

    #[test]
    fn a_field_that_asks_for_another_request_is_refused_in_every_spelling() {
        for name in [
            "X-HTTP-Method-Override",
            "x_http_method",
            "x-method_override",
            "X-Original-URL",
            "x_rewrite_url",
        ] {
            let mut map = HeaderMap::new();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.insert(&name, HeaderValue::from_static("DELETE"));
            let refused = clean(&mut map, &mut Vec::new()).unwrap_err();
            assert_eq!(refused.reason, Reason::BadRequest, "{name}");
            assert!(refused.message.contains(name.as_str()), "{refused:?}");
        }
    }

    #[test]
    fn trailers_lose_what_a_head_would_lose_what_connection_named_and_what_comes_too_late() {
        let mut fields = HeaderMap::new();
        for name in [
            "authorization",
            "x_amz_access_token",
            "x-forwarded-for",
            "x-original-url",
            "content-length",
            "content_length",
            "host",
            "x-named",
            "x-checksum",
        ] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let named = [HeaderName::from_static("x-named")];
        let left = clean_trailers(fields.clone(), &named).unwrap();
        assert_eq!(left.keys().collect::<Vec<_>>(), ["x-checksum"]);
        fields.remove("x-checksum");
        assert_eq!(clean_trailers(fields, &named), None);
    }
}
