//! Each way in which Vault does not serve has a name of its own, in the answer and in the log, and holds up nobody.

use std::pin::pin;

use serde_json::{Value, json};
use spapi_sidecar::sandbox::Fault;
use spapi_sidecar::secret::{ProxyKey, fingerprint};
use spapi_sidecar::store::record::ProxyKeyHash;

use crate::support::fleet::{Member, Plan, Server, Stage, orders, tenant, until};
use crate::support::sidecar::{NA, refusal};
use crate::support::vault::SIDECAR_POLICY;

/// What keeps Vault from serving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Sealed,
    Standby,
    RateLimited,
    Forbidden,
    Slow,
    Down,
}

/// Its word in the log, and what the program is told.
const CAUSES: [(Trouble, &str, &str); 6] = [
    (
        Trouble::Sealed,
        "store_sealed",
        "store: it is sealed. To do: unseal Vault; the sidecar goes on by itself",
    ),
    (
        Trouble::Standby,
        "store_standby",
        "store: it has no active node. To do: see why Vault's cluster has no leader (`vault operator raft list-peers`); the sidecar goes on by itself",
    ),
    (
        Trouble::RateLimited,
        "store_throttled",
        "store: it is rate-limiting. To do: raise the rate-limit quota on the sidecar's paths in Vault (`sys/quotas/rate-limit`); the sidecar tries again by itself",
    ),
    (
        Trouble::Forbidden,
        "store_denied",
        "store: it denies access. To do: check the sidecar's login to the store and its policy there (deploy/vault/policy.hcl says what it needs)",
    ),
    (
        Trouble::Slow,
        "store_timeout",
        "store: it did not answer in time. To do: see what slows the store down, or what holds back the packets to it; the sidecar tries again by itself",
    ),
    (
        Trouble::Down,
        "store_unreachable",
        "store: it cannot be reached. To do: check that the store is up and that this machine reaches it; the sidecar tries again by itself",
    ),
];

const KEY: &str = "0123456789abcdefghijklmnopqrstuv";

/// What the sidecar may do is taken away, but for what it looks at all the time.
const HARDLY_ANYTHING: &str =
    r#"path "secret/data/spapi-sidecar/fleet" { capabilities = ["read"] }"#;

impl Trouble {
    async fn begins(self, stage: &mut Stage) {
        match self {
            Self::Sealed => stage.vault.seal().await,
            // the leader dies, and the standby alone is no majority
            Self::Standby | Self::Down => stage.vault.stop(),
            Self::RateLimited => {
                let quota = json!({"path": "secret", "rate": 1, "interval": "1h"});
                let path = "sys/quotas/rate-limit/tight";
                stage.vault.api("POST", path, quota).await;
            }
            Self::Forbidden => stage.vault.policy("sidecar", HARDLY_ANYTHING).await,
            Self::Slow => stage.vault.freeze(),
        }
    }

    async fn ends(self, stage: &mut Stage) {
        match self {
            Self::Sealed => stage.vault.unseal().await,
            Self::Standby | Self::Down => {
                stage.vault.start_again().await;
                stage.vault.unseal().await;
            }
            Self::RateLimited => {
                let path = "sys/quotas/rate-limit/tight";
                stage.vault.api("DELETE", path, Value::Null).await;
            }
            Self::Forbidden => stage.vault.policy("sidecar", SIDECAR_POLICY).await,
            Self::Slow => stage.vault.thaw(),
        }
    }
}

/// A stage with two tenants, of which the second logs in.
async fn stage(server: Server) -> Option<(Stage, Member)> {
    let plan = Plan {
        tenants: 2,
        server,
        ..Plan::default()
    };
    let stage = Stage::with(plan).await?;
    let hash = ProxyKeyHash::of(&ProxyKey::new(KEY.to_owned())).into_fields();
    let hash: serde_json::Map<String, Value> = hash
        .into_iter()
        .map(|(name, value)| (name, value.expose().into()))
        .collect();
    let path = format!("tenants/{}/proxy_key", tenant(1));
    stage.put(&path, Value::Object(hash)).await;
    let member = stage.join("{ timeout: 2s }").await;
    member.gets_ready().await;
    Some((stage, member))
}

/// How many calls of programs reached Amazon with a token that it took.
fn taken(stage: &Stage) -> usize {
    let received = stage.sandbox.received().into_iter();
    received
        .filter(|one| one.host == NA && one.status == Some(200))
        .count()
}

/// Amazon forgets the first tenant's token; the sidecar finds that out with the next call.
fn needs_a_token(stage: &Stage) {
    let whose = fingerprint(&format!("Atzr|canary-{}", tenant(0)));
    let fault = json!({"expire_tokens_now": whose});
    let _once = stage.sandbox.fault(Fault::from_json(fault).unwrap());
}

/// One trouble, from its beginning to its end.
async fn is_named_and_holds_up_nobody(
    stage: &mut Stage,
    member: &Member,
    (trouble, word, text): (Trouble, &str, &str),
) {
    let other = member.client(Some(&format!("{}:{KEY}", tenant(1))));
    let serve_other = async || other.get(orders()).send().await.unwrap().status() == 200;
    assert!(serve_other().await);
    trouble.begins(stage).await;
    let client = member.client(None);
    // an election, or a quota's last token, may come first
    until("the cause is named", async || {
        needs_a_token(stage);
        let mut call = pin!(client.get(orders()).send());
        let mut answer = None;
        while answer.is_none() {
            let mut served = pin!(serve_other());
            let served = tokio::select! {
                biased;
                named = &mut call => {
                    answer = Some(named.unwrap());
                    // given up, it might reach Amazon after the count below
                    served.await
                }
                served = &mut served => served,
            };
            assert!(served, "{trouble:?}: a tenant with a token");
        }
        let answer = answer.unwrap();
        if answer.status() == 200 {
            return false;
        }
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        let (status, code, details) = refusal(answer).await;
        assert_eq!((status, &*code), (503, "token_unavailable"), "{trouble:?}");
        details == text
    })
    .await;
    until("the log names the cause", async || {
        member.process.said("no token", word) > 0
    })
    .await;
    let before = taken(stage);
    let answer = client.get(orders()).send().await.unwrap();
    assert_eq!(answer.status(), 503, "{trouble:?}");
    assert_eq!(taken(stage), before, "{trouble:?}: something was sent");
    assert!(serve_other().await, "{trouble:?}");
    trouble.ends(stage).await;
    until("calls are served again", async || {
        client.get(orders()).send().await.unwrap().status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trouble_of_vault_has_its_own_cause_in_answer_and_log_and_holds_up_nobody() {
    let Some((mut stage, member)) = stage(Server::Kept).await else {
        return;
    };
    for row in CAUSES.into_iter().filter(|row| row.0 != Trouble::Standby) {
        is_named_and_holds_up_nobody(&mut stage, &member, row).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_without_a_leader_is_named_and_holds_up_nobody() {
    let Some((mut stage, member)) = stage(Server::WithStandby).await else {
        return;
    };
    let row = CAUSES.into_iter().find(|row| row.0 == Trouble::Standby);
    is_named_and_holds_up_nobody(&mut stage, &member, row.unwrap()).await;
}
