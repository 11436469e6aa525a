//! The proxy listener's side: CONNECT, and what else may be asked of a proxy.
//!
//! Job: the CONNECT head becomes an [`Authority`]; login and egress policy are asked; the connection is upgraded to a tunnel
//! or an interception.
//! Invariants: hyper parses the head; nothing is dialled before policy has spoken; at CONNECT come only `egress_denied`,
//! `port_denied`, a tunnel's `address_denied` and 407: for intercepted hosts everything else is said inside TLS.
//! Failure mode: an answer with the contract's code; the connection lives on.
//! Sources: RFC 9110 section 9.3.6; RFC 9112 sections 3.2.2 and 3.2.3; CONTRACT sections 2.1 to 2.5.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::answer::AnswerBody;
use super::heard::Heard;
use super::hello::Rewound;
use super::listen::Permit;
use super::login::{self, Login};
use super::pulse::{Pulse, Pulsed};
use super::socket::Socket;
use super::tunnel::{self, Tunnel};
use super::unreadable::Spoken;
use super::{Connection, Worker, World, intercept, request, respond};
use crate::config::{EgressMode, Limits, Plaintext};
use crate::name::Authority;
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::{Outcome, Record};

type Body = Either<AnswerBody, http_body_util::Empty<Bytes>>;

/// hyper's HTTP/1.1 server with our bounds: time-outs are the [`Pulse`]'s, so that an idle keep-alive connection is not
/// taken for a slow head.
#[must_use]
pub fn http1(limits: &Limits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // the head is judged by its own size in `head::admit`; hyper's bound is the buffer's, which also holds what follows
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes.saturating_mul(2).max(16 << 10))
        .auto_date_header(false)
        .half_close(true);
    builder
}

/// Serves a connection to a proxy listener.
pub async fn serve(worker: Arc<Worker>, stream: TcpStream, permit: Permit) {
    let limits = worker.shared.world.load().config.listen.limits;
    let pulse = Pulse::new(limits.idle_timeout, limits.header_timeout);
    let client = client(&stream);
    let (heard, hearing) = Heard::new(Socket::pulsed(stream, Arc::clone(&pulse)));
    let io = Spoken::new(heard, Arc::clone(&worker.shared), "".into());
    let tasks = worker.shared.tasks.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let heard = hearing.judge(&request);
        let (worker, pulse, permit) =
            (Arc::clone(&worker), Arc::clone(&pulse), Arc::clone(&permit));
        async move { Ok::<_, Infallible>(answer(worker, client, pulse, permit, request, heard).await) }
    });
    let served = http1(&limits)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = tasks.stopping() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a proxy connection ended");
    }
}

/// Where a connection comes from.
pub(super) fn client(stream: &TcpStream) -> Option<IpAddr> {
    let address = stream.peer_addr().ok()?;
    Some(address.ip().to_canonical())
}

async fn answer(
    worker: Arc<Worker>,
    client: Option<IpAddr>,
    pulse: Arc<Pulse>,
    permit: Permit,
    request: Request<Incoming>,
    heard: Result<(), Failure>,
) -> Response<Body> {
    let serving = pulse.serve(None);
    let shared = Arc::clone(&worker.shared);
    let world = shared.world.load_full();
    let host: Arc<str> = request.uri().host().unwrap_or_default().into();
    let mut record = Record::open(
        Arc::clone(&shared.recorder),
        shared.next_id(),
        shown(&host),
        request.method().clone(),
    );
    let login = match heard {
        Ok(()) => shared.logins.check(&world, request.headers()).await,
        Err(failure) => Err(failure),
    };
    let decided = match login {
        Err(failure) => Err(failure),
        Ok(login) if *request.method() == Method::CONNECT => {
            record.tenant = login.tenant().cloned();
            connect(&worker, &world, &login, &request)
                .await
                .map(|way| (way, login))
        }
        Ok(login) => match plain(&worker, &world, client, &pulse, &request, login) {
            Ok(connection) => {
                record.outcome = Outcome::Answered;
                return upgraded_to_tls(connection, request, record)
                    .await
                    .map(Either::Left);
            }
            Err(failure) => Err(failure),
        },
    };
    match decided {
        Ok((way, login)) => {
            open(
                Opening {
                    worker,
                    way,
                    generation: world.generation,
                    client,
                    login,
                    pulse,
                    record,
                    permit,
                },
                request,
            );
            drop(serving);
            Response::new(Either::Right(http_body_util::Empty::new()))
        }
        Err(failure) => {
            let local = respond::refuse(&failure, &mut record);
            respond::local(local, record, Some(serving)).map(Either::Left)
        }
    }
}

/// A host as the client spelt it, for the record: shown only where it is a host at all.
fn shown(host: &str) -> Arc<str> {
    crate::name::Host::parse(host)
        .map_or_else(|_not_a_host| Arc::from(""), |host| host.to_string().into())
}

/// What a CONNECT is allowed to become.
enum Way {
    Intercept(Authority, EgressMode),
    Tunnel(Tunnel),
}

async fn connect(
    worker: &Worker,
    world: &World,
    login: &Login,
    request: &Request<Incoming>,
) -> Result<Way, Failure> {
    // authority-form alone (RFC 9110 section 9.3.6): a URL has an authority too
    let uri = request.uri();
    let text = uri
        .authority()
        .filter(|_| uri.scheme().is_none())
        .map_or("", http::uri::Authority::as_str);
    let target = Authority::parse(text).map_err(|error| {
        Failure::new(
            Reason::BadRequest,
            "CONNECT names no usable host and port.",
            format!("{error}; write CONNECT host:443."),
        )
    })?;
    let mode = world.policy.egress(&target).map_err(Failure::from)?;
    match mode {
        EgressMode::Inject | EgressMode::Lwa | EgressMode::Document => {
            Ok(Way::Intercept(target, mode))
        }
        // inside a tunnel nothing can be said any more
        EgressMode::Tunnel if *login == Login::Unconfirmed => Err(login::unconfirmed()),
        EgressMode::Tunnel => {
            let looked_up = worker.client.dialer().look_up(&target).await;
            let addresses =
                looked_up.map_err(|error| respond::not_sent(error, &target.host.to_string()))?;
            Ok(Way::Tunnel(Tunnel { target, addresses }))
        }
    }
}

/// What a CONNECT that was answered with 200 leads to.
struct Opening {
    worker: Arc<Worker>,
    way: Way,
    generation: u64,
    client: Option<IpAddr>,
    login: Login,
    pulse: Arc<Pulse>,
    record: Box<Record>,
    permit: Permit,
}

/// Arranges what happens once the client has read our 200.
fn open(opening: Opening, request: Request<Incoming>) {
    let tasks = opening.worker.shared.tasks.clone();
    let _owned = tasks.here("connect", async move {
        let Opening {
            worker,
            way,
            generation,
            client,
            login,
            pulse,
            mut record,
            permit,
        } = opening;
        // an error means that the client went away before it read our answer
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<Spoken<Heard<Pulsed<Socket>>>>>() else {
            return;
        };
        // what follows the head was held back from hyper
        if !parts.read_buf.is_empty() {
            return;
        }
        let (io, ahead) = parts.io.into_inner().into_inner().into_parts();
        let io = Rewound::new(ahead, io);
        pulse.awaits();
        match way {
            Way::Intercept(target, mode) => {
                // each request inside has a record of its own
                record.forget();
                let host = Arc::clone(&record.host);
                intercept::serve(
                    Connection {
                        worker,
                        target,
                        host,
                        mode,
                        generation,
                        client,
                        login,
                        pulse,
                    },
                    io,
                )
                .await;
            }
            Way::Tunnel(tunnel) => tunnel::serve(worker, tunnel, io, &pulse, record).await,
        }
        drop(permit);
    });
}

/// A request that is no CONNECT: absolute-form to an inject host may be upgraded to TLS, everything else is refused.
fn plain(
    worker: &Arc<Worker>,
    world: &World,
    client: Option<IpAddr>,
    pulse: &Arc<Pulse>,
    request: &Request<Incoming>,
    login: Login,
) -> Result<Connection, Failure> {
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        return Err(Failure::new(
            Reason::BadRequest,
            "This is a proxy: it serves no paths of its own.",
            "Set HTTPS_PROXY to this address and call https:// URLs; health is on listen.admin.",
        ));
    };
    let target = Authority::parse_with_default(authority.as_str(), 443).map_err(|error| {
        Failure::new(
            Reason::BadRequest,
            "The request names no usable host.",
            error.to_string(),
        )
    })?;
    // an http:// URL without a port means 443 once it is upgraded
    let mode = world.policy.egress(&target).map_err(Failure::from)?;
    match (world.config.listen.plaintext, mode) {
        (Plaintext::Upgrade, EgressMode::Inject) => Ok(Connection {
            worker: Arc::clone(worker),
            host: target.host.to_string().into(),
            target,
            mode,
            generation: world.generation,
            client,
            login,
            pulse: Arc::clone(pulse),
        }),
        (Plaintext::Upgrade | Plaintext::Deny, _) => Err(Failure::new(
            Reason::PlaintextDenied,
            "A request in plain text is refused.",
            "Use https:// through CONNECT (axios up to 1.16.0 sends https:// URLs in plain text: update it, or set listen.plaintext: upgrade).",
        )),
    }
}

/// Serves an absolute-form request as if it had come through CONNECT.
async fn upgraded_to_tls(
    connection: Connection,
    mut request: Request<Incoming>,
    mut record: Box<Record>,
) -> Response<AnswerBody> {
    record.forget();
    if let Some(target) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = target.into();
    }
    request::serve(Arc::new(connection), request, Ok(()))
        .await
        .unwrap_or_else(|never| match never {})
}
