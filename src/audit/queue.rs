//! The lines that wait for the disk.
//!
//! Job: take lines from any thread, hand them to the writer in batches, tell callers what became of theirs.
//! Invariants: bounded; nobody waits to put a line in; a line of a call is answered exactly once; lines that are not waited for
//! survive an outage as long as there is room, and are counted when there is none.
//! Failure mode: a line that finds no room is lost and counted; a call's is refused.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::chain::Link;
use super::line::Text;
use super::{State, Unavailable};

/// Most lines that wait: some four megabytes, and seconds of everything that a busy sidecar tells.
const MOST_WAITING: usize = 10_000;

/// Most lines that share one wait for the disk.
pub(super) const BATCH: usize = 1_024;

/// The cause while a write does not return.
pub(super) const STALLED: &str = "stalled";

/// One line, and who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: SystemTime,
    pub(super) text: Text,
    done: Option<oneshot::Sender<Result<(), Unavailable>>>,
}

/// Lines that wait, and what is known of the file.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<Entry>,
    /// Lines lost since a line last said so.
    lost: u64,
    /// Calls refused since a line last said so.
    refused: u64,
    state: State,
    closing: Option<oneshot::Sender<()>>,
    closed: bool,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            lost: 0,
            refused: 0,
            state: State {
                path: None,
                unavailable: Some("not_open"),
                last: Link::START,
                lost: 0,
                refused: 0,
                syncs: 0,
            },
            closing: None,
            closed: false,
        }
    }
}

impl Inner {
    fn lose(&mut self) {
        self.lost += 1;
        self.state.lost += 1;
    }

    fn refuse(&mut self, cause: &'static str) -> Unavailable {
        self.refused += 1;
        self.state.refused += 1;
        Unavailable { cause }
    }
}

impl Queue {
    /// Puts a line in that nobody waits for.
    pub(super) fn push(&self, at: SystemTime, text: Text) {
        let mut inner = self.inner();
        if inner.waiting.len() >= MOST_WAITING || inner.closed {
            return inner.lose();
        }
        inner.waiting.push_back(Entry {
            at,
            text,
            done: None,
        });
        drop(inner);
        self.wake.notify_one();
    }

    /// Puts the line of a call in; the receiver hears when it is on disk, or that it will not be.
    pub(super) fn push_and_tell(
        &self,
        at: SystemTime,
        text: Text,
    ) -> Result<oneshot::Receiver<Result<(), Unavailable>>, Unavailable> {
        let mut inner = self.inner();
        if let Some(cause) = inner.state.unavailable {
            return Err(inner.refuse(cause));
        }
        if inner.waiting.len() >= MOST_WAITING || inner.closed {
            return Err(inner.refuse("overloaded"));
        }
        let (done, written) = oneshot::channel();
        inner.waiting.push_back(Entry {
            at,
            text,
            done: Some(done),
        });
        drop(inner);
        self.wake.notify_one();
        Ok(written)
    }

    /// Counts a call that was refused after its line was put in.
    pub(super) fn refused(&self, cause: &'static str) -> Unavailable {
        self.inner().refuse(cause)
    }

    /// Notes that a write does not return: calls are refused at once until it does. Says whether that is news.
    pub(super) fn stalls(&self) -> bool {
        let mut inner = self.inner();
        let is_news = inner.state.unavailable.is_none();
        inner.state.unavailable.get_or_insert(STALLED);
        is_news
    }

    /// What is known.
    pub(super) fn state(&self) -> State {
        self.inner().state.clone()
    }

    /// Asks the writer to write what waits and to end; the receiver hears of its end.
    pub(super) fn close(&self) -> oneshot::Receiver<()> {
        let (ended, receiver) = oneshot::channel();
        let mut inner = self.inner();
        inner.closing = Some(ended);
        inner.closed = true;
        drop(inner);
        self.wake.notify_one();
        receiver
    }

    /// Waits for lines or an end; with a pause, for its length or an end. Says whether an end is wanted.
    pub(super) fn wait(&self, pause: Option<Duration>) -> bool {
        let inner = self.inner();
        let idle = |inner: &mut Inner| inner.waiting.is_empty() && !inner.closed;
        let inner = match pause {
            None => self
                .wake
                .wait_while(inner, idle)
                .unwrap_or_else(PoisonError::into_inner),
            Some(pause) => {
                self.wake
                    .wait_timeout_while(inner, pause, |inner| !inner.closed)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        inner.closed
    }

    /// Whether a line waits.
    pub(super) fn has_lines(&self) -> bool {
        !self.inner().waiting.is_empty()
    }

    /// The next lines to write, and how many were lost before them.
    pub(super) fn batch(&self) -> (Vec<Entry>, u64) {
        let mut inner = self.inner();
        let most = inner.waiting.len().min(BATCH);
        let lost = std::mem::take(&mut inner.lost);
        (inner.waiting.drain(..most).collect(), lost)
    }

    /// A batch is on disk: its callers may go. Says whether more waits.
    pub(super) fn written(&self, batch: Vec<Entry>, last: Link) -> bool {
        let mut inner = self.inner();
        inner.state.last = last;
        inner.state.syncs += 1;
        let more = !inner.waiting.is_empty();
        drop(inner);
        for done in batch.into_iter().filter_map(|entry| entry.done) {
            // whoever gave up has counted itself as refused
            let _gone = done.send(Ok(()));
        }
        more
    }

    /// A batch is not on disk: its callers are refused, and so are those who wait; what nobody waits for is kept.
    pub(super) fn not_written(
        &self,
        batch: Vec<Entry>,
        lost: u64,
        refused: u64,
        cause: &'static str,
    ) {
        let mut inner = self.inner();
        inner.lost += lost;
        inner.refused += refused;
        inner.state.unavailable = Some(cause);
        let later = std::mem::take(&mut inner.waiting);
        let mut to_tell = Vec::new();
        for mut entry in batch.into_iter().chain(later) {
            match entry.done.take() {
                Some(done) => to_tell.push((done, inner.refuse(cause))),
                None if inner.waiting.len() < MOST_WAITING => inner.waiting.push_back(entry),
                None => inner.lose(),
            }
        }
        drop(inner);
        for (done, unavailable) in to_tell {
            let _gone = done.send(Err(unavailable));
        }
    }

    /// The file can be written. Says whether that is news.
    pub(super) fn available(&self, path: &Path) -> bool {
        let mut inner = self.inner();
        if inner.state.path.as_deref() != Some(path) {
            inner.state.path = Some(path.to_owned());
        }
        inner.state.unavailable.take().is_some()
    }

    /// How many calls were refused since this was last asked.
    pub(super) fn take_refused(&self) -> u64 {
        std::mem::take(&mut self.inner().refused)
    }

    /// The writer has ended.
    pub(super) fn ended(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.state.unavailable.get_or_insert("ended");
        let (left, ended) = (std::mem::take(&mut inner.waiting), inner.closing.take());
        drop(inner);
        drop(left);
        if let Some(ended) = ended {
            let _gone = ended.send(());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // no code of ours panics while it holds it half changed
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
