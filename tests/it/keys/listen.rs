//! `listen`: where, and whom.

use super::ORDERS;
use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::Door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_of_proxy_is_listened_on_and_admin_is_another_one() {
    let sidecar = TestSidecar::with(Setup {
        proxy: "127.0.0.1:0\", \"[::1]:0".to_owned(),
        ..Setup::default()
    })
    .await;
    let proxies = sidecar.app.proxies().to_vec();
    assert_eq!(proxies.len(), 2);
    assert!(proxies[0].is_ipv4() && proxies[1].is_ipv6());
    for proxy in proxies {
        let door = Door {
            proxy,
            transparent: sidecar.transparent(),
            ca_file: sidecar.ca_file().to_owned(),
        };
        assert_eq!(door.call(ORDERS, &[]).await.status, 200, "{proxy}");
    }
    let url = format!("http://{}/health/ready", sidecar.app.admin());
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_larger_than_header_bytes_is_refused_and_one_below_is_served() {
    let sidecar = TestSidecar::with(Setup {
        listen: "  limits: { header_bytes: 1KiB }".to_owned(),
        ..Setup::default()
    })
    .await;
    let mut inside = sidecar.inside(NA).await;
    let fits = "x".repeat(800);
    assert_eq!(
        inside.get(NA, ORDERS, &[("x-large", &fits)]).await.status,
        200
    );
    let exceeds = "x".repeat(1100);
    let answer = inside.get(NA, ORDERS, &[("x-large", &exceeds)]).await;
    assert_eq!(answer.refused(), (431, "header_too_large".to_owned()));
    assert_eq!(sidecar.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_default_tenant_a_caller_whom_nothing_names_is_refused() {
    let sidecar = TestSidecar::with(Setup {
        default_tenant: "null".to_owned(),
        ..Setup::default()
    })
    .await;
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_unknown".to_owned()));
    assert_eq!(sidecar.received(), []);
    let phantom = sidecar.phantom(spapi_sidecar::phantom::Kind::Access, "beta");
    let fields = [("x-amz-access-token", &*phantom)];
    assert_eq!(sidecar.call("/orders/v0/orders", &fields).await.status, 200);
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
}
