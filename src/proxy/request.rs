//! The straight walk of a request for SP-API: admit, authorize, pace, credential, inject, send, return.
//!
//! Invariants: [`Authorized`] is made here alone, after policy has spoken; a token that Amazon refuses is exchanged and the
//! request replayed once, when its whole body was kept; a 429 is waited out within `throttle`; everything else goes back as
//! it came.
//! Sources: CONTRACT sections 2.6 to 2.12 and 3.4; EXEMPLARS' walk.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::answer::{AnswerBody, Content, Witness};
use super::head::{self, Admitted};
use super::load::Place;
use super::login::{self, Login};
use super::pulse::Serving;
use super::replay::Source;
use super::respond::{self, Local};
use super::send::{self, Received, Retry};
use super::upload::Upload;
use super::{
    Connection, World, audited, body, break_glass, credential, document, field, learn, phantom,
    standing, turn,
};
use crate::catalog::{Catalog, Operation};
use crate::config::{EgressMode, PathParams, ProxyAuth, Tenant};
use crate::name::Authority;
use crate::outcome::{Failure, Reason};
use crate::phantom::{Reading, is_shaped_like_one};
use crate::policy::{Ask, Route, Verdict};
use crate::redact;
use crate::telemetry::record::{Outcome, Record};
use crate::telemetry::trace::Step;
use crate::telemetry::w3c::Parent;
use crate::tenant::TenantId;

/// A request that policy lets go, with the route it goes by. Only [`authorize`] makes one.
#[derive(Debug)]
pub struct Authorized {
    method: Method,
    target: PathAndQuery,
    fields: HeaderMap,
    http2: bool,
    body: Source,
    host: Authority,
    tenant: Arc<Tenant>,
    route: Arc<Route>,
    operation: Option<&'static Operation>,
}

impl Authorized {
    /// Method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query, byte for byte as sent.
    #[must_use]
    pub const fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// Fields that go on.
    #[must_use]
    pub const fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// Whether the client speaks HTTP/2.
    #[must_use]
    pub const fn http2(&self) -> bool {
        self.http2
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Source {
        &self.body
    }

    /// Whom it is for.
    #[must_use]
    pub const fn host(&self) -> &Authority {
        &self.host
    }

    /// Whose it is.
    #[must_use]
    pub const fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The route it goes by.
    #[must_use]
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// What the catalog says of its method and path.
    #[must_use]
    pub const fn operation(&self) -> Option<&'static Operation> {
        self.operation
    }
}

/// What the walk comes to.
pub(super) enum Answer {
    /// Made here.
    Local(Local),
    /// From upstream.
    Upstream(Received, Option<Box<dyn Witness>>),
}

/// Serves one request of an intercepted connection, and never fails: what goes wrong is an answer too, and so is a head in
/// which something is wrong that only its bytes tell.
///
/// # Errors
/// None.
pub async fn serve(
    connection: Arc<Connection>,
    request: Request<Incoming>,
    heard: Result<(), Failure>,
) -> Result<Response<AnswerBody>, Infallible> {
    let (place, heard) = match Place::take(&connection.worker) {
        Ok(place) => (Some(place), heard),
        Err(failure) => (None, Err(failure)),
    };
    let serving = connection.pulse.serve(place);
    let shared = connection.shared();
    let mut record = Record::open(
        Arc::clone(&shared.recorder),
        shared.next_id(),
        Arc::clone(&connection.host),
        request.method().clone(),
    );
    record.begin_trace(Parent::of(request.headers()));
    let span = record.trace.request().clone();
    let world = shared.world.load_full();
    let request = Upload::of(request, &shared.tasks, &serving);
    let answer = match heard {
        Ok(()) => {
            // pinned first: what is wrapped later would be moved, and it is large
            let served = pin!(by_mode(&connection, &world, request, &mut record));
            served.instrument(span.clone()).await
        }
        Err(failure) => Err(failure),
    };
    Ok(span.in_scope(|| complete(answer, record, serving)))
}

async fn by_mode(
    connection: &Connection,
    world: &World,
    request: Request<Upload>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    connection.still_allowed(world)?;
    match connection.mode {
        EgressMode::Inject => walk(connection, world, request, record).await,
        // the rarer ways are boxed: what they hold would make the future of every request larger
        EgressMode::Lwa => {
            Box::pin(phantom::token_endpoint(connection, world, request, record)).await
        }
        EgressMode::Document => Box::pin(document::relay(connection, world, request, record)).await,
        EgressMode::Tunnel => Err(Failure::new(
            Reason::BadRequest,
            "A tunnel serves no requests.",
            "This is a defect of the sidecar.",
        )),
    }
}

fn complete(
    answer: Result<Answer, Failure>,
    mut record: Box<Record>,
    serving: Serving,
) -> Response<AnswerBody> {
    match answer {
        Ok(Answer::Upstream(received, witness)) => returned(received, witness, record, serving),
        Ok(Answer::Local(local)) => respond::local(local, record, Some(serving)),
        Err(failure) => {
            let local = respond::refuse(&failure, &mut record);
            respond::local(local, record, Some(serving))
        }
    }
}

/// Return: the head is cleaned, the body streams, its last byte closes the record.
fn returned(
    received: Received,
    witness: Option<Box<dyn Witness>>,
    mut record: Box<Record>,
    serving: Serving,
) -> Response<AnswerBody> {
    let Received {
        mut parts,
        ahead,
        rest,
    } = received;
    field::clean_answer(&mut parts.headers);
    record.status = parts.status.as_u16();
    record.amzn_request_id = parts
        .headers
        .get("x-amzn-requestid")
        .and_then(|id| id.to_str().ok())
        .filter(|id| is_plain_id(id))
        .map(str::to_owned);
    if record.outcome == Outcome::Cancelled {
        record.outcome = Outcome::Forwarded;
    }
    record.head_is_ready();
    record.trace.returns();
    respond::stamp(&mut parts.headers, record.id);
    // the version is the connection's own
    let mut response = Response::new(AnswerBody::new(
        Content::Upstream { ahead, rest },
        witness,
        record,
        Some(serving),
    ));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

/// Amazon's request ids are letters, digits, `-` and `_`; anything else is not taken into the log.
fn is_plain_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    id.len() <= 64 && id.bytes().all(plain)
}

async fn walk(
    connection: &Connection,
    world: &World,
    request: Request<Upload>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    note_target(record, world, &request);
    let (admitted, tenant) = {
        let admitted = pin!(async {
            let admitted =
                head::admit(connection, request, world.config.listen.limits.header_bytes)?;
            let tenant = whose(connection, world, &admitted).await?;
            record.tenant = Some(tenant.id.clone());
            standing::looked(&connection.shared().fleet).await;
            standing::check(&connection.shared().fleet, &tenant.id)?;
            standing::passed(&connection.shared().passes, &tenant).await?;
            Ok::<_, Failure>((admitted, tenant))
        });
        admitted.instrument(Step::Admit.span()).await?
    };
    if phantom::is_tokens_call(&admitted) {
        let answered = phantom::tokens_api(connection, world, &tenant, admitted, record);
        return Box::pin(answered).await.map(Answer::Local);
    }
    let authorized = {
        let authorized = pin!(async {
            let authorized = authorize(connection, world, tenant, admitted, record)?;
            body::check(world, &authorized, record).await?;
            audited::call(connection, world, &authorized, record).await?;
            Ok::<_, Failure>(authorized)
        });
        authorized.instrument(Step::Authorize.span()).await?
    };
    let received = attempts(connection, world, &authorized, record).await?;
    let witness = learn::witness(connection, world, &authorized, &received);
    Ok(Answer::Upstream(received, witness))
}

/// Puts into the record what may be shown of a target before any route is known.
fn note_target(record: &mut Record, world: &World, request: &Request<Upload>) {
    record.path = shown_path(world, None, request.uri().path());
    record.query_keys = request
        .uri()
        .query()
        .map(redact::query_keys)
        .unwrap_or_default()
        .into_iter()
        .map(str::to_owned)
        .collect();
}

/// A path as telemetry may show it.
fn shown_path(world: &World, template: Option<&str>, raw: &str) -> String {
    match world.config.telemetry.path_params {
        PathParams::Mask => redact::path(template, raw),
        PathParams::Keep => redact::path_kept(raw),
    }
    .into_owned()
}

/// Whose request: the proxy login, else the phantom, else the default; two that disagree are refused.
pub(super) async fn whose(
    connection: &Connection,
    world: &World,
    admitted: &Admitted,
) -> Result<Arc<Tenant>, Failure> {
    let id = id_of(connection, world, admitted)?;
    if let Some(tenant) = world.tenants.get(&id) {
        return Ok(tenant);
    }
    // boxed: the future of every request would be larger by it otherwise
    let found = Box::pin(world.tenants.find(&id)).await;
    found.map_err(|missing| standing::missing(&id, missing))
}

fn id_of(connection: &Connection, world: &World, admitted: &Admitted) -> Result<TenantId, Failure> {
    let shared = connection.shared();
    let named = named_by_phantom(connection, admitted)?;
    if admitted.holds_real_token() {
        let served_as = match &connection.login {
            Login::Tenant(login) => Some(login.clone()),
            Login::Missing => named.clone().or_else(|| unnamed(world)),
            Login::Unconfirmed => None,
        };
        shared.real_token_was_seen(served_as.as_ref());
    }
    match (&connection.login, named) {
        (Login::Unconfirmed, _) => Err(login::unconfirmed()),
        (Login::Tenant(login), Some(phantom)) if *login != phantom => {
            Err(Failure::new(Reason::TenantMismatch, "The proxy login and the phantom token name two tenants.", format!("The login is {login}'s, the phantom {phantom}'s: give the program the pair of one tenant.")))
        }
        (Login::Tenant(login), _) => Ok(login.clone()),
        (Login::Missing, Some(phantom)) => Ok(phantom),
        (Login::Missing, None) => unnamed(world).ok_or_else(|| {
            Failure::new(
                Reason::TenantUnknown,
                "Nothing says whose request this is.",
                "Use a proxy login (HTTPS_PROXY=http://TENANT:KEY@…) or a phantom refresh token (`spapi-sidecar tenant phantom TENANT`); \
                 default_tenant serves whoever says nothing, where proxy_auth is optional.",
            )
        }),
    }
}

/// The tenant of a caller whom nothing names: the default one, unless every caller has to say who it is. A transparent
/// connection cannot carry a login, so there only a phantom names a caller then.
pub(super) fn unnamed(world: &World) -> Option<TenantId> {
    match world.config.listen.proxy_auth {
        ProxyAuth::Optional => world.config.default_tenant.clone(),
        ProxyAuth::Required => None,
    }
}

fn named_by_phantom(
    connection: &Connection,
    admitted: &Admitted,
) -> Result<Option<TenantId>, Failure> {
    let Some(key) = connection.shared().phantoms.get() else {
        // it may name a tenant: to take it for nobody's would be to call as the default tenant
        return if admitted.credentials().any(is_shaped_like_one) {
            Err(phantom::key_is_missing())
        } else {
            Ok(None)
        };
    };
    let mut named = None;
    for text in admitted.credentials() {
        match key.read(text) {
            Reading::Foreign => {}
            Reading::Genuine(_, id) => match named.replace(id) {
                Some(other) if named.as_ref() != Some(&other) => {
                    return Err(Failure::new(
                        Reason::TenantMismatch,
                        "The request carries phantom tokens of two tenants.",
                        "One in authorization and one in x-amz-access-token have to be one tenant's.",
                    ));
                }
                Some(_) | None => {}
            },
            Reading::Nobody(_) => {
                // vended to a caller whom nothing named; the default tenant would have been named
            }
            Reading::Forged => {
                return Err(Failure::new(
                    Reason::TenantUnknown,
                    "The phantom token was not made with this sidecar's key.",
                    "It was altered, or another store made it; `spapi-sidecar tenant phantom TENANT` makes a new one.",
                ));
            }
        }
    }
    Ok(named)
}

/// Authorize: policy on method, path, tenant and host.
fn authorize(
    connection: &Connection,
    world: &World,
    tenant: Arc<Tenant>,
    admitted: Admitted,
    record: &mut Record,
) -> Result<Authorized, Failure> {
    let ask = Ask {
        tenant: &tenant,
        host: &connection.target.host,
        method: &admitted.method,
        path: admitted.target.path(),
        query: admitted.target.query(),
    };
    let route = match world.policy.route(&ask) {
        Verdict::Allow(route) => route,
        Verdict::WouldRefuse(route, refusal) => {
            match break_glass::route(connection.shared(), &ask, &refusal) {
                Some(opened) => opened,
                None => {
                    record.outcome = Outcome::WouldRefuse;
                    record.reason = Some(refusal.reason);
                    route
                }
            }
        }
        Verdict::Refuse(refusal) => match break_glass::route(connection.shared(), &ask, &refusal) {
            Some(opened) => opened,
            None => {
                note_refused(record, &admitted);
                return Err(refusal.into());
            }
        },
    };
    record.operation = Arc::clone(&route.operation);
    record.template = Arc::clone(&route.template);
    record.path = shown_path(world, Some(&route.template), admitted.target.path());
    let body = Source::new(
        admitted.body,
        world.config.listen.limits.replay_body,
        Arc::clone(&record.bytes),
        &connection.shared().room,
    );
    let operation = Catalog::embedded().find(&admitted.method, admitted.target.path());
    Ok(Authorized {
        operation,
        method: admitted.method,
        target: admitted.target,
        fields: admitted.fields,
        http2: admitted.http2,
        body,
        host: connection.target.clone(),
        tenant,
        route,
    })
}

/// A path that no route allows is shown by the operation that it is for, where there is one, and masked.
fn note_refused(record: &mut Record, admitted: &Admitted) {
    let path = admitted.target.path();
    if let Some(operation) = Catalog::embedded().find(&admitted.method, path) {
        record.operation = operation.operation_id.as_str().into();
    }
    record.template = redact::path(None, path).into();
}

/// Pace, credential, inject, send: once, and again where that is known to help. A repeat keeps its place: Amazon has not counted
/// what it refused.
async fn attempts(
    connection: &Connection,
    world: &World,
    authorized: &Authorized,
    record: &mut Record,
) -> Result<Received, Failure> {
    let shared = connection.shared();
    let lane = turn::lane(connection, world, authorized);
    let mut retry = Retry::new(world.config.throttle, lane);
    let mut place = turn::take(connection, authorized, &mut retry, record).await?;
    loop {
        // who was killed while this waited gets no further token, and sends none
        standing::check(&shared.fleet, &authorized.tenant.id)?;
        let credential = {
            let _held = connection.pulse.hold();
            let obtained = pin!(credential::obtain(shared, authorized, record));
            obtained.instrument(Step::Credential.span()).await?
        };
        standing::check(&shared.fleet, &authorized.tenant.id)?;
        record.token_kind = Some(credential.kind);
        record.attempts += 1;
        let outbound = Step::Inject.span().in_scope(|| {
            let carriers = &world.config.inject;
            head::inject(authorized, &credential.token, carriers, &shared.via)
        });
        if let Some(place) = place.take() {
            place.spend();
        }
        let received = send::send(
            connection,
            &outbound,
            authorized.body(),
            authorized.http2(),
            record,
        )
        .await?;
        match retry
            .judge(received, authorized, &credential, shared, record)
            .await?
        {
            send::Next::Return(received) => return Ok(*received),
            send::Next::Again => {}
            send::Next::After(pause) => {
                turn::pause(connection, authorized, pause, record)
                    .instrument(Step::Pace.span())
                    .await?;
            }
        }
    }
}
