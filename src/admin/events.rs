//! `GET /api/v1/events`: what happens, as it happens.
//!
//! Job: turn [`Event`]s into server-sent events: a line of JSON each, without secrets.
//! Invariants: requests, and what comes with each of them, are counted into one `traffic` message a second and are never
//! messages of their own; while nobody listens nothing is counted and nothing is written; a listener that does not keep up
//! misses messages, and is told how many.
//! Failure mode: beyond [`MOST_LISTENERS`] a listener is refused.
//! Source: HTML, section 9.2 (server-sent events).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::{Office, refusal};
use crate::telemetry;
use crate::telemetry::event::{BreakGlassPhase, Event, Observer};

/// Messages that a listener may be behind.
const BACKLOG: usize = 256;

/// Most listeners: a few consoles and a script.
const MOST_LISTENERS: usize = 16;

/// Time between two `traffic` messages.
const SECOND: Duration = Duration::from_secs(1);

/// Most names that one `traffic` message tells apart; what comes beyond is counted as `other`.
const MOST_NAMES: usize = 50;

type Message = (&'static str, Arc<str>);

/// Listens to what happens and passes it on.
#[derive(Debug)]
pub struct Feed {
    messages: broadcast::Sender<Message>,
    tally: Mutex<Tally>,
    places: Arc<Semaphore>,
}

/// What is counted rather than said.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    outcomes: BTreeMap<&'static str, u64>,
    tenants: BTreeMap<String, u64>,
    denials: BTreeMap<&'static str, u64>,
    others: BTreeMap<&'static str, u64>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            messages: broadcast::Sender::new(BACKLOG),
            tally: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST_LISTENERS)),
        }
    }
}

impl Observer for Feed {
    fn note(&self, event: &Event<'_>) {
        // a request costs one look at a counter while nobody listens
        if self.messages.receiver_count() == 0 {
            return;
        }
        match told(event) {
            Told::Counted(count) => {
                count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
            }
            Told::Said(name, message) => self.say(name, message),
        }
    }
}

impl Feed {
    /// Says each second what was counted, for as long as it is polled. Never ends.
    pub async fn tick(&self) {
        loop {
            tokio::time::sleep(SECOND).await;
            let tally =
                std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
            let Tally {
                requests,
                outcomes,
                tenants,
                denials,
                others,
            } = tally;
            if requests > 0 || !denials.is_empty() || !others.is_empty() {
                self.say("traffic", json!({"requests": requests, "outcomes": outcomes, "tenants": tenants, "denials": denials, "others": others}));
            }
        }
    }

    fn say(&self, name: &'static str, mut message: Value) {
        if let Some(fields) = message.as_object_mut() {
            let now = humantime::format_rfc3339_millis(telemetry::now()).to_string();
            fields.insert("ts".to_owned(), now.into());
            fields.insert("event".to_owned(), name.into());
        }
        // nobody listens any more
        let _unheard = self.messages.send((name, message.to_string().into()));
    }
}

/// What becomes of an event.
enum Told<'a> {
    Counted(Box<dyn FnOnce(&mut Tally) + 'a>),
    Said(&'static str, Value),
}

fn counted<'a>(name: &'static str) -> Told<'a> {
    Told::Counted(Box::new(move |tally| {
        *tally.others.entry(name).or_default() += 1;
    }))
}

fn told<'a>(event: &'a Event<'_>) -> Told<'a> {
    match event {
        Event::Request(record) => Told::Counted(Box::new(|tally| {
            tally.requests += 1;
            *tally.outcomes.entry(record.outcome.as_str()).or_default() += 1;
            let tenant = record.tenant.as_ref().map_or("", |tenant| tenant.as_str());
            let room = tally.tenants.len() < MOST_NAMES || tally.tenants.contains_key(tenant);
            let tenant = if room { tenant } else { "other" };
            *tally.tenants.entry(tenant.to_owned()).or_default() += 1;
        })),
        Event::Denied { denial, .. } => Told::Counted(Box::new(|tally| {
            *tally.denials.entry(denial.as_str()).or_default() += 1;
        })),
        Event::PhantomVended { .. } => counted("phantom_vended"),
        Event::RealTokenSeen { .. } => counted("real_token_seen"),
        Event::BreakGlass {
            what: BreakGlassPhase::Used,
            ..
        } => counted("break_glass_used"),
        Event::Exchange(exchange) => Told::Said(
            "exchange",
            json!({
                "tenant": exchange.tenant.as_str(), "app": exchange.app.map(|app| app.as_str()), "kind": exchange.kind,
                "forced": exchange.forced, "shared": exchange.shared,
                "expires_in_s": exchange.result.ok().map(|life| life.as_secs()), "error": exchange.result.err(),
            }),
        ),
        Event::State {
            tenant,
            state,
            reason,
            by,
        } => Told::Said(
            "state",
            json!({"tenant": tenant.as_str(), "state": state.as_str(), "reason": reason, "by": by}),
        ),
        Event::BreakGlass {
            tenant,
            allow,
            what,
            reason,
            by,
        } => Told::Said(
            "break_glass",
            json!({"tenant": tenant.as_str(), "allow": allow, "phase": phase(*what), "reason": reason, "by": by}),
        ),
        Event::Store { up, cause } => Told::Said("store", json!({"up": up, "cause": cause})),
        Event::Reload {
            taken,
            routes,
            tenants,
        } => Told::Said(
            "reload",
            json!({"taken": taken, "routes": routes, "tenants": tenants}),
        ),
        Event::FreshTokenRefused {
            tenant,
            token_kind,
            over,
        } => Told::Said(
            "upstream_incident",
            json!({"tenant": tenant.as_str(), "kind": token_kind, "over": over}),
        ),
        Event::GrantNotStored { tenant, over } => Told::Said(
            "grant_not_stored",
            json!({"tenant": tenant.as_str(), "over": over}),
        ),
        Event::Audit { cause } => Told::Said("audit", json!({"cause": cause})),
        Event::Verdict {
            tenant,
            cause,
            status,
            evidence,
            next_step,
        } => Told::Said(
            "verdict",
            json!({"tenant": tenant.as_str(), "cause": cause, "status": status, "evidence": evidence, "next_step": next_step}),
        ),
        Event::Started => Told::Said("started", json!({})),
        Event::Stopping => Told::Said("stopping", json!({})),
    }
}

const fn phase(what: BreakGlassPhase) -> &'static str {
    match what {
        BreakGlassPhase::Opened => "opened",
        BreakGlassPhase::Used => "used",
        BreakGlassPhase::Expired => "expired",
        BreakGlassPhase::Revoked => "revoked",
    }
}

/// What this file answers.
pub(super) fn routes() -> Router<Office> {
    Router::new().route("/api/v1/events", get(listen))
}

/// A listener: its place, what it hears, and the drain that ends it.
struct Listener {
    messages: broadcast::Receiver<Message>,
    stop: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    greeted: bool,
    _place: OwnedSemaphorePermit,
}

async fn listen(State(office): State<Office>) -> Response {
    let Ok(place) = Arc::clone(&office.feed.places).try_acquire_owned() else {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_listeners",
            "As many listen to the events as may.",
            "Close a console, and try again.",
        );
    };
    let listener = Listener {
        messages: office.feed.messages.subscribe(),
        stop: Box::pin(office.tasks.stopping()),
        greeted: false,
        _place: place,
    };
    let messages = stream::unfold(listener, |mut listener| async move {
        let message = listener.next().await?;
        Some((Ok::<_, Infallible>(message), listener))
    });
    Sse::new(messages)
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl Listener {
    async fn next(&mut self) -> Option<sse::Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            let hello = json!({"event": "hello", "version": env!("CARGO_PKG_VERSION")});
            return Some(message("hello", &hello.to_string()));
        }
        tokio::select! {
            heard = self.messages.recv() => match heard {
                Ok((name, text)) => Some(message(name, &text)),
                Err(RecvError::Lagged(missed)) => {
                    let lagged = json!({"event": "lagged", "missed": missed});
                    Some(message("lagged", &lagged.to_string()))
                }
                Err(RecvError::Closed) => None,
            },
            () = self.stop.as_mut() => None,
        }
    }
}

fn message(name: &str, text: &str) -> sse::Event {
    sse::Event::default().event(name).data(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::{TenantId, TenantState};

    #[tokio::test(start_paused = true)]
    async fn what_comes_with_each_request_is_one_message_a_second() {
        let feed = Feed::default();
        let mut heard = feed.messages.subscribe();
        let acme = TenantId::parse("acme").unwrap();
        for _ in 0..1000 {
            feed.note(&Event::PhantomVended { tenant: None });
            feed.note(&Event::RealTokenSeen { tenant: None });
        }
        feed.note(&Event::State {
            tenant: &acme,
            state: TenantState::Killed,
            reason: "leaked",
            by: "ada",
        });
        let _ends = tokio::time::timeout(SECOND * 3, feed.tick()).await;
        let mut messages = Vec::new();
        while let Ok((_, text)) = heard.try_recv() {
            messages.push(serde_json::from_str::<Value>(&text).unwrap());
        }
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[0]["state"], "killed");
        assert_eq!(messages[1]["event"], "traffic");
        assert_eq!(messages[1]["others"]["phantom_vended"], 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn while_nobody_listens_nothing_is_kept() {
        let feed = Feed::default();
        feed.note(&Event::PhantomVended { tenant: None });
        feed.note(&Event::Started);
        let mut heard = feed.messages.subscribe();
        let _ends = tokio::time::timeout(SECOND * 2, feed.tick()).await;
        assert!(heard.try_recv().is_err());
    }
}
