//! Verdicts as JSON.
//!
//! Job: the shape of `/health/authz`, exactly, and the longer one that `diagnose` and the console read.
//! Invariants: ids, words of closed lists, days and counts; no token, no path parameter.
//! Failure mode: none; what is not known is null.
//! Measured: `token`, `auth_errors`, `vendor_linkage.status`, and what of `scopes.missing` Amazon refuses. By the
//! configuration's word: `scopes.granted`, `vendor_linkage.groups`, `charge_method` (except `suspected`, which is inferred).
//! By a date and a rule of Amazon's: every `days_left`. Inferred: `probable_cause`.
//! Source: CONTRACT section 4.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::cause::{Finding, Severity};
use super::due::{Due, DueKind};
use super::facts::{Charge, Facts, Standing};
use super::recent::Exchanged;
use super::rule::{Diagnosis, diagnose};
use crate::config::{App, Date};
use crate::telemetry::clock;

/// A tenant's facts and what follows from them.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The facts.
    pub facts: Facts,
    /// What follows.
    pub diagnosis: Diagnosis,
}

impl Checked {
    /// Diagnoses.
    #[must_use]
    pub fn of(facts: Facts) -> Self {
        let diagnosis = diagnose(&facts);
        Self { facts, diagnosis }
    }
}

/// Several tenants, checked at one time.
#[derive(Clone, Debug)]
pub struct Health {
    /// When.
    pub checked_at: SystemTime,
    /// The deploy's name.
    pub release: String,
    /// The apps that are spoken of.
    pub apps: Vec<App>,
    /// The tenants.
    pub tenants: Vec<Checked>,
    /// What comes due.
    pub dues: Vec<Due>,
    /// Days before a date from which it is spoken of.
    pub remind_within: i64,
}

impl Health {
    /// The worst of the tenants.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let all = self.tenants.iter();
        all.map(|one| one.diagnosis.severity())
            .min()
            .unwrap_or(Severity::Notice)
    }

    /// The body of `/health/authz`.
    #[must_use]
    pub fn authz(&self) -> Value {
        json!({
            "status": self.severity().as_str(),
            "checked_at": clock(self.checked_at),
            "release": self.release,
            "apps": self.apps.iter().map(|app| self.app(app)).collect::<Vec<_>>(),
            "tenants": self.tenants.iter().map(tenant).collect::<Vec<_>>(),
        })
    }

    /// The findings of every tenant, with confidence, evidence, next step and whose it is, and what comes due.
    #[must_use]
    pub fn diagnosis(&self) -> Value {
        json!({
            "status": self.severity().as_str(),
            "checked_at": clock(self.checked_at),
            "release": self.release,
            "tenants": self.tenants.iter().map(findings).collect::<Vec<_>>(),
            "due": self.dues.iter().map(|one| due(one, self.remind_within)).collect::<Vec<_>>(),
        })
    }

    fn app(&self, app: &App) -> Value {
        let mut charge = Charge::of(app, Date::of(self.checked_at));
        let its: Vec<&Checked> = self
            .tenants
            .iter()
            .filter(|one| one.facts.profile.app == app.id)
            .collect();
        if its
            .iter()
            .any(|one| one.diagnosis.charge.standing == Standing::Suspected)
        {
            charge.standing = Standing::Suspected;
        }
        let by_date = self
            .dues
            .iter()
            .find(|due| due.what == DueKind::ClientSecret && due.subject == app.id.as_str());
        let by_amazon = its.iter().filter_map(|one| one.diagnosis.secret_days);
        let secret_days = by_amazon.chain(by_date.map(|due| due.days_left)).min();
        json!({
            "id": app.id.as_str(),
            "charge_method": { "status": charge.standing.as_str(), "days_left": charge.days_left },
            "client_secret": { "days_left": secret_days },
        })
    }
}

fn tenant(one: &Checked) -> Value {
    let (facts, diagnosis) = (&one.facts, &one.diagnosis);
    let sums = facts.recent.minutes.sums(facts.window, facts.now);
    let probable = diagnosis.probable();
    json!({
        "id": facts.profile.id.as_str(),
        "state": facts.state().as_str(),
        "token": {
            "valid": facts.token_left.is_some(),
            "expires_in_s": facts.token_left.map(|left| left.as_secs()),
            "last_refresh_at": facts.recent.last_refresh.map(clock),
            "last_error": facts.recent.last_exchange("access").and_then(|last| last.result.err()),
        },
        "scopes": {
            "granted": diagnosis.scopes.granted,
            "required": diagnosis.scopes.required,
            "missing": diagnosis.scopes.missing,
            "unused": diagnosis.scopes.unused,
        },
        "vendor_linkage": {
            "status": facts.linkage().as_str(),
            "groups": facts.profile.vendor_groups,
        },
        "authorization": { "days_left": facts.authorization_days },
        "auth_errors": {
            "unauthorized": sums.all.unauthorized,
            "forbidden": sums.all.forbidden,
            "window_s": sums.seconds,
        },
        "probable_cause": probable.map(|finding| finding.cause.as_str()),
        "next_step": probable.map(|finding| finding.next_step.as_str()),
    })
}

fn findings(one: &Checked) -> Value {
    let last = one.facts.recent.last_exchange("access");
    json!({
        "id": one.facts.profile.id.as_str(),
        "app": one.facts.profile.app.as_str(),
        "state": one.facts.state().as_str(),
        "status": one.diagnosis.severity().as_str(),
        "probable_cause": one.diagnosis.probable().map(|finding| finding.cause.as_str()),
        "findings": one.diagnosis.findings.iter().map(finding).collect::<Vec<_>>(),
        "last_exchange": last.map(exchange),
        "last_call_taken_at": one.facts.recent.last_taken.map(clock),
    })
}

fn exchange(last: &Exchanged) -> Value {
    json!({ "at": clock(last.at), "error": last.result.err() })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "cause": finding.cause.as_str(),
        "confidence": finding.confidence.as_str(),
        "severity": finding.severity.as_str(),
        "evidence": finding.evidence,
        "next_step": finding.next_step,
        "whose": finding.whose.as_str(),
        "owner": finding.owner,
        "runbook": finding.cause.runbook(),
    })
}

/// One date that comes due; `within` so many days it is soon.
#[must_use]
pub fn due(due: &Due, within: i64) -> Value {
    json!({
        "what": due.what.as_str(),
        "subject": due.subject,
        "date": due.date.to_string(),
        "days_left": due.days_left,
        "soon": due.is_soon(within),
        "owner": due.owner,
    })
}
