//! The one way to spawn.
//!
//! Job: every task has a name and an owner, so that the drain can wait for it and say what is left.
//! Invariants: nothing else calls `tokio::spawn`; the stop signal reaches every task that asks for it; work that has to
//! outlive its caller (an exchange, a store read) runs on the control runtime, never on a connection's core.
//! Failure mode: at the deadline [`Tasks::drain`] returns the names of what is still running, and the cores drop it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks, counts them by name, tells them to stop.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
    names: Mutex<BTreeMap<&'static str, usize>>,
}

impl Tasks {
    /// `control` is the runtime for work that belongs to no connection.
    #[must_use]
    pub fn new(control: Handle) -> Self {
        Self(Arc::new(Inner {
            control,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            names: Mutex::default(),
        }))
    }

    /// Spawns on the runtime that calls: a connection stays on its core.
    pub fn here<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let named = self.named(name);
        // `map`, not an async block: a block would hold the future twice over, as captured and as awaited
        let future = future.map(move |output| {
            drop(named);
            output
        });
        #[expect(clippy::disallowed_methods, reason = "this is the tracker")]
        tokio::spawn(self.0.tracker.track_future(future))
    }

    /// Spawns on the control runtime: the task outlives whoever waits for it.
    pub fn control<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let named = self.named(name);
        // `map`, not an async block: a block would hold the future twice over, as captured and as awaited
        let future = future.map(move |output| {
            drop(named);
            output
        });
        self.0.control.spawn(self.0.tracker.track_future(future))
    }

    /// Completes when a drain begins.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.stop.clone().cancelled_owned()
    }

    /// Whether a drain has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Completes when every task of a drain has ended, or its grace is over. Never before [`Tasks::drain`] was called.
    pub async fn finished(&self) {
        tokio::select! {
            () = self.0.tracker.wait() => {}
            () = self.0.cut.cancelled() => {}
        }
    }

    /// Tells every task to stop without waiting for any.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Tells every task to stop and waits, at most `grace`. Returns what is left, by name.
    pub async fn drain(&self, grace: Duration) -> BTreeMap<&'static str, usize> {
        self.0.stop.cancel();
        self.0.tracker.close();
        let _late = tokio::time::timeout(grace, self.0.tracker.wait()).await;
        let left = self.running();
        self.0.cut.cancel();
        left
    }

    /// How many tasks of each name are running.
    #[must_use]
    pub fn running(&self) -> BTreeMap<&'static str, usize> {
        self.0
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn named(&self, name: &'static str) -> Named {
        *self
            .0
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name)
            .or_default() += 1;
        Named {
            name,
            inner: Arc::clone(&self.0),
        }
    }
}

/// Takes a task's name off the list when the task ends, however it ends.
struct Named {
    name: &'static str,
    inner: Arc<Inner>,
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut names = self
            .inner
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
    }
}

/// Lets hyper spawn its HTTP/2 streams on the core that owns the connection.
#[derive(Clone, Debug)]
pub struct Executor(pub Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        #[expect(
            clippy::disallowed_methods,
            reason = "tracked, but not by name: this is once a stream"
        )]
        // boxed, because on its way into the runtime and out of it a task's future is copied eight times
        drop(tokio::spawn(
            self.0.0.tracker.track_future(Box::pin(future)),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_names_what_does_not_end_in_time() {
        let tasks = Tasks::new(Handle::current());
        let _stuck = tasks.here("stuck", std::future::pending::<()>());
        let stop = tasks.stopping();
        let _polite = tasks.here("polite", stop);
        let left = tasks.drain(Duration::from_secs(1)).await;
        assert_eq!(left, BTreeMap::from([("stuck", 1)]));
    }
}
