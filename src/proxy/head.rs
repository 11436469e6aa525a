//! Rules of heads: what is refused, and what is set. What is dropped: [`super::field`].
//!
//! Job: [`admit`] turns a client's request into one that agrees with its connection and carries no credential of its own;
//! [`inject`] turns an authorized request into what upstream gets.
//! Invariants: what `inject` makes is the only thing that exposes a token to a header, after every field that the client named in
//! Connection is gone, so that no Connection option can remove it; what is not dropped goes on unchanged, in order; no
//! Content-Length is ever added.
//! Failure mode: a [`Failure`] that says which part disagrees.
//! Sources: RFC 9110 sections 7.2 (Host), 7.6.1 (Connection), 7.6.3 (Via); RFC 9113 section 8.3.1; CONTRACT sections 2.3, 2.6, 2.10.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};

use super::Connection;
use super::field;
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
    let (parts, mut body) = request.into_parts();
    let http2 = parts.version == Version::HTTP_2;
    agree(connection, &parts.uri, &parts.headers, parts.version)?;
    let target = origin_form(&parts.method, &parts.uri, http2)?;
    if !has_one_length_at_most(&parts.headers) {
        return Err(bad("The request's Content-Length is not one number."));
    }

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
    body.loses_trailers(field::clean(&mut fields, &mut credentials)?);
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
    if http2 && uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(bad("The request's :scheme is not https."));
    }
    match uri.path_and_query() {
        // `path` of a query alone would be `/`
        Some(target) if target.as_str().starts_with('/') => Ok(target.clone()),
        Some(_) | None => Err(bad("The request target is not a path.")),
    }
}

/// In HTTP/1.1 hyper sees to it; in HTTP/2 a length may come twice, and an empty one passes for 0.
fn has_one_length_at_most(fields: &HeaderMap) -> bool {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    lengths
        .next()
        .is_none_or(|length| !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit))
        && lengths.next().is_none()
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

/// What upstream gets, for as many tries as it takes. Only [`inject`] and [`without_credential`] make one.
#[derive(Debug)]
pub struct Outbound<'a> {
    method: &'a Method,
    target: &'a PathAndQuery,
    fields: &'a HeaderMap,
    injection: Option<Injection<'a>>,
}

/// What is set on top of what the client sent.
#[derive(Debug)]
struct Injection<'a> {
    token: &'a AccessToken,
    carriers: &'a [InjectHeader],
    via: &'a HeaderValue,
}

impl Injection<'_> {
    /// The only place where a token meets a header.
    fn set(&self, fields: &mut HeaderMap) {
        for carrier in self.carriers {
            match carrier {
                InjectHeader::Authorization => {
                    fields.insert(header::AUTHORIZATION, self.token.expose_bearer())
                }
                InjectHeader::XAmzAccessToken => fields.insert(
                    HeaderName::from_static("x-amz-access-token"),
                    self.token.expose_plain(),
                ),
            };
        }
        fields.append(header::VIA, self.via.clone());
    }
}

impl Outbound<'_> {
    /// One try, with this body: its own copy of the head, with the token set.
    // never inlined: its instructions are counted (benches/instructions.rs)
    #[inline(never)]
    pub fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.fields.clone();
        if let Some(injection) = &self.injection {
            injection.set(request.headers_mut());
        }
        request
    }

    /// Whether a reused connection that closes without an answer may be replaced (RFC 9110 section 9.2.2).
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }
}

/// Sets the token. The only way from an authorized request to upstream.
#[must_use]
pub const fn inject<'a>(
    authorized: &'a Authorized,
    token: &'a AccessToken,
    carriers: &'a [InjectHeader],
    via: &'a HeaderValue,
) -> Outbound<'a> {
    Outbound {
        method: authorized.method(),
        target: authorized.target(),
        fields: authorized.fields(),
        injection: Some(Injection {
            token,
            carriers,
            via,
        }),
    }
}

/// A presigned document request: it carries no credential at all, whoever sent it.
#[must_use]
pub const fn without_credential<'a>(
    method: &'a Method,
    target: &'a PathAndQuery,
    fields: &'a HeaderMap,
    _allowed: &super::document::Allowed,
) -> Outbound<'a> {
    // a Via field could spoil a signature that covers all fields; loops cannot arise where only handed-out URLs pass
    Outbound {
        method,
        target,
        fields,
        injection: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
