//! Presigned documents: reports to fetch, feeds to put.
//!
//! Job: make presigned URLs, and serve them as a bucket would.
//! Invariants: the signature covers method, path, date, expiry and, for an upload, its content type; a request that
//! carries a credential of SP-API is a leak, refused and recorded; bodies are generated or counted, never held.
//! Failure mode: S3's XML errors: 403 expired or mismatching, 400 for a second way to authenticate, 404, 405.

use std::io::Write;
use std::time::Duration;

use aws_lc_rs::hmac;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use http::{Method, Response, StatusCode};

use super::body::{self, Filling};
use super::call::Call;
use super::clock::parse_basic;
use super::received::{Entry, Tracked};
use super::respond::{self, Answer};
use super::world::{World, hex};

/// The bucket's host.
pub const HOST: &str = "sandbox-documents.s3.amazonaws.com";
/// Where feeds are uploaded to.
pub const UPLOAD_HOST: &str = "tortuga-prod-na.s3.amazonaws.com";

const REPORT_BYTES: u64 = 64 * 20;

/// A URL to fetch a document with.
pub(super) fn to_fetch(world: &World, document_id: &str) -> String {
    let path = match document_id.rsplit_once("size-") {
        Some((_, size)) if is_number(size) => format!("/doc/size/{size}"),
        _ => format!("/doc/{}", plain(document_id)),
    };
    presign(world, &Method::GET, HOST, &path, None)
}

/// A URL to put a document to.
pub(super) fn to_put(world: &World, document_id: &str, content_type: Option<&str>) -> String {
    let path = format!("/doc/upload/{}", plain(document_id));
    presign(world, &Method::PUT, UPLOAD_HOST, &path, content_type)
}

/// Whether a document comes compressed.
pub(super) fn is_compressed(document_id: &str) -> bool {
    document_id.contains("gzip")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An id as it may stand in a path.
fn plain(id: &str) -> String {
    id.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_'))
        .collect()
}

/// Presigns a path of a document host.
pub(super) fn presign(
    world: &World,
    method: &Method,
    host: &str,
    path: &str,
    content_type: Option<&str>,
) -> String {
    let date = world.clock.basic();
    let day = date.get(..8).unwrap_or_default().to_owned();
    let expires = world.document_expires_in.as_secs().to_string();
    let signature = sign(world, method, path, &date, &expires, content_type);
    let signed = content_type.map_or("host", |_| "content-type%3Bhost");
    format!(
        "https://{host}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SANDBOX%2F{day}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={date}&X-Amz-Expires={expires}&X-Amz-SignedHeaders={signed}&X-Amz-Signature={signature}"
    )
}

fn sign(
    world: &World,
    method: &Method,
    path: &str,
    date: &str,
    expires: &str,
    content_type: Option<&str>,
) -> String {
    let kind = content_type.unwrap_or_default();
    let text = format!("{method}\n{path}\n{date}\n{expires}\n{kind}");
    hex(hmac::sign(&world.url_key, text.as_bytes()).as_ref())
}

/// Answers a request to a document host.
pub(super) async fn answer(world: &World, call: &Call, body: Tracked, entry: &Entry) -> Answer {
    let credentials = [
        "authorization",
        "x-amz-access-token",
        "x-amz-security-token",
    ];
    if credentials
        .iter()
        .any(|name| call.headers.contains_key(*name))
    {
        entry.note(|received| received.leak = true);
        return respond::xml_error(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            "Only one auth mechanism allowed",
        );
    }
    if let Err((status, code, message)) = check_signature(world, call) {
        drop(body.read(0).await);
        return respond::xml_error(status, code, message);
    }
    if call.method == Method::PUT {
        let held = body.read(0).await;
        let mut answer = respond::bare(StatusCode::OK);
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", held.sha256)) {
            answer.headers_mut().insert(ETAG, tag);
        }
        return answer;
    }
    drop(body.read(0).await);
    fetch(call.path())
}

/// A refusal of the bucket: status, code, message.
type XmlError = (StatusCode, &'static str, &'static str);

fn check_signature(world: &World, call: &Call) -> Result<(), XmlError> {
    let denied = |message| (StatusCode::FORBIDDEN, "AccessDenied", message);
    let signed_as = match call.method.as_str() {
        "GET" | "HEAD" => Method::GET,
        "PUT" => Method::PUT,
        _ => {
            return Err((
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            ));
        }
    };
    let parts = [
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    ];
    let [Some(date), Some(expires), Some(headers), Some(signature)] =
        parts.map(|name| call.parameter(name))
    else {
        return Err(denied("Access Denied"));
    };
    let kind = call
        .header("content-type")
        .filter(|_| headers.contains("content-type"));
    if sign(world, &signed_as, call.path(), &date, &expires, kind) != signature {
        return Err((
            StatusCode::FORBIDDEN,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        ));
    }
    let life = expires.parse().map(Duration::from_secs).unwrap_or_default();
    match parse_basic(&date) {
        Some(signed_at) if world.clock.wall() < signed_at + life => Ok(()),
        Some(_) | None => Err(denied("Request has expired")),
    }
}

fn fetch(path: &str) -> Answer {
    let rest = path.strip_prefix("/doc/").unwrap_or_default();
    let length = match rest.strip_prefix("size/") {
        Some(size) => size.parse().ok(),
        None => (!rest.is_empty()).then_some(REPORT_BYTES),
    };
    let Some(length) = length else {
        return respond::xml_error(
            StatusCode::NOT_FOUND,
            "NoSuchKey",
            "The specified key does not exist.",
        );
    };
    if is_compressed(rest) {
        return compressed(length);
    }
    let mut answer = Response::new(body::generated(Filling::Rows, length));
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/tab-separated-values;charset=UTF-8"),
    );
    answer
}

/// A small report, compressed as a document (no Content-Encoding: the file itself is gzip).
fn compressed(length: u64) -> Answer {
    let mut rows = vec![0; usize::try_from(length).unwrap_or_default()];
    body::fill_rows(&mut rows);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(&rows).and_then(|()| encoder.finish());
    let mut answer = Response::new(body::full(written.unwrap_or_default()));
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    answer
}
