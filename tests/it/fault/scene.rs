//! A process of the binary, a program that calls through it, and what can be seen from outside.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use spapi_sidecar::phantom::{Kind, PhantomKey};
use spapi_sidecar::secret::fingerprint;
use spapi_sidecar::store::GrantStore;
use spapi_sidecar::store::record::phantom_key;
use spapi_sidecar::tenant::TenantId;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::kind::{Fault, NOTHING, Peer, Row};
use super::table;
use crate::support::child::ChildSidecar;
use crate::support::peer::{Http1, soon};
use crate::support::search::Search;
use crate::support::sidecar::{NA, Setup, Stage, fault, open_store};
use crate::support::wire::request;

/// The host of the tenant that no fault concerns, where SP-API itself is away.
pub(super) const EU: &str = "sellingpartnerapi-eu.amazon.com";

/// The tenants that no fault concerns: one for each host.
pub(super) const CALM: &str = "calm";
pub(super) const CALM_EU: &str = "calm-eu";

/// What most calls ask for.
pub(super) const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// What the tenant of the other region asks for: it names no marketplace.
pub(super) const PARTICIPATIONS: &str = "/sellers/v1/marketplaceParticipations";

/// How a test makes a token needed, and no news.
const STAGED: &str = "Amazon refused a token";

/// Bounds that a fault outlasts and that a good answer keeps on a busy machine.
pub(super) const BOUNDS: &str = "  connect_timeout: 2s\n  response_timeout: 2s";

/// What is never in anything that can be read.
const SECRETS: [&str; 3] = [
    "amzn1.application-oa2-client.canary",
    "amzn1.oa2-cs.v1.canary",
    "canary of the garbage",
];

/// A sidecar and what is known of it.
pub(super) struct Scene {
    pub(super) child: ChildSidecar,
    phantoms: PhantomKey,
    search: Search,
    /// Alerts that say nothing of the fault.
    pub(super) beside: &'static [&'static str],
}

/// What a program saw of one call.
#[derive(Debug)]
pub(super) struct Seen {
    /// Status and code.
    pub(super) text: String,
    id: String,
}

/// The tenants of these rows, and those that no fault concerns.
pub(super) fn names(rows: &[Row]) -> Vec<&'static str> {
    let of_rows: BTreeSet<&str> = rows.iter().map(|row| row.fault.tenant()).collect();
    of_rows.into_iter().chain([CALM, CALM_EU]).collect()
}

/// A world with a tenant for each of these rows.
pub(super) fn setup(rows: &[Row]) -> Setup {
    let tenant = |name: &&str| {
        let region = if *name == CALM_EU { "eu" } else { "na" };
        format!(
            "  - {{ id: {name}, app: erp, region: {region}, scopes: [inventory-and-order-tracking, direct-to-consumer-shipping] }}\n"
        )
    };
    let names = names(rows);
    Setup {
        tenants: format!("\n{}", names.iter().map(tenant).collect::<String>()),
        grants: names,
        default_tenant: CALM.to_owned(),
        upstream: BOUNDS.to_owned(),
        sections: "lwa: { timeout: 2s }\nalerts: { refresh_failures: 1 }".to_owned(),
        ..Setup::default()
    }
}

impl Scene {
    /// Starts the binary on a stage; `store` is where its phantoms' key is, the sealed file where there is none.
    pub(super) async fn on(
        stage: Stage,
        variables: &[(&str, &str)],
        store: Option<Arc<dyn GrantStore>>,
        rows: &[Row],
    ) -> Self {
        let child = ChildSidecar::on(stage, variables).await;
        soon("it gets ready", child.gets_ready()).await;
        let store = store.unwrap_or_else(|| Arc::new(open_store(child.stage.folder.path())));
        let mut search = Search::default();
        for secret in SECRETS {
            search.secret(secret);
        }
        for name in names(rows) {
            search.secret(&format!("Atzr|canary-{name}"));
        }
        Self {
            phantoms: phantom_key(&*store).await.unwrap(),
            child,
            search,
            beside: &["new_endpoint", "freshness_slo"],
        }
    }

    /// A call of a tenant's program, over a connection of its own.
    pub(super) async fn call(&mut self, tenant: &str) -> Seen {
        if tenant == CALM_EU {
            return self.get(tenant, EU, PARTICIPATIONS).await;
        }
        self.get(tenant, NA, ORDERS).await
    }

    /// A program's connection to a host.
    pub(super) async fn connection(&self, host: &str) -> Http1<TlsStream<TcpStream>> {
        Http1::over(self.child.inside(host).await.io)
    }

    /// A call for this target.
    pub(super) async fn get(&mut self, tenant: &str, host: &str, target: &str) -> Seen {
        let mut http = self.connection(host).await;
        self.get_over(&mut http, tenant, host, target).await
    }

    /// The same, over a connection that is there.
    pub(super) async fn get_over(
        &mut self,
        http: &mut Http1<TlsStream<TcpStream>>,
        tenant: &str,
        host: &str,
        target: &str,
    ) -> Seen {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let nonce = CALLS.fetch_add(1, Ordering::Relaxed);
        let id = TenantId::parse(tenant).unwrap();
        let phantom = self.phantoms.mint(Kind::Access, Some(&id), nonce);
        let fields = [("x-amz-access-token", &*phantom)];
        http.write(request("GET", host, target, &fields, "")).await;
        let head = http.head().await;
        let status = head.status;
        let id = head.field("x-spapi-sidecar-request-id").unwrap().to_owned();
        let Ok(answer) = http.rest(head, false).await else {
            let text = format!("{status}, cut off");
            return Seen { text, id };
        };
        let Some(code) = answer.code() else {
            let text = status.to_string();
            return Seen { text, id };
        };
        let text = format!("{status} {code}");
        let place = format!("the answer {id} ({text})");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        self.search.place(place, body);
        Seen { text, id }
    }

    /// A call that has to be served.
    pub(super) async fn serves(&mut self, tenant: &str, when: &str) {
        let seen = self.call(tenant).await;
        assert_eq!(
            seen.text,
            "200",
            "{tenant}, {when}: {}",
            self.child.stdout()
        );
    }

    /// Waits until a call is served.
    pub(super) async fn serves_again(&mut self, tenant: &str) {
        for _ in 0..400 {
            if self.call(tenant).await.text == "200" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{tenant} is never served again: {}", self.child.stdout());
    }

    /// Amazon forgets the tenant's token: the next call needs a new one.
    pub(super) fn needs_a_token(&self, tenant: &str) {
        let whose = fingerprint(&format!("Atzr|canary-{tenant}"));
        let forget = json!({ "expire_tokens_now": whose }).to_string();
        let _once = self.child.stage.sandbox.fault(fault(&forget));
    }

    /// How many calls for a host reached Amazon's stand-in.
    pub(super) fn reached(&self, host: &str) -> usize {
        let received = self.child.stage.sandbox.received().into_iter();
        received.filter(|one| one.host == host).count()
    }

    /// How many exchanges LWA saw.
    pub(super) fn exchanges(&self) -> usize {
        let received = self.child.stage.sandbox.received().into_iter();
        received.filter(|one| one.exchange.is_some()).count()
    }

    /// Where the log ends now.
    pub(super) fn mark(&self) -> usize {
        self.child.stdout().len()
    }

    /// The warnings since a mark that concern a call of a tenant or nobody's, abridged.
    fn warnings(&self, mark: usize, tenant: &str, seen: Option<&Seen>) -> Vec<String> {
        let text = self.child.stdout();
        let whole = text[mark..].split_inclusive('\n');
        let lines = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let concerns = |line: &Value| {
            let text = |name: &str| line[name].as_str();
            let is_theirs = |key: &str| key.split('/').next() == Some(tenant);
            ["warn", "error"].contains(&text("level").unwrap_or_default())
                && text("alert").is_none()
                // a refusal has its own line; an answer that was cut off has none but this
                && (text("outcome").is_none() || line["status"] == 200)
                && text("message") != Some(STAGED)
                && text("key").is_none_or(is_theirs)
                && text("request_id").is_none_or(|id| seen.is_some_and(|seen| seen.id == id))
        };
        lines.filter(concerns).map(|line| abridged(&line)).collect()
    }

    /// Waits for a row's line in the log, or looks that there is none.
    pub(super) async fn logs(&self, mark: usize, row: &Row, seen: Option<&Seen>) {
        let found = || self.warnings(mark, row.fault.tenant(), seen);
        if row.log == NOTHING {
            assert_eq!(found(), Vec::<String>::new(), "{row:?}");
            return;
        }
        for _ in 0..600 {
            if found().iter().any(|line| line == row.log) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{row:?}: {:#?}", found());
    }

    async fn admin(&self, path: &str) -> String {
        let answer = reqwest::get(format!("http://{}{path}", self.child.admin)).await;
        answer.unwrap().text().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.admin(path).await).unwrap()
    }

    /// The names of what fires for a subject.
    async fn alerts(&self, subject: &str) -> Vec<String> {
        let status = self.json("/api/v1/status").await;
        let alerts = status["alerts"].as_array().unwrap().iter();
        let theirs = alerts.filter(|alert| alert["subject"] == subject);
        theirs
            .map(|alert| alert["alert"].as_str().unwrap().to_owned())
            .filter(|name| !self.beside.contains(&&**name))
            .collect()
    }

    async fn verdict(&self, tenant: &str) -> Option<String> {
        let authz = self.json("/health/authz").await;
        let mut tenants = authz["tenants"].as_array().unwrap().iter();
        let one = tenants.find(|one| one["id"] == tenant).unwrap();
        one["probable_cause"].as_str().map(str::to_owned)
    }

    /// Waits until what fires, and the verdict, are a row's.
    pub(super) async fn fires(&self, row: &Row, subject: &str) {
        let mut found = String::new();
        for _ in 0..400 {
            let fires = self.alerts(subject).await.join(", ");
            let verdict = self.verdict(row.fault.tenant()).await;
            found = match (fires.is_empty(), verdict) {
                (true, None) => NOTHING.to_owned(),
                (false, None) => fires,
                (true, Some(verdict)) => format!("verdict {verdict}"),
                (false, Some(verdict)) => format!("{fires}; verdict {verdict}"),
            };
            if found == row.alert {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{row:?}: {found}: {}", self.child.stdout());
    }

    /// Waits until nothing fires.
    pub(super) async fn is_calm(&self, subject: &str) {
        for _ in 0..400 {
            if self.alerts(subject).await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{subject}: {:?}", self.alerts(subject).await);
    }

    /// Looks for secrets in everything that can be read so far.
    pub(super) async fn tells_no_secret(&mut self) {
        let folder = self.child.stage.folder.path();
        // where the audit is elsewhere, or away, there is no such file
        let audit = std::fs::read_to_string(folder.join("audit.jsonl")).unwrap_or_default();
        for (name, text) in [
            ("the log", self.child.stdout()),
            ("the audit", audit),
            ("the status", self.admin("/api/v1/status").await),
            ("the verdicts", self.admin("/health/authz").await),
            ("the metrics", self.admin("/metrics").await),
        ] {
            self.search.place(name, text);
        }
        assert_eq!(self.search.found(), Vec::<String>::new());
        for (place, text) in &self.search.places {
            // every token that Amazon's stand-in issues begins so
            assert!(!text.contains("Atza|"), "{place}: {text}");
        }
    }

    /// Ends it; standard error is searched as well.
    pub(super) async fn ends(mut self) {
        self.tells_no_secret().await;
        self.child.terminate();
        let (_stage, status, stdout, stderr) = self.child.ended().await;
        assert!(status.success(), "{stdout}{stderr}");
        self.search.place("standard output", stdout);
        self.search.place("standard error", stderr);
        assert_eq!(self.search.found(), Vec::<String>::new());
    }
}

/// A line of the log: its message, and its cause where it names one.
fn abridged(line: &Value) -> String {
    let named = |name: &str| line[name].as_str();
    let own = named("outcome").map(|outcome| {
        let status = &line["status"];
        format!("the request's own line: {status}, {outcome}")
    });
    let message = own.unwrap_or_else(|| named("message").unwrap_or_default().to_owned());
    match named("cause").or_else(|| named("reason")) {
        Some(cause) => format!("{message} ({cause})"),
        None => message,
    }
}

/// Carries out the rows of a peer, in so many processes side by side, and checks its section of the table.
pub(super) async fn carried_out<F>(
    peer: Peer,
    rows: &'static [Row],
    lanes: usize,
    play: impl Fn(&'static [Row]) -> F,
) where
    F: Future<Output = ()>,
{
    join_all(rows.chunks(rows.len().div_ceil(lanes)).map(play)).await;
    table::says(peer, rows);
}

/// Where Amazon's stand-in is, for a front.
pub(super) fn amazon(stage: &Stage) -> (SocketAddr, Option<&str>) {
    (stage.sandbox.address(), Some(stage.sandbox.ca_pem()))
}

/// Whether a request has left when it meets a fault.
pub(super) const fn lets_requests_out(fault: Fault) -> bool {
    match fault {
        Fault::Slow
        | Fault::SlowBody
        | Fault::ResetsMidHead
        | Fault::ResetsMidBody
        | Fault::Truncated
        | Fault::Flaps => true,
        Fault::Down
        | Fault::Refuses
        | Fault::Hangs
        | Fault::Silent
        | Fault::Garbage
        | Fault::NoTls
        | Fault::WrongCertificate
        | Fault::UnknownIssuer
        | Fault::ExpiredCertificate
        | Fault::Ahead
        | Fault::Behind => false,
    }
}
