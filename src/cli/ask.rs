//! Asking a running sidecar's admin listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Complaint, run};
use crate::config::Config;

/// Longest wait for the sidecar's answer.
const BOUND: Duration = Duration::from_secs(5);

/// Status and body of a GET, or the words of what went wrong.
pub(super) fn get(config: &Config, path: &str) -> Result<Result<(u16, String), String>, Complaint> {
    let url = format!("http://{}{path}", reachable(config.listen.admin));
    let answer = run::control_runtime(1)?.block_on(ask(&url));
    Ok(answer.map_err(|error| {
        format!(
            "no answer from {url}: {}; is `spapi-sidecar run` up with this configuration?",
            root_cause(&error)
        )
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

async fn ask(url: &str) -> Result<(u16, String), reqwest::Error> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(BOUND)
        .build()?;
    let response = client.get(url).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
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
