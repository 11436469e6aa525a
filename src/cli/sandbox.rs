//! `spapi-sidecar sandbox`: the stand-in for Amazon, until a signal ends it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Complaint, Exit};
use crate::sandbox::{Fault, Options, Sandbox};

const WORKERS: usize = 2;

const EXAMPLES: &str = r#"Example:
  spapi-sidecar sandbox --listen 127.0.0.1:9443 --dir /tmp/sandbox
  curl --cacert /tmp/sandbox/ca.pem --connect-to api.amazon.com:443:127.0.0.1:9443 \
    https://api.amazon.com/auth/o2/token -d grant_type=refresh_token \
    -d client_id=any -d client_secret=any --data-urlencode 'refresh_token=Atzr|any'

What it takes: any client id (the first secret seen for it is its secret) and any refresh token that
begins Atzr| (a selling partner of its own, with every role). About tokens it is as strict as Amazon.

On every host, besides Amazon's own paths:
  GET    /_sandbox/received?since=N   what reached it; tokens as kind and fingerprint
  GET, POST, DELETE /_sandbox/faults  JSON as for --fault; an array of them too
  POST   /_sandbox/grants             {refresh_token, selling_partner, roles, region, vendor, client_id}
  POST   /_sandbox/apps               {client_id, client_secret, old_secret}
  any    /_sandbox/{echo,sink,body/N?seed=S,status/CODE,trailers,truncate/N}

Faults: an object with exactly one of
  expire_tokens_now, revoke_grant, rotate_refresh_token, unlink_vendor_group
                         true, a selling partner's name or its refresh token's fingerprint
  revoke_scope           a role, as a name or a slug
  lapse_charge_method    true (403), 401 or 403
  expire_client_secret   true
  throttle               factor on the catalog's rates
  status                 400 to 599; details and retry_after (seconds) may go with it
  latency_ms, slow_body  milliseconds; bytes a second
  reset_connections      true or a rate
  lwa_down               refuse, hang or reset
  close_idle             requests a connection serves before the next one finds it closed
as in --fault '{"status":503,"rate":0.1,"path_prefix":"/orders"}', and any of
  rate (0 to 1), times, path_prefix, method, host (a name or *; SP-API hosts otherwise)"#;

/// Run a stand-alone SP-API, LWA and document server on loopback, with faults to switch on.
///
/// Writes the certificate of its own throw-away CA, prints what to put into proxy.yaml, and serves until SIGTERM or
/// SIGINT.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where to listen; loopback only, port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// Where ca.pem is written
    #[arg(long, value_name = "DIR", default_value = "spapi-sandbox")]
    dir: PathBuf,
    /// Life of every token
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    expires_in: u64,
    /// Life of every presigned URL
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    document_expires_in: u64,
    /// Print one line of JSON when ready: address, certificate file, and which host to connect where
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    faults: FaultArgs,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Faults from the start")]
struct FaultArgs {
    /// Any fault as JSON, several times if need be; the keys are listed below
    #[arg(long = "fault", value_name = "JSON")]
    faults: Vec<String>,
    /// Answer SP-API calls with this status, at --rate
    #[arg(long, value_name = "CODE")]
    status: Option<u16>,
    /// How often --status strikes, 0 to 1
    #[arg(long, value_name = "RATE", requires = "status")]
    rate: Option<f64>,
    /// Wait before each answer of SP-API
    #[arg(long, value_name = "MILLISECONDS")]
    latency_ms: Option<u64>,
    /// Reset the connection instead of an answer, at this rate
    #[arg(long, value_name = "RATE")]
    reset_connections: Option<f64>,
    /// Token buckets of the catalog's rates times this factor
    #[arg(long, value_name = "FACTOR", num_args = 0..=1, default_missing_value = "1")]
    throttle: Option<f64>,
    /// LWA refuses, hangs or resets
    #[arg(long, value_name = "refuse|hang|reset")]
    lwa_down: Option<String>,
    /// Pace of answers' bodies
    #[arg(long, value_name = "BYTES_PER_SECOND")]
    slow_body: Option<u64>,
    /// Close a connection under the request after so many
    #[arg(long, value_name = "REQUESTS")]
    close_idle: Option<u32>,
    /// Revoke a grant: a selling partner's name or the fingerprint of its refresh token
    #[arg(long, value_name = "WHOM")]
    revoke_grant: Option<String>,
    /// Revoke a role of every grant
    #[arg(long, value_name = "ROLE")]
    revoke_scope: Option<String>,
    /// Refuse calls as with a lapsed charge method
    #[arg(long)]
    lapse_charge_method: bool,
    /// Refuse vendor operations as with an unlinked vendor group
    #[arg(long)]
    unlink_vendor_group: bool,
}

/// Starts the sandbox and serves until a signal.
///
/// # Errors
/// When a fault cannot be read, the address cannot be bound or the certificate cannot be written.
pub fn run(args: Args) -> Result<Exit, Complaint> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Complaint::while_doing("starting the runtime", error))?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> Result<Exit, Complaint> {
    let faults = args.faults.read()?;
    // before anything is announced, so that a signal right after the announcement ends it in order
    let signals = |error| Complaint::while_doing("listening for signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let options = Options {
        listen: args.listen,
        expires_in: Duration::from_secs(args.expires_in),
        document_expires_in: Duration::from_secs(args.document_expires_in),
        faults,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options)
        .await
        .map_err(|error| Complaint::while_doing("starting the sandbox", error))?;
    let ca_file = write_ca(&args.dir, sandbox.ca_pem())?;
    announce(&sandbox, &ca_file, args.json)
        .map_err(|error| Complaint::while_doing("writing to standard output", error))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(Exit::Done)
}

fn write_ca(dir: &Path, pem: &str) -> Result<PathBuf, Complaint> {
    let file = dir.join("ca.pem");
    let failed = |error| Complaint::while_doing(&file.display().to_string(), error);
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(&file, pem).map_err(failed)?;
    std::path::absolute(&file).map_err(failed)
}

fn announce(sandbox: &Sandbox, ca_file: &Path, as_json: bool) -> io::Result<()> {
    let text = if as_json {
        let ready = json!({
            "address": sandbox.address().to_string(),
            "ca_file": ca_file,
            "connect_to": sandbox.connect_to(),
        });
        format!("{ready}\n")
    } else {
        snippet(sandbox, ca_file)
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The ready line and what goes into proxy.yaml. A path is quoted as JSON, which YAML reads too.
fn snippet(sandbox: &Sandbox, ca_file: &Path) -> String {
    let mut text = format!(
        "sandbox ready on https://{}, faults and received requests below /_sandbox/; for proxy.yaml:\n\nupstream:\n  trust: {{ ca_file: {} }}\n  connect_to:\n",
        sandbox.address(),
        json!(ca_file)
    );
    for (host, address) in sandbox.connect_to() {
        // writing to a String does not fail
        writeln!(text, "    \"{host}\": \"{address}\"").ok();
    }
    text
}

impl FaultArgs {
    fn read(&self) -> Result<Vec<Fault>, Complaint> {
        let flags = [
            self.status
                .map(|code| json!({"status": code, "rate": self.rate})),
            self.latency_ms.map(|time| json!({"latency_ms": time})),
            self.reset_connections
                .map(|rate| json!({"reset_connections": rate})),
            self.throttle.map(|factor| json!({"throttle": factor})),
            self.lwa_down.as_ref().map(|how| json!({"lwa_down": how})),
            self.slow_body.map(|pace| json!({"slow_body": pace})),
            self.close_idle.map(|most| json!({"close_idle": most})),
            self.revoke_grant
                .as_ref()
                .map(|whom| json!({"revoke_grant": whom})),
            self.revoke_scope
                .as_ref()
                .map(|role| json!({"revoke_scope": role})),
            self.lapse_charge_method
                .then(|| json!({"lapse_charge_method": true})),
            self.unlink_vendor_group
                .then(|| json!({"unlink_vendor_group": true})),
        ];
        let of_flags = flags.into_iter().flatten().map(|value: Value| {
            Fault::from_json(value).map_err(|error| Complaint(error.to_string()))
        });
        let of_json = self.faults.iter().map(|text| {
            Fault::parse(text).map_err(|error| Complaint::while_doing("--fault", error))
        });
        of_flags.chain(of_json).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn flags_and_json_become_faults_and_a_wrong_one_is_a_complaint() {
        let read = |flags: &[&str]| {
            let line = ["sandbox"].iter().chain(flags);
            Command::try_parse_from(line).unwrap().args.faults.read()
        };
        let flags = [
            "--status",
            "503",
            "--rate",
            "0.1",
            "--lwa-down",
            "hang",
            "--throttle",
            "--fault",
            r#"{"latency_ms":5}"#,
        ];
        assert_eq!(read(&flags).unwrap().len(), 4);
        assert!(read(&["--status", "200"]).is_err());
        assert!(read(&["--fault", "{}"]).is_err());
        assert!(read(&["--lwa-down", "maybe"]).is_err());
    }

    #[tokio::test]
    async fn the_snippet_names_the_certificate_and_every_host() {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let text = snippet(&sandbox, Path::new("/tmp/a b/ca.pem"));
        assert!(text.contains(r#"trust: { ca_file: "/tmp/a b/ca.pem" }"#));
        for host in crate::sandbox::HOSTS {
            assert!(text.contains(&format!("\"{host}:443\": \"{}\"", sandbox.address())));
        }
        sandbox.stop().await;
    }
}
