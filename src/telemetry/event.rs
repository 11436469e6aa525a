//! What happened, as one closed vocabulary, and the one place where it is said.
//!
//! Job: let the rooms that do say what they did once, and the rooms that see (metrics, alerts, audit, console) listen.
//! Invariants: an event holds ids, counts, closed causes and templates, never a secret, a body or a query value; observers are
//! called on the thread that speaks and must neither block nor fail; they are set once, at the start.
//! Failure mode: none; without observers an event is dropped.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::record::Record;
use crate::outcome::Denial;
use crate::tenant::{AppId, TenantId, TenantState};

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request has ended.
    Request(&'a Record),
    /// An answer of SP-API refused the authorization of a request; the request may yet be replayed.
    Denied {
        /// Whose request.
        tenant: &'a TenantId,
        /// Catalog id or template.
        operation: &'a str,
        /// Upstream's status.
        status: u16,
        /// What its body says.
        denial: Denial,
        /// `access`, `grantless` or `rdt`.
        token_kind: &'static str,
    },
    /// Amazon refuses tokens that it has just issued, or takes them again: said once each time (alert `upstream_incident`).
    FreshTokenRefused {
        /// Whose.
        tenant: &'a TenantId,
        /// `access`, `grantless` or `rdt`.
        token_kind: &'static str,
        /// Whether it is over.
        over: bool,
    },
    /// An exchange for a token has ended.
    Exchange(Exchange<'a>),
    /// LWA replaced a tenant's refresh token and the store does not take the new one, or it has taken it at last: said once each
    /// time (alert `grant_not_stored`).
    GrantNotStored {
        /// Whose.
        tenant: &'a TenantId,
        /// Whether it is over.
        over: bool,
    },
    /// A phantom access token was handed to a program.
    PhantomVended {
        /// For whom; `None` where nothing named a tenant.
        tenant: Option<&'a TenantId>,
    },
    /// A program sent a token that Amazon issued.
    RealTokenSeen {
        /// Whose program, where that is known.
        tenant: Option<&'a TenantId>,
    },
    /// A tenant's state has changed.
    State {
        /// Whose.
        tenant: &'a TenantId,
        /// What it is now.
        state: TenantState,
        /// Why.
        reason: &'a str,
        /// Who did it: a person's name, or `automatic`.
        by: &'a str,
    },
    /// A break-glass was opened, or has ended.
    BreakGlass {
        /// For whom.
        tenant: &'a TenantId,
        /// Its routes, as `METHOD /template`.
        allow: &'a [String],
        /// What became of it.
        what: BreakGlassPhase,
        /// Why.
        reason: &'a str,
        /// Who did it.
        by: &'a str,
    },
    /// The store answered after it had not, or the other way round.
    Store {
        /// Whether it answers now.
        up: bool,
        /// The cause, where it does not: see [`crate::store::StoreError::cause`].
        cause: Option<&'static str>,
    },
    /// The audit can be written after it could not, or the other way round.
    Audit {
        /// Why it cannot be written, where it cannot: see [`crate::audit::Unavailable::cause`].
        cause: Option<&'static str>,
    },
    /// A tenant was diagnosed: every hour, and when something happened that a diagnosis may turn on.
    Verdict {
        /// Who.
        tenant: &'a TenantId,
        /// The probable cause, in the word of [`crate::verdict::cause::Cause::as_str`]; `None` where all is well.
        cause: Option<&'static str>,
        /// `ok`, `degraded` or `failing`.
        status: &'static str,
        /// What it rests on, in one line; empty where all is well.
        evidence: &'a str,
        /// What to do; empty where all is well.
        next_step: &'a str,
    },
    /// A reload has ended.
    Reload {
        /// Whether the new file is in force.
        taken: bool,
        /// How many routes are in force now.
        routes: usize,
        /// How many tenants.
        tenants: usize,
    },
    /// The sidecar serves from now on.
    Started,
    /// The drain has begun.
    Stopping,
}

/// What became of a break-glass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakGlassPhase {
    /// It is in force.
    Opened,
    /// A request went by it.
    Used,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
}

/// The end of an exchange.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// Whose token.
    pub tenant: &'a TenantId,
    /// By which app, where the exchange is LWA's.
    pub app: Option<&'a AppId>,
    /// `access`, `grantless` or `rdt`.
    pub kind: &'static str,
    /// Whether a refused token is replaced.
    pub forced: bool,
    /// How long the token lives from now, or why there is none: the word of [`crate::token::Cause::as_str`].
    pub result: Result<Duration, &'static str>,
    /// Whether the token was taken from the fleet's shared record, without asking Amazon.
    pub shared: bool,
}

/// Hears of every event.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Takes note. Called on the request path: no waiting, no I/O, nothing that can fail.
    fn note(&self, event: &Event<'_>);
}

/// Everybody who listens.
type Observers = Box<[Arc<dyn Observer>]>;

/// Where events are said. Clones speak to the same observers.
#[derive(Clone, Default)]
pub struct Events(Arc<OnceLock<Observers>>);

/// Not who listens: an observer may hold the events that it listens to.
impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Sets who listens. The first call counts.
    pub fn observe(&self, observers: Vec<Arc<dyn Observer>>) {
        let _first_counts = self.0.set(observers.into_boxed_slice());
    }

    /// Says it.
    pub fn note(&self, event: &Event<'_>) {
        for observer in self.0.get().into_iter().flatten() {
            observer.note(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counter(AtomicUsize);

    impl Observer for Counter {
        fn note(&self, _event: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_observer_hears_what_any_clone_says() {
        let (events, one, two) = (
            Events::default(),
            Arc::<Counter>::default(),
            Arc::<Counter>::default(),
        );
        events.note(&Event::Started);
        events.observe(vec![Arc::clone(&one) as _, Arc::clone(&two) as _]);
        let clone = events.clone();
        clone.note(&Event::Stopping);
        drop(events);
        assert_eq!(
            [&one, &two].map(|counter| counter.0.load(Ordering::Relaxed)),
            [1, 1]
        );
    }
}
