//! Nothing secret shows anywhere, at any level, whatever goes wrong; and every request is written down once.

use std::collections::BTreeSet;

use serde_json::Value;
use spapi_sidecar::phantom::{Kind, PhantomKey};
use spapi_sidecar::sandbox::{AppRegistration, GrantRegistration, Options};
use spapi_sidecar::secret::{ClientId, ClientSecret, RefreshToken};
use spapi_sidecar::store::record::phantom_key;
use spapi_sidecar::store::{GrantStore as _, RecordKey};
use spapi_sidecar::tenant::TenantId;
use tokio::io::AsyncReadExt as _;

use crate::support::child::{ChildSidecar, Process};
use crate::support::collector::{Collector, Manner};
use crate::support::search::Search;
use crate::support::sidecar::{NA, Setup, eventually, fault, open_store, put_proxy_key};
use crate::support::wire::{Answer, basic, dial, request};

const TENANTS: [&str; 5] = ["acme", "beta", "gamma", "delta", "epsilon"];
const PROXY_KEY: &str = "canaryKey7Zq2mXw9Rt4Lb8Nc3Vd6Hf1";
const ORDER: &str = "902-canaryOrder-1234567";
const LWA: &str = "api.amazon.com";

/// A child in trouble, what it answered, and how much it was asked.
struct Scene {
    child: ChildSidecar,
    collector: Collector,
    phantoms: PhantomKey,
    search: Search,
    asked: usize,
    ids: BTreeSet<String>,
}

impl Scene {
    async fn set() -> Self {
        let base = Setup::default();
        let collector = Collector::start(Manner::Takes).await;
        let grants = TENANTS.map(|tenant| {
            GrantRegistration::new(RefreshToken::new(format!("Atzr|canary-{tenant}")), tenant)
        });
        let more: String = TENANTS[2..].iter().map(|tenant| format!("  - {{ id: {tenant}, app: erp, region: na, scopes: [inventory-and-order-tracking] }}\n")).collect();
        let child = ChildSidecar::with(
            Setup {
                sandbox: Options {
                    grants: grants.to_vec(),
                    ..Options::default()
                },
                tenants: format!("{}{more}", base.tenants),
                grants: TENANTS.to_vec(),
                upstream: "  response_timeout: 500ms".to_owned(),
                sections: collector.section(", log: { level: trace }"),
                ..base
            },
            &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")],
        )
        .await;
        put_proxy_key(child.stage.folder.path(), "acme", PROXY_KEY).await;
        let mut search = Search::default();
        for secret in [
            "amzn1.application-oa2-client.canary",
            "amzn1.oa2-cs.v1.canary",
            PROXY_KEY,
            ORDER,
            &"5a".repeat(32),
            &basic("acme", PROXY_KEY)[6..],
        ] {
            search.secret(secret);
        }
        for tenant in TENANTS {
            search.secret(&format!("Atzr|canary-{tenant}"));
        }
        let store = open_store(child.stage.folder.path());
        let record = store.read(&RecordKey::Phantom).await.unwrap().unwrap();
        search.secret(record.fields["key"].expose());
        let phantoms = phantom_key(&store).await.unwrap();
        Self {
            child,
            collector,
            phantoms,
            search,
            asked: 0,
            ids: BTreeSet::new(),
        }
    }

    /// Notes an answer: it counts as one request, and where it was made here it is searched.
    fn note(&mut self, answer: &Answer) {
        self.asked += 1;
        let id = answer.field("x-spapi-sidecar-request-id").unwrap();
        assert!(self.ids.insert(id.to_owned()), "a request id came twice");
        if answer.field("x-spapi-sidecar-error").is_some() {
            let text = format!("{:?} {}", answer.fields, answer.text());
            self.search.place(format!("answer {id}"), text);
        }
    }

    async fn ask(&mut self, host: &str, text: &str) -> Answer {
        let answer = self.child.inside(host).await.ask(text).await;
        self.note(&answer);
        answer
    }

    /// A GET as a tenant, with secrets in every part of it; its status.
    async fn get(&mut self, tenant: &str, target: &str) -> u16 {
        let phantom = self.vend(tenant).await;
        let query = format!("canaryQueryValue{}", self.asked);
        let agent = format!("canaryAgentValue{}", self.asked);
        self.search.secret(&query);
        self.search.secret(&agent);
        let join = if target.contains('?') { '&' } else { '?' };
        let state = format!("vendor={agent}");
        let fields = [
            ("x-amz-access-token", &*phantom),
            ("user-agent", &agent),
            ("cookie", &agent),
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            ("tracestate", &state),
            ("baggage", &state),
        ];
        let text = request(
            "GET",
            NA,
            &format!("{target}{join}CreatedAfter={query}&{query}"),
            &fields,
            "",
        );
        self.ask(NA, &text).await.status
    }

    /// An access phantom, by way of the token endpoint.
    async fn vend(&mut self, tenant: &str) -> String {
        let secret = format!("canaryClientSecret{}", self.asked);
        self.search.secret(&secret);
        let login = (tenant == "acme").then(|| basic("acme", PROXY_KEY));
        let refresh = if tenant == "acme" {
            "Atzr|canary-of-the-program".to_owned()
        } else {
            self.phantoms.mint(
                Kind::Refresh,
                Some(&TenantId::parse(tenant).unwrap()),
                rand::random(),
            )
        };
        self.search.secret(&refresh);
        let body =
            format!("grant_type=refresh_token&refresh_token={refresh}&client_secret={secret}");
        let fields: Vec<_> = login
            .iter()
            .map(|login| ("proxy-authorization", &**login))
            .collect();
        let mut inside = self.child.inside_with(LWA, &fields).await;
        let answer = inside
            .ask(request("POST", LWA, "/auth/o2/token", &[], &body))
            .await;
        self.note(&answer);
        let access = answer.json()["access_token"].as_str().unwrap().to_owned();
        self.search.secret(&access);
        access
    }

    fn fault(&self, json: &str) {
        self.child.stage.sandbox.fault(fault(json));
    }
}

/// Calls that succeed, of every kind.
async fn successes(scene: &mut Scene) {
    assert_eq!(
        scene
            .get("acme", "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER")
            .await,
        200
    );
    assert_eq!(
        scene
            .get("acme", &format!("/orders/v0/orders/{ORDER}/address"))
            .await,
        200
    );
    assert_eq!(
        scene
            .get("acme", &format!("/orders/v0/orders/{ORDER}"))
            .await,
        200
    );
    assert_eq!(
        scene
            .get("beta", "/sellers/v1/marketplaceParticipations")
            .await,
        200
    );
    scene.search.secret("canaryBodyValue");
    let body = r#"{"resourceSpecification":{},"name":"canaryBodyValue"}"#;
    scene
        .ask(
            NA,
            &request(
                "POST",
                NA,
                "/notifications/v1/destinations",
                &[("content-type", "application/json")],
                body,
            ),
        )
        .await;
    let rdt = format!(
        r#"{{"restrictedResources":[{{"method":"GET","path":"/orders/v0/orders/{ORDER}"}}]}}"#
    );
    let answer = scene
        .ask(
            NA,
            &request(
                "POST",
                NA,
                "/tokens/2021-03-01/restrictedDataToken",
                &[],
                &rdt,
            ),
        )
        .await;
    scene
        .search
        .secret(answer.json()["restrictedDataToken"].as_str().unwrap());
}

/// A document, fetched with the presigned URL that SP-API gave.
async fn documents(scene: &mut Scene) {
    let answer = scene
        .ask(
            NA,
            &request(
                "GET",
                NA,
                "/reports/2021-06-30/documents/amzn1.spdoc.1.4.na.canary-document",
                &[],
                "",
            ),
        )
        .await;
    let answer = answer.json();
    let url =
        url::Url::parse(answer["url"].as_str().unwrap_or_else(|| panic!("{answer}"))).unwrap();
    let signature = url
        .query_pairs()
        .find(|(key, _)| key == "X-Amz-Signature")
        .unwrap()
        .1
        .into_owned();
    scene.search.secret(&signature);
    scene.search.secret("canary-document");
    let host = url.host_str().unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    assert_eq!(
        scene
            .ask(host, &request("GET", host, &target, &[], ""))
            .await
            .status,
        200
    );
    let other = target.replacen("/doc/", "/doc/canary-other-document/", 1);
    assert_eq!(
        scene
            .ask(host, &request("GET", host, &other, &[], ""))
            .await
            .status,
        403
    );
}

/// Refusals of routes and restricted resources.
async fn refused_routes(scene: &mut Scene) {
    for target in [
        "/catalog/2022-04-01/items/canary-asin-value",
        "/canary-unknown-path/canary-asin-value",
        "/orders/v0/orders/canary-asin-value%2Fx",
        "/orders/v0/orders/../canary-asin-value",
        "/orders/v0/orders?MarketplaceIds=canary-asin-value",
    ] {
        assert!(
            matches!(scene.get("acme", target).await, 400 | 403),
            "{target}"
        );
    }
    scene.search.secret("canary-asin-value");
    assert_eq!(
        scene
            .get("beta", &format!("/orders/v0/orders/{ORDER}/address"))
            .await,
        403
    );
    for bad in [
        "canary-json-value",
        r#"{"restrictedResources":[{"method":"canary-json-value","path":"canary-json-value"}]}"#,
    ] {
        scene.search.secret("canary-json-value");
        let answer = scene
            .ask(
                NA,
                &request(
                    "POST",
                    NA,
                    "/tokens/2021-03-01/restrictedDataToken",
                    &[],
                    bad,
                ),
            )
            .await;
        assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    }
}

/// Refusals of heads, tokens and logins that are not right.
async fn refused_callers(scene: &mut Scene) {
    scene.search.secret("canary-token-value");
    for token in [
        "spx-a-62657461-0000000000000007-canary-token-value",
        "Atza|canary-token-value",
        "Bearer Atzr|canary-token-value",
    ] {
        scene
            .ask(
                NA,
                &request(
                    "GET",
                    NA,
                    "/sellers/v1/marketplaceParticipations",
                    &[("authorization", token)],
                    "",
                ),
            )
            .await;
    }
    scene
        .ask(
            NA,
            &request("GET", "canary-other-host.example", "/", &[], ""),
        )
        .await;
    scene.search.secret("canary-other-host");
    let large = "canary-large-value".repeat(4000);
    scene.search.secret("canary-large-value");
    assert_eq!(
        scene
            .ask(
                NA,
                &request("GET", NA, "/orders/v0/orders", &[("x-large", &large)], "")
            )
            .await
            .status,
        431
    );
    scene.search.secret("canary-login-value");
    for login in [
        basic("acme", "canary-login-value"),
        "Basic canary-login-value".to_owned(),
        "Bearer canary-login-value".to_owned(),
    ] {
        let (answer, _) = scene
            .child
            .connect(&format!("{NA}:443"), &[("proxy-authorization", &login)])
            .await;
        assert_eq!(answer.status, 407);
        scene.note(&answer);
    }
    let plain = format!("http://{NA}/orders/v0/orders/{ORDER}");
    let answer = dial(scene.child.proxy()).await.get(NA, &plain, &[]).await;
    assert_eq!(answer.status, 403);
    scene.note(&answer);
}

/// Failures of Amazon, of LWA and of the store.
async fn failures(scene: &mut Scene) {
    scene.search.secret("canary-of-amazon");
    scene.fault(r#"{"status":403,"details":"The access token Atza|canary-of-amazon has expired.","path_prefix":"/sellers"}"#);
    assert_eq!(
        scene
            .get("epsilon", "/sellers/v1/marketplaceParticipations")
            .await,
        403
    );
    scene.fault(r#"{"reset_connections":true,"path_prefix":"/_sandbox/reset"}"#);
    assert_eq!(scene.get("acme", "/_sandbox/reset").await, 502);
    assert_eq!(scene.get("acme", "/_sandbox/late").await, 504);
    scene.fault(r#"{"status":503,"path_prefix":"/tokens"}"#);
    scene.fault(r#"{"expire_tokens_now":true}"#);
    scene.fault(r#"{"revoke_grant":"beta"}"#);
    assert_eq!(scene.get("beta", "/orders/v0/orders").await, 503);
    scene.fault(
        r#"{"status":500,"details":"Atza|canary-of-amazon","host":"api.amazon.com","times":1}"#,
    );
    assert_eq!(scene.get("gamma", "/orders/v0/orders").await, 503);
    scene.child.stage.sandbox.register_app(&AppRegistration {
        client_id: ClientId::new("amzn1.application-oa2-client.canary".to_owned()),
        client_secret: ClientSecret::new("another".to_owned()),
        old_secret: None,
    });
    assert_eq!(scene.get("delta", "/orders/v0/orders").await, 503);
    scene.fault(r#"{"lwa_down":"reset"}"#);
    assert_eq!(
        scene
            .get("acme", &format!("/orders/v0/orders/{ORDER}/address"))
            .await,
        503
    );
}

/// An answer that breaks off, and a program that goes away.
async fn interruptions(scene: &mut Scene) {
    scene.fault(r#"{"latency_ms":5000,"path_prefix":"/_sandbox/late"}"#);
    let mut inside = scene.child.inside(NA).await;
    inside
        .send(request("GET", NA, "/_sandbox/truncate/100000", &[], ""))
        .await;
    assert!(inside.try_answer().await.is_err());
    let mut inside = scene.child.inside(NA).await;
    inside
        .send(request("GET", NA, "/_sandbox/body/50000000", &[], ""))
        .await;
    inside.io.read_u8().await.unwrap();
    drop(inside);
    scene.asked += 2;
}

/// Everything that can be read of the running process from outside.
async fn look_around(scene: &mut Scene) {
    for path in [
        "/health/live",
        "/health/ready",
        "/health/authz",
        "/metrics",
        "/",
        "/api/v1/status",
        "/canary-of-nothing",
    ] {
        let url = format!("http://{}{path}", scene.child.admin);
        let answer = reqwest::get(&url).await.unwrap();
        let text = format!(
            "{:?} {}",
            answer.headers().clone(),
            answer.text().await.unwrap()
        );
        scene.search.place(url, text);
    }
    // as `ps e` sees it; whoever may not read a file has found nothing there either
    for file in ["cmdline", "environ", "comm", "status", "maps"] {
        let path = format!("/proc/{}/{file}", scene.child.id());
        let bytes = std::fs::read(&path).unwrap_or_default();
        scene
            .search
            .place(path, String::from_utf8_lossy(&bytes).into_owned());
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", scene.child.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "no core file may hold a token");
}

/// What the commands print that look at the same store and the same sidecar.
fn ask_the_commands(scene: &mut Scene) {
    let config = scene.child.stage.folder.path().join("proxy.yaml");
    for arguments in [
        &["tenant", "list"][..],
        &["tenant", "list", "--json"],
        &["check"],
        &["check", "--json"],
        &["ledger"],
        &["ledger", "--from-traffic"],
        &["ca", "show"],
        &["env"],
        &["health"],
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
            .args(arguments)
            .arg("--config")
            .arg(&config)
            .env("RUST_LOG", "trace")
            .output()
            .unwrap();
        assert!(output.status.code().is_some(), "{arguments:?}: {output:?}");
        let text = [output.stdout, output.stderr].concat();
        assert!(!text.is_empty(), "{arguments:?} says nothing");
        scene.search.place(
            format!("{arguments:?}"),
            String::from_utf8_lossy(&text).into_owned(),
        );
    }
}

fn check_lines(stdout: &str, asked: usize, ids: &BTreeSet<String>) {
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let records: Vec<&Value> = lines
        .iter()
        .filter(|line| line["outcome"].is_string())
        .collect();
    let recorded: BTreeSet<String> = records
        .iter()
        .map(|record| record["request_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        (records.len(), recorded.len()),
        (asked, asked),
        "one record a request"
    );
    assert!(
        recorded.is_superset(ids),
        "an answered request has no record"
    );
    let outcomes: BTreeSet<&str> = records
        .iter()
        .map(|record| record["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        outcomes,
        BTreeSet::from(["answered", "cancelled", "failed", "forwarded", "refused"])
    );
    let warned = lines
        .iter()
        .filter(|line| line["alert"] == "app_holds_real_token")
        .count();
    assert_eq!(warned, 1, "a program's real token is warned of once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_shows_anywhere_whatever_goes_wrong_and_every_request_is_recorded_once() {
    let mut scene = Scene::set().await;
    successes(&mut scene).await;
    documents(&mut scene).await;
    refused_routes(&mut scene).await;
    refused_callers(&mut scene).await;
    interruptions(&mut scene).await;
    failures(&mut scene).await;
    let folder = scene.child.stage.folder.path().to_owned();
    let sealed = std::fs::read(folder.join("store.sealed")).unwrap();
    std::fs::write(folder.join("store.sealed"), "canary-store-content").unwrap();
    scene.search.secret("canary-store-content");
    assert_eq!(scene.get("delta", "/orders/v0/orders").await, 503);
    look_around(&mut scene).await;
    ask_the_commands(&mut scene);
    let want = scene.asked;
    eventually("a record for each request", || {
        scene.child.records().len() >= want
    })
    .await;
    scene.child.terminate();
    let Scene {
        child,
        collector,
        mut search,
        asked,
        ids,
        ..
    } = scene;
    let (stage, status, stdout, stderr) = child.ended().await;
    assert!(status.success(), "{status}: {stderr}");
    check_lines(&stdout, asked, &ids);
    search.place("stdout", stdout);
    search.place("stderr", stderr);
    let spans = collector.spans();
    assert!(spans.len() > 5 * asked / 2, "{} spans", spans.len());
    search.place("traces", collector.bytes());
    search.place("traces, decoded", format!("{spans:?}"));
    let audit = std::fs::read(folder.join("audit.jsonl")).unwrap_or_default();
    search.place("audit", String::from_utf8_lossy(&audit).into_owned());
    std::fs::write(folder.join("store.sealed"), sealed).unwrap();
    std::fs::write(folder.join("store.key"), "6b".repeat(32)).unwrap();
    search.secret(&"6b".repeat(32));
    let (status, stdout, stderr) = Process::start(&folder, &[("RUST_LOG", "trace")])
        .ended()
        .await;
    assert_eq!(status.code(), Some(2), "{stdout}{stderr}");
    assert!(stderr.contains("store.key"), "{stderr}");
    search.place("the start with a wrong store key", stdout + &stderr);
    drop(stage);
    let found = search.found();
    assert!(found.is_empty(), "{}", found.join("\n"));
    for prefix in [
        "Atza|",
        "Atzr|",
        "Atc|",
        "Atz.sprdt|",
        "Atza%7",
        "Atzr%7",
        "X-Amz-Signature=",
    ] {
        for (place, text) in &search.places {
            assert!(!text.contains(prefix), "{place} shows {prefix}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_no_core_and_no_secret_behind() {
    use std::os::unix::process::ExitStatusExt as _;
    let mut scene = Scene::set().await;
    successes(&mut scene).await;
    scene.child.crash();
    let Scene {
        child, mut search, ..
    } = scene;
    let (_stage, status, stdout, stderr) = child.ended().await;
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(!status.core_dumped());
    search.place("stdout", stdout);
    search.place("stderr", stderr);
    let found = search.found();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
