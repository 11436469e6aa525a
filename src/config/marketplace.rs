//! Amazon's marketplaces: id, country and region.
//!
//! Job: tell whether a marketplace id exists and which region's endpoint serves it.
//! Failure mode: what is not in the table is unknown.
//! Source: Amazon's `auth-lifecycle-management` sample and its developer guide. A marketplace of another region than the
//! endpoint is refused by SP-API with 403.

use super::Region;

/// Country, marketplace id, region.
const TABLE: [(&str, &str, Region); 23] = [
    ("CA", "A2EUQ1WTGCTBG2", Region::Na),
    ("US", "ATVPDKIKX0DER", Region::Na),
    ("MX", "A1AM78C64UM0Y8", Region::Na),
    ("BR", "A2Q3Y263D00KWC", Region::Na),
    ("IE", "A28R8C7NBKEWEA", Region::Eu),
    ("ES", "A1RKKUPIHCS9HS", Region::Eu),
    ("GB", "A1F83G8C2ARO7P", Region::Eu),
    ("FR", "A13V1IB3VIYZZH", Region::Eu),
    ("BE", "AMEN7PMS3EDWL", Region::Eu),
    ("NL", "A1805IZSGTT6HS", Region::Eu),
    ("DE", "A1PA6795UKMFR9", Region::Eu),
    ("IT", "APJ6JRA9NG5V4", Region::Eu),
    ("SE", "A2NODRKZP88ZB9", Region::Eu),
    ("ZA", "AE08WJ6YKNBMC", Region::Eu),
    ("PL", "A1C3SOZRARQ6R3", Region::Eu),
    ("EG", "ARBP9OOSHTCHU", Region::Eu),
    ("TR", "A33AVAJ2PDY3EV", Region::Eu),
    ("SA", "A17E79C6D8DWNP", Region::Eu),
    ("AE", "A2VIGQ35RCS4UG", Region::Eu),
    ("IN", "A21TJRUUN4KGV", Region::Eu),
    ("SG", "A19VAU5U5O7RUS", Region::Fe),
    ("AU", "A39IBJ37TRP1C6", Region::Fe),
    ("JP", "A1VC38T7YXB528", Region::Fe),
];

/// The region of a marketplace id.
#[must_use]
pub fn region(id: &str) -> Option<Region> {
    TABLE
        .iter()
        .find(|&&(_, known, _)| known == id)
        .map(|&(_, _, region)| region)
}

/// The id of a country's marketplace, by its two letters.
#[must_use]
pub fn of_country(country: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .find(|&&(known, _, _)| known.eq_ignore_ascii_case(country))
        .map(|&(_, id, _)| id)
}

/// The ids of a region.
pub fn of_region(region: Region) -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .filter(move |&&(_, _, known)| known == region)
        .map(|&(_, id, _)| id)
}

/// Every id.
pub fn ids() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|&(_, id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marketplace_belongs_to_one_region() {
        assert_eq!(region("ATVPDKIKX0DER"), Some(Region::Na));
        assert_eq!(region("A1PA6795UKMFR9"), Some(Region::Eu));
        assert_eq!(region("A1VC38T7YXB528"), Some(Region::Fe));
        assert_eq!(region("atvpdkikx0der"), None);
        assert_eq!(of_country("us"), Some("ATVPDKIKX0DER"));
        let mut all: Vec<_> = ids().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), TABLE.len());
    }
}
