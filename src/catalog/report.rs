//! Report types whose documents hold personal data, so that getReportDocument takes an RDT for them alone.
//!
//! Source: SP-API facts, section 5. Every type stands in Amazon's developer guide of 2021 (selling-partner-api-docs, "Tokens API
//! use case guide"); those that an independent list of 2026 (jlevers/selling-partner-api) flags too are marked in [`BASIS`]. The
//! page of 2026 could not be read in full: a type that Amazon has added since is missing here, and its document is answered
//! 403 "Access to the resource is forbidden" without an RDT.

/// Each restricted type, and whether the list of 2026 has it too.
pub const BASIS: [(&str, bool); 16] = [
    ("GET_AMAZON_FULFILLED_SHIPMENTS_DATA_INVOICING", true),
    ("GET_AMAZON_FULFILLED_SHIPMENTS_DATA_TAX", true),
    ("GET_EASYSHIP_DOCUMENTS", true),
    ("GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING", true),
    ("GET_FLAT_FILE_ORDERS_RECONCILIATION_DATA_INVOICING", false),
    ("GET_FLAT_FILE_ORDERS_RECONCILIATION_DATA_SHIPPING", false),
    ("GET_FLAT_FILE_ORDERS_RECONCILIATION_DATA_TAX", false),
    ("GET_FLAT_FILE_ORDER_REPORT_DATA_INVOICING", true),
    ("GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING", true),
    ("GET_FLAT_FILE_ORDER_REPORT_DATA_TAX", true),
    ("GET_GST_MTR_B2B_CUSTOM", true),
    ("GET_ORDER_REPORT_DATA_INVOICING", true),
    ("GET_ORDER_REPORT_DATA_SHIPPING", true),
    ("GET_ORDER_REPORT_DATA_TAX", true),
    ("GET_VAT_TRANSACTION_DATA", true),
    ("SC_VAT_TAX_REPORT", true),
];

/// Whether the documents of a report type need an RDT.
#[must_use]
pub fn is_restricted(report_type: &str) -> bool {
    BASIS.iter().any(|(name, _)| *name == report_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_restricted_by_their_whole_name() {
        assert!(is_restricted("GET_VAT_TRANSACTION_DATA"));
        for other in [
            "GET_MERCHANT_LISTINGS_ALL_DATA",
            "GET_VAT_TRANSACTION_DATA_2",
            "",
        ] {
            assert!(!is_restricted(other), "{other}");
        }
    }
}
