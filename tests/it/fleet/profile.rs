//! `tenants: { from: store }`.

use spapi_sidecar::phantom::Kind;
use spapi_sidecar::secret::Opaque;
use spapi_sidecar::store::{Expect, Fields, GrantStore, RecordKey};
use spapi_sidecar::tenant::TenantId;

use super::{ORDERS, operator, set};
use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::basic;

async fn put(sidecar: &TestSidecar, tenant: &str, region: &str) {
    let fields = [
        ("app", "erp"),
        ("region", region),
        ("marketplaces", "ATVPDKIKX0DER"),
        (
            "scopes",
            "inventory-and-order-tracking, direct-to-consumer-shipping",
        ),
    ]
    .map(|(name, value)| (name.to_owned(), Opaque::new(value.to_owned())));
    let key = RecordKey::Profile(TenantId::parse(tenant).unwrap());
    let store = sidecar.store();
    store
        .write(&key, Fields::from(fields), Expect::Any)
        .await
        .unwrap();
}

async fn from_store() -> TestSidecar {
    TestSidecar::with(Setup {
        tenants: "{ from: store }".to_owned(),
        ..Setup::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_served_by_its_profile_in_the_store_when_it_first_comes() {
    let sidecar = from_store().await;
    put(&sidecar, "acme", "na").await;
    let admin = operator(&sidecar);
    assert_eq!(admin.status().await["tenants"], serde_json::json!([]));
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let other_marketplace = ORDERS.replace("ATVPDKIKX0DER", "A2EUQ1WTGCTBG2");
    let answer = sidecar.call(&other_marketplace, &[]).await;
    assert_eq!(answer.refused(), (403, "marketplace_denied".to_owned()));
    assert_eq!(admin.status().await["tenants"][0]["id"], "acme");
    set(&admin, "acme", "kill").await;
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_a_profile_is_unknown_and_a_broken_one_is_told_its_field() {
    let sidecar = from_store().await;
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_unknown".to_owned()));
    put(&sidecar, "beta", "mars").await;
    let beta = sidecar.phantom(Kind::Access, "beta");
    let answer = sidecar.call(ORDERS, &[("x-amz-access-token", &beta)]).await;
    assert_eq!(answer.refused(), (403, "tenant_unknown".to_owned()));
    let details = answer.refusal().details;
    assert!(
        details.contains("tenants/beta/profile, region: `mars`"),
        "{details}"
    );
    assert_eq!(sidecar.exchanges(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_checked_against_the_profiles_of_the_store() {
    let sidecar = from_store().await;
    put(&sidecar, "beta", "na").await;
    sidecar.put_proxy_key("beta", "key-of-beta").await;
    let login = |tenant: &str| basic(tenant, "key-of-beta");
    let mut inside = sidecar
        .inside_with(NA, &[("proxy-authorization", &login("beta"))])
        .await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
    let target = format!("{NA}:443");
    let fields = [("proxy-authorization", login("nobody"))];
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let (answer, _) = sidecar.connect(&target, &fields).await;
    assert_eq!(answer.refused(), (407, "proxy_auth_failed".to_owned()));
}
