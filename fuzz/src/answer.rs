//! Whatever LWA or the Tokens API answers, it is a token of a believable life or a closed cause that quotes nothing.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use spapi_sidecar::config::{self, Account, Environment, InjectHeader, Preflight, Region, Tenant};
use spapi_sidecar::name::Authority;
use spapi_sidecar::secret::{AccessToken, Opaque};
use spapi_sidecar::store::memory::MemoryStore;
use spapi_sidecar::store::{BoxFuture, Expect, Fields, GrantStore, RecordKey};
use spapi_sidecar::task::Tasks;
use spapi_sidecar::telemetry::event::Events;
use spapi_sidecar::tenant::{AppId, GrantKind, TenantId};
use spapi_sidecar::token::cache::Fetch;
use spapi_sidecar::token::exchange::{Answer, Lwa, Post, Transport};
use spapi_sidecar::token::restricted::{Resource, Restricted};
use spapi_sidecar::token::{AccessKey, Cause, Issued};
use zeroize::Zeroizing;

const CANARY: &str = "c4n4ry-of-the-answer";
const HELD: &str = "Atzr|held";

/// One byte says who answers, one which status; `~` in the rest stands for a canary.
///
/// # Panics
/// When a token is not fit to be sent, or a failure quotes the answer.
pub fn check(data: &[u8]) {
    let [who, status, body @ ..] = data else {
        return;
    };
    let body = String::from_utf8_lossy(body).replace('~', CANARY);
    let status = match status % 8 {
        0..=2 => 200,
        3 => 400,
        4 => 401,
        5 => 403,
        6 => 429,
        _ => 100 + u16::from(*status) * 2,
    };
    let transport = Arc::new(Fixed {
        status,
        body: body.into(),
    });
    let store = Arc::new(MemoryStore::default());
    let outcome = run(async {
        fill(&store).await;
        match who % 3 {
            0 => {
                lwa(&transport, &store)
                    .fetch(&key(GrantKind::Refresh), false)
                    .await
            }
            1 => {
                let grantless = GrantKind::Grantless("sellingpartnerapi::notifications".into());
                lwa(&transport, &store).fetch(&key(grantless), true).await
            }
            _ => restricted(&transport).fetch(&resource(), false).await,
        }
    });
    judge(&outcome);
    let stored = run(store.read(&RecordKey::Grant(tenant()))).expect("memory is always there");
    let stored = stored.expect("it was put there").fields;
    let changed = stored["refresh_token"].expose() != HELD;
    // LWA may have forgotten the old one, even where it says of the new access token what is not believed
    assert!(
        !changed || (status == 200 && who % 3 == 0),
        "a refused answer changed the grant"
    );
    assert!(!stored["refresh_token"].expose().is_empty());
}

fn judge(outcome: &Result<Issued, Cause>) {
    match outcome {
        Ok(issued) => {
            assert!(!issued.token.expose().is_empty());
            let (plain, bearer) = (issued.token.expose_plain(), issued.token.expose_bearer());
            assert!(plain.is_sensitive() && bearer.is_sensitive());
            let life = issued.life.end.duration_since(issued.issued);
            assert!(
                !life.is_zero() && life <= Duration::from_hours(24),
                "{life:?}"
            );
            assert!(issued.life.due <= issued.life.end);
            assert!(!format!("{issued:?}").contains(CANARY));
        }
        Err(cause) => {
            for text in [
                cause.to_string(),
                cause.as_str().to_owned(),
                format!("{cause:?}"),
            ] {
                assert!(!text.contains(CANARY) && text.len() < 400, "{text}");
                assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text:?}");
            }
        }
    }
}

#[derive(Debug)]
struct Fixed {
    status: u16,
    body: Bytes,
}

impl Transport for Fixed {
    fn post<'a>(&'a self, _post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        let answer = Answer {
            status: self.status,
            date: None,
            body: self.body.clone(),
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn lwa(transport: &Arc<Fixed>, store: &Arc<MemoryStore>) -> Lwa {
    let (transport, store) = (Arc::clone(transport), Arc::clone(store));
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    Lwa::new(settings(), store, transport, tasks, Events::default()).expect("the address is good")
}

fn restricted(transport: &Arc<Fixed>) -> Restricted {
    let carriers = vec![InjectHeader::Authorization, InjectHeader::XAmzAccessToken];
    let transport = Arc::clone(transport);
    Restricted::new(settings(), carriers, transport)
}

fn settings() -> config::Lwa {
    config::Lwa {
        token_url: "https://api.amazon.com/auth/o2/token"
            .parse()
            .expect("a good URL"),
        refresh_at: 0.5,
        clock_skew: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
    }
}

fn tenant() -> TenantId {
    TenantId::parse("acme").expect("a good id")
}

fn app() -> AppId {
    AppId::parse("erp").expect("a good id")
}

fn profile() -> Arc<Tenant> {
    Arc::new(Tenant {
        id: tenant(),
        app: app(),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: Vec::new(),
        vendor_groups: Vec::new(),
        scopes: Vec::new(),
        preflight: Preflight::Optional,
    })
}

fn key(kind: GrantKind) -> AccessKey {
    AccessKey::new(&profile(), kind)
}

fn resource() -> Resource {
    let host = Authority::parse("sellingpartnerapi-na.amazon.com:443").expect("a good host");
    let path = "/orders/v0/orders/{orderId}/address";
    let access = AccessToken::new(&Zeroizing::new("Atza|x".to_owned())).expect("a good token");
    Resource::generic(profile(), host, Method::GET, path.into(), Vec::new().into())
        .with_access(access)
}

async fn fill(store: &MemoryStore) {
    let fields = |pairs: &[(&str, &str)]| {
        let pair =
            |(name, value): &(&str, &str)| ((*name).to_owned(), Opaque::new((*value).to_owned()));
        pairs.iter().map(pair).collect::<Fields>()
    };
    let credentials = fields(&[
        ("client_id", "id"),
        ("client_secret", "secret"),
        ("client_secret_next", "next"),
    ]);
    for (record, fields) in [
        (RecordKey::App(app()), credentials),
        (
            RecordKey::Grant(tenant()),
            fields(&[("refresh_token", HELD)]),
        ),
    ] {
        store
            .write(&record, fields, Expect::Any)
            .await
            .expect("memory takes any write");
    }
}

/// Runs a future that waits for nothing outside.
fn run<F: Future>(future: F) -> F::Output {
    static RUNTIME: Mutex<Option<tokio::runtime::Runtime>> = Mutex::new(None);
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    runtime
        .get_or_insert_with(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder
                .enable_time()
                .build()
                .expect("a runtime can be made")
        })
        .block_on(future)
}
