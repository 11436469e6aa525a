//! What the store says of a tenant: what its policy denies, and that a preflight has passed.

use serde_json::json;
use spapi_sidecar::secret::Opaque;
use spapi_sidecar::store::{Expect, GrantStore, RecordKey};
use spapi_sidecar::tenant::TenantId;

use super::{ORDERS, TENANTS, by, preflight, setup};
use crate::fleet::another;
use crate::support::peer::trouble;
use crate::support::sidecar::TestSidecar;
use crate::support::vault::TestVault;
use crate::support::wire::Door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_the_stores_policy_denies_fails_its_own_row() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let sidecar = TestSidecar::with(setup()).await;
    let data = json!({"data": {"client_id": "amzn1.application-oa2-client.canary", "client_secret": "amzn1.oa2-cs.v1.canary"}});
    vault
        .api("POST", "secret/data/spapi-sidecar/apps/erp", data)
        .await;
    let shipped = include_str!("../../../deploy/vault/policy.hcl");
    let without = shipped.replace(
        "path \"secret/data/spapi-sidecar/tenants/+/grant\" {\n  capabilities = [\"read\", \"update\"]",
        "path \"secret/data/spapi-sidecar/tenants/+/grant\" {\n  capabilities = [\"deny\"]",
    );
    assert_ne!(shipped, without);
    let role_id = vault.role("sidecar", &without, json!({})).await;
    let secret_id = vault.secret_id("sidecar").await;
    let (role, secret) = (
        vault.file("role", &role_id),
        vault.file("secret", &secret_id),
    );
    let store = format!(
        "store: {{ vault: {{ address: \"{}\", auth: {{ approle: {{ role_id_file: {}, secret_id_file: {} }} }} }} }}",
        vault.address(),
        role.display(),
        secret.display()
    );
    let yaml: Vec<String> = sidecar
        .configuration()
        .lines()
        .map(|line| {
            if line.starts_with("store:") {
                store.clone()
            } else {
                line.to_owned()
            }
        })
        .collect();
    let file = sidecar.folder.path().join("vault.yaml");
    std::fs::write(&file, yaml.join("\n")).unwrap();
    let report = by(&file).await;
    assert_eq!(report.with("fail"), ["grant", "policy"], "{:#}", report.all);
    assert_eq!(report.outcomes["client"], "pass", "shown without a grant");
    assert_eq!(report.outcomes["refresh_token"], "skip");
    let found = report.row("policy")["found"].as_str().unwrap();
    assert!(
        found.contains("read secret/data/spapi-sidecar/tenants/acme/grant"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_has_to_pass_is_refused_before_and_served_after_by_every_sidecar_of_the_store()
 {
    let mut setup = setup();
    setup.tenants = TENANTS.replace("id: acme,", "id: acme, preflight: required,");
    setup.sections = "alerts: { quarantine_on: [] }".to_owned();
    // the audit's file is the first sidecar's
    setup.audit_requests = "none";
    let sidecar = TestSidecar::with(setup).await;
    let second = another(&sidecar).await;
    let beside = Door {
        proxy: second.proxies()[0],
        transparent: second.transparents()[0],
        ca_file: sidecar.folder.path().join("ca-2.pem"),
    };
    for door in [&*sidecar, &beside] {
        let refusal = door.call(ORDERS, &[]).await.refusal();
        assert_eq!(
            (refusal.status, &*refusal.code),
            (503, "tenant_quarantined")
        );
        assert!(
            refusal.details.contains("spapi-sidecar preflight acme"),
            "{refusal:?}"
        );
    }
    assert!(sidecar.received().is_empty(), "nothing was sent");
    trouble(&sidecar, json!({"revoke_grant": "acme"}));
    let report = preflight(&sidecar, "acme").await;
    assert!(
        report.code == 1 && !report.outcomes.contains_key("passed"),
        "{:#}",
        report.all
    );
    assert_eq!(
        sidecar.call(ORDERS, &[]).await.refused(),
        (503, "tenant_quarantined".to_owned())
    );
    sidecar.sandbox.clear_faults();
    let report = preflight(&sidecar, "acme").await;
    assert_eq!(
        (report.code, report.outcomes["passed"].as_str()),
        (0, "pass"),
        "{:#}",
        report.all
    );
    for door in [&*sidecar, &beside] {
        served_soon(door).await;
    }
    let left = second.drain().await;
    assert!(left.is_empty(), "{left:?}");
    // another profile has not passed
    let key = RecordKey::Preflight(TenantId::parse("acme").unwrap());
    let mut record = sidecar.store().read(&key).await.unwrap().unwrap();
    record
        .fields
        .insert("profile".to_owned(), Opaque::new("another".to_owned()));
    sidecar
        .store()
        .write(&key, record.fields, Expect::Any)
        .await
        .unwrap();
    assert_eq!(
        sidecar.call(ORDERS, &[]).await.status,
        200,
        "what has passed here stays so"
    );
    let third = another(&sidecar).await;
    let anew = Door {
        proxy: third.proxies()[0],
        transparent: third.transparents()[0],
        ca_file: sidecar.folder.path().join("ca-2.pem"),
    };
    let refusal = anew.call(ORDERS, &[]).await.refusal();
    assert!(
        refusal
            .details
            .contains("has changed since its preflight passed"),
        "{refusal:?}"
    );
    third.drain().await;
}

/// Within the seconds for which it is remembered that there was no pass.
async fn served_soon(door: &Door) {
    let mut last = door.call(ORDERS, &[]).await;
    for _try in 0..200 {
        if last.status == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        last = door.call(ORDERS, &[]).await;
    }
    panic!("never served: {last:?}");
}
