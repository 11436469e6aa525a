//! Tokens that Amazon refuses although they have just been issued.
//!
//! Job: turn refusals of fresh tokens into one event when they begin, and one when a token is taken again.
//! Invariants: nothing is said twice in a row; while nobody is refused, a call that succeeds costs one load.
//! Failure mode: none.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::telemetry::event::{Event, Events};
use crate::tenant::TenantId;

/// Whose fresh tokens are refused at the moment, by the tokens' kind.
#[derive(Debug)]
pub struct Incidents {
    open: Mutex<HashSet<(TenantId, &'static str)>>,
    count: AtomicUsize,
    events: Events,
}

impl Incidents {
    /// Nobody's so far.
    #[must_use]
    pub fn new(events: Events) -> Self {
        Self {
            open: Mutex::default(),
            count: AtomicUsize::new(0),
            events,
        }
    }

    /// A token that had just been issued was refused.
    pub fn refused(&self, tenant: &TenantId, kind: &'static str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = open.insert((tenant.clone(), kind));
        self.count.store(open.len(), Ordering::Relaxed);
        drop(open);
        if begins {
            self.say(tenant, kind, false);
        }
    }

    /// A token was taken.
    pub fn taken(&self, tenant: &TenantId, kind: &'static str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = open.remove(&(tenant.clone(), kind));
        self.count.store(open.len(), Ordering::Relaxed);
        drop(open);
        if ends {
            self.say(tenant, kind, true);
        }
    }

    fn say(&self, tenant: &TenantId, token_kind: &'static str, over: bool) {
        tracing::warn!(alert = "upstream_incident", %tenant, kind = token_kind, over, "Amazon refuses tokens that it has just issued, or takes them again");
        self.events.note(&Event::FreshTokenRefused {
            tenant,
            token_kind,
            over,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::event::Observer;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<(String, bool)>>);

    impl Observer for Heard {
        fn note(&self, event: &Event<'_>) {
            if let Event::FreshTokenRefused { tenant, over, .. } = event {
                self.0.lock().unwrap().push((tenant.to_string(), *over));
            }
        }
    }

    #[test]
    fn an_incident_is_said_once_when_it_begins_and_once_when_it_is_over() {
        let (events, heard) = (Events::default(), Arc::<Heard>::default());
        events.observe(vec![Arc::clone(&heard) as _]);
        let incidents = Incidents::new(events);
        let (acme, beta) = (
            TenantId::parse("acme").unwrap(),
            TenantId::parse("beta").unwrap(),
        );
        incidents.taken(&acme, "access");
        incidents.refused(&acme, "access");
        incidents.refused(&acme, "access");
        incidents.taken(&beta, "access");
        incidents.taken(&acme, "rdt");
        incidents.taken(&acme, "access");
        incidents.taken(&acme, "access");
        incidents.refused(&acme, "access");
        let want = [false, true, false].map(|over| ("acme".to_owned(), over));
        assert_eq!(*heard.0.lock().unwrap(), want);
    }
}
