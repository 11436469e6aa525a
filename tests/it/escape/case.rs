//! What is made up: secrets, what the program does, and what SP-API answers.

use proptest::prelude::*;

use super::{DOCUMENTS, TUNNEL};

/// One made-up world.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Bodies of access tokens, in the order in which LWA gives them out.
    pub(super) access: Vec<String>,
    /// The body of every restricted data token.
    pub(super) rdt: String,
    /// The body of the refresh token.
    pub(super) refresh: String,
    pub(super) moves: Vec<(Move, Reply)>,
}

/// What the program does.
#[derive(Clone, Debug)]
pub(super) enum Move {
    /// A call to SP-API, with a query or a segment of its own, and a field.
    Call(&'static str, String, (&'static str, String)),
    /// The same to another region.
    Abroad(String),
    /// A token request of its own.
    Token(String),
    /// A request through a tunnel.
    Tunnel(String),
    /// A CONNECT to a host that no rule names.
    Foreign(String),
    /// A document URL that SP-API handed out, or another one.
    Document(bool),
}

/// What SP-API answers to the next call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Good,
    Unauthorized,
    Expired,
    Forbidden,
    Throttled,
    Redirect,
    Breaks,
}

impl Reply {
    pub(super) fn text(self) -> Vec<u8> {
        let (status, fields, body) = match self {
            Self::Good => ("200 OK", "", document_answer()),
            Self::Unauthorized => ("401 Unauthorized", "", error("Unauthorized")),
            Self::Expired => (
                "403 Forbidden",
                "",
                error("The access token you provided has expired."),
            ),
            Self::Forbidden => ("403 Forbidden", "", error("Access is denied")),
            Self::Throttled => ("429 Too Many Requests", "", error("QuotaExceeded")),
            Self::Redirect => (
                "307 Temporary Redirect",
                "location: https://tunnel.example/elsewhere\r\n",
                String::new(),
            ),
            Self::Breaks => return b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{".to_vec(),
        };
        answer(status, fields, &body)
    }
}

fn error(details: &str) -> String {
    format!(r#"{{"errors":[{{"code":"x","message":"x","details":"{details}"}}]}}"#)
}

fn document_answer() -> String {
    format!(
        r#"{{"reportDocumentId":"d","url":"https://{DOCUMENTS}/d?X-Amz-Signature=s&X-Amz-Expires=300"}}"#
    )
}

/// An answer as bytes.
pub(super) fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{fields}content-length: {length}\r\n\r\n{body}").into_bytes()
}

fn secret() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_-]{24,160}"
}

fn noise() -> impl Strategy<Value = String> {
    "[A-Za-z0-9]{1,24}"
}

fn a_move() -> impl Strategy<Value = Move> {
    let path = prop::sample::select(vec![
        "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER&x=*",
        "/orders/v0/orders/*/address",
        "/orders/v0/orders/*",
        "/sellers/v1/marketplaceParticipations",
        "/orders/v0/orders/%2e%2e/*",
        "/*/*",
        "/catalog/2022-04-01/items/*",
    ]);
    let field = prop::sample::select(vec![
        ("connection", "authorization, x-amz-access-token".to_owned()),
        ("authorization", "Bearer Atza|of-the-program".to_owned()),
        ("x_amz_access_token", "Atza|of-the-program".to_owned()),
        ("te", "trailers".to_owned()),
        ("traceparent", "00-not-one".to_owned()),
        ("x-forwarded-host", TUNNEL.to_owned()),
    ]);
    prop_oneof![
        5 => (path, noise(), field).prop_map(|(path, noise, field)| Move::Call(path, noise, field)),
        1 => noise().prop_map(Move::Abroad),
        1 => noise().prop_map(Move::Token),
        1 => noise().prop_map(Move::Tunnel),
        1 => noise().prop_map(Move::Foreign),
        1 => any::<bool>().prop_map(Move::Document),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop::sample::select(vec![
        Reply::Good,
        Reply::Good,
        Reply::Unauthorized,
        Reply::Expired,
        Reply::Forbidden,
        Reply::Throttled,
        Reply::Redirect,
        Reply::Breaks,
    ])
}

/// A made-up world.
pub(super) fn case() -> impl Strategy<Value = Case> {
    let moves = prop::collection::vec((a_move(), reply()), 4..12);
    let access = prop::collection::vec(secret(), 1..4);
    (access, secret(), secret(), moves).prop_map(|(access, rdt, refresh, moves)| Case {
        access,
        rdt,
        refresh,
        moves,
    })
}
