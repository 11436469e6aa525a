//! The thread that writes.
//!
//! Job: open the journal, write batches, say when it cannot and when it can again.
//! Invariants: one thread a process; after an error the file is opened anew, so that nothing is believed of a disk that failed;
//! after an outage calls go on only once a line is on disk that tells of it.
//! Failure mode: it tries again every [`RETRY`], for as long as the process lives.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::journal::{FILE_BYTES, Journal, JournalError, Waiting};
use super::line::Text;
use super::queue::{Entry, Queue};
use crate::telemetry;
use crate::telemetry::event::{Event, Events};

/// Pause between two attempts to open or write a file that could not be.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// Longest that the head may be behind on disk while lines never pause.
const HEAD_BEHIND: Duration = Duration::from_secs(1);

/// How often the place in the chain goes to the log: whoever keeps logs elsewhere can hold it against the file.
const ANCHOR: Duration = Duration::from_hours(1);

/// Writes what the queue holds.
pub(super) struct Writer {
    places: Vec<PathBuf>,
    limit: u64,
    events: Events,
    queue: Arc<Queue>,
    journal: Option<Journal>,
    /// Since when it cannot write, and why.
    down: Option<(Instant, &'static str)>,
    is_first_attempt: bool,
    marked: Instant,
    anchored: Instant,
}

impl Writer {
    pub(super) fn new(places: Vec<PathBuf>, events: Events, queue: Arc<Queue>) -> Self {
        let now = Instant::now();
        Self {
            places,
            limit: FILE_BYTES,
            events,
            queue,
            journal: None,
            down: None,
            is_first_attempt: true,
            marked: now,
            anchored: now,
        }
    }

    /// Opens the file, so that its state is known when this returns, and leaves the rest to a thread.
    pub(super) fn start(mut self) -> std::io::Result<()> {
        self.open();
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        loop {
            let closed = self.queue.wait(self.journal.is_none().then_some(RETRY));
            self.turn();
            // at the end an outage is not waited out
            if closed && (self.journal.is_none() || !self.queue.has_lines()) {
                break;
            }
        }
        self.mark(true);
        if let Some(journal) = self.journal.take() {
            anchor(&journal);
        }
        self.queue.ended();
    }

    /// One attempt to open what is not open, and one batch.
    fn turn(&mut self) {
        if self.journal.is_none() {
            self.open();
        }
        let Some(journal) = &mut self.journal else {
            return;
        };
        let (batch, lost) = self.queue.batch();
        let refused = self.queue.take_refused();
        let own = own_lines(self.down, lost, refused);
        if batch.is_empty() && own.is_empty() {
            return;
        }
        let now = telemetry::now();
        let lines: Vec<Waiting<'_>> = waiting(&own, &batch, now).collect();
        match journal.append(&lines) {
            Ok(()) => self.wrote(batch),
            Err(error) => {
                self.journal = None;
                self.queue.not_written(batch, lost, refused, error.cause());
                self.failed(&error);
            }
        }
    }

    fn wrote(&mut self, batch: Vec<Entry>) {
        let Some(journal) = &self.journal else {
            return;
        };
        let more = self.queue.written(batch, journal.link());
        let is_news = self.queue.available(journal.path());
        if self.down.take().is_some() || is_news {
            tracing::info!(path = %journal.path().display(), "the audit can be written again");
            self.events.note(&Event::Audit { cause: None });
        }
        if self.anchored.elapsed() >= ANCHOR {
            anchor(journal);
            self.anchored = Instant::now();
        }
        let on_disk = !more || self.marked.elapsed() >= HEAD_BEHIND;
        self.mark(on_disk);
    }

    fn mark(&mut self, on_disk: bool) {
        let Some(journal) = &self.journal else {
            return;
        };
        if let Err(error) = journal.mark(on_disk) {
            // the lines are there; a cut at their end would go unseen
            tracing::warn!(%error, path = %journal.path().display(), "the head of the audit could not be written");
        }
        if on_disk {
            self.marked = Instant::now();
        }
    }

    /// Tries the places in their order; the next one only where one is not for us.
    fn open(&mut self) {
        let make_folder = std::mem::replace(&mut self.is_first_attempt, false);
        let mut passed_over = None;
        for place in &self.places {
            match Journal::open(place, self.limit, make_folder) {
                Ok(journal) => {
                    if let Some(error) = passed_over {
                        tracing::warn!(%error, path = %place.display(), "the audit goes to the working folder: the usual place is not for this sidecar, and `audit.path` names none");
                    }
                    self.opened(journal);
                    return;
                }
                Err(error) => {
                    let ours = !error.is_not_for_us();
                    // the first is the one that was wanted
                    passed_over.get_or_insert(error);
                    if ours {
                        break;
                    }
                }
            }
        }
        if let Some(error) = passed_over {
            self.failed(&error);
        }
    }

    fn opened(&mut self, journal: Journal) {
        for text in journal.found() {
            tracing::warn!(path = %journal.path().display(), line = text.as_str(), "the audit was not as it was left");
        }
        anchor(&journal);
        if self.down.is_none() {
            let _news = self.queue.available(journal.path());
        }
        self.journal = Some(journal);
    }

    fn failed(&mut self, error: &JournalError) {
        let cause = error.cause();
        self.queue.not_written(Vec::new(), 0, 0, cause);
        if self.down.is_some() {
            return;
        }
        self.down = Some((Instant::now(), cause));
        tracing::error!(%error, cause, "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room");
        self.events.note(&Event::Audit { cause: Some(cause) });
    }
}

/// The lines that tell of what the audit itself went through.
fn own_lines(down: Option<(Instant, &'static str)>, lost: u64, refused: u64) -> Vec<Text> {
    let mut own = Vec::new();
    if let Some((since, cause)) = down {
        own.push(Text::resumed(since.elapsed(), cause, refused));
    } else if refused > 0 {
        own.push(Text::refused(refused));
    }
    if lost > 0 {
        own.push(Text::dropped(lost));
    }
    own
}

fn waiting<'a>(
    own: &'a [Text],
    batch: &'a [Entry],
    now: SystemTime,
) -> impl Iterator<Item = Waiting<'a>> {
    let own = own.iter().map(move |text| Waiting {
        at: now,
        text: text.as_str(),
    });
    own.chain(batch.iter().map(|entry| Waiting {
        at: entry.at,
        text: entry.text.as_str(),
    }))
}

fn anchor(journal: &Journal) {
    let link = journal.link();
    tracing::info!(path = %journal.path().display(), seq = link.seq, hash = %link.hash, "where the audit stands");
}

#[cfg(test)]
mod tests;
