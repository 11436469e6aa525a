//! `apps` and `tenants`: whose credentials go out.

use spapi_sidecar::phantom::Kind;
use spapi_sidecar::secret::fingerprint;
use spapi_sidecar::store::RecordKey;
use spapi_sidecar::tenant::AppId;

use crate::support::sidecar::{Setup, TestSidecar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_grant_is_exchanged_with_the_credentials_of_its_own_app() {
    let crm = || RecordKey::App(AppId::parse("crm").unwrap());
    let id = "amzn1.application-oa2-client.of-the-crm";
    let sidecar = TestSidecar::with(Setup {
        apps: "[{ id: erp }, { id: crm }]".to_owned(),
        tenants: Setup::default()
            .tenants
            .replace("id: beta, app: erp", "id: beta, app: crm"),
        ..Setup::default()
    })
    .await;
    // beta's app has no credentials yet, and acme's are not taken in their place
    let beta = sidecar.phantom(Kind::Access, "beta");
    let fields = [("x-amz-access-token", &*beta)];
    let refusal = sidecar.call("/orders/v0/orders", &fields).await.refusal();
    assert_eq!(refusal.code, "token_unavailable");
    assert!(refusal.details.contains("app crm"), "{refusal:?}");
    assert_eq!(sidecar.exchanges(), 1);

    let sidecar = TestSidecar::with(Setup {
        apps: "[{ id: erp }, { id: crm }]".to_owned(),
        tenants: Setup::default()
            .tenants
            .replace("id: beta, app: erp", "id: beta, app: crm"),
        whole_records: vec![(
            crm(),
            vec![("client_id", id), ("client_secret", "secret-of-the-crm")],
        )],
        ..Setup::default()
    })
    .await;
    let mut clients: Vec<String> = sidecar
        .sandbox
        .received()
        .into_iter()
        .filter_map(|one| Some(one.exchange?.client))
        .collect();
    clients.sort();
    let mut want = [
        fingerprint("amzn1.application-oa2-client.canary"),
        fingerprint(id),
    ];
    want.sort();
    assert_eq!(clients, want);
}
