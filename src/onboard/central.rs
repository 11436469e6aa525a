//! Where a selling partner consents: Seller Central or Vendor Central of a marketplace.
//!
//! Failure mode: a marketplace without a known page is `None`; then the operator names it.
//! Source: Amazon's `auth-lifecycle-management` sample and developer guide; those of IE and ZA are third parties' word, and
//! their Vendor Central hosts are not known.

use crate::config::Account;

/// Marketplace id, Seller Central host, Vendor Central host.
const TABLE: [(&str, &str, Option<&str>); 23] = [
    (
        "A2EUQ1WTGCTBG2",
        "sellercentral.amazon.ca",
        Some("vendorcentral.amazon.ca"),
    ),
    (
        "ATVPDKIKX0DER",
        "sellercentral.amazon.com",
        Some("vendorcentral.amazon.com"),
    ),
    (
        "A1AM78C64UM0Y8",
        "sellercentral.amazon.com.mx",
        Some("vendorcentral.amazon.com.mx"),
    ),
    (
        "A2Q3Y263D00KWC",
        "sellercentral.amazon.com.br",
        Some("vendorcentral.amazon.com.br"),
    ),
    ("A28R8C7NBKEWEA", "sellercentral.amazon.ie", None),
    (
        "A1RKKUPIHCS9HS",
        "sellercentral-europe.amazon.com",
        Some("vendorcentral.amazon.es"),
    ),
    (
        "A1F83G8C2ARO7P",
        "sellercentral-europe.amazon.com",
        Some("vendorcentral.amazon.co.uk"),
    ),
    (
        "A13V1IB3VIYZZH",
        "sellercentral-europe.amazon.com",
        Some("vendorcentral.amazon.fr"),
    ),
    (
        "AMEN7PMS3EDWL",
        "sellercentral.amazon.com.be",
        Some("vendorcentral.amazon.com.be"),
    ),
    (
        "A1805IZSGTT6HS",
        "sellercentral.amazon.nl",
        Some("vendorcentral.amazon.nl"),
    ),
    (
        "A1PA6795UKMFR9",
        "sellercentral-europe.amazon.com",
        Some("vendorcentral.amazon.de"),
    ),
    (
        "APJ6JRA9NG5V4",
        "sellercentral-europe.amazon.com",
        Some("vendorcentral.amazon.it"),
    ),
    (
        "A2NODRKZP88ZB9",
        "sellercentral.amazon.se",
        Some("vendorcentral.amazon.se"),
    ),
    ("AE08WJ6YKNBMC", "sellercentral.amazon.co.za", None),
    (
        "A1C3SOZRARQ6R3",
        "sellercentral.amazon.pl",
        Some("vendorcentral.amazon.pl"),
    ),
    (
        "ARBP9OOSHTCHU",
        "sellercentral.amazon.eg",
        Some("vendorcentral.amazon.me"),
    ),
    (
        "A33AVAJ2PDY3EV",
        "sellercentral.amazon.com.tr",
        Some("vendorcentral.amazon.com.tr"),
    ),
    (
        "A17E79C6D8DWNP",
        "sellercentral.amazon.sa",
        Some("vendorcentral.amazon.me"),
    ),
    (
        "A2VIGQ35RCS4UG",
        "sellercentral.amazon.ae",
        Some("vendorcentral.amazon.me"),
    ),
    (
        "A21TJRUUN4KGV",
        "sellercentral.amazon.in",
        Some("www.vendorcentral.in"),
    ),
    (
        "A19VAU5U5O7RUS",
        "sellercentral.amazon.sg",
        Some("vendorcentral.amazon.com.sg"),
    ),
    (
        "A39IBJ37TRP1C6",
        "sellercentral.amazon.com.au",
        Some("vendorcentral.amazon.com.au"),
    ),
    (
        "A1VC38T7YXB528",
        "sellercentral.amazon.co.jp",
        Some("vendorcentral.amazon.co.jp"),
    ),
];

/// The host of the consent page for an account of this kind in this marketplace.
#[must_use]
pub fn host(marketplace: &str, account: Account) -> Option<&'static str> {
    let (_, seller, vendor) = TABLE.iter().find(|(id, _, _)| *id == marketplace)?;
    match account {
        Account::Seller => Some(seller),
        Account::Vendor => *vendor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::marketplace;

    #[test]
    fn every_marketplace_has_its_seller_central_and_all_but_two_their_vendor_central() {
        for id in marketplace::ids() {
            assert!(host(id, Account::Seller).is_some(), "{id}");
        }
        let without: Vec<_> = marketplace::ids()
            .filter(|id| host(id, Account::Vendor).is_none())
            .collect();
        assert_eq!(without, ["A28R8C7NBKEWEA", "AE08WJ6YKNBMC"]);
        assert_eq!(host("elsewhere", Account::Seller), None);
    }
}
