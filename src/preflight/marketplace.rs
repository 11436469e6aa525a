//! Where the seller sells, against where the profile lets calls go.
//!
//! Source: Sellers API v1 `getMarketplaceParticipations`.

use serde_json::Value;

use super::Check;
use crate::config::Tenant;

/// The profile's marketplaces against those that the seller takes part in.
pub(super) fn row(at: (&'static str, &'static str), body: &Value, tenant: &Tenant) -> Check {
    let list = body.get("payload").and_then(Value::as_array);
    let Some(list) = list else {
        return Check::warn(
            at,
            "the answer is no list of marketplaces",
            "run this again in a while",
        );
    };
    let flag = |one: &Value, name: &str| {
        one.pointer(&format!("/participation/{name}")) == Some(&Value::Bool(true))
    };
    let id = |one: &Value| {
        one.pointer("/marketplace/id")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let sells: Vec<String> = list
        .iter()
        .filter(|one| flag(one, "isParticipating"))
        .filter_map(id)
        .collect();
    let suspended: Vec<String> = list
        .iter()
        .filter(|one| flag(one, "hasSuspendedListings"))
        .filter_map(id)
        .filter(|id| tenant.marketplaces.is_empty() || tenant.marketplaces.contains(id))
        .collect();
    let absent: Vec<&str> = tenant
        .marketplaces
        .iter()
        .map(String::as_str)
        .filter(|id| !sells.iter().any(|one| one == id))
        .collect();
    if !absent.is_empty() {
        Check::fail(
            at,
            format!("the seller does not take part in {}", absent.join(", ")),
            "take them out of `marketplaces` of the profile, or have the seller register there; see whether it is the right account",
        )
    } else if !suspended.is_empty() {
        Check::warn(
            at,
            format!("listings are suspended in {}", suspended.join(", ")),
            "have the seller see Account Health in Seller Central",
        )
    } else if tenant.marketplaces.is_empty() {
        Check::pass(
            at,
            format!(
                "the profile allows any; the seller takes part in {}",
                sells.join(", ")
            ),
        )
    } else {
        Check::pass(
            at,
            format!(
                "the seller takes part in {}",
                tenant.marketplaces.join(", ")
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::profile;
    use crate::tenant::TenantId;

    #[test]
    fn a_marketplace_that_is_listed_and_not_sold_in_fails_and_one_that_is_suspended_warns() {
        let one = |id: &str, sells: bool, suspended: bool| json!({"marketplace": {"id": id}, "participation": {"isParticipating": sells, "hasSuspendedListings": suspended}});
        let (us, mx) = ("ATVPDKIKX0DER", "A1AM78C64UM0Y8");
        for (listed, answer, want) in [
            (us, vec![one(us, true, false), one(mx, false, true)], "pass"),
            ("", vec![one(us, true, false)], "pass"),
            (us, vec![one(us, false, false)], "fail"),
            (us, vec![one(mx, true, false)], "fail"),
            (us, vec![], "fail"),
            (us, vec![one(us, true, true)], "warn"),
            ("", vec![one(us, true, true)], "warn"),
        ] {
            let fields = [("app", "erp"), ("region", "na"), ("marketplaces", listed)];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            let tenant = profile::parse(&TenantId::parse("acme").unwrap(), &fields.into()).unwrap();
            let row = row(("f", "n"), &json!({"payload": answer}), &tenant);
            assert_eq!(row.outcome.as_str(), want, "{listed} {answer:?}");
        }
    }
}
