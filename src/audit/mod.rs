//! Who read what kind of data for which seller: a hash-chained file that outlives a crash.
//!
//! Job: bring the line of a call that can return personal data to disk before the call leaves ([`Audit::before_call`], [`Pending::on_disk`]); write
//! what else has to be accounted for (refusals, exchanges, states, break-glass, reloads, starts and stops) as it happens.
//! Invariants: a call that has to be audited and cannot be does not leave; every other call goes on, whatever the disk does;
//! observed lines never block, and those that are lost are counted in a line of their own; many callers share one wait for the
//! disk; the file recovers by itself. A call that is not audited costs a comparison.
//! Failure mode: [`Unavailable`], with log, event and alert; back within [`writer::RETRY`] of the disk's return.
//! Form of the file: [`chain`]. Names of the files: [`files`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config;
use crate::telemetry;
use crate::telemetry::event::{Event, Events, Observer};

pub mod chain;
pub mod files;
pub mod journal;
pub mod line;
mod queue;
pub mod verify;
mod writer;

use chain::Link;
pub use line::{Call, Text};
use queue::Queue;

/// Longest that a call waits for the disk: above the worst that a busy disk takes, below what makes clients give up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest that the end waits for the last lines.
const CLOSING: Duration = Duration::from_secs(2);

/// The line of a call cannot be brought to disk now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the audit cannot be written ({cause})")]
pub struct Unavailable {
    /// One constant word.
    pub cause: &'static str,
}

/// What is known of the audit now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The file; `None` before one could be opened.
    pub path: Option<PathBuf>,
    /// Why it cannot be written, where it cannot.
    pub unavailable: Option<&'static str>,
    /// The last line on disk.
    pub last: Link,
    /// Lines lost since the start.
    pub lost: u64,
    /// Calls that were refused since the start because their line could not be written.
    pub refused: u64,
    /// How often the disk was waited for.
    pub syncs: u64,
}

/// The audit of this process. Clones write the same file.
#[derive(Clone, Debug)]
pub struct Audit {
    queue: Arc<Queue>,
    events: Events,
}

impl Audit {
    /// Opens the file, or keeps trying to, and starts the thread that writes it. It starts without the file too, and says so.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(config: &config::Audit, events: &Events) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer = writer::Writer::new(config.places(), events.clone(), Arc::clone(&queue));
        writer.start()?;
        Ok(Self {
            queue,
            events: events.clone(),
        })
    }

    /// Hands the line of a call to the writer. The call may leave once it is [on disk](Pending::on_disk).
    ///
    /// # Errors
    /// When it cannot be written now.
    pub fn before_call(&self, call: &Call<'_>) -> Result<Pending<'_>, Unavailable> {
        let written = self.queue.push_and_tell(telemetry::now(), call.text())?;
        Ok(Pending {
            audit: self,
            written,
        })
    }

    /// Writes a line in its turn. Never waits.
    pub fn note(&self, text: Text) {
        self.queue.push(telemetry::now(), text);
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        self.queue.state()
    }

    /// Writes what waits and a last line, and lets go of the file; waits at most [`CLOSING`].
    pub async fn close(&self) {
        self.note(Text::stopped());
        let ended = self.queue.close();
        // a disk that hangs is no reason to hang with it; the chain goes on at the next start
        let _late = tokio::time::timeout(CLOSING, ended).await;
    }
}

/// A line on its way to the disk.
#[derive(Debug)]
pub struct Pending<'a> {
    audit: &'a Audit,
    written: oneshot::Receiver<Result<(), Unavailable>>,
}

impl Pending<'_> {
    /// Waits until the line is on disk.
    ///
    /// # Errors
    /// When it is not within the bound, or cannot be.
    pub async fn on_disk(self) -> Result<(), Unavailable> {
        let queue = &self.audit.queue;
        match tokio::time::timeout(PATIENCE, self.written).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_gone)) => Err(queue.refused("ended")),
            Err(_elapsed) => {
                let unavailable = queue.refused(queue::STALLED);
                if queue.stalls() {
                    tracing::error!(
                        bound_s = PATIENCE.as_secs(),
                        "the audit's disk does not answer; calls that have to be audited are refused until it does"
                    );
                    let cause = Some(unavailable.cause);
                    self.audit.events.note(&Event::Audit { cause });
                }
                Err(unavailable)
            }
        }
    }
}

impl Observer for Audit {
    fn note(&self, event: &Event<'_>) {
        if let Some(text) = line::of(event) {
            self.queue.push(telemetry::now(), text);
        }
    }
}

/// The file that `audit verify` looks at where none is named: the first place that there is.
#[must_use]
pub fn existing(config: &config::Audit) -> PathBuf {
    let there = config.places().into_iter().find(|path| path.exists());
    there.unwrap_or_else(|| config.path.clone())
}

/// Makes the folder of the file, where it can: before the process gives up the right to.
pub fn make_folder(config: &config::Audit) {
    if let Err(error) = journal::make_folder(&config.path) {
        tracing::debug!(%error, "the folder of the audit could not be made");
    }
}
