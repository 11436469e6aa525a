//! The diagnosis: from facts to findings.
//!
//! Job: apply every rule to the facts of one tenant and put what they find in order.
//! Invariants: pure and total; the first finding is the worst, and among equals the one that explains most; a cause stands
//! in the list once. Whenever Amazon refuses credentials, the charge method's status is in the evidence.
//! Failure mode: none; where no rule speaks, nothing is found.
//! Sources: SP-API facts, sections 3, 4, 6 and 7.

use super::cause::{Cause, Confidence, Finding, Severity, Whose};
use super::facts::{Charge, Coverage, Facts, Standing};
use crate::config::Account;
use crate::tenant::TenantState;

mod answer;
mod date;
mod local;
mod role;
mod token;

#[cfg(test)]
mod tests;

/// What is wrong with one tenant, and what that says of its fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// Scopes, with those added to `missing` that Amazon refuses.
    pub scopes: Coverage,
    /// The charge method, in doubt where what Amazon refuses looks like it.
    pub charge: Charge,
    /// Days left to the client secret; none once Amazon says that it has lapsed.
    pub secret_days: Option<i64>,
}

impl Diagnosis {
    /// The probable cause; nothing where all is well, whatever may be worth knowing.
    #[must_use]
    pub fn probable(&self) -> Option<&Finding> {
        self.findings
            .first()
            .filter(|finding| finding.severity != Severity::Notice)
    }

    /// How the tenant fares.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.probable()
            .map_or(Severity::Notice, |finding| finding.severity)
    }
}

/// Diagnoses one tenant.
#[must_use]
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let mut draft = Draft {
        facts,
        diagnosis: Diagnosis {
            findings: Vec::new(),
            scopes: facts.scopes.clone(),
            charge: facts.charge.clone(),
            secret_days: facts.secret_days,
        },
    };
    local::state(&mut draft);
    // nothing is wanted of a tenant that a person switched off
    if facts.state() != TenantState::Killed {
        token::rules(&mut draft);
        answer::rules(&mut draft);
        local::rules(&mut draft);
    }
    date::rules(&mut draft);
    draft.finish()
}

/// A diagnosis in the making.
struct Draft<'a> {
    facts: &'a Facts,
    diagnosis: Diagnosis,
}

impl Draft<'_> {
    /// Adds a finding, unless its cause is there already with a worse one.
    fn find(&mut self, cause: Cause, sure: Confidence, severity: Severity, evidence: Vec<String>) {
        let profile = &self.facts.profile;
        let is_authorization = matches!(
            cause,
            Cause::GrantRevoked | Cause::AuthorizationDue | Cause::AuthorizationLapsed
        );
        let whose = if is_authorization && profile.account == Account::Vendor {
            Whose::VendorManager
        } else {
            cause.whose()
        };
        let finding = Finding {
            cause,
            confidence: sure,
            severity,
            evidence,
            next_step: cause.next_step(profile),
            whose,
            owner: (whose == Whose::Finance)
                .then(|| self.facts.charge.owner.clone())
                .flatten(),
        };
        let list = &mut self.diagnosis.findings;
        match list.iter_mut().find(|known| known.cause == cause) {
            Some(known) if (severity, sure) < (known.severity, known.confidence) => {
                let before = std::mem::replace(known, finding);
                known.evidence.extend(before.evidence);
            }
            Some(known) => known.evidence.extend(finding.evidence),
            None => list.push(finding),
        }
    }

    /// Names who answers for the route that a finding is about.
    fn name_owner(&mut self, cause: Cause, owner: Option<&String>) {
        let list = &mut self.diagnosis.findings;
        if let Some(finding) = list.iter_mut().find(|finding| finding.cause == cause) {
            finding.owner = finding.owner.take().or_else(|| owner.cloned());
        }
    }

    fn has(&self, cause: Cause) -> bool {
        let list = &self.diagnosis.findings;
        list.iter().any(|finding| finding.cause == cause)
    }

    /// Says that the charge method may be why.
    fn doubt_charge(&mut self) {
        self.diagnosis.charge.standing = Standing::Suspected;
    }

    fn finish(mut self) -> Diagnosis {
        self.show_charge();
        for finding in &mut self.diagnosis.findings {
            let mut said = std::collections::BTreeSet::new();
            finding.evidence.retain(|line| said.insert(line.clone()));
        }
        self.diagnosis.findings.sort_by_key(|finding| {
            let unsure = finding.confidence == Confidence::Possible;
            (finding.severity, unsure, finding.cause)
        });
        self.diagnosis
    }

    /// A wave of 401s always shows the charge method beside it, whatever else explains it.
    fn show_charge(&mut self) {
        let facts = self.facts;
        if facts
            .recent
            .minutes
            .sums(facts.window, facts.now)
            .all
            .unauthorized
            > 0
        {
            let line = facts.charge.line();
            for finding in &mut self.diagnosis.findings {
                finding.evidence.push(line.clone());
            }
        }
    }
}
