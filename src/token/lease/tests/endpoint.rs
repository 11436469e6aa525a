//! A token endpoint that counts, rotates refresh tokens, and fails as it is told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::token::exchange::{Answer, Post, Transport};

/// What an exchange takes.
const EXCHANGE: Duration = Duration::from_millis(200);

/// A token endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) expires_in: AtomicU64,
    /// Whether every exchange replaces the refresh token.
    pub(super) rotates: AtomicBool,
    pub(super) down: AtomicBool,
    /// Exchanges that are never answered from now on.
    pub(super) swallows: AtomicUsize,
    /// How long an answer takes.
    pub(super) takes: Mutex<Duration>,
    pub(super) seen: Mutex<Seen>,
}

/// What an endpoint saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When, since the world began, and for whom.
    pub(super) exchanges: Vec<(Duration, String)>,
    /// When each token that was issued ends.
    pub(super) ends: HashMap<String, Instant>,
    /// The newest refresh token of each tenant that was given one.
    pub(super) newest: HashMap<String, String>,
    spent: HashSet<String>,
    /// Refresh tokens that were used again after they had been replaced.
    pub(super) reused: usize,
    began: Option<Instant>,
}

impl Endpoint {
    pub(super) fn new() -> Self {
        Self {
            expires_in: AtomicU64::new(3600),
            rotates: AtomicBool::default(),
            down: AtomicBool::default(),
            swallows: AtomicUsize::default(),
            takes: Mutex::new(EXCHANGE),
            seen: Mutex::default(),
        }
    }
}

impl Transport for Endpoint {
    fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let form: BTreeMap<String, String> = url::form_urlencoded::parse(&post.body)
                .into_owned()
                .collect();
            let refresh = form["refresh_token"].clone();
            let tenant = refresh.split('|').nth(1).unwrap().to_owned();
            {
                let mut seen = self.seen.lock().unwrap();
                let began = *seen.began.get_or_insert_with(Instant::now);
                seen.exchanges.push((began.elapsed(), tenant.clone()));
            }
            if self.swallows.load(Ordering::Relaxed) > 0 {
                self.swallows.fetch_sub(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            }
            let takes = *self.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            if self.down.load(Ordering::Relaxed) {
                return Err("down".to_owned());
            }
            let mut seen = self.seen.lock().unwrap();
            if seen.spent.contains(&refresh) {
                seen.reused += 1;
                return Ok(Answer {
                    status: 400,
                    date: None,
                    body: br#"{"error":"invalid_grant"}"#[..].into(),
                });
            }
            let number = seen.ends.len();
            let next = if self.rotates.load(Ordering::Relaxed) {
                seen.spent.insert(refresh);
                let next = format!("Atzr|{tenant}|{number}");
                seen.newest.insert(tenant.clone(), next.clone());
                next
            } else {
                refresh
            };
            let expires_in = self.expires_in.load(Ordering::Relaxed);
            let token = format!("Atza|{tenant}|{number}");
            // the life begins when LWA answers, and clients count from when they asked
            seen.ends.insert(
                token.clone(),
                Instant::now() + Duration::from_secs(expires_in),
            );
            let body = serde_json::json!({"access_token": token, "refresh_token": next, "token_type": "bearer", "expires_in": expires_in});
            Ok(Answer {
                status: 200,
                date: None,
                body: body.to_string().into(),
            })
        })
    }
}
