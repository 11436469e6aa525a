//! The store away: tokens in memory go on, a call that needs a new one is refused with the cause. It is a real OpenBao.

use std::sync::Arc;

use serde_json::json;
use spapi_sidecar::config;
use spapi_sidecar::store::GrantStore;

use super::front::{Front, Speaks};
use super::kind::{Fault, Peer, Row, row};
use super::scene::{CALM, Scene, carried_out, names, setup};
use crate::support::sidecar::Stage;
use crate::support::vault::{SIDECAR_POLICY, TestVault};

const REFUSED: &str = "503 token_unavailable";
const GONE: &str = "no token (store_unreachable)";
const LATE: &str = "no token (store_timeout)";
const FIRES: &str = "refresh_failing; verdict store_unavailable";

pub(super) const ROWS: &[Row] = &[
    row(Fault::Down, REFUSED, GONE, FIRES),
    row(Fault::Refuses, REFUSED, GONE, FIRES),
    row(Fault::Hangs, REFUSED, LATE, FIRES),
    row(Fault::Silent, REFUSED, LATE, FIRES),
    row(Fault::Slow, REFUSED, LATE, FIRES),
    row(Fault::SlowBody, REFUSED, LATE, FIRES),
    row(Fault::ResetsMidHead, REFUSED, GONE, FIRES),
    row(Fault::ResetsMidBody, REFUSED, GONE, FIRES),
    row(Fault::Garbage, REFUSED, GONE, FIRES),
    row(Fault::NoTls, REFUSED, GONE, FIRES),
    row(Fault::Truncated, REFUSED, GONE, FIRES),
    row(Fault::WrongCertificate, REFUSED, GONE, FIRES),
    row(Fault::UnknownIssuer, REFUSED, GONE, FIRES),
    row(Fault::ExpiredCertificate, REFUSED, GONE, FIRES),
    row(Fault::Flaps, REFUSED, GONE, FIRES),
];

/// The records of these rows' tenants, and the section that leads to them by way of a front.
async fn filled(vault: &TestVault, front: &Front, rows: &[Row]) -> String {
    let app = json!({"client_id": "amzn1.application-oa2-client.canary", "client_secret": "amzn1.oa2-cs.v1.canary"});
    let put = async |path: &str, record| {
        let path = format!("secret/data/spapi-sidecar/{path}");
        vault.api("POST", &path, json!({ "data": record })).await;
    };
    put("apps/erp", app).await;
    for name in names(rows) {
        let grant = json!({ "refresh_token": format!("Atzr|canary-{name}") });
        put(&format!("tenants/{name}/grant"), grant).await;
    }
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let secret_id = vault.secret_id("sidecar").await;
    format!(
        "{{ vault: {{ address: \"https://{}\", ca_file: {}, auth: {{ approle: {{ role_id_file: {}, secret_id_file: {} }} }} }} }}",
        front.address,
        vault.file("front.pem", &front.pem).display(),
        vault.file("role-id", &role_id).display(),
        vault.file("secret-id", &secret_id).display(),
    )
}

pub(super) async fn play(rows: &'static [Row]) {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let mut front = Front::open("127.0.0.1", Speaks::Tls).await;
    front.leads_to(vault.address()["http://".len()..].parse().unwrap(), None);
    let mut world = setup(rows);
    world.store = filled(&vault, &front, rows).await;
    let stage = Stage::set(&world).await;
    let own = config::Store::Vault(vault.root_config());
    let store: Arc<dyn GrantStore> = spapi_sidecar::store::open(&own).unwrap();
    let mut scene = Scene::on(stage, &[], Some(store), rows).await;
    for row in rows {
        let tenant = row.fault.tenant();
        scene.serves(tenant, "before").await;
        front.set(Some(row.fault)).await;
        let mark = scene.mark();
        scene.serves(tenant, "with a token in memory").await;
        scene.needs_a_token(tenant);
        let seen = scene.call(tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}: {}", scene.child.stdout());
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, tenant).await;
        scene
            .serves(CALM, "while another waits for the store")
            .await;
        front.set(None).await;
        scene.serves_again(tenant).await;
        scene.is_calm(tenant).await;
        scene.tells_no_secret().await;
    }
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_away_in_every_way_costs_no_call_with_a_token_and_is_named_to_one_without() {
    carried_out(Peer::Store, ROWS, 5, play).await;
}
