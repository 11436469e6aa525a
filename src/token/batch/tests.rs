use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::super::exchange::{Answer, Post, Transport};
use super::*;
use crate::config::{self, Account, Environment, InjectHeader, Preflight, Region, Tenant};
use crate::name::Authority;
use crate::secret::{AccessToken, graveyard};
use crate::store::BoxFuture;
use crate::tenant::{AppId, TenantId};

/// A Tokens API that takes a second, and the paths of each call that it saw.
#[derive(Debug, Default)]
struct TokensApi {
    calls: Mutex<Vec<Vec<String>>>,
    /// A path that is refused, and with it every call that names it.
    bad_path: Option<&'static str>,
    lacks_roles: bool,
    made: AtomicUsize,
}

impl Transport for TokensApi {
    fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let body: Value = serde_json::from_slice(&post.body).unwrap();
            let resources = body["restrictedResources"].as_array().unwrap();
            let paths: Vec<String> = resources
                .iter()
                .map(|one| one["path"].as_str().unwrap().to_owned())
                .collect();
            let bad = paths.iter().any(|path| Some(&**path) == self.bad_path);
            self.calls.lock().unwrap().push(paths);
            let refusal = |message| {
                (
                    400,
                    json!({"errors": [{"code": "InvalidInput", "message": message}]}),
                )
            };
            let (status, body) = if self.lacks_roles {
                refusal(
                    "Application does not have access to one or more requested data elements: [buyerInfo]",
                )
            } else if bad {
                refusal("The path is not a restricted resource.")
            } else {
                let n = self.made.fetch_add(1, Ordering::Relaxed);
                (
                    200,
                    json!({"restrictedDataToken": format!("Atz.sprdt|{n}"), "expiresIn": 3600}),
                )
            };
            Ok(Answer {
                status,
                date: None,
                body: body.to_string().into(),
            })
        })
    }
}

struct Bench {
    api: Arc<TokensApi>,
    batches: Arc<Batches>,
}

fn bench(api: TokensApi) -> Bench {
    let api = Arc::new(api);
    let lwa = config::Lwa {
        token_url: "https://api.amazon.com/auth/o2/token".parse().unwrap(),
        refresh_at: 0.5,
        clock_skew: Duration::ZERO,
        timeout: Duration::from_secs(10),
    };
    let transport = Arc::clone(&api) as Arc<dyn Transport>;
    let restricted = Restricted::new(lwa, vec![InjectHeader::XAmzAccessToken], transport);
    let tasks = Tasks::new(Handle::current());
    Bench {
        api,
        batches: Arc::new(Batches::new(Arc::new(restricted), tasks, Events::default())),
    }
}

fn order(n: usize) -> Resource {
    let tenant = Tenant {
        id: TenantId::parse("acme").unwrap(),
        app: AppId::parse("erp").unwrap(),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: Vec::new(),
        vendor_groups: Vec::new(),
        scopes: Vec::new(),
        preflight: Preflight::Optional,
    };
    let template = Resource::generic(
        Arc::new(tenant),
        Authority::parse("a.example:443").unwrap(),
        http::Method::GET,
        "/orders/v0/orders/{orderId}".into(),
        Arc::from(["buyerInfo".to_owned()]),
    );
    let access = AccessToken::new(&Zeroizing::new("Atza|x".to_owned())).unwrap();
    template
        .at(&format!("/orders/v0/orders/{n}"))
        .with_access(access)
}

impl Bench {
    async fn ask(&self, orders: std::ops::Range<usize>) -> JoinSet<Result<Issued, Cause>> {
        let mut callers = JoinSet::new();
        for n in orders {
            let batches = Arc::clone(&self.batches);
            callers.spawn(async move { batches.one(order(n)).await });
            tokio::task::yield_now().await;
        }
        callers
    }

    fn sizes(&self) -> Vec<usize> {
        self.api
            .calls
            .lock()
            .unwrap()
            .iter()
            .map(Vec::len)
            .collect()
    }

    fn nothing_is_left(&self) -> bool {
        self.batches.desk.queues().is_empty()
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_call_is_under_way_shares_the_next_up_to_fifty_paths() {
    let bench = bench(TokensApi::default());
    let callers = bench.ask(0..121).await;
    let answers = callers.join_all().await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(bench.sizes(), [1, 50, 50, 20]);
    assert!(bench.nothing_is_left());
}

#[tokio::test(start_paused = true)]
async fn many_callers_of_one_path_ask_for_it_once() {
    let bench = bench(TokensApi::default());
    let first = bench.ask(0..1).await;
    let mut same = JoinSet::new();
    for _ in 0..200 {
        let batches = Arc::clone(&bench.batches);
        same.spawn(async move { batches.one(order(7)).await });
    }
    assert!(first.join_all().await.iter().all(Result::is_ok));
    assert!(same.join_all().await.iter().all(Result::is_ok));
    assert_eq!(bench.sizes(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_is_not_asked_for_and_ends_no_call() {
    let bench = bench(TokensApi::default());
    let first = bench.ask(0..1).await;
    let leaving = bench.ask(100..130).await;
    let staying = bench.ask(1..4).await;
    drop((first, leaving));
    assert!(staying.join_all().await.iter().all(Result::is_ok));
    assert_eq!(bench.sizes(), [1, 3]);
    assert!(bench.nothing_is_left());
}

#[tokio::test(start_paused = true)]
async fn one_path_that_is_refused_costs_the_others_nothing_but_time() {
    let bench = bench(TokensApi {
        bad_path: Some("/orders/v0/orders/23"),
        ..TokensApi::default()
    });
    let answers = bench.ask(0..50).await.join_all().await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 1);
    let calls = bench.sizes().len();
    assert!(calls <= 2 + 2 * 6, "{:?}", bench.sizes());
    assert!(bench.nothing_is_left());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_want_of_a_role_is_not_asked_in_parts() {
    let bench = bench(TokensApi {
        lacks_roles: true,
        ..TokensApi::default()
    });
    let answers = bench.ask(0..40).await.join_all().await;
    let refused =
        |answer: &Result<Issued, Cause>| matches!(answer, Err(Cause::RestrictedRefused(400)));
    assert!(answers.iter().all(refused));
    assert_eq!(bench.sizes(), [1, 39]);
}

#[tokio::test(start_paused = true)]
async fn a_shared_token_is_destroyed_with_the_last_of_its_callers() {
    let bench = bench(TokensApi::default());
    let mut answers = bench.ask(0..30).await.join_all().await;
    let last = answers.pop().unwrap().unwrap();
    let text = last.token.expose().to_owned();
    drop(answers);
    assert!(!graveyard::holds(&text));
    drop(last);
    assert!(graveyard::holds(&text), "nothing else holds it");
}
