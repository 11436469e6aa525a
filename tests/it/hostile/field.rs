//! Fields that would change whose request it is, which request it is, or where it seems to come from.

use super::attack::{Attack, Meets, Way};
use super::frames::{DATA, END_STREAM, HEADERS, block, frame, head};
use super::{CANARY, ORDERS};
use crate::support::sidecar::NA;

/// Dropped, whoever sends them: what the sidecar injects, and what only a hop of ours could say.
const DROPPED: [&str; 37] = [
    "authorization",
    "Authorization",
    "AUTHORIZATION",
    "x-amz-access-token",
    "X-Amz-Access-Token",
    "x_amz_access_token",
    "X_AMZ_ACCESS_TOKEN",
    "x-amz_access-token",
    "x_amz-access_token",
    "x-amz-security-token",
    "x_amz_security_token",
    "X-Amz-Security_Token",
    "proxy-authorization",
    "Proxy_Authorization",
    "proxy-connection",
    "proxy_anything",
    "keep-alive",
    "keep_alive",
    "upgrade",
    "transfer_encoding",
    "http2-settings",
    "http2_settings",
    "content_length",
    "te",
    "forwarded",
    "Forwarded",
    "x-forwarded-for",
    "X-Forwarded-Host",
    "x_forwarded_host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-forwarded-method",
    "x-forwarded-client-cert",
    "x_forwarded-anything",
];

/// Refused: upstream would carry out another request than the one that policy has seen, and without them one that the
/// program does not mean.
const REFUSED: [&str; 10] = [
    "x-http-method-override",
    "X-HTTP-Method-Override",
    "x_http_method_override",
    "x-http-method",
    "x-method-override",
    "X_Method-Override",
    "x-original-url",
    "X_Original_URL",
    "x-rewrite-url",
    "x-rewrite_url",
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for name in DROPPED {
        let sends = get(&format!("{name}: {CANARY}\r\n"));
        attacks.push(Attack::new(
            format!("`{name}`"),
            Way::Http1,
            sends,
            Meets::Dropped,
        ));
    }
    for name in REFUSED {
        let sends = get(&format!("{name}: /{CANARY}\r\n"));
        let meets = Meets::Refused(400, "bad_request");
        attacks.push(Attack::new(format!("`{name}`"), Way::Http1, sends, meets));
    }
    attacks.extend(repeated());
    attacks.extend(named_by_connection());
    attacks.extend(trailers());
    attacks.extend(over_http2());
    attacks
}

fn get(fields: &str) -> String {
    format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n{fields}\r\n")
}

fn dropped(name: &str, sends: String) -> Attack {
    Attack::new(name, Way::Http1, sends, Meets::Dropped)
}

fn repeated() -> Vec<Attack> {
    vec![
        dropped(
            "`x-amz-access-token` three times, in three spellings",
            get(&format!(
                "x-amz-access-token: {CANARY}\r\nX-AMZ-ACCESS-TOKEN: {CANARY}\r\nx_amz_access_token: {CANARY}\r\n"
            )),
        ),
        dropped(
            "`authorization` twice, with two schemes",
            get(&format!(
                "authorization: Basic {CANARY}\r\nauthorization: Bearer {CANARY}\r\n"
            )),
        ),
    ]
}

fn named_by_connection() -> Vec<Attack> {
    vec![
        dropped(
            "`Connection` names a field of the program's own",
            get(&format!("Connection: x-mine\r\nx-mine: {CANARY}\r\n")),
        ),
        dropped(
            "two `Connection` fields, odd blanks and case",
            get(&format!(
                "Connection: keep-alive ,\tX-Mine\r\nconnection:,,x-other,\r\nx-mine: {CANARY}\r\nx-other: {CANARY}\r\n"
            )),
        ),
        Attack::new(
            "`Connection` names the injected fields",
            Way::Http1,
            get("Connection: authorization, x-amz-access-token, via, host\r\n"),
            Meets::Served,
        ),
        Attack::new(
            "`Connection` names what frames the body",
            Way::Http1,
            format!(
                "POST /_sandbox/x HTTP/1.1\r\nHost: {NA}\r\nConnection: content-length, transfer-encoding\r\nContent-Length: 5\r\n\r\nhello"
            ),
            Meets::Served,
        ),
    ]
}

/// A chunked request with these trailers.
fn trailing(fields: &str, trailers: &str) -> String {
    format!(
        "POST /_sandbox/x HTTP/1.1\r\nHost: {NA}\r\n{fields}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
    )
}

fn trailers() -> Vec<Attack> {
    const NAMES: [&str; 12] = [
        "authorization",
        "x-amz-access-token",
        "X_Amz_Access_Token",
        "x-amz-security-token",
        "proxy-authorization",
        "x-forwarded-for",
        "forwarded",
        "x-http-method-override",
        "x_original_url",
        "host",
        "content-length",
        "transfer-encoding",
    ];
    let mut attacks: Vec<Attack> = NAMES
        .iter()
        .map(|name| {
            let declared = format!("TE: trailers\r\nTrailer: {name}\r\n");
            let sends = trailing(&declared, &format!("{name}: {CANARY}\r\n"));
            dropped(&format!("`{name}` as a trailer"), sends)
        })
        .collect();
    attacks.push(dropped(
        "`Connection` names a trailer",
        trailing(
            "Connection: x-mine\r\nTE: trailers\r\nTrailer: x-mine\r\n",
            &format!("x-mine: {CANARY}\r\n"),
        ),
    ));
    attacks
}

fn over_http2() -> Vec<Attack> {
    let plain = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", NA),
        (":path", ORDERS),
    ];
    let with = |name: &str, value: &str| {
        let mut fields = plain.to_vec();
        fields.push((name, value));
        head(1, &fields, END_STREAM)
    };
    let mut attacks = Vec::new();
    for name in [
        "x-amz-access-token",
        "x_amz_access_token",
        "authorization",
        "x-forwarded-host",
        "forwarded",
    ] {
        attacks.push(Attack::new(
            format!("`{name}`"),
            Way::Http2,
            with(name, CANARY),
            Meets::Dropped,
        ));
    }
    for name in ["x-http-method-override", "x_original_url"] {
        let meets = Meets::Refused(400, "bad_request");
        attacks.push(Attack::new(
            format!("`{name}`"),
            Way::Http2,
            with(name, CANARY),
            meets,
        ));
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        attacks.push(Attack::new(
            format!("`{name}`"),
            Way::Http2,
            with(name, CANARY),
            Meets::Reset,
        ));
    }
    let post = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", NA),
        (":path", "/_sandbox/x"),
        ("te", "trailers"),
        ("trailer", "x-amz-access-token"),
    ];
    let mut sends = head(1, &post, 0);
    sends.extend(frame(DATA, 0, 1, b"hello"));
    let trailer = block(&[
        ("x-amz-access-token", CANARY),
        ("x_amz_access_token", CANARY),
    ]);
    sends.extend(frame(HEADERS, END_STREAM | 4, 1, &trailer));
    attacks.push(Attack::new(
        "`x-amz-access-token` as a trailer",
        Way::Http2,
        sends,
        Meets::Dropped,
    ));
    attacks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_makes_upstream_see_another_caller_or_another_request() {
    super::runner::run(attacks()).await;
}
