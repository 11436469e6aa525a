//! `lwa`: when tokens are renewed, and where.

use std::time::Duration;

use spapi_sidecar::sandbox::Options;

use super::ORDERS;
use crate::support::sidecar::{Setup, TestSidecar, eventually, fault};

/// Tokens live far longer than any wait of these tests.
fn long_lived(lwa: &str) -> Setup {
    let base = Setup::default();
    Setup {
        sandbox: Options {
            expires_in: Duration::from_secs(600),
            ..base.sandbox
        },
        sections: format!("lwa: {{ {lwa} }}"),
        ..base
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standing_tenants_token_is_renewed_after_refresh_at_of_its_life() {
    // 5 % of twenty seconds, and the jitter's tenth: within three seconds for each of two tenants
    let sidecar = TestSidecar::with(Setup {
        sandbox: Options {
            expires_in: Duration::from_secs(20),
            ..Setup::default().sandbox
        },
        sections: "lwa: { refresh_at: 5% }".to_owned(),
        ..Setup::default()
    })
    .await;
    assert_eq!(sidecar.exchanges(), 2);
    // the default would renew them at their half, after this wait
    eventually("renewals long before the end", || sidecar.exchanges() >= 4).await;
    let late = TestSidecar::with(long_lived("refresh_at: 90%")).await;
    assert_eq!(late.call(ORDERS, &[]).await.status, 200);
    assert_eq!(late.exchanges(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_url_is_where_tokens_come_from_and_what_is_answered_here() {
    let base = Setup::default();
    let sidecar = TestSidecar::with(Setup {
        egress: format!("{}  - {{ host: login.example, mode: lwa }}\n", base.egress),
        connect_to_sandbox: vec!["login.example:8443"],
        sections: "lwa: { token_url: \"https://login.example:8443/auth/o2/token\" }".to_owned(),
        ..base
    })
    .await;
    // the sandbox has no certificate for this name: that it was asked at all shows in the words
    let answer = sidecar.call(ORDERS, &[]).await.refusal();
    assert_eq!(&*answer.code, "token_unavailable");
    assert!(answer.details.starts_with("LWA:"), "{answer:?}");
    assert_eq!(sidecar.exchanges(), 0);
    let form = "grant_type=refresh_token&refresh_token=x";
    let request =
        crate::support::wire::request("POST", "login.example", "/auth/o2/token", &[], form);
    let vended = sidecar.inside("login.example").await.ask(request).await;
    assert_eq!(vended.status, 200, "{vended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_sent_no_longer_than_until_clock_skew_before_its_end() {
    let without_renewal = async |lwa: &str| {
        let base = Setup::default();
        let sidecar = TestSidecar::with(Setup {
            sandbox: Options {
                expires_in: Duration::from_secs(30),
                ..base.sandbox
            },
            sections: format!("lwa: {{ refresh_at: 95%, {lwa} }}"),
            ..base
        })
        .await;
        let _lasting = sidecar.sandbox.fault(fault(r#"{"lwa_down":"refuse"}"#));
        sidecar
    };
    // a tenth of a life is the most that is taken off; the second one's token is the younger by a moment
    let careful = without_renewal("clock_skew: 3s").await;
    let exact = without_renewal("clock_skew: 0s").await;
    let mut refused = careful.call(ORDERS, &[]).await;
    assert_eq!(refused.status, 200);
    while refused.status == 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        refused = careful.call(ORDERS, &[]).await;
    }
    assert_eq!(exact.call(ORDERS, &[]).await.status, 200);
    assert_eq!(&*refused.refusal().code, "token_unavailable");
}
