//! Notices to somebody else's server, signed.
//!
//! Job: post each notice as JSON, in order, again and again for a while; what cannot be delivered becomes a dead letter.
//! Invariants: the secret is read for each notice, so that it can be rotated without a restart, and is nowhere but in the
//! signature; a notice never overtakes another; at the end what waits is tried once more and then becomes a dead letter.
//! Failure mode: the dead letter, with the number of attempts and the last error.
//! Source: CONTRACT section 4, Alerts; RFC 2104 (HMAC).

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Notice;
use crate::telemetry;

/// The field that carries the signature: `t=UNIX,v1=HEX`.
pub const SIGNATURE_FIELD: &str = "x-spapi-sidecar-signature";

/// Most notices that wait: a bad hour of a large installation.
pub const MOST_WAITING: usize = 1_000;

/// Largest secret, in bytes.
const SECRET_BYTES: u64 = 4 << 10;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("alerts.webhook.secret_file: {} cannot be read: {error}; write the secret there, mode 0600", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the file system says.
        error: std::io::Error,
    },
    /// Others may read it.
    #[error("alerts.webhook.secret_file: {} can be read by everybody (mode {mode:o}); `chmod o= {}`", path.display(), path.display())]
    Loose {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is nothing in it.
    #[error("alerts.webhook.secret_file: {} is empty; write a long random text there", .0.display())]
    Empty(PathBuf),
}

/// Reads the secret of a webhook. A line end behind it does not count.
///
/// # Errors
/// When it cannot be read, others than its owner and group may read it, or it is empty.
pub fn secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let unreadable = |error| SecretError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    // the group may: Kubernetes hands secrets to a container's user by it (fsGroup)
    if mode & 0o007 != 0 {
        return Err(SecretError::Loose {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(SECRET_BYTES).unwrap_or(0),
    ));
    file.take(SECRET_BYTES)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    while bytes
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(SecretError::Empty(path.to_owned()));
    }
    Ok(bytes)
}

/// The signature of a body at a time.
#[must_use]
pub fn signature(secret: &[u8], at: SystemTime, body: &[u8]) -> String {
    use std::fmt::Write as _;
    let unix = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{unix}.").as_bytes());
    signed.update(body);
    let mut text = format!("t={unix},v1=");
    for byte in signed.sign().as_ref() {
        // writing to a String cannot fail
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// The body of a notice.
#[must_use]
pub fn body(notice: &Notice) -> Vec<u8> {
    #[derive(Serialize)]
    struct Wire<'a> {
        alert: &'a str,
        subject: &'a str,
        state: &'a str,
        since: String,
        detail: &'a str,
        runbook: String,
    }
    let alert = &notice.alert;
    let wire = Wire {
        alert: alert.kind.as_str(),
        subject: &alert.subject,
        state: notice.turn.as_str(),
        since: humantime::format_rfc3339_seconds(alert.since).to_string(),
        detail: &alert.detail,
        runbook: alert.kind.runbook(),
    };
    // strings alone: there is nothing that could not be written
    serde_json::to_vec(&wire).unwrap_or_default()
}

/// A notice on its way.
#[derive(Debug)]
pub struct Letter {
    /// What it says.
    pub notice: Notice,
    /// Since when it waits.
    pub written: Instant,
}

/// What a post comes to: a status, or the words of what went wrong.
pub type Posting<'a> = Pin<Box<dyn Future<Output = Result<u16, String>> + Send + 'a>>;

/// Posts a body with its signature to the one place that the configuration names.
pub trait Carrier: Send + Sync + fmt::Debug {
    /// Posts once, within a bound of its own. Errors describe the connection, never what was sent.
    fn post(&self, body: Vec<u8>, signature: String) -> Posting<'_>;
}

/// How long delivery is tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// First pause after a failure; each is twice the one before.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// How old a notice becomes before it is given up.
    pub in_all: Duration,
}

impl Default for Patience {
    /// A restart or a deploy of the receiver is waited out; what is older than a quarter of an hour wakes nobody up in time.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_mins(1),
            in_all: Duration::from_mins(15),
        }
    }
}

/// Takes a notice that nobody could be told of, the number of attempts, and the last error.
pub type DeadLetters = Box<dyn Fn(&Notice, u32, &str) + Send + Sync>;

/// Delivers notices.
pub struct Courier {
    /// The way.
    pub carrier: Arc<dyn Carrier>,
    /// Where the secret is.
    pub secret_file: PathBuf,
    /// How long it tries.
    pub patience: Patience,
    /// What becomes of the rest.
    pub dead_letters: DeadLetters,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Courier {
    /// Delivers what comes, until `stop`; then what waits is tried once, as long as that succeeds.
    pub async fn run(self, mut letters: mpsc::Receiver<Letter>, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let (mut stopping, mut is_away) = (false, false);
        loop {
            let letter = tokio::select! {
                biased;
                letter = letters.recv() => letter,
                () = stop.as_mut(), if !stopping => {
                    stopping = true;
                    letters.close();
                    continue;
                }
            };
            let Some(Letter { notice, written }) = letter else {
                return;
            };
            let tries = AtomicU32::new(0);
            let in_time = if stopping {
                None
            } else {
                tokio::select! {
                    delivered = self.deliver(&notice, written, &tries) => Some(delivered),
                    () = stop.as_mut() => None,
                }
            };
            let delivered = match in_time {
                Some(delivered) => delivered,
                None if is_away => Err("the sidecar has ended".to_owned()),
                None => {
                    stopping = true;
                    letters.close();
                    tries.fetch_add(1, Ordering::Relaxed);
                    self.once(&notice).await
                }
            };
            if let Err(error) = delivered {
                is_away = stopping;
                (self.dead_letters)(&notice, tries.load(Ordering::Relaxed), &error);
            }
        }
    }

    /// Tries until it is delivered or too old.
    async fn deliver(
        &self,
        notice: &Notice,
        written: Instant,
        tries: &AtomicU32,
    ) -> Result<(), String> {
        let mut pause = self.patience.first;
        loop {
            let attempt = tries.fetch_add(1, Ordering::Relaxed) + 1;
            let Err(error) = self.once(notice).await else {
                return Ok(());
            };
            let name = notice.alert.kind.as_str();
            tracing::warn!(notice = name, attempt, error, "a notice was not delivered");
            if written.elapsed() + pause > self.patience.in_all {
                return Err(error);
            }
            // jitter, so that a fleet does not come back as one
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(self.patience.longest);
        }
    }

    async fn once(&self, notice: &Notice) -> Result<(), String> {
        let body = body(notice);
        let signature = {
            let secret = secret(&self.secret_file).map_err(|error| error.to_string())?;
            signature(&secret, telemetry::now(), &body)
        };
        match self.carrier.post(body, signature).await? {
            200..=299 => Ok(()),
            status => Err(format!("the webhook answered {status}")),
        }
    }
}

#[cfg(test)]
mod tests;
