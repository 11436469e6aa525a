//! Fifty tenants on shared connections: what reaches Amazon carries the token of the tenant whose call it is.
//!
//! Calls of tenants that are drawn at random follow each other on kept connections, HTTP/1.1 and HTTP/2, with and without a proxy
//! login, while tokens are renewed, refused, and tenants are killed and resumed. The sandbox, which shares nothing with the
//! proxy, says for every request whose grant its token belongs to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use spapi_sidecar::sandbox::{GrantRegistration, Options, Received, Region};
use spapi_sidecar::secret::RefreshToken;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::support::admin::Admin;
use crate::support::child::ChildSidecar;
use crate::support::command::command;
use crate::support::draw::{Draw, figure, size};
use crate::support::peer::soon;
use crate::support::sidecar::{NA, Setup, fault, put_proxy_key};
use crate::support::wire::{Answer, H2, Wire, basic, request};

const TENANTS: usize = 50;
const EU: &str = "sellingpartnerapi-eu.amazon.com";
const LWA: &str = "api.amazon.com";
const TOKENS: &str = "/tokens/2021-03-01/restrictedDataToken";
const KEY: &str = "k7Zq2mXw9Rt4Lb8Nc3Vd6Hf1Gj5Ps0Ty";
/// Connections of HTTP/1.1 without a login, of HTTP/1.1 with one, and of HTTP/2.
const CONNECTIONS: [usize; 3] = [12, 4, 6];
/// Callers that share a connection of HTTP/2.
const STREAMS: usize = 4;
/// Most calls that are made between two looks at what the sandbox received: it keeps 10,000 requests, and a call may be three.
const AHEAD: u64 = 2_000;

struct Tenant {
    id: &'static str,
    host: &'static str,
    marketplace: &'static str,
    /// Phantoms that name it: for refresh, access and restricted data.
    phantoms: Vec<String>,
    /// Counts on: 0 active, 1 about to be killed, 2 killed, 3 about to be resumed, 4 active again.
    phase: AtomicU64,
}

struct World {
    sidecar: ChildSidecar,
    tenants: Vec<Tenant>,
    calls: u64,
    issued: AtomicU64,
    answered: AtomicU64,
    /// What was issued when the sandbox's list was last read.
    looked: AtomicU64,
    /// A tenant that is drawn more often: something happens to it.
    focus: AtomicUsize,
    /// How often every token was refused.
    expiries: AtomicUsize,
    /// What must not be, as it is seen.
    wrong: Mutex<Vec<String>>,
}

/// What a call may be answered with that met two tokens of its tenant, both from before the moment when all were refused, or
/// whose exchange a kill interrupted.
const GIVEN_UP: [&str; 3] = ["token_refused", "token_unavailable", "rdt_unavailable"];

/// What is called, and which token Amazon wants for it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum What {
    Orders,
    Report,
    Address,
    Order,
}

impl What {
    const fn kind(self) -> &'static str {
        match self {
            Self::Orders | Self::Report => "access",
            Self::Address | Self::Order => "rdt",
        }
    }
}

/// A call that was answered.
#[derive(Debug)]
struct Made {
    tenant: usize,
    what: What,
    status: u16,
    code: String,
}

fn order_id(tenant: usize, n: u64) -> String {
    format!("{tenant:03}-{n:07}-0000000")
}

/// The number that a call carries in its query, and its tenant.
fn marks(target: &str) -> Option<(u64, usize)> {
    let (_, query) = target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (number, tenant) = pairs.rfind(|(key, _)| *key == "n")?.1.split_once('-')?;
    Some((number.parse().ok()?, tenant.parse().ok()?))
}

fn setup() -> Setup {
    let ids: Vec<&'static str> = (0..TENANTS).map(|n| &*format!("t{n:02}").leak()).collect();
    let grants = ids.iter().enumerate().map(|(n, id)| GrantRegistration {
        region: Some(if n.is_multiple_of(2) {
            Region::Na
        } else {
            Region::Eu
        }),
        ..GrantRegistration::new(RefreshToken::new(format!("Atzr|canary-{id}")), id)
    });
    let tenants = ids.iter().enumerate().map(|(n, id)| {
        let region = if n.is_multiple_of(2) { "na" } else { "eu" };
        format!("  - {{ id: {id}, app: erp, region: {region}, scopes: [inventory-and-order-tracking, direct-to-consumer-shipping] }}\n")
    });
    Setup {
        sandbox: Options {
            grants: grants.collect(),
            // renewed at half of it
            expires_in: Duration::from_secs(30),
            ..Options::default()
        },
        tenants: format!("\n{}", tenants.collect::<String>()),
        default_tenant: ids[0].to_owned(),
        grants: ids,
        ..Setup::default()
    }
}

/// One of the two protocols, inside an intercepted connection.
enum Line {
    One(Box<Wire<TlsStream<TcpStream>>>),
    Two(H2),
}

impl Line {
    async fn ask(
        &mut self,
        method: &str,
        host: &str,
        target: &str,
        phantom: Option<&str>,
        body: &str,
    ) -> Answer {
        let fields: Vec<(&str, &str)> = phantom
            .iter()
            .map(|value| ("x-amz-access-token", *value))
            .collect();
        match self {
            Self::One(wire) => wire.ask(request(method, host, target, &fields, body)).await,
            Self::Two(sender) => {
                let mut request = http::Request::builder()
                    .method(method)
                    .uri(format!("https://{host}{target}"));
                for (name, value) in fields {
                    request = request.header(name, value);
                }
                let request = request.body(Full::from(body.to_owned())).unwrap();
                let (head, body) = soon("an answer", sender.send_request(request))
                    .await
                    .unwrap()
                    .into_parts();
                let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
                Answer {
                    status: head.status.as_u16(),
                    fields: head
                        .headers
                        .iter()
                        .map(|(name, value)| (name.to_string(), text(value)))
                        .collect(),
                    body: soon("a body", body.collect())
                        .await
                        .unwrap()
                        .to_bytes()
                        .to_vec(),
                }
            }
        }
    }
}

impl World {
    async fn start(calls: usize) -> Self {
        let sidecar = ChildSidecar::with(setup(), &[]).await;
        for n in 0..TENANTS {
            put_proxy_key(sidecar.stage.folder.path(), &format!("t{n:02}"), KEY).await;
        }
        let mut tenants = Vec::new();
        for n in 0..TENANTS {
            tenants.push(tenant(&sidecar, n).await);
        }
        Self {
            sidecar,
            tenants,
            calls: calls as u64,
            issued: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            focus: AtomicUsize::new(0),
            expiries: AtomicUsize::new(0),
            wrong: Mutex::default(),
        }
    }

    fn operator(&self) -> Admin {
        Admin::new(self.sidecar.admin, self.sidecar.stage.folder.path())
    }

    /// Whether a tenant had a phase that began with `of` from before a call to after it.
    fn stayed(&self, tenant: usize, before: u64, of: u64) -> bool {
        before % 4 == of && self.tenants[tenant].phase.load(Ordering::SeqCst) == before
    }

    /// A number for the next call, once the sandbox's list has been read so far; `None` when there were enough.
    async fn next(&self) -> Option<u64> {
        let n = self.issued.fetch_add(1, Ordering::SeqCst);
        if n >= self.calls {
            return None;
        }
        while n > self.looked.load(Ordering::SeqCst) + AHEAD {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Some(n)
    }

    /// Waits until so many more calls have been answered, or all.
    async fn goes_on(&self, by: u64) -> bool {
        let until = self.answered.load(Ordering::SeqCst) + by;
        while self.answered.load(Ordering::SeqCst) < until {
            if self.answered.load(Ordering::SeqCst) >= self.calls {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// A tenant and the phantoms that it gets through the front door.
async fn tenant(sidecar: &ChildSidecar, n: usize) -> Tenant {
    let id = &*format!("t{n:02}").leak();
    let (host, marketplace) = if n.is_multiple_of(2) {
        (NA, "ATVPDKIKX0DER")
    } else {
        (EU, "A1F83G8C2ARO7P")
    };
    let login = basic(id, KEY);
    let fields = [("proxy-authorization", &*login)];
    let body = "grant_type=refresh_token&refresh_token=spx-placeholder&client_id=x&client_secret=y";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let vended = sidecar
        .inside_with(LWA, &fields)
        .await
        .ask(request("POST", LWA, "/auth/o2/token", &form, body))
        .await
        .json();
    let (code, printed) = command(sidecar.stage.folder.path(), &["tenant", "phantom", id], "");
    assert_eq!(code, Some(0), "{printed}");
    let resource = json!({"restrictedResources": [{"method": "GET", "path": "/orders/v0/orders/{orderId}/address"}]});
    let restricted = sidecar
        .inside_with(host, &fields)
        .await
        .ask(request("POST", host, TOKENS, &[], &resource.to_string()))
        .await;
    let phantoms = vec![
        printed.trim_end().to_owned(),
        vended["access_token"].as_str().unwrap().to_owned(),
        restricted.json()["restrictedDataToken"]
            .as_str()
            .unwrap_or_else(|| panic!("{restricted:?}"))
            .to_owned(),
    ];
    for (phantom, shape) in phantoms.iter().zip(["spx-r-", "spx-a-", "spx-d-"]) {
        assert!(phantom.starts_with(shape), "{phantom}");
    }
    Tenant {
        id,
        host,
        marketplace,
        phantoms,
        phase: AtomicU64::new(0),
    }
}

/// Calls of drawn tenants on one connection, until there were enough.
async fn caller(
    world: Arc<World>,
    mut line: Line,
    host: &'static str,
    login: Option<usize>,
    seed: u64,
) -> Vec<(u64, Made)> {
    let (mut draw, mut made) = (Draw::seeded(seed), Vec::new());
    while let Some(n) = world.next().await {
        // mostly a tenant of this host's region; one of the other now and then
        let any = draw.below(TENANTS / 2) * 2 + usize::from((host == EU) != draw.one_in(12));
        let focus = world.focus.load(Ordering::SeqCst);
        let named = if draw.one_in(8) { focus } else { any };
        let what = [
            What::Orders,
            What::Orders,
            What::Orders,
            What::Report,
            What::Address,
            What::Address,
            What::Order,
        ][draw.below(7)];
        // without a phantom the connection's login says whose call it is, and without that the default tenant's it is
        let (tenant, phantom) = if draw.one_in(10) {
            (login.unwrap_or(0), None)
        } else {
            (named, Some(draw.below(3)))
        };
        // a phantom for restricted data stands for the data that it was made for
        let phantom = phantom.map(|kind| {
            if what == What::Address {
                kind
            } else {
                kind % 2
            }
        });
        let one = &world.tenants[tenant];
        let before = one.phase.load(Ordering::SeqCst);
        let (method, target, body) = request_of(what, one, tenant, n);
        let phantom = phantom.map(|kind| &*one.phantoms[kind]);
        let answer = line.ask(method, host, &target, phantom, &body).await;
        let call = format!(
            "call {n} of {} on {host}, login {login:?}, {what:?}: {answer:?}",
            one.id
        );
        let code = answer
            .field("x-spapi-sidecar-error")
            .unwrap_or_default()
            .to_owned();
        let contradicts = login.is_some_and(|login| login != tenant);
        let wanted: &[&str] = if contradicts {
            &["tenant_mismatch"]
        } else if world.stayed(tenant, before, 2) {
            &["tenant_killed"]
        } else if one.host != host {
            &["region_denied", "tenant_killed"]
        } else if world.stayed(tenant, before, 0) {
            &[""]
        } else {
            &["", "tenant_killed"]
        };
        // nor is a call under way finished whose exchange a kill ends
        let disturbed = world.expiries.load(Ordering::SeqCst) > 0 || wanted.len() > 1;
        let given_up = disturbed && GIVEN_UP.contains(&&*code);
        assert!(wanted.contains(&&*code) || given_up, "{wanted:?}: {call}");
        if code.is_empty() {
            assert!(matches!(answer.status, 200 | 202), "{call}");
            // and the answer is that of the question
            assert!(
                what != What::Order || answer.text().contains(&order_id(tenant, n)),
                "{call}"
            );
        }
        made.push((
            n,
            Made {
                tenant,
                what,
                status: answer.status,
                code,
            },
        ));
        world.answered.fetch_add(1, Ordering::SeqCst);
    }
    made
}

fn request_of(what: What, one: &Tenant, tenant: usize, n: u64) -> (&'static str, String, String) {
    let id = order_id(tenant, n);
    match what {
        What::Orders => {
            let target = format!(
                "/orders/v0/orders?MarketplaceIds={}&CreatedAfter=2026-01-01T00:00:00Z&n={n}-{tenant}",
                one.marketplace
            );
            ("GET", target, String::new())
        }
        What::Report => {
            let body = json!({"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": [one.marketplace]});
            (
                "POST",
                format!("/reports/2021-06-30/reports?n={n}-{tenant}"),
                body.to_string(),
            )
        }
        What::Address => (
            "GET",
            format!("/orders/v0/orders/{id}/address?n={n}-{tenant}"),
            String::new(),
        ),
        What::Order => (
            "GET",
            format!("/orders/v0/orders/{id}?n={n}-{tenant}"),
            String::new(),
        ),
    }
}

/// What happens beside the calls: renewals, kills and their end, and now and then every token is refused as expired.
async fn happenings(world: Arc<World>, seed: u64) -> [usize; 3] {
    let (mut draw, admin) = (Draw::seeded(seed), world.operator());
    let [mut refreshed, mut killed, mut expired] = [0; 3];
    let mut calm = Instant::now();
    while world.goes_on(40).await {
        let half = world.answered.load(Ordering::SeqCst) > world.calls / 2;
        // a fresh token that is refused within a minute is an incident at Amazon: it is given up, and rightly
        if (expired == 0 && half) || (expired > 0 && calm.elapsed() > Duration::from_secs(70)) {
            world.expiries.fetch_add(1, Ordering::SeqCst);
            world
                .sidecar
                .stage
                .sandbox
                .fault(fault(r#"{"expire_tokens_now":true}"#));
            expired += 1;
            calm = Instant::now();
        }
        let tenant = draw.below(TENANTS);
        let one = &world.tenants[tenant];
        world.focus.store(tenant, Ordering::SeqCst);
        // one of each at first, however few there are to be
        if refreshed == 0 || (killed > 0 && draw.one_in(3)) {
            let (status, body) = admin
                .post(&format!("/api/v1/tenants/{}/refresh", one.id), json!({}))
                .await;
            assert_eq!(status, 200, "{body}");
            refreshed += 1;
            continue;
        }
        for action in ["kill", "resume"] {
            one.phase.fetch_add(1, Ordering::SeqCst);
            let path = format!("/api/v1/tenants/{}/{action}", one.id);
            let (status, body) = admin
                .post(&path, json!({"reason": "INC-1", "by": "ada"}))
                .await;
            assert_eq!(status, 200, "{body}");
            one.phase.fetch_add(1, Ordering::SeqCst);
            let _ended = world.goes_on(40).await;
        }
        killed += 1;
    }
    [refreshed, killed, expired]
}

/// What the sandbox received, by the number of the call.
#[derive(Default)]
struct Seen {
    calls: HashMap<u64, Vec<Received>>,
    /// Requests that are not a program's call: exchanges and RDTs.
    others: usize,
    /// Up to here every request has been taken.
    until: u64,
    /// Requests beyond that which have been taken.
    beyond: std::collections::BTreeSet<u64>,
}

impl Seen {
    /// Takes what has been answered since.
    fn look(&mut self, world: &World) {
        let issued = world.issued.load(Ordering::SeqCst).min(world.calls);
        let received = world.sidecar.stage.sandbox.received_since(self.until);
        if received
            .first()
            .is_some_and(|first| first.n != self.until + 1)
        {
            let text = "the sandbox forgot what was never read".to_owned();
            world.wrong.lock().unwrap().push(text);
        }
        for one in received {
            if one.status.is_some() && self.beyond.insert(one.n) {
                match marks(&one.target) {
                    Some((n, tenant)) => {
                        let own = world.tenants[tenant].id;
                        if one
                            .selling_partner
                            .as_deref()
                            .is_some_and(|partner| partner != own)
                        {
                            world
                                .wrong
                                .lock()
                                .unwrap()
                                .push(format!("a token of another than {own}: {one:?}"));
                        }
                        self.calls.entry(n).or_default().push(one);
                    }
                    None => self.others += 1,
                }
            }
        }
        while self.beyond.remove(&(self.until + 1)) {
            self.until += 1;
        }
        world.looked.store(issued, Ordering::SeqCst);
    }
}

async fn watch(world: Arc<World>) -> Seen {
    let mut seen = Seen::default();
    while world.answered.load(Ordering::SeqCst) < world.calls {
        seen.look(&world);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen.look(&world);
    seen
}

/// Opens the connections, and has them call.
async fn callers(world: &Arc<World>, seed: u64) -> JoinSet<Vec<(u64, Made)>> {
    let (mut draw, mut callers) = (Draw::seeded(seed), JoinSet::new());
    let door = &world.sidecar;
    for number in 0..CONNECTIONS[0] {
        let host = [NA, EU][number % 2];
        let line = Line::One(Box::new(door.inside(host).await));
        callers.spawn(caller(Arc::clone(world), line, host, None, draw.number()));
    }
    for _ in 0..CONNECTIONS[1] {
        let tenant = draw.below(TENANTS);
        let one = &world.tenants[tenant];
        let login = basic(one.id, KEY);
        let line = door
            .inside_with(one.host, &[("proxy-authorization", &*login)])
            .await;
        callers.spawn(caller(
            Arc::clone(world),
            Line::One(Box::new(line)),
            one.host,
            Some(tenant),
            draw.number(),
        ));
    }
    for number in 0..CONNECTIONS[2] {
        let host = [NA, EU][number % 2];
        let connection = door.inside_h2(host).await;
        for _ in 0..STREAMS {
            let line = Line::Two(connection.clone());
            callers.spawn(caller(Arc::clone(world), line, host, None, draw.number()));
        }
    }
    callers
}

/// Holds a call against what reached Amazon of it; whether it got there.
fn judge(world: &World, n: u64, made: &Made, seen: Option<&Vec<Received>>) -> bool {
    let reached = seen.map_or(&[][..], |seen| seen);
    let one = &world.tenants[made.tenant];
    if !made.code.is_empty() {
        // what Amazon refused may have been killed before it could be repeated
        let ended = GIVEN_UP.contains(&&*made.code) || made.code == "tenant_killed";
        let refused = |one: &Received| one.status == Some(403) && ended;
        assert!(
            reached.iter().all(refused),
            "call {n} was refused and sent: {made:?} {reached:?}"
        );
        return false;
    }
    let mut taken = 0;
    for received in reached {
        let call = format!("call {n}: {made:?} {received:?}");
        assert_eq!(
            (&*received.host, received.sni.as_deref()),
            (one.host, Some(one.host)),
            "{call}"
        );
        assert_eq!(
            received.token.as_ref().unwrap().kind,
            made.what.kind(),
            "{call}"
        );
        assert!(
            received
                .authorization
                .as_ref()
                .is_some_and(|field| field.same_token),
            "{call}"
        );
        match received.status {
            // of a token that has expired the sandbox does not say whose it was
            Some(403) if received.selling_partner.is_none() => {}
            status => {
                assert_eq!(received.selling_partner.as_deref(), Some(one.id), "{call}");
                assert_eq!(status, Some(made.status), "{call}");
                taken += 1;
            }
        }
    }
    assert_eq!(taken, 1, "call {n}: {made:?} {reached:?}");
    true
}

async fn every_token_is_the_callers(calls: usize) {
    let seed = size("ISOLATION_SEED", 1) as u64;
    figure(&format!("seed {seed}"));
    let world = Arc::new(World::start(calls).await);
    let mut draw = Draw::seeded(seed);
    let mut beside = JoinSet::new();
    let (watched, aside) = (Arc::clone(&world), Arc::clone(&world));
    let number = draw.number();
    beside.spawn(async move { (None, happenings(aside, number).await) });
    beside.spawn(async move { (Some(watch(watched).await), [0; 3]) });
    let mut made: HashMap<u64, Made> = HashMap::new();
    let mut callers = callers(&world, draw.number()).await;
    while let Some(calls) = callers.join_next().await {
        made.extend(
            calls.unwrap_or_else(|error| panic!("{error}; {:#?}", world.wrong.lock().unwrap())),
        );
    }
    let (mut seen, mut happened) = (Seen::default(), [0; 3]);
    for (looked, counts) in beside.join_all().await {
        match looked {
            Some(looked) => seen = looked,
            None => happened = counts,
        }
    }
    assert_eq!(made.len(), calls);
    let wrong = world.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(wrong);
    let (mut codes, mut reached, mut rdts, mut replayed) = (HashMap::<&str, usize>::new(), 0, 0, 0);
    for (n, made) in &made {
        let received = seen.calls.get(n);
        *codes.entry(&*made.code).or_default() += 1;
        if judge(&world, *n, made, received) {
            reached += 1;
            rdts += usize::from(made.what.kind() == "rdt");
            replayed += usize::from(received.is_some_and(|received| received.len() > 1));
        }
    }
    let of = |code: &str| codes.get(code).copied().unwrap_or(0);
    let (mismatched, killed, denied) = (
        of("tenant_mismatch"),
        of("tenant_killed"),
        of("region_denied"),
    );
    let [refreshes, kills, expiries] = happened;
    let given_up: usize = GIVEN_UP.iter().map(|code| of(code)).sum();
    assert!(given_up * 100 <= calls, "{given_up} calls were given up");
    figure(&format!(
        "{calls} calls of {TENANTS} tenants, {reached} reached Amazon, {rdts} of them with an RDT, 0 with a token of another tenant"
    ));
    figure(&format!(
        "refused {killed} as killed, {mismatched} as contradicting their login, {denied} for the region"
    ));
    figure(&format!(
        "{refreshes} refreshes, {kills} kills, every token expired {expiries} times, {replayed} calls replayed and {given_up} given up, {} exchanges and RDTs",
        seen.others
    ));
    // none of what is said above is said of nothing
    for count in [
        killed, mismatched, denied, refreshes, kills, expiries, rdts, replayed,
    ] {
        assert!(count > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tenants_on_shared_connections_reach_amazon_with_their_own_tokens_alone() {
    every_token_is_the_callers(2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; .ci/nightly runs it"]
async fn a_hundred_thousand_calls_of_fifty_tenants_never_carry_a_token_of_another() {
    every_token_is_the_callers(size("ISOLATION_CALLS", 100_000)).await;
}
