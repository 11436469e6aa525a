//! Which reports are restricted, learnt from what passes through.
//!
//! Job: remember, for each tenant, the reports and documents that answers of the Reports API name, and whether their type needs
//! an RDT.
//! Invariants: the type is known only from createReport's body and the answers to getReport and getReports, never guessed from
//! an id; memory is bounded for a tenant and in all, and the oldest go first.
//! Failure mode: an unknown id is unknown ([`None`]): then the route decides.
//! Sources: SP-API facts, section 5; Reports API 2021-06-30.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::catalog::report::is_restricted;
use crate::tenant::TenantId;

/// Most ids of one tenant: a report a minute for a day, twice over for report and document.
const MOST_OF_ONE: usize = 4_096;

/// Most ids in all.
const MOST: usize = 131_072;

/// What is known of reports and documents.
#[derive(Debug, Default)]
pub struct Reports(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    tenants: HashMap<TenantId, Shelf>,
    ids: usize,
}

/// One tenant's ids, oldest first.
#[derive(Debug, Default)]
struct Shelf {
    restricted: HashMap<Box<str>, bool>,
    order: VecDeque<Box<str>>,
}

impl Reports {
    /// Learns from the answer to createReport, whose request had this body.
    pub fn created(&self, tenant: &TenantId, request: &Value, answer: &Value) {
        if let (Some(id), Some(kind)) = (text(answer, "reportId"), text(request, "reportType")) {
            self.learn(tenant, id, is_restricted(kind));
        }
    }

    /// Learns from the answer to getReport or getReports.
    pub fn told(&self, tenant: &TenantId, answer: &Value) {
        let several = answer.get("reports").and_then(Value::as_array);
        let one = several.is_none().then_some(answer);
        for report in several.into_iter().flatten().chain(one) {
            let id = text(report, "reportId");
            let restricted = text(report, "reportType")
                .map(is_restricted)
                .or_else(|| self.is_restricted(tenant, id?));
            let document = text(report, "reportDocumentId");
            if let Some(restricted) = restricted {
                for id in [id, document].into_iter().flatten() {
                    self.learn(tenant, id, restricted);
                }
            }
        }
    }

    /// Whether a report or a document needs an RDT, where that is known.
    #[must_use]
    pub fn is_restricted(&self, tenant: &TenantId, id: &str) -> Option<bool> {
        let known = self.known();
        let shelf = known.tenants.get(tenant)?;
        shelf.restricted.get(id).copied()
    }

    fn learn(&self, tenant: &TenantId, id: &str, restricted: bool) {
        let mut known = self.known();
        let shelf = known.tenants.entry(tenant.clone()).or_default();
        if shelf.restricted.insert(id.into(), restricted).is_some() {
            return;
        }
        shelf.order.push_back(id.into());
        let full = shelf.order.len() > MOST_OF_ONE;
        known.ids += 1;
        if full {
            known.forget_oldest_of(tenant);
        } else if known.ids > MOST {
            let most = known
                .tenants
                .iter()
                .max_by_key(|(_, shelf)| shelf.order.len());
            if let Some(most) = most.map(|(tenant, _)| tenant.clone()) {
                known.forget_oldest_of(&most);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget_oldest_of(&mut self, tenant: &TenantId) {
        let Some(shelf) = self.tenants.get_mut(tenant) else {
            return;
        };
        if let Some(oldest) = shelf.order.pop_front() {
            shelf.restricted.remove(&oldest);
            self.ids -= 1;
        }
        if shelf.order.is_empty() {
            self.tenants.remove(tenant);
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RESTRICTED: &str = "GET_ORDER_REPORT_DATA_SHIPPING";

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    #[test]
    fn a_document_is_what_the_answer_that_names_it_says() {
        let (reports, acme) = (Reports::default(), tenant("acme"));
        reports.told(
            &acme,
            &json!({"reportId": "1", "reportType": RESTRICTED, "reportDocumentId": "d1"}),
        );
        reports.told(&acme, &json!({"reports": [
            {"reportId": "2", "reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "reportDocumentId": "d2"},
            {"reportId": "3", "reportType": RESTRICTED, "processingStatus": "IN_QUEUE"},
        ]}));
        for (id, want) in [
            ("d1", Some(true)),
            ("d2", Some(false)),
            ("3", Some(true)),
            ("d3", None),
        ] {
            assert_eq!(reports.is_restricted(&acme, id), want, "{id}");
        }
        assert_eq!(
            reports.is_restricted(&tenant("beta"), "d1"),
            None,
            "another tenant"
        );
    }

    #[test]
    fn what_was_created_is_remembered_until_its_document_is_named() {
        let (reports, acme) = (Reports::default(), tenant("acme"));
        reports.created(
            &acme,
            &json!({"reportType": RESTRICTED}),
            &json!({"reportId": "1"}),
        );
        reports.told(&acme, &json!({"reportId": "1", "reportDocumentId": "d1"}));
        assert_eq!(reports.is_restricted(&acme, "d1"), Some(true));
        reports.told(&acme, &json!({"reportId": "9", "reportDocumentId": "d9"}));
        assert_eq!(
            reports.is_restricted(&acme, "d9"),
            None,
            "never heard of its type"
        );
        reports.told(&acme, &json!({"errors": []}));
    }

    #[test]
    fn memory_is_bounded_for_a_tenant_and_in_all_and_the_oldest_go_first() {
        let reports = Reports::default();
        let acme = tenant("acme");
        for n in 0..MOST_OF_ONE + 10 {
            reports.learn(&acme, &format!("d{n}"), true);
        }
        assert_eq!(reports.is_restricted(&acme, "d9"), None);
        assert_eq!(reports.is_restricted(&acme, "d10"), Some(true));
        for t in 0..MOST / 1_000 + 2 {
            let tenant = tenant(&format!("t{t}"));
            for n in 0..1_000 {
                reports.learn(&tenant, &format!("d{n}"), false);
            }
        }
        assert_eq!(reports.known().ids, MOST);
        assert_eq!(
            reports.is_restricted(&tenant("t0"), "d999"),
            Some(false),
            "who has most loses first"
        );
    }
}
