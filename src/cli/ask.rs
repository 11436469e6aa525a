//! Asking a running sidecar's admin listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Complaint, Exit, run};
use crate::admin::token;
use crate::config::Config;

/// Longest wait for the sidecar's answer: an action of its waits 8 s for the store.
const BOUND: Duration = Duration::from_secs(15);

/// No answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    /// Nobody listens there.
    NotRunning(String),
    /// Somebody does, and does not answer.
    Lost(String),
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::NotRunning(text) | Self::Lost(text)) = self;
        f.write_str(text)
    }
}

/// Status and body of a GET, or the words of what went wrong.
pub(super) fn get(
    config: &Config,
    path: &str,
) -> Result<Result<(u16, String), Silence>, Complaint> {
    let url = url(config, path);
    let asked = ask(&url, |client| client.get(&url));
    run::control_runtime(1)?.block_on(asked)
}

/// Status and body of an action. Where the admin token cannot be read, that is the complaint, unless nobody listens anyway.
pub(super) fn post(
    config: &Config,
    path: &str,
    body: &Value,
) -> Result<Result<(u16, Value), Silence>, Complaint> {
    let url = url(config, path);
    let token = match token::read(&config.listen.admin_token_file) {
        Ok(token) => token,
        Err(error) => {
            return match get(config, "/health/live")? {
                Err(silence @ Silence::NotRunning(_)) => Ok(Err(silence)),
                Err(Silence::Lost(_)) | Ok(_) => Err(Complaint(format!(
                    "{error}; a sidecar runs here, and its actions need that token: run this as the sidecar's user"
                ))),
            };
        }
    };
    let bearer = Zeroizing::new(format!("Bearer {}", *token));
    let mut bearer = HeaderValue::from_str(&bearer)
        .map_err(|_unsendable| Complaint("the admin token cannot be sent".to_owned()))?;
    bearer.set_sensitive(true);
    let asked = ask(&url, |client| {
        client
            .post(&url)
            .header(AUTHORIZATION, bearer)
            .body(body.to_string())
    });
    let answer = run::control_runtime(1)?.block_on(asked)?;
    Ok(answer.map(|(status, text)| {
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, body)
    }))
}

/// Prints the errors of an answer that is no success.
pub(super) fn failed(status: u16, body: &Value) -> Exit {
    let errors = body.get("errors").and_then(Value::as_array);
    let mut text = String::new();
    for error in errors.into_iter().flatten() {
        let word = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!(
            "error: {}\n{}\n",
            word("message"),
            word("details")
        ));
    }
    if text.is_empty() {
        text = format!("error: the sidecar answered {status}\n");
    }
    super::note(&text);
    Exit::Failed
}

fn url(config: &Config, path: &str) -> String {
    format!("http://{}{path}", reachable(config.listen.admin))
}

async fn ask(
    url: &str,
    request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
) -> Result<Result<(u16, String), Silence>, Complaint> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(BOUND)
        .build()
        .map_err(|error| Complaint::while_doing("no HTTP client", error))?;
    let answer = async {
        let response = request(&client).send().await?;
        Ok::<_, reqwest::Error>((response.status().as_u16(), response.text().await?))
    };
    Ok(answer.await.map_err(|error| {
        let text = format!(
            "no answer from {url}: {}; is `spapi-sidecar run` up with this configuration?",
            root_cause(&error)
        );
        if error.is_connect() {
            Silence::NotRunning(text)
        } else {
            Silence::Lost(text)
        }
    }))
}

/// The innermost error: what wraps it repeats the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Where a listener on this machine is reached: an unspecified address is not one to call.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}
