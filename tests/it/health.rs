//! `/health/live` and `/health/ready`: what may be sent here, and when; and what a store that fails flips.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar, fault};
use crate::support::vault::{ROOT, TestVault};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// Something on the way to a peer that lets nobody through before it is told where that peer is.
struct Gate {
    address: SocketAddr,
    leads_to: watch::Sender<Option<SocketAddr>>,
    _serving: JoinSet<()>,
}

impl Gate {
    /// Who knocks at a closed gate waits, or is turned away.
    async fn closed(turns_away: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (leads_to, opens) = watch::channel(None::<SocketAddr>);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut through = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut opens = opens.clone();
                if turns_away && opens.borrow().is_none() {
                    continue;
                }
                through.spawn(async move {
                    let open = opens.wait_for(Option::is_some).await;
                    let Some(peer) = open.ok().and_then(|peer| *peer) else {
                        return;
                    };
                    let mut server = TcpStream::connect(peer).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    let _ended = client.shutdown().await;
                });
            }
        });
        Self {
            address,
            leads_to,
            _serving: serving,
        }
    }

    fn opens_to(&self, peer: SocketAddr) {
        self.leads_to.send_replace(Some(peer));
    }
}

async fn ask(sidecar: &TestSidecar, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", sidecar.app.admin());
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Asks until the answer is this one.
async fn becomes(sidecar: &TestSidecar, path: &str, want: &(u16, Value)) {
    let mut last = ask(sidecar, path).await;
    for _try in 0..1500 {
        if last == *want {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        last = ask(sidecar, path).await;
    }
    panic!("{path} stays {last:?}, and does not become {want:?}");
}

fn ready() -> (u16, Value) {
    (200, json!({"status": "ready"}))
}

fn waits_for(what: &[&str]) -> (u16, Value) {
    (503, json!({"status": "waiting", "waiting_for": what}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_live_from_the_start_and_ready_once_the_first_tokens_are_in() {
    let gate = Gate::closed(false).await;
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![("api.amazon.com:443".to_owned(), gate.address.to_string())],
        not_redirected: vec!["api.amazon.com"],
        upstream: "  connect_timeout: 60s\n".to_owned(),
        sections: "lwa: { timeout: 60s }".to_owned(),
        gets_ready: false,
        ..Setup::default()
    })
    .await;
    let live = (200, json!({"status": "live"}));
    assert_eq!(ask(&sidecar, "/health/live").await, live);
    let waiting = waits_for(&["the first exchange of 2 tenant(s)"]);
    becomes(&sidecar, "/health/ready", &waiting).await;
    let ca = std::fs::read_to_string(sidecar.ca_file()).unwrap();
    assert!(ca.contains("BEGIN CERTIFICATE"), "the CA is in before");
    gate.opens_to(sidecar.sandbox.address());
    becomes(&sidecar, "/health/ready", &ready()).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    assert_eq!(ask(&sidecar, "/health/live").await, live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_exchanges_that_end_badly_are_in_too_since_traffic_then_gets_an_answer() {
    let sidecar = TestSidecar::with(Setup {
        sandbox: spapi_sidecar::sandbox::Options {
            faults: vec![fault(r#"{"revoke_grant":"acme"}"#)],
            ..Setup::default().sandbox
        },
        ..Setup::default()
    })
    .await;
    assert_eq!(ask(&sidecar, "/health/ready").await, ready());
    let (status, health) = ask(&sidecar, "/health/authz?tenant=acme").await;
    assert_eq!(
        (status, &health["tenants"][0]["token"]["valid"]),
        (503, &json!(false))
    );
    let (status, _) = ask(&sidecar, "/health/authz?tenant=beta").await;
    assert_eq!(status, 200);
}

/// A sidecar whose store is this Vault, behind this gate where there is one.
fn in_vault(vault: &TestVault, gate: Option<&Gate>) -> Setup {
    let address = gate.map_or_else(
        || vault.address().to_owned(),
        |gate| format!("http://{}", gate.address),
    );
    let token = vault.file("token", ROOT);
    Setup {
        store: format!(
            "{{ vault: {{ address: \"{address}\", auth: {{ token_file: {} }} }} }}",
            token.display()
        ),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_before_the_store_has_been_read_and_says_so() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    vault.holds_the_usual_world().await;
    let gate = Gate::closed(true).await;
    let sidecar = TestSidecar::with(Setup {
        gets_ready: false,
        ..in_vault(&vault, Some(&gate))
    })
    .await;
    // without the cause until the first attempt has ended
    let named = json!("the store to be read (store_unreachable)");
    let mut last = ask(&sidecar, "/health/ready").await;
    for _try in 0..1500 {
        assert_eq!(last.0, 503, "{last:?}");
        if last.1["waiting_for"][0] == named {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        last = ask(&sidecar, "/health/ready").await;
    }
    assert_eq!(last.1["waiting_for"][0], named);
    assert_eq!(ask(&sidecar, "/health/live").await.0, 200);
    // nobody is served before it is known who may be
    let refused = sidecar.call(ORDERS, &[]).await.refused();
    assert_eq!(refused, (503, "token_unavailable".to_owned()));
    gate.opens_to(vault.address()["http://".len()..].parse().unwrap());
    becomes(&sidecar, "/health/ready", &ready()).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_store_flips_the_verdict_and_nothing_else_and_ready_stays_while_tokens_live() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    vault.holds_the_usual_world().await;
    let sidecar = TestSidecar::with(in_vault(&vault, None)).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let (_, before) = ask(&sidecar, "/health/authz").await;
    assert_eq!(before["status"], "ok", "{before:#}");
    vault.api("PUT", "sys/seal", Value::Null).await;
    let mut after = Value::Null;
    for _try in 0..1500 {
        (_, after) = ask(&sidecar, "/health/authz").await;
        // one look may have fallen between its two tenants
        let tenants = after["tenants"].as_array().unwrap();
        if tenants
            .iter()
            .all(|tenant| !tenant["probable_cause"].is_null())
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let own = [
        "/status",
        "/tenants/0/probable_cause",
        "/tenants/0/next_step",
        "/tenants/1/probable_cause",
        "/tenants/1/next_step",
    ];
    let own = own.map(str::to_owned).into();
    assert_eq!(crate::authz::flipped(&before, &after), own, "{after:#}");
    assert_eq!(after["tenants"][0]["probable_cause"], "store_sealed");
    assert_eq!(after["status"], "degraded");
    assert_eq!(ask(&sidecar, "/health/ready").await, ready());
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drains_is_not_ready() {
    let sidecar = TestSidecar::with(Setup {
        drain_timeout: "60s".to_owned(),
        ..Setup::default()
    })
    .await;
    trouble(&sidecar, json!({"latency_ms": 60_000}));
    let mut inside = sidecar.inside(NA).await;
    inside
        .send(crate::support::wire::request("GET", NA, ORDERS, &[], ""))
        .await;
    crate::support::sidecar::eventually("the call reaches Amazon", || {
        !sidecar.received().is_empty()
    })
    .await;
    let url = format!("http://{}/health/ready", sidecar.app.admin());
    let draining = async {
        // either it says so, or nobody answers there any more
        while reqwest::get(&url)
            .await
            .is_ok_and(|answer| answer.status() == 200)
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = draining => {}
        left = sidecar.app.drain() => panic!("it ended while a call was open: {left:?}"),
    }
}
