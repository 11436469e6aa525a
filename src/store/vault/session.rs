//! Being logged in.
//!
//! Job: one token for the whole process, renewed in time, replaced when it is spent.
//! Invariants: at most one login at a time, and whoever waits for it shares its outcome, good or bad; a login is a task
//! of its own, so that no caller that goes away ends it (a wrapped secret id can be unwrapped only once); a 403 is
//! looked into once, and repeated once, never more.
//! Failure mode: the old token serves for as long as it lives, whatever becomes of a renewal.
//! Sources: Vault's documentation of tokens (periodic, batch, max TTL).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustify::Endpoint;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use vaultrs::api::token::requests::RenewTokenSelfRequest;
use zeroize::Zeroizing;

use super::error::{Fault, senseless};
use super::login::{self, Granted, Login, LookupSelf, Stamp};
use super::wire::{self, Bound, Wire};
use crate::config::{self, VaultAuth};
use crate::secret::Opaque;
use crate::store::StoreError;

/// First pause after a renewal or a login that failed; doubled up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two tries: an operator who mends Vault should not wait for us.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Share of a lease after which a token is renewed, at the earliest. What is left is the outage that the login rides out.
const RENEWAL: f64 = 0.55;
/// Share of a lease over which renewals are spread: a fleet that logged in together, say because Vault came back, does not
/// renew together.
const SPREAD: f64 = 0.15;

/// A token in use.
struct Session {
    token: Opaque,
    /// Grows with every login, not with a renewal.
    number: u64,
    since: Instant,
    lease: Option<Duration>,
    period: Duration,
    renewable: bool,
    stamp: Option<Stamp>,
    /// From 0.0 to 1.0: where in the spread the renewal falls.
    draw: f64,
}

impl Session {
    fn begun(granted: Granted, number: u64) -> Self {
        Self {
            token: granted.token,
            number,
            since: Instant::now(),
            lease: granted.lease,
            period: granted.period,
            renewable: granted.renewable,
            stamp: granted.stamp,
            draw: rand::random(),
        }
    }

    fn has_expired(&self, now: Instant) -> bool {
        self.lease.is_some_and(|lease| now >= self.since + lease)
    }

    /// When to renew; never for a token that does not expire.
    fn due(&self) -> Option<Instant> {
        let after = self.lease?.mul_f64(RENEWAL + SPREAD * self.draw);
        Some(self.since + after.max(SHORTEST_PAUSE))
    }
}

/// The way to Vault with a token.
pub(super) struct Sessions {
    wire: Wire,
    token_file: Option<std::path::PathBuf>,
    current: watch::Sender<Option<Arc<Session>>>,
    login: tokio::sync::Mutex<Attempts>,
    tasks: Mutex<JoinSet<()>>,
}

struct Attempts {
    login: Login,
    made: u64,
    /// When the last one ended, and how, if badly.
    failed: Option<(Instant, StoreError)>,
}

impl Sessions {
    pub(super) fn new(config: &config::VaultStore) -> Result<Self, StoreError> {
        let token_file = match &config.auth {
            VaultAuth::TokenFile(file) => Some(file.clone()),
            VaultAuth::AppRole { .. } | VaultAuth::Kubernetes { .. } | VaultAuth::Cert { .. } => {
                None
            }
        };
        Ok(Self {
            wire: Wire::new(config)?,
            token_file,
            current: watch::Sender::new(None),
            login: tokio::sync::Mutex::new(Attempts {
                login: Login::new(config.auth.clone()),
                made: 0,
                failed: None,
            }),
            tasks: Mutex::new(JoinSet::new()),
        })
    }

    /// Makes a call with a good token; logs in first where there is none.
    pub(super) async fn call<E: Endpoint>(
        self: &Arc<Self>,
        endpoint: &E,
        bound: Bound,
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let session = self.session().await.map_err(Fault::Lost)?;
        let refusal = match self.wire.send(Some(&session.token), endpoint, bound).await {
            Err(Fault::Refused(refusal)) if refusal.status == 403 => refusal,
            other => return other,
        };
        // a policy's refusal and a dead token look the same; the token knows which it is
        if !self.is_dead(&session).await {
            return Err(Fault::Refused(refusal));
        }
        let session = self.log_in(session.number).await.map_err(Fault::Lost)?;
        self.wire.send(Some(&session.token), endpoint, bound).await
    }

    async fn is_dead(&self, session: &Session) -> bool {
        let looked = self
            .wire
            .send(Some(&session.token), &LookupSelf {}, Bound::Read)
            .await;
        matches!(looked, Err(Fault::Refused(refusal)) if refusal.status == 403)
    }

    /// The session in use, or a new one.
    async fn session(self: &Arc<Self>) -> Result<Arc<Session>, StoreError> {
        let current = self.current.borrow().clone();
        let Some(session) = current else {
            return self.log_in(0).await;
        };
        if session.has_expired(Instant::now()) || self.file_has_changed(&session).await {
            return self.log_in(session.number).await;
        }
        Ok(session)
    }

    /// Whether somebody, say Vault Agent, has written a new token. A file that is gone for the moment has not changed.
    async fn file_has_changed(&self, session: &Session) -> bool {
        let Some(file) = &self.token_file else {
            return false;
        };
        let now = login::stamp(file).await;
        now.is_some() && now != session.stamp
    }

    /// Logs in, unless somebody has since session number `spent`.
    async fn log_in(self: &Arc<Self>, spent: u64) -> Result<Arc<Session>, StoreError> {
        let (tell, told) = oneshot::channel();
        let asked = Instant::now();
        let owner = Arc::clone(self);
        {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                // the caller may have gone; the outcome is kept in `current` all the same
                let _gone = tell.send(owner.log_in_once(spent, asked).await);
            });
        }
        told.await.unwrap_or_else(|_stopped| {
            Err(StoreError::Unavailable(
                "the login ended with the process".to_owned(),
            ))
        })
    }

    async fn log_in_once(&self, spent: u64, asked: Instant) -> Result<Arc<Session>, StoreError> {
        let mut attempts = self.login.lock().await;
        if let Some(session) = self.current.borrow().as_ref()
            && session.number > spent
            && !session.has_expired(Instant::now())
        {
            return Ok(Arc::clone(session));
        }
        if let Some((ended, error)) = &attempts.failed
            && *ended >= asked
        {
            return Err(error.clone());
        }
        match attempts.login.run(&self.wire).await {
            Ok(granted) => {
                attempts.made += 1;
                attempts.failed = None;
                let session = Arc::new(Session::begun(granted, attempts.made));
                self.current.send_replace(Some(Arc::clone(&session)));
                tracing::info!(number = session.number, "logged in to the store");
                Ok(session)
            }
            Err(error) => {
                tracing::warn!(cause = error.cause(), detail = %error, "no login to the store");
                attempts.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Renews the token in time, for ever. Without this, a token is replaced when it is first found to be spent.
    pub(super) async fn keep_alive(self: &Arc<Self>) {
        let mut current = self.current.subscribe();
        let mut failures = 0_u32;
        loop {
            let session = current.borrow_and_update().clone();
            let due = session.as_ref().and_then(|session| session.due());
            let (Some(session), Some(due)) = (session, due) else {
                if current.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let wake = if failures == 0 {
                due
            } else {
                Instant::now() + pause_after(failures, rand::random())
            };
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                changed = current.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    failures = 0;
                    continue;
                }
            }
            failures = if self.extend(&session).await {
                0
            } else {
                failures.saturating_add(1)
            };
        }
    }

    /// Renews a token, or replaces it where that is refused or brings less than was asked. False when neither worked.
    async fn extend(self: &Arc<Self>, session: &Arc<Session>) -> bool {
        if session.renewable && !session.has_expired(Instant::now()) {
            match self.renew(session).await {
                Ok(lease) => {
                    self.publish_renewed(session, lease);
                    // less than was asked: its maximum life is near, and the next renewal may be refused
                    if lease >= session.period {
                        return true;
                    }
                }
                Err(Fault::Refused(refusal)) => {
                    tracing::warn!(detail = %refusal.text(), "the store's token is not renewed; logging in again");
                }
                Err(Fault::Lost(error)) => {
                    tracing::warn!(cause = error.cause(), detail = %error, "the store's token was not renewed");
                    return false;
                }
            }
        }
        self.log_in(session.number).await.is_ok()
    }

    async fn renew(&self, session: &Session) -> Result<Duration, Fault> {
        let endpoint = RenewTokenSelfRequest {
            increment: Some(format!("{}s", session.period.as_secs())),
        };
        let body = self
            .wire
            .send(Some(&session.token), &endpoint, Bound::Write)
            .await?;
        let place = "auth/token/renew-self";
        let auth = wire::parse::<serde::de::IgnoredAny>(place, &body)?
            .auth
            .ok_or_else(|| senseless(place, "no lease inside"))?;
        Ok(Duration::from_secs(auth.lease_duration))
    }

    fn publish_renewed(&self, session: &Arc<Session>, lease: Duration) {
        self.current.send_if_modified(|current| {
            let newest = current.as_ref().map(|current| current.number);
            let still_in_use = newest == Some(session.number);
            if still_in_use {
                *current = Some(Arc::new(Session {
                    token: session.token.clone(),
                    number: session.number,
                    since: Instant::now(),
                    lease: Some(lease),
                    period: session.period,
                    renewable: session.renewable,
                    stamp: session.stamp,
                    draw: rand::random(),
                }));
            }
            still_in_use
        });
    }
}

/// Doubling up to [`LONGEST_PAUSE`], less up to a quarter so that a fleet does not march in step.
fn pause_after(failures: u32, draw: f64) -> Duration {
    let full = SHORTEST_PAUSE * 2_u32.saturating_pow(failures.min(6));
    full.min(LONGEST_PAUSE).mul_f64(1.0 - 0.25 * draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(lease: Option<u64>, draw: f64) -> Session {
        Session {
            token: Opaque::new("s.made-up".to_owned()),
            number: 1,
            since: Instant::now(),
            lease: lease.map(Duration::from_secs),
            period: Duration::ZERO,
            renewable: true,
            stamp: None,
            draw,
        }
    }

    #[test]
    fn a_login_is_renewed_well_before_its_end_and_not_by_all_at_the_same_moment() {
        for (lease, draw, want_ms) in [
            (Some(1000), 0.0, Some(550_000)),
            (Some(1000), 0.5, Some(625_000)),
            (Some(1000), 1.0, Some(700_000)),
            // one that lives for a moment does not spin
            (Some(0), 0.0, Some(500)),
            (None, 0.3, None),
        ] {
            let session = session(lease, draw);
            let after = session.due().map(|due| (due - session.since).as_millis());
            assert_eq!(after, want_ms, "{lease:?} {draw}");
        }
    }

    #[test]
    fn pauses_after_failures_grow_to_half_a_minute_less_a_quarter_by_chance() {
        for (failures, draw, want_ms) in [
            (1, 0.0, 1_000),
            (3, 0.0, 4_000),
            (3, 1.0, 3_000),
            (6, 0.0, 30_000),
            (99, 1.0, 22_500),
        ] {
            let pause = pause_after(failures, draw).as_millis();
            assert_eq!(pause, want_ms, "{failures} {draw}");
        }
    }
}
