//! Where lines go: a buffer that request paths append to, and a thread that writes it out.

use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes that wait for a stalled output; beyond it lines are dropped and counted.
const BACKLOG_BYTES: usize = 8 << 20;

/// How long lines gather before one write; short enough for a person who follows the log.
const GATHER: Duration = Duration::from_millis(20);

/// Largest line buffer that a thread keeps for its next line, in bytes: more than a usual line has.
const LINE_BYTES: usize = 4 << 10;

thread_local! {
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A line sink. Cloning shares it.
#[derive(Clone)]
pub struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    idle: bool,
    writing: bool,
    hurry: bool,
}

impl Sink {
    /// Starts a writer thread over `output`.
    #[must_use]
    pub fn new(output: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let started = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || theirs.write_out(output));
        if started.is_err() {
            // no thread, no log: lines are counted as lost once the backlog is full
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        Self(shared)
    }

    /// A sink that discards.
    #[must_use]
    pub fn discard() -> Self {
        Self::new(std::io::sink())
    }

    /// Appends one line; `fill` writes it, without the newline. Never blocks on output.
    pub fn line(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        // taken, not borrowed: a thread that ends may have lost its buffer before its last line
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        // written before the lock is taken: the cores meet in it
        fill(&mut line);
        line.push(b'\n');
        self.append(&line);
        if line.capacity() <= LINE_BYTES {
            line.clear();
            let _ended = LINE.try_with(|kept| kept.set(line));
        }
    }

    fn append(&self, line: &[u8]) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.len() > BACKLOG_BYTES {
            drop(state);
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        let wake = std::mem::replace(&mut state.idle, false);
        drop(state);
        if wake {
            self.0.wake.notify_one();
        }
    }

    /// Waits, at most two seconds, until everything appended so far is written.
    pub fn flush(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.hurry = true;
        self.0.wake.notify_one();
        let _late = self
            .0
            .written
            .wait_timeout_while(state, Duration::from_secs(2), |state| {
                state.writing || !state.waiting.is_empty()
            })
            .map(drop);
    }

    /// Lines dropped since the start because the output stalled.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn write_out(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.writing = false;
            self.written.notify_all();
            while state.waiting.is_empty() {
                state.idle = true;
                state.hurry = false;
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            state.idle = false;
            if !state.hurry {
                drop(state);
                std::thread::sleep(GATHER);
                state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut batch, &mut state.waiting);
            state.writing = true;
            drop(state);
            // an output that is gone (closed pipe) is no reason to stop serving
            let _gone = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            batch.shrink_to(1 << 20);
        }
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_appended_is_written_by_the_end_of_a_flush() {
        let kept = Kept::default();
        let sink = Sink::new(kept.clone());
        for n in 0..100 {
            sink.line(|line| line.extend_from_slice(format!("line {n}").as_bytes()));
        }
        sink.flush();
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.ends_with("line 99\n"));
    }
}
