//! Who waits for a preflight is seen to, in every view, before anybody calls; and no longer once it has passed.

use serde_json::{Value, json};

use super::{ORDERS, TENANTS, preflight, setup};
use crate::diagnose::run;
use crate::support::peer::trouble;
use crate::support::sidecar::TestSidecar;

async fn get(sidecar: &TestSidecar, path: &str) -> String {
    let url = format!("http://{}{path}", sidecar.app.admin());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

async fn acme(sidecar: &TestSidecar) -> Value {
    let health: Value =
        serde_json::from_str(&get(sidecar, "/health/authz?tenant=acme").await).unwrap();
    json!([health["status"], health["tenants"][0]["probable_cause"]])
}

async fn becomes(sidecar: &TestSidecar, want: Value) {
    let mut last = Value::Null;
    for _try in 0..300 {
        last = acme(sidecar).await;
        if last == want {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("acme stays {last}, and does not become {want}");
}

/// Whether the console says that acme waits, and what to do.
async fn is_on_the_page(sidecar: &TestSidecar) -> (bool, bool) {
    let page = get(sidecar, "/console/state").await;
    (
        page.contains(">preflight pending<"),
        page.contains("<code>spapi-sidecar preflight acme</code>"),
    )
}

/// What `tenant list` and `tenant show` say of a preflight.
async fn is_listed(sidecar: &TestSidecar) -> Value {
    let admin = sidecar.app.admin().to_string();
    let (_, list) = run(sidecar, &admin, &["tenant", "list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let (_, shown) = run(sidecar, &admin, &["tenant", "show", "acme", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    json!([
        list[0]["preflight"],
        list[1]["preflight"],
        shown["preflight"],
        shown["running"]["preflight_pending"]
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_preflight_is_shown_so_before_anybody_calls_and_no_longer_once_it_has_passed()
 {
    let mut setup = setup();
    setup.tenants = TENANTS.replace("id: acme,", "id: acme, preflight: required,");
    let sidecar = TestSidecar::with(setup).await;
    becomes(&sidecar, json!(["degraded", "preflight_pending"])).await;
    assert_eq!(is_on_the_page(&sidecar).await, (true, true));
    assert_eq!(
        is_listed(&sidecar).await,
        json!(["pending", "optional", "pending", true])
    );
    let admin = sidecar.app.admin().to_string();
    let (_, table) = run(&sidecar, &admin, &["tenant", "list"]).await;
    assert!(
        table.contains("PREFLIGHT") && table.contains("run `spapi-sidecar preflight acme`"),
        "{table}"
    );
    for admin in [&*admin, "127.0.0.1:1"] {
        let (_, said) = run(&sidecar, admin, &["diagnose", "acme"]).await;
        assert!(
            said.contains("preflight_pending") && said.contains("none has passed yet"),
            "{said}"
        );
    }
    // once calls are refused for it, somebody misses them
    let refused = sidecar.call(ORDERS, &[]).await.refused();
    assert_eq!(refused, (503, "tenant_quarantined".to_owned()));
    becomes(&sidecar, json!(["failing", "preflight_pending"])).await;
    let page = get(&sidecar, "/console/state").await;
    assert!(
        page.contains("<code>spapi-sidecar preflight acme</code>; it is served within seconds"),
        "{page}"
    );

    trouble(&sidecar, json!({"revoke_grant": "acme"}));
    assert_eq!(preflight(&sidecar, "acme").await.code, 1);
    assert_eq!(is_listed(&sidecar).await[0], "pending");
    sidecar.sandbox.clear_faults();
    assert_eq!(preflight(&sidecar, "acme").await.code, 0);
    becomes(&sidecar, json!(["ok", null])).await;
    assert_eq!(is_on_the_page(&sidecar).await, (false, false));
    assert_eq!(
        is_listed(&sidecar).await,
        json!(["passed", "optional", "passed", false])
    );
}
