//! Open connections to origins that wait for their next request.
//!
//! Job: keep idle HTTP/1.1 connections and shared HTTP/2 ones by authority and version, one pool for each core.
//! Invariants: an HTTP/1.1 connection is here only between an answer that was read to its end and the next request; a request
//! that cannot be repeated is given none that has been idle for about as long as its origin was seen to leave one open.
//! Failure mode: a connection that is too old, or that its origin has closed, is dropped; whoever asked makes a new one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::time::Instant;

use super::client::Payload;
use crate::map::Map;
use crate::name::Authority;

/// Most idle connections kept for one origin on one core; more are closed as they fall idle.
const IDLE_PER_ORIGIN: usize = 256;

/// How long an idle connection is trusted: shorter than the 60 s after which common load balancers close theirs.
const IDLE_FOR: Duration = Duration::from_secs(50);

/// How long it counts that an origin closed an idle connection early. It may have been restarted, and is more patient otherwise.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Whose connection it is, and whether HTTP/2 was offered for it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub(super) to: Authority,
    pub(super) http2: bool,
}

pub(super) enum Sender<B> {
    Http1(http1::SendRequest<B>),
    /// With the number of its connection.
    Http2(u64, http2::SendRequest<B>),
}

impl<B> Sender<B> {
    pub(super) const fn serial(&self) -> Option<u64> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(serial, _) => Some(*serial),
        }
    }
}

/// Idle connections. Locked for moments, by one core.
pub(super) struct Pool<B> {
    shelves: Mutex<Map<Key, Shelf<B>>>,
    closed: AtomicBool,
}

struct Shelf<B> {
    idle: Vec<(Instant, http1::SendRequest<B>)>,
    /// The shortest time that the origin was seen to leave an idle connection open, and when it was.
    patience: Option<(Duration, Instant)>,
    shared: Option<(u64, http2::SendRequest<B>)>,
    /// Taken by whoever makes the connection that all can share; none where the origin does not speak HTTP/2.
    turn: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl<B> Shelf<B> {
    fn empty(http2: bool) -> Self {
        Self {
            idle: Vec::new(),
            patience: None,
            shared: None,
            turn: http2.then(Arc::default),
        }
    }

    fn has_closed(&mut self, idle_for: Duration) {
        let known = self
            .patience
            .is_some_and(|(shortest, seen)| shortest <= idle_for && seen.elapsed() < REMEMBERED);
        if !known {
            self.patience = Some((idle_for, Instant::now()));
        }
    }

    /// Whether a connection that has been idle for so long might be closed just now: half of what the origin was seen to allow.
    fn may_close(&self, idle_for: Duration) -> bool {
        self.patience
            .is_some_and(|(shortest, seen)| idle_for > shortest / 2 && seen.elapsed() < REMEMBERED)
    }
}

impl<B: Payload> Pool<B> {
    /// Without a connection.
    pub(super) fn new() -> Self {
        Self {
            shelves: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// The connection that was used last, the least likely to be stale, and how long it has been idle. A request that cannot be
    /// repeated gets none that the origin may be about to close.
    pub(super) fn take(&self, key: &Key, repeatable: bool) -> Option<(Sender<B>, Duration)> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = shelves.get_mut(key)?;
        if let Some((serial, shared)) = &shelf.shared {
            return Some((Sender::Http2(*serial, shared.clone()), Duration::ZERO));
        }
        while let Some((since, sender)) = shelf.idle.pop() {
            let idle_for = since.elapsed();
            if idle_for > IDLE_FOR {
                // everything below is older still
                shelf.idle.clear();
            } else if sender.is_closed() {
                shelf.has_closed(idle_for);
            } else if !repeatable && shelf.may_close(idle_for) {
                shelf.idle.push((since, sender));
                return None;
            } else {
                return Some((Sender::Http1(sender), idle_for));
            }
        }
        None
    }

    /// Notes that an origin has closed a connection that was idle for at most so long.
    pub(super) fn has_closed(&self, key: &Key, idle_for: Duration) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.get_mut(key) {
            shelf.has_closed(idle_for);
        }
    }

    /// Keeps an HTTP/1.1 connection whose last answer was read.
    pub(super) fn put(&self, key: &Key, sender: http1::SendRequest<B>) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let shelf = shelves
            .entry(key.clone())
            .or_insert_with(|| Shelf::empty(key.http2));
        if shelf.idle.len() < IDLE_PER_ORIGIN && !sender.is_closed() {
            shelf.idle.push((Instant::now(), sender));
        }
    }

    /// Offers an HTTP/2 connection to all requests for its origin; its number.
    pub(super) fn share(&self, key: &Key, sender: http2::SendRequest<B>) -> u64 {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.closed.load(Ordering::Relaxed) {
            let shelf = shelves
                .entry(key.clone())
                .or_insert_with(|| Shelf::empty(key.http2));
            shelf.shared = Some((serial, sender));
        }
        serial
    }

    /// Closes what is idle, and keeps nothing from now on.
    pub(super) fn close(&self) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        // set under the lock, so that no connection is put back behind our back
        self.closed.store(true, Ordering::Relaxed);
        shelves.clear();
    }

    /// The connection that can be shared, if there is one.
    pub(super) fn shared(&self, key: &Key) -> Option<Sender<B>> {
        let shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let (serial, sender) = shelves.get(key)?.shared.as_ref()?;
        Some(Sender::Http2(*serial, sender.clone()))
    }

    /// What to wait for before a connection is made that can be shared; `None` where connections are made side by side.
    pub(super) fn turn(&self, key: &Key) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = shelves
            .entry(key.clone())
            .or_insert_with(|| Shelf::empty(key.http2));
        shelf.turn.clone()
    }

    /// The origin does not speak HTTP/2, although it was offered: its connections need no turns.
    pub(super) fn shares_nothing(&self, key: &Key) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.get_mut(key) {
            shelf.turn = None;
        }
    }

    /// Drops the shared connection of an origin, if it is still this one.
    pub(super) fn forget(&self, key: &Key, serial: Option<u64>) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shelf) = shelves.get_mut(key) else {
            return;
        };
        if shelf.shared.as_ref().map(|(held, _)| *held) == serial {
            shelf.shared = None;
        }
    }
}

impl<B> std::fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
