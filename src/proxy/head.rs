//! Rules of heads: what is refused, what is dropped, what is set.
//!
//! Job: [`admit`] turns a client's request into one that agrees with its connection and carries no credential of its own;
//! [`inject`] turns an authorized request into what upstream gets.
//! Invariants: `inject` is the only function that exposes a token to a header, after every field that the client named in
//! Connection is gone, so that no Connection option can remove it; what is not dropped goes on unchanged, in order; no
//! Content-Length is ever added.
//! Failure mode: a [`Failure`] that says which part disagrees.
//! Sources: RFC 9110 sections 7.2 (Host), 7.6.1 (Connection), 7.6.3 (Via); RFC 9113 section 8.3.1; CONTRACT sections 2.3, 2.6, 2.10.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version};

use super::Connection;
use super::request::Authorized;
use super::upload::Upload;
use crate::config::InjectHeader;
use crate::name::{Authority, Host};
use crate::outcome::{Failure, Reason};
use crate::secret::{AccessToken, Looks};

/// A request that agrees with its connection: host, target and bounds are checked, client credentials and hop-by-hop fields
/// are gone. Only [`admit`] makes one.
#[derive(Debug)]
pub struct Admitted {
    /// Method.
    pub method: Method,
    /// Path and query, byte for byte as sent.
    pub target: PathAndQuery,
    /// Fields that may go on.
    pub fields: HeaderMap,
    /// Whether the client speaks HTTP/2.
    pub http2: bool,
    /// The body.
    pub body: Upload,
    credentials: Vec<HeaderValue>,
}

impl Admitted {
    /// What the client put where a token goes; never sent on.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        self.credentials.iter().filter_map(presented)
    }

    /// Whether the client holds a token that Amazon issued.
    #[must_use]
    pub fn holds_real_token(&self) -> bool {
        self.credentials().any(|text| Looks::of(text).is_real())
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }
}

/// The token that a field presents: what follows `Bearer `, or the whole.
fn presented(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    Some(match text.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim(),
        _ => text,
    })
}

/// Checks a request against its connection and cleans its head.
///
/// # Errors
/// When its parts disagree, its head is too large, it has been here before, or it is no plain request for a path.
pub fn admit(
    connection: &Connection,
    request: Request<Upload>,
    header_bytes: usize,
) -> Result<Admitted, Failure> {
    let (parts, body) = request.into_parts();
    let http2 = parts.version == Version::HTTP_2;
    agree(connection, &parts.uri, &parts.headers, parts.version)?;
    let target = origin_form(&parts.method, &parts.uri, http2)?;
    if size(&target, &parts.headers) > header_bytes {
        return Err(Failure::new(
            Reason::HeaderTooLarge,
            "The request head is larger than the sidecar takes.",
            format!("The bound is listen.limits.header_bytes, now {header_bytes} bytes."),
        ));
    }
    if seen_before(&parts.headers, &connection.shared().via) {
        return Err(Failure::new(
            Reason::ProxyLoop,
            "This request has been through this sidecar before.",
            "Check that upstream.connect_to, upstream.proxy and DNS do not lead back here.",
        ));
    }
    let mut fields = parts.headers;
    let mut credentials = Vec::new();
    clean(&mut fields, &mut credentials);
    if http2 || !fields.contains_key(header::HOST) {
        // HTTP/2 has :authority instead, HTTP/1.0 may have neither (RFC 9110 section 7.2)
        let host = parts.uri.authority().map_or_else(
            || connection.host.as_bytes(),
            |authority| authority.as_str().as_bytes(),
        );
        let host = HeaderValue::from_bytes(host)
            .map_err(|_invalid| bad("The authority cannot be sent on."))?;
        fields.insert(header::HOST, host);
    }
    Ok(Admitted {
        method: parts.method,
        target,
        fields,
        http2,
        body,
        credentials,
    })
}

fn bad(message: &str) -> Failure {
    Failure::new(
        Reason::BadRequest,
        message,
        "Send a plain request for a path of the host that the connection was opened for.",
    )
}

/// Host, or :authority, or both, have to name the host that the connection was opened for.
fn agree(
    connection: &Connection,
    uri: &Uri,
    fields: &HeaderMap,
    version: Version,
) -> Result<(), Failure> {
    let names_target = |text: &str| {
        is_spelt_as(text, &connection.target)
            || Authority::parse_with_default(text, 443)
                .is_ok_and(|named| named == connection.target)
    };
    let mut hosts = fields.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("The request has more than one Host field."));
    }
    if version == Version::HTTP_11 && host.is_none() {
        return Err(bad("The request has no Host field."));
    }
    let host_agrees = host.is_none_or(|host| host.to_str().is_ok_and(names_target));
    let authority_agrees = version != Version::HTTP_2
        || match uri.authority() {
            Some(authority) => names_target(authority.as_str()),
            None => host.is_some(),
        };
    if host_agrees && authority_agrees {
        return Ok(());
    }
    Err(Failure::new(
        Reason::NameMismatch,
        "The request names another host than its connection.",
        format!(
            "The connection was opened for {}; open one for each host (RFC 9110 section 7.4).",
            connection.target
        ),
    ))
}

/// Whether a text is the one canonical spelling of a name and its port, as nearly every client sends it: then there is
/// nothing to parse.
fn is_spelt_as(text: &str, target: &Authority) -> bool {
    let Host::Name(name) = &target.host else {
        return false;
    };
    match text.strip_prefix(name.as_str()) {
        Some("") => target.port == 443,
        Some(rest) => rest
            .strip_prefix(':')
            .is_some_and(|port| !port.starts_with(['0', '+']) && port.parse() == Ok(target.port)),
        None => false,
    }
}

/// The target has to be a path: no absolute-form, no `*`, no CONNECT inside the tunnel (RFC 9112 section 3.2).
fn origin_form(method: &Method, uri: &Uri, http2: bool) -> Result<PathAndQuery, Failure> {
    if *method == Method::CONNECT {
        return Err(bad("CONNECT inside an intercepted connection is refused."));
    }
    if !http2 && (uri.scheme().is_some() || uri.authority().is_some()) {
        return Err(bad(
            "An absolute-form target inside an intercepted connection is refused.",
        ));
    }
    match uri.path_and_query() {
        Some(target) if target.path().starts_with('/') => Ok(target.clone()),
        Some(_) | None => Err(bad("The request target is not a path.")),
    }
}

fn size(target: &PathAndQuery, fields: &HeaderMap) -> usize {
    // name, colon, space, value, line end
    fields
        .iter()
        .fold(target.as_str().len(), |sum, (name, value)| {
            sum + name.as_str().len() + value.len() + 4
        })
}

fn seen_before(fields: &HeaderMap, own: &HeaderValue) -> bool {
    let own = own.as_bytes();
    fields.get_all(header::VIA).iter().any(|value| {
        value
            .as_bytes()
            .windows(own.len())
            .any(|window| window == own)
    })
}

/// What becomes of a field.
enum Fate {
    Keep,
    Drop,
    Credential,
}

/// Drops hop-by-hop fields, what Connection names, and every spelling of a credential, which is handed over.
fn clean(fields: &mut HeaderMap, credentials: &mut Vec<HeaderValue>) {
    let trailers = fields.get_all(header::TE).iter().any(|te| {
        te.to_str().is_ok_and(|te| {
            te.split(',')
                .any(|one| one.trim().eq_ignore_ascii_case("trailers"))
        })
    });
    let mut doomed = named_by_connection(fields);
    for (name, value) in &*fields {
        match fate(name.as_str()) {
            Fate::Keep => {}
            Fate::Drop => doomed.push(name.clone()),
            Fate::Credential => {
                credentials.push(value.clone());
                doomed.push(name.clone());
            }
        }
    }
    for name in doomed {
        // Connection cannot name a field that the message needs (RFC 9110 section 7.6.1)
        if name != header::HOST && name != header::CONTENT_LENGTH {
            fields.remove(name);
        }
    }
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Drops from a request's trailers what would be dropped from its head; `None` when nothing is left.
#[must_use]
pub fn clean_trailers(mut fields: HeaderMap) -> Option<HeaderMap> {
    let doomed: Vec<HeaderName> = fields
        .keys()
        .filter(|name| !matches!(fate(name.as_str()), Fate::Keep))
        .cloned()
        .collect();
    for name in doomed {
        fields.remove(name);
    }
    (!fields.is_empty()).then_some(fields)
}

/// The fields that Connection says are for us alone (RFC 9110 section 7.6.1).
fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

fn fate(name: &str) -> Fate {
    if name.contains('_') {
        // some servers read `_` as `-` (CGI): then these are the same fields
        return match fate(&name.replace('_', "-")) {
            Fate::Keep => Fate::Keep,
            Fate::Drop => Fate::Drop,
            Fate::Credential => Fate::Credential,
        };
    }
    match name {
        "authorization" | "x-amz-access-token" | "x-amz-security-token" => Fate::Credential,
        "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade" => Fate::Drop,
        _ if name.starts_with("proxy-") => Fate::Drop,
        _ => Fate::Keep,
    }
}

/// What upstream gets: an authorized request with its token set. Only [`inject`] and [`without_credential`] make one.
#[derive(Debug)]
pub struct Outbound {
    method: Method,
    target: PathAndQuery,
    fields: HeaderMap,
}

impl Outbound {
    /// The head of one try, with this body.
    pub fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.fields.clone();
        request
    }

    /// Whether a reused connection that closes without an answer may be replaced (RFC 9110 section 9.2.2).
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// Sets the token. The only way from an authorized request to upstream, and the only place where a token meets a header.
#[must_use]
pub fn inject(
    authorized: &Authorized,
    token: &AccessToken,
    carriers: &[InjectHeader],
    via: &HeaderValue,
) -> Outbound {
    let mut fields = authorized.fields().clone();
    for carrier in carriers {
        match carrier {
            InjectHeader::Authorization => {
                fields.insert(header::AUTHORIZATION, token.expose_bearer())
            }
            InjectHeader::XAmzAccessToken => fields.insert(
                HeaderName::from_static("x-amz-access-token"),
                token.expose_plain(),
            ),
        };
    }
    fields.append(header::VIA, via.clone());
    Outbound {
        method: authorized.method().clone(),
        target: authorized.target().clone(),
        fields,
    }
}

/// A presigned document request: it carries no credential at all, whoever sent it.
#[must_use]
pub fn without_credential(admitted: &Admitted, _allowed: &super::document::Allowed) -> Outbound {
    // a Via field could spoil a signature that covers all fields; loops cannot arise where only handed-out URLs pass
    Outbound {
        method: admitted.method.clone(),
        target: admitted.target.clone(),
        fields: admitted.fields.clone(),
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
        clean(&mut map, &mut credentials);
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
    fn the_quick_look_at_a_host_knows_one_spelling_and_leaves_the_others_to_the_parser() {
        let named = Authority::parse("a.example:8443").unwrap();
        let default = Authority::parse("a.example:443").unwrap();
        for (text, target, want) in [
            ("a.example:8443", &named, true),
            ("a.example", &default, true),
            ("a.example:443", &default, true),
            ("a.example", &named, false),
            ("a.example:08443", &named, false),
            ("a.example:+8443", &named, false),
            ("a.example:", &default, false),
            ("a.example.", &default, false),
            ("A.example", &default, false),
            ("a.example.evil", &default, false),
            ("a.example:443x", &default, false),
            ("a.example:443:443", &default, false),
        ] {
            assert_eq!(is_spelt_as(text, target), want, "{text}");
        }
        let address = Authority::parse("[::1]:443").unwrap();
        assert!(!is_spelt_as("::1", &address) && !is_spelt_as("::1:443", &address));
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
}
