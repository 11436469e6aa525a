//! Reports, feeds and queries that were asked for: which document is restricted, and what a document is made of.
//!
//! Invariant: a document's id says how it is filled (`…size-N` is N bytes, `…gzip…` is compressed), so nothing is held.

use std::collections::{HashMap, VecDeque};

const KEPT: usize = 10_000;

/// Report types whose document needs a restricted data token.
const RESTRICTED: [&str; 16] = [
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_INVOICING",
    "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_TAX",
    "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING",
    "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING",
    "GET_FLAT_FILE_ORDER_REPORT_DATA_INVOICING",
    "GET_FLAT_FILE_ORDER_REPORT_DATA_TAX",
    "GET_FLAT_FILE_ORDERS_RECONCILIATION_DATA_SHIPPING",
    "GET_FLAT_FILE_ORDERS_RECONCILIATION_DATA_INVOICING",
    "GET_FLAT_FILE_ORDERS_RECONCILIATION_DATA_TAX",
    "GET_ORDER_REPORT_DATA_INVOICING",
    "GET_ORDER_REPORT_DATA_TAX",
    "GET_ORDER_REPORT_DATA_SHIPPING",
    "GET_EASYSHIP_DOCUMENTS",
    "GET_GST_MTR_B2B_CUSTOM",
    "GET_VAT_TRANSACTION_DATA",
    "SC_VAT_TAX_REPORT",
];

/// A report that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Report {
    pub(super) report_type: String,
    pub(super) marketplaces: Vec<String>,
}

/// The reports of a sandbox.
#[derive(Debug, Default)]
pub(super) struct Reports {
    made: u64,
    known: HashMap<String, Report>,
    order: VecDeque<String>,
}

impl Reports {
    /// Takes a report on; its id.
    pub(super) fn create(&mut self, report: Report) -> String {
        let id = self.number();
        self.known.insert(id.clone(), report);
        self.order.push_back(id.clone());
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        id
    }

    /// An id for anything else.
    pub(super) fn number(&mut self) -> String {
        self.made += 1;
        format!("{}", 50_000_000_000 + self.made)
    }

    /// The report of an id; one that was never asked for is an ordinary one.
    pub(super) fn report(&self, id: &str) -> Report {
        self.known.get(id).cloned().unwrap_or_else(|| Report {
            report_type: "GET_MERCHANT_LISTINGS_ALL_DATA".to_owned(),
            marketplaces: vec!["ATVPDKIKX0DER".to_owned()],
        })
    }

    /// The ids of reports, newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &str> {
        self.order.iter().rev().map(String::as_str)
    }

    /// Whether a document needs a restricted data token.
    pub(super) fn is_restricted(&self, document_id: &str) -> bool {
        let Some(id) = document_id.strip_prefix(DOCUMENT_PREFIX) else {
            return false;
        };
        RESTRICTED.contains(&self.report(id).report_type.as_str())
    }
}

const DOCUMENT_PREFIX: &str = "amzn1.spdoc.1.4.na.report-";

/// The id of a report's document.
pub(super) fn document_id(report_id: &str) -> String {
    format!("{DOCUMENT_PREFIX}{report_id}")
}
