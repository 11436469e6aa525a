//! What a diagnosis is made from.
//!
//! Job: gather the facts of one tenant in one place: its profile, what its routes need, its token, what happened lately, its
//! app's dates, and how its neighbours fare.
//! Invariants: pure; what is not known is `None`, never a guess. [`Coverage::granted`] is the profile's word: nobody but
//! Amazon knows what was truly granted, and what Amazon refuses is added to [`Coverage::missing`].
//! Failure mode: none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::recent::{Denied, Recent};
use crate::catalog::{Catalog, Operation};
use crate::config::{Account, App, ChargeStatus, Date, RouteRule, Tenant};
use crate::outcome::{Denial, Reason};
use crate::tenant::TenantState;

/// The facts of one tenant.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When they were gathered.
    pub now: SystemTime,
    /// The window in which answers are counted.
    pub window: Duration,
    /// Who it is.
    pub profile: Arc<Tenant>,
    /// Why it is not served, where it is not.
    pub aside: Option<StateNote>,
    /// Why it is not served before a preflight has passed, where it is not.
    pub waits: Option<String>,
    /// How long its access token may still be used; `None` where memory holds none.
    pub token_left: Option<Duration>,
    /// What its routes need, against what it has.
    pub scopes: Coverage,
    /// What each operation of the routes needs.
    pub needs: Arc<Needs>,
    /// What happened lately.
    pub recent: Recent,
    /// Its app's charge method.
    pub charge: Charge,
    /// Days left to its app's client secret.
    pub secret_days: Option<i64>,
    /// Days left to its authorization.
    pub authorization_days: Option<i64>,
    /// How its neighbours fare.
    pub around: Around,
    /// Why the store does not answer, where it does not.
    pub store_trouble: Option<&'static str>,
    /// Whether they come from a running sidecar.
    pub sidecar: Sidecar,
    /// Days before a due date from which it is spoken of.
    pub remind_within: i64,
}

/// Why a tenant is not active.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateNote {
    /// Its state.
    pub state: TenantState,
    /// Why.
    pub reason: String,
    /// Who did it: a person's name, or `automatic`.
    pub by: String,
    /// Since when (RFC 3339).
    pub since: String,
}

/// Where facts come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sidecar {
    /// From a sidecar that runs: it knows its token and what happened lately.
    Running,
    /// From the configuration, the calendar and the store alone.
    Down {
        /// What came of asking it.
        why: String,
        /// What the store lacks: `grant_missing`, `app_missing`.
        lacks: Vec<&'static str>,
    },
}

/// What is known of an app's charge method.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Charge {
    /// How it stands.
    pub standing: Standing,
    /// Days left to the end of its last month.
    pub days_left: Option<i64>,
    /// Who mends it.
    pub owner: Option<String>,
}

/// How a charge method stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Standing {
    /// The configuration says nothing of it.
    #[default]
    Unknown,
    /// Good, by the configuration's word and its date.
    Valid,
    /// Its last day is over.
    Lapsed,
    /// The operator knows that it was declined.
    Declined,
    /// Good by the configuration's word, but what Amazon refuses looks as if it were not.
    Suspected,
}

impl Standing {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Valid => "valid",
            Self::Lapsed => "lapsed",
            Self::Declined => "declined",
            Self::Suspected => "suspected",
        }
    }
}

impl Charge {
    /// What the configuration and the calendar say.
    #[must_use]
    pub fn of(app: &App, today: Date) -> Self {
        let Some(charge) = &app.charge_method else {
            return Self::default();
        };
        let days_left = charge.expires.map(|last| last.days_after(today));
        let standing = match (charge.status, days_left) {
            (ChargeStatus::Declined, _) => Standing::Declined,
            (ChargeStatus::Valid, Some(days)) if days < 0 => Standing::Lapsed,
            (ChargeStatus::Valid, _) => Standing::Valid,
        };
        Self {
            standing,
            days_left,
            owner: charge.owner.clone(),
        }
    }

    /// Whether it is known not to be good.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        matches!(self.standing, Standing::Lapsed | Standing::Declined)
    }

    /// One line for the evidence.
    #[must_use]
    pub fn line(&self) -> String {
        let days = match self.days_left {
            Some(days) if days < 0 => format!(", {} days ago", -days),
            Some(days) => format!(", {days} days left"),
            None => String::new(),
        };
        let what = match self.standing {
            Standing::Unknown => "not in the configuration (apps[].charge_method)",
            Standing::Valid => "valid by the configuration",
            Standing::Lapsed => "lapsed by its date",
            Standing::Declined => "declined",
            Standing::Suspected => "valid by the configuration, and in doubt",
        };
        format!("charge method: {what}{days}")
    }
}

/// What an operation of the routes needs.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Need {
    /// What the catalog knows of it. Ids are not unique there: the first route's counts.
    pub operation: Option<&'static Operation>,
    /// The scopes of the routes that allow it; usually one.
    pub scopes: BTreeSet<String>,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// What the operations of the routes need, by catalog id or template.
pub type Needs = HashMap<String, Need>;

/// Reads the routes.
#[must_use]
pub fn needs(routes: &[RouteRule]) -> Needs {
    let mut needs = Needs::new();
    for route in routes {
        for allow in &route.allow {
            let known = Catalog::embedded().by_template(&allow.method, &allow.template);
            let name = known.map_or(&allow.template, |operation| &operation.operation_id);
            let need = needs.entry(name.clone()).or_default();
            need.operation = need.operation.or(known);
            if route.grantless.is_none() {
                need.scopes.extend(route.scope.clone());
            }
            need.owner = need.owner.take().or_else(|| route.owner.clone());
        }
    }
    needs
}

/// Scopes: what there is, and what is needed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Coverage {
    /// By the tenant's profile.
    pub granted: Vec<String>,
    /// By the routes.
    pub required: Vec<String>,
    /// Required and not granted, or granted by the profile and refused by Amazon.
    pub missing: Vec<String>,
    /// Granted, and no route needs it.
    pub unused: Vec<String>,
}

impl Coverage {
    /// A tenant's scopes against the routes.
    #[must_use]
    pub fn of(profile: &Tenant, needs: &Needs) -> Self {
        let granted: BTreeSet<&String> = profile.scopes.iter().collect();
        let required: BTreeSet<&String> = needs.values().flat_map(|need| &need.scopes).collect();
        let list = |set: Vec<&&String>| set.into_iter().map(|scope| (*scope).clone()).collect();
        Self {
            missing: list(required.difference(&granted).collect()),
            unused: list(granted.difference(&required).collect()),
            granted: list(granted.iter().collect()),
            required: list(required.iter().collect()),
        }
    }

    /// Adds a scope that Amazon refuses.
    pub(super) fn is_refused(&mut self, scope: &str) {
        if !self.missing.iter().any(|known| known == scope) {
            self.missing.push(scope.to_owned());
            self.missing.sort();
        }
    }
}

/// How all tenants fare that had traffic in the window.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Around {
    /// Those with an answer from Amazon, or an exchange that failed.
    pub busy: usize,
    /// Those whose fresh token Amazon refuses.
    pub refused: usize,
    /// Those to whom Amazon mostly answers from 500 up.
    pub erring: usize,
    /// Those for whom the last exchange failed because LWA did not answer as it should.
    pub without_lwa: usize,
}

impl Around {
    /// Counts one tenant in.
    pub(super) fn count(&mut self, recent: &Recent, window: Duration, now: SystemTime) {
        let sums = recent.minutes.sums(window, now).all;
        let answers = sums.taken + sums.unauthorized + sums.forbidden + sums.erred;
        let lwa = recent
            .last_exchange("access")
            .is_some_and(|last| last.result.is_err_and(|word| word.starts_with("lwa_")));
        if answers == 0 && !lwa {
            return;
        }
        self.busy += 1;
        self.without_lwa += usize::from(lwa);
        let refused = recent
            .stopped(now)
            .any(|one| one.reason == Reason::TokenRefused);
        self.refused += usize::from(refused);
        self.erring += usize::from(sums.erred > 0 && 2 * sums.erred >= answers);
    }

    /// Whether so many of the busy tenants is more than one tenant's own trouble.
    #[must_use]
    pub const fn is_many(&self, troubled: usize) -> bool {
        troubled >= 2 && 2 * troubled >= self.busy
    }
}

/// Whether the link to a vendor's groups holds, as far as answers have shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linkage {
    /// Amazon took a vendor's call, and has not refused one since for want of the link.
    Linked,
    /// Amazon refuses calls for want of the link.
    Broken,
    /// No vendor's call has shown it yet.
    Unknown,
    /// A seller has no vendor groups.
    NotApplicable,
}

impl Linkage {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not_applicable",
        }
    }
}

impl Facts {
    /// Whether the tenant is served.
    #[must_use]
    pub fn state(&self) -> TenantState {
        let aside = self.aside.as_ref();
        aside.map_or(TenantState::Active, |aside| aside.state)
    }

    /// What answers have shown of the vendor groups.
    #[must_use]
    pub fn linkage(&self) -> Linkage {
        let is_link = |one: &&Denied| one.denial == Denial::VendorLink;
        let refused = self.recent.denied_at_all().filter(is_link);
        let refused = refused.map(|one| one.last).max();
        if self.recent.denied(self.now).any(|one| is_link(&one)) {
            Linkage::Broken
        } else if self.profile.account == Account::Seller {
            Linkage::NotApplicable
        } else if self.recent.last_vendor_taken > refused {
            Linkage::Linked
        } else {
            Linkage::Unknown
        }
    }

    /// What Amazon refuses for want of a role, by scope of the routes that need it; the empty scope stands for routes
    /// without one.
    pub(super) fn refused_scopes(&self) -> BTreeMap<String, Vec<&Denied>> {
        let mut by_scope: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let role = self
            .recent
            .denied(self.now)
            .filter(|one| one.denial == Denial::Role);
        for denied in role {
            let need = self.needs.get(&*denied.operation);
            let scopes = need.map(|need| need.scopes.clone()).unwrap_or_default();
            let name = scopes.into_iter().next().unwrap_or_default();
            by_scope.entry(name).or_default().push(denied);
        }
        by_scope
    }
}
