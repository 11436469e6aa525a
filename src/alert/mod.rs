//! What a person is told of, early, once, and until it is over.
//!
//! Job: [`Alerts`] listens to what happens, keeps what fires on one board, and says each turn in the log, to the webhook and to
//! whoever looks (metrics, status, console). It decides, too, which tenants a cause sets aside by itself.
//! Invariants: an episode is said once when it begins, again only where it grows worse, and once when it ends; a detail holds
//! ids, closed words, templates, counts and dates, never a secret; a request waits for nothing here.
//! Failure mode: none for requests; a notice that cannot be delivered becomes a line of the audit ([`webhook`]).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::{Config, QuarantineCause};
use crate::telemetry;
use crate::telemetry::event::{Event, Observer};
use crate::tenant::{AppId, TenantId};

pub mod board;
pub mod due;
mod endpoint;
mod ordinary;
mod quarantine;
mod rule;
mod settings;
pub mod webhook;
pub mod window;

use board::Board;
pub use board::{Alert, Moment, Notice, Turn};
use due::Due;
pub use endpoint::Call;
use ordinary::Ordinary;
pub use quarantine::Order;
use rule::Rules;
use settings::Settings;
use webhook::Letter;

/// Where the runbooks are, below the root of the project.
const RUNBOOKS: &str = "deploy/runbooks/";

macro_rules! alerts {
    ($($(#[$doc:meta])* $name:ident => $word:literal;)+) => {
        /// Everything that can fire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum AlertKind {
            $($(#[$doc])* $name,)+
        }

        impl AlertKind {
            /// Every kind, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word of the log, the metric and the webhook.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

alerts! {
    /// 401s and 403s of one tenant passed `alerts.auth_errors`.
    AuthErrors => "auth_errors";
    /// Exchanges of one tenant failed in a row.
    RefreshFailing => "refresh_failing";
    /// A tenant called a route for the first time, or was refused one for the first time.
    NewEndpoint => "new_endpoint";
    /// Too many requests found no fresh token waiting.
    FreshnessSlo => "freshness_slo";
    /// An app's charge method lapses, has lapsed, or was declined.
    ChargeMethodDue => "charge_method_due";
    /// An app's client secret lapses or has lapsed.
    ClientSecretDue => "client_secret_due";
    /// A selling partner has to authorize again.
    AuthorizationDue => "authorization_due";
    /// A developer profile is due for review.
    ProfileReviewDue => "profile_review_due";
    /// The sidecar's CA ends.
    CaDue => "ca_due";
    /// A tenant is set aside.
    TenantQuarantined => "tenant_quarantined";
    /// A program sent a token that Amazon issued.
    AppHoldsRealToken => "app_holds_real_token";
    /// A phantom was vended and then never used.
    BypassSuspected => "bypass_suspected";
    /// Amazon fails, or refuses fresh tokens, for many.
    UpstreamIncident => "upstream_incident";
    /// A call went by a break-glass.
    BreakGlassUsed => "break_glass_used";
    /// LWA replaced a refresh token, and the store has not taken the new one.
    GrantNotStored => "grant_not_stored";
    /// The audit cannot be written.
    AuditUnavailable => "audit_unavailable";
}

impl AlertKind {
    /// What to do about it, as a link from the project's root.
    #[must_use]
    pub fn runbook(self) -> String {
        format!("{RUNBOOKS}{}.md", self.as_str())
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sets a tenant aside for a cause, or serves it again. It must neither block nor fail.
pub type Act = Box<dyn Fn(&TenantId, QuarantineCause, Order) + Send + Sync>;

/// The probable cause of a tenant's trouble and its next step, in words; nothing where none is known.
pub type Explain = Box<dyn Fn(&TenantId) -> Option<String> + Send + Sync>;

/// The alerts of a process.
pub struct Alerts {
    origin: Instant,
    inner: Mutex<Inner>,
    ordinary: Ordinary,
    outlet: OnceLock<mpsc::Sender<Letter>>,
    act: OnceLock<Act>,
    explain: OnceLock<Explain>,
    /// What has turned and was not said yet, in its order.
    unsaid: Mutex<VecDeque<Notice>>,
    saying: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    rules: Rules,
    board: Board,
}

impl Alerts {
    /// Watches by the thresholds of a configuration; `apps` says which app each tenant has.
    #[must_use]
    pub fn new(config: &Config, apps: impl Iterator<Item = (TenantId, AppId)>) -> Arc<Self> {
        let settings = Settings::new(config, apps);
        let rules = Rules::new(settings);
        Arc::new(Self {
            origin: Instant::now(),
            ordinary: rules.ordinary(),
            inner: Mutex::new(Inner {
                rules,
                board: Board::default(),
            }),
            outlet: OnceLock::new(),
            act: OnceLock::new(),
            explain: OnceLock::new(),
            unsaid: Mutex::default(),
            saying: Mutex::default(),
        })
    }

    /// Puts other thresholds in force; what has happened so far is kept.
    pub fn configure(&self, config: &Config, apps: impl Iterator<Item = (TenantId, AppId)>) {
        let settings = Settings::new(config, apps);
        self.change(|rules, board, _| rules.configure(settings, board));
    }

    /// Where notices go besides the log. The first call counts.
    pub fn tell(&self, outlet: mpsc::Sender<Letter>) {
        let _first_counts = self.outlet.set(outlet);
    }

    /// Who sets tenants aside. The first call counts.
    pub fn act(&self, act: Act) {
        let _first_counts = self.act.set(act);
    }

    /// Who explains what a tenant's credentials meet with. The first call counts.
    pub fn explain(&self, explain: Explain) {
        let _first_counts = self.explain.set(explain);
    }

    /// Looks at the clock: what time alone turns, turns here.
    pub fn tick(&self) {
        self.change(Rules::tick);
    }

    /// What comes due, as of now: everything, each time.
    pub fn dues(&self, dues: &[Due]) {
        self.change(|rules, board, now| rules.dues(dues, board, now));
    }

    /// Why the audit cannot be written, where it cannot.
    pub fn audit(&self, cause: Option<&'static str>) {
        self.change(|_, board, now| rule::audit(cause, board, now));
    }

    /// Whether a tenant's vendor groups are linked to the application.
    pub fn vendor_link(&self, tenant: &TenantId, is_broken: bool) {
        let cause = QuarantineCause::VendorLinkBroken;
        self.change(|rules, _, _| rules.quarantines.found(tenant, cause, is_broken));
    }

    /// What fires now, by kind and subject.
    #[must_use]
    pub fn active(&self) -> Vec<Alert> {
        self.inner().board.active()
    }

    /// Calls that were made before this process began: they are nothing new.
    pub fn know_endpoints(&self, calls: &[Call<'_>]) {
        self.inner().rules.know_endpoints(calls);
    }

    fn change(&self, change: impl FnOnce(&mut Rules, &mut Board, Moment)) {
        let now = Moment {
            at: self.origin.elapsed(),
            wall: telemetry::now(),
        };
        let orders = {
            let mut inner = self.inner();
            let Inner { rules, board } = &mut *inner;
            rules.add_ordinary(self.ordinary.take(), now);
            change(rules, board, now);
            self.ordinary.awaits(rules.awaits_good_calls());
            // under the lock, so that a clearing never overtakes its firing
            lock(&self.unsaid).extend(board.take_notices());
            rules.quarantines.take_orders()
        };
        // outside of it: whoever explains looks into other rooms, and whoever acts says so in an event, which comes back here
        self.say_all();
        if let Some(act) = self.act.get() {
            for (tenant, cause, order) in orders {
                act(&tenant, cause, order);
            }
        }
    }

    /// Says what has turned, unless somebody is at it, who then says this too. Nobody waits here: whoever speaks looks into
    /// rooms whose locks this caller may hold.
    fn say_all(&self) {
        while !lock(&self.unsaid).is_empty() {
            let _saying = match self.saying.try_lock() {
                Ok(saying) => saying,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            while let Some(mut notice) = self.next_unsaid() {
                self.explained(&mut notice);
                self.say(notice);
            }
        }
    }

    fn next_unsaid(&self) -> Option<Notice> {
        lock(&self.unsaid).pop_front()
    }

    /// What credentials meet with has many causes: adds the one that the diagnosis finds.
    fn explained(&self, notice: &mut Notice) {
        let alert = &mut notice.alert;
        let is_explained = matches!(
            alert.kind,
            AlertKind::AuthErrors | AlertKind::RefreshFailing
        );
        if !is_explained || notice.turn != Turn::Firing {
            return;
        }
        let (Some(explain), Ok(tenant)) = (self.explain.get(), TenantId::parse(&alert.subject))
        else {
            return;
        };
        if let Some(why) = explain(&tenant) {
            alert.detail.push_str("; ");
            alert.detail.push_str(&why);
        }
    }

    fn say(&self, notice: Notice) {
        let Notice { alert, turn } = &notice;
        let (kind, state, runbook) = (alert.kind.as_str(), turn.as_str(), alert.kind.runbook());
        let since = humantime::format_rfc3339_seconds(alert.since);
        match turn {
            Turn::Firing => {
                tracing::warn!(alert = kind, subject = &*alert.subject, state, %since, detail = alert.detail, runbook, "alert");
            }
            Turn::Cleared => {
                tracing::info!(alert = kind, subject = &*alert.subject, state, %since, detail = alert.detail, runbook, "alert");
            }
        }
        let Some(outlet) = self.outlet.get() else {
            return;
        };
        let written = Instant::now();
        if outlet.try_send(Letter { notice, written }).is_err() {
            tracing::warn!("more alerts wait for the webhook than may; this one was not sent");
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // what is on the board is whole between any two of its changes
        lock(&self.inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer for Alerts {
    fn note(&self, event: &Event<'_>) {
        if let Event::Request(record) = event
            && self.ordinary.counts(record)
        {
            return;
        }
        self.change(|rules, board, now| rules.event(event, board, now));
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_has_a_word_and_a_runbook_of_its_own_that_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut words: Vec<&str> = AlertKind::ALL.iter().map(|kind| kind.as_str()).collect();
        for kind in AlertKind::ALL {
            assert!(root.join(kind.runbook()).is_file(), "{}", kind.runbook());
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), AlertKind::ALL.len());
    }
}
