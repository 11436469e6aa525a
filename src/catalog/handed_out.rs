//! Which operations hand out presigned URLs, and in which field.
//!
//! Job: name the fields of an operation's answer that hold the URL of a document, so that a URL that a seller, a buyer or a
//! program wrote into some other field opens no way out.
//! Invariants: an operation that is not named here hands nothing out.
//! Failure mode: none.
//! Source: the response models of Amazon's SDK (`amzn-sp-api` 1.13.0), read field by field; Orders' and Direct
//! Fulfillment's customization files, the latter base64-encoded, and attachments of regulated orders included.

use super::Operation;

/// API, version, operation and field.
const HANDED_OUT: [(&str, &str, &str, &str); 30] = [
    (
        "awd",
        "2024-05-09",
        "getInboundShipmentLabels",
        "labelDownloadURL",
    ),
    ("data-kiosk", "2023-11-15", "getDocument", "documentUrl"),
    (
        "easy-ship",
        "2022-03-23",
        "createScheduledPackageBulk",
        "printableDocumentsUrl",
    ),
    (
        "external-fulfillment-shipments",
        "2024-09-11",
        "generateShipLabels",
        "url",
    ),
    ("feeds", "2021-06-30", "createFeedDocument", "url"),
    ("feeds", "2021-06-30", "getFeedDocument", "url"),
    (
        "fulfillment-inbound",
        "v0",
        "getBillOfLading",
        "DownloadURL",
    ),
    ("fulfillment-inbound", "v0", "getLabels", "DownloadURL"),
    (
        "fulfillment-inbound",
        "2024-03-20",
        "createMarketplaceItemLabels",
        "uri",
    ),
    (
        "fulfillment-inbound",
        "2024-03-20",
        "getDeliveryChallanDocument",
        "uri",
    ),
    (
        "fulfillment-outbound",
        "2020-07-01",
        "getFulfillmentOrder",
        "url",
    ),
    (
        "fulfillment-outbound",
        "2026-07-04",
        "createOrder",
        "deliveryPhotoUrl",
    ),
    (
        "fulfillment-outbound",
        "2026-07-04",
        "getOrder",
        "deliveryPhotoUrl",
    ),
    (
        "fulfillment-outbound",
        "2026-07-04",
        "listOrders",
        "deliveryPhotoUrl",
    ),
    (
        "invoices",
        "2024-06-19",
        "getGovernmentInvoiceDocument",
        "invoiceDocumentUrl",
    ),
    (
        "invoices",
        "2024-06-19",
        "getInvoicesDocument",
        "invoicesDocumentUrl",
    ),
    ("orders", "2026-01-01", "getOrder", "customizedUrl"),
    ("orders", "2026-01-01", "searchOrders", "customizedUrl"),
    ("orders", "v0", "getOrderItems", "CustomizedURL"),
    ("orders", "v0", "getOrderItemsBuyerInfo", "CustomizedURL"),
    ("orders", "v0", "getOrderRegulatedInfo", "FieldValue"),
    (
        "product-type-definitions",
        "2020-09-01",
        "getDefinitionsProductType",
        "resource",
    ),
    ("reports", "2021-06-30", "getReportDocument", "url"),
    (
        "services",
        "v1",
        "createServiceDocumentUploadDestination",
        "url",
    ),
    ("support", "2025-02-01", "listContacts", "downloadUrl"),
    (
        "uploads",
        "2020-11-01",
        "createUploadDestinationForResource",
        "url",
    ),
    (
        "vendor-direct-fulfillment-orders",
        "2021-12-28",
        "getOrder",
        "customizedUrl",
    ),
    (
        "vendor-direct-fulfillment-orders",
        "2021-12-28",
        "getOrders",
        "customizedUrl",
    ),
    (
        "vendor-direct-fulfillment-orders",
        "v1",
        "getOrder",
        "customizedUrl",
    ),
    (
        "vendor-direct-fulfillment-orders",
        "v1",
        "getOrders",
        "customizedUrl",
    ),
];

impl Operation {
    /// The field of this operation's answers that holds the URL of a document, if there is one.
    #[must_use]
    pub fn document_field(&self) -> Option<&'static str> {
        HANDED_OUT
            .iter()
            .find(|(api, version, id, _)| {
                (
                    self.api.as_str(),
                    self.version.as_str(),
                    self.operation_id.as_str(),
                ) == (*api, *version, *id)
            })
            .map(|(_, _, _, field)| *field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn every_operation_that_hands_documents_out_is_one_of_the_catalogs() {
        let found = Catalog::embedded().operations().iter();
        let handing = found.filter(|operation| operation.document_field().is_some());
        assert_eq!(handing.count(), HANDED_OUT.len());
    }
}
