//! `health`: for a container's health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Complaint, ConfigArg, Exit, load, run};

/// Longest wait for the sidecar's answer.
const BOUND: Duration = Duration::from_secs(5);

/// Ask the running sidecar whether it is ready, as a container's health check does.
///
/// Exit code 0 when it is, 1 when it is not or does not answer.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  spapi-sidecar health --config proxy.yaml && echo ready")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is not valid.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let config = load(&args.config.config)?;
    let url = format!("http://{}/health/ready", reachable(config.listen.admin));
    let answer = run::control_runtime(1)?.block_on(ask(&url));
    let (text, exit) = match answer {
        Ok((200, _)) => ("ready".to_owned(), Exit::Done),
        Ok((status, body)) => (format!("not ready ({status}): {body}"), Exit::Failed),
        Err(error) => {
            let cause = root_cause(&error);
            (
                format!(
                    "no answer from {url}: {cause}; is `spapi-sidecar run` up with this configuration?"
                ),
                Exit::Failed,
            )
        }
    };
    super::print(format!("{text}\n"))?;
    Ok(exit)
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
