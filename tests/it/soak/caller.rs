//! Programs that call at a steady rate, and judge what they get.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::{MARKETPLACE, TENANTS, World};
use crate::support::draw::Draw;
use crate::support::sidecar::NA;

/// Longer than every bound that the sidecar is given: an answer always comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Outcome {
    /// A success whose body is the right one.
    Served,
    /// What Amazon answered, which is no success.
    Passed(u16),
    /// A refusal by the sidecar.
    Refused(String),
    /// The connection ended before the answer did.
    CutOff,
}

/// A call that was made.
pub(super) struct Called {
    pub(super) n: u64,
    pub(super) tenant: usize,
    pub(super) what: What,
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) outcome: Outcome,
}

impl std::fmt::Display for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            n, tenant, what, ..
        } = self;
        let (took, outcome) = (self.to - self.from, &self.outcome);
        write!(
            f,
            "call {n} of tenant {tenant}, {what:?}: {outcome:?} after {took:?}"
        )
    }
}

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Orders,
    Report,
    /// Takes an RDT that the template's calls share.
    Address,
    /// Takes an RDT of its own.
    Order,
    /// A body there and back.
    Echo,
}

/// Which protocol a program speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection of a program, and what drives it.
pub(super) struct Line {
    sender: Sender,
    driver: Arc<JoinSet<()>>,
}

impl Line {
    async fn open(world: &World, protocol: Protocol) -> Self {
        let target = format!("{NA}:443");
        let (answer, wire) = world.sidecar.connect(&target, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let alpn = match protocol {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        };
        let stream = world.sidecar.handshake(wire.io, NA, &[alpn]).await.unwrap();
        let (io, mut driver) = (TokioIo::new(stream), JoinSet::new());
        // how a connection ends is seen by whoever waits for an answer
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                driver.spawn(async move {
                    let _ended = connection.await;
                });
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.unwrap();
                driver.spawn(async move {
                    let _ended = connection.await;
                });
                Sender::Http2(sender)
            }
        };
        Self {
            sender,
            driver: Arc::new(driver),
        }
    }

    /// Another of its streams.
    fn again(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else {
            return None;
        };
        Some(Self {
            sender: Sender::Http2(sender.clone()),
            driver: Arc::clone(&self.driver),
        })
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Option<(u16, Option<String>, Bytes)> {
        let answer = match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        let (head, body) = answer.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let code = head.headers.get("x-spapi-sidecar-error");
        let code = code.map(|code| code.to_str().unwrap().to_owned());
        Some((head.status.as_u16(), code, body))
    }

    fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

/// What the callers do next.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Rate {
    /// As fast as answers come.
    Full,
    /// One call of each caller every so often.
    Every(Duration),
}

/// Opens so many connections of both protocols; each caller has a connection or a stream of one.
pub(super) async fn lines(world: &World) -> Vec<(Protocol, Line)> {
    let mut lines = Vec::new();
    for _ in 0..super::CONNECTIONS[0] {
        lines.push((Protocol::Http1, Line::open(world, Protocol::Http1).await));
    }
    for _ in 0..super::CONNECTIONS[1] {
        let line = Line::open(world, Protocol::Http2).await;
        let others: Vec<_> = (1..super::STREAMS).filter_map(|_| line.again()).collect();
        lines.extend(others.into_iter().map(|line| (Protocol::Http2, line)));
        lines.push((Protocol::Http2, line));
    }
    lines
}

/// Calls until the time is over; the line that it ends with.
pub(super) async fn call(
    world: Arc<World>,
    (protocol, mut line): (Protocol, Line),
    mut draw: Draw,
    rate: Rate,
    until: Instant,
) -> (Protocol, Line) {
    let mut tick = match rate {
        Rate::Full => None,
        Rate::Every(pause) => {
            // not all at once
            let first = Instant::now() + pause.mul_f64(0.001 * (draw.number() % 1000) as f64);
            let mut tick = tokio::time::interval_at(first, pause);
            // who was held up makes up for it
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            Some(tick)
        }
    };
    while Instant::now() < until {
        if let Some(tick) = &mut tick {
            tick.tick().await;
        }
        if line.is_closed() {
            line = Line::open(&world, protocol).await;
            world.reopened();
        }
        one(&world, &mut line, &mut draw).await;
    }
    (protocol, line)
}

async fn one(world: &World, line: &mut Line, draw: &mut Draw) {
    const WHAT: [What; 8] = [
        What::Orders,
        What::Orders,
        What::Orders,
        What::Report,
        What::Address,
        What::Address,
        What::Order,
        What::Echo,
    ];
    let (n, tenant, what) = (
        world.next(),
        draw.below(TENANTS),
        WHAT[draw.below(WHAT.len())],
    );
    let (request, sent) = request(world, n, tenant, what, draw);
    let http2 = matches!(line.sender, Sender::Http2(_));
    let from = Instant::now();
    let asked = tokio::time::timeout(PATIENCE, line.ask(spoken(request, http2))).await;
    let asked = asked.unwrap_or_else(|_late| panic!("call {n} of {tenant}, {what:?}: no answer"));
    let outcome = match asked {
        None => Outcome::CutOff,
        Some((_, Some(code), _)) => Outcome::Refused(code),
        Some((status, None, body)) if (200..300).contains(&status) => {
            if !is_right(what, &order_id(tenant, n), &sent, &body) {
                let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
                world.found(format!(
                    "a wrong body: call {n} of {tenant}, {what:?}: {text}"
                ));
            }
            Outcome::Served
        }
        Some((status, None, _)) => Outcome::Passed(status),
    };
    world.judge(&Called {
        n,
        tenant,
        what,
        from,
        to: Instant::now(),
        outcome,
    });
}

/// HTTP/2 names the authority in its target, HTTP/1.1 in a field.
fn spoken(mut request: Request<Full<Bytes>>, http2: bool) -> Request<Full<Bytes>> {
    if !http2 {
        let target = request.uri().path_and_query().unwrap().as_str().to_owned();
        *request.uri_mut() = target.parse().unwrap();
        request.headers_mut().insert("host", NA.parse().unwrap());
    }
    request
}

fn order_id(tenant: usize, n: u64) -> String {
    format!("{tenant:03}-{n:09}-0000000")
}

/// The number that a call carries in its query, and its tenant.
pub(super) fn marks(target: &str) -> Option<(u64, usize)> {
    let (_, query) = target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (number, tenant) = pairs.rfind(|(key, _)| *key == "n")?.1.split_once('-')?;
    Some((number.parse().ok()?, tenant.parse().ok()?))
}

fn request(
    world: &World,
    n: u64,
    tenant: usize,
    what: What,
    draw: &mut Draw,
) -> (Request<Full<Bytes>>, Bytes) {
    let id = order_id(tenant, n);
    let (method, path, body) = match what {
        What::Orders => (
            "GET",
            format!(
                "/orders/v0/orders?MarketplaceIds={MARKETPLACE}&CreatedAfter=2026-01-01T00:00:00Z&"
            ),
            Bytes::new(),
        ),
        What::Report => (
            "POST",
            "/reports/2021-06-30/reports?".to_owned(),
            Bytes::from(format!(
                r#"{{"reportType":"GET_MERCHANT_LISTINGS_ALL_DATA","marketplaceIds":["{MARKETPLACE}"]}}"#
            )),
        ),
        What::Address => (
            "GET",
            format!("/orders/v0/orders/{id}/address?"),
            Bytes::new(),
        ),
        What::Order => ("GET", format!("/orders/v0/orders/{id}?"), Bytes::new()),
        What::Echo => {
            let words = 1 + draw.below(2_000);
            let body: Vec<u8> = (0..words)
                .flat_map(|_| draw.number().to_be_bytes())
                .collect();
            ("POST", "/_sandbox/echo?".to_owned(), Bytes::from(body))
        }
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("https://{NA}{path}n={n}-{tenant}"))
        .header("x-amz-access-token", world.phantom(tenant))
        .body(Full::new(body.clone()))
        .unwrap();
    (request, body)
}

/// Whether the body of a success is the answer to this call and to no other.
fn is_right(what: What, id: &str, sent: &Bytes, got: &Bytes) -> bool {
    let text = || String::from_utf8_lossy(got);
    match what {
        What::Orders => text().contains(r#""Orders":["#),
        What::Report => text().contains(r#""reportId":"#),
        What::Address | What::Order => text().contains(&format!(r#""AmazonOrderId":"{id}""#)),
        What::Echo => got == sent,
    }
}
