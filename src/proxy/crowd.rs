//! Which client holds how many connections.
//!
//! Job: one client leaves room for the others: it holds at most seven eighths of `max_connections`.
//! Invariants: programs on this machine's own `127.0.0.1` and `::1` are not told apart and so not bounded; a client that is refused
//! costs no permit, and at most [`REFUSALS`] are being answered at once.
//! Failure mode: `overloaded` before anything is read; where even that is too much, the connection is closed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Shared, respond};
use crate::map::Map;
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;

/// Clients that are told at once that they hold too many connections.
const REFUSALS: usize = 64;

/// How long a refused client has to read the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The connections of every client.
#[derive(Debug)]
pub struct Crowd {
    held: Mutex<Map<IpAddr, usize>>,
    most: usize,
    refusals: Arc<Semaphore>,
}

impl Crowd {
    /// Of so many connections in all.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        Self {
            held: Mutex::default(),
            most: max_connections - max_connections / 8,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    /// Counts a connection for its client, unless that holds enough.
    fn counts(&self, client: IpAddr) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.entry(client).or_default();
        let has_room = *held < self.most;
        *held += usize::from(has_room);
        has_room
    }

    fn forgets(&self, client: IpAddr) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&client);
            }
        }
    }
}

/// A client's place for one connection; given up when dropped.
#[derive(Debug)]
pub struct Seat {
    shared: Arc<Shared>,
    client: Option<IpAddr>,
}

impl Seat {
    /// Takes one; `None` when the client holds as many as it may.
    #[must_use]
    pub fn take(shared: &Arc<Shared>, client: IpAddr) -> Option<Self> {
        let client = client.to_canonical();
        let is_bounded = client != Ipv4Addr::LOCALHOST && client != Ipv6Addr::LOCALHOST;
        if is_bounded && !shared.crowd.counts(client) {
            return None;
        }
        Some(Self {
            shared: Arc::clone(shared),
            client: is_bounded.then_some(client),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            self.shared.crowd.forgets(client);
        }
    }
}

/// Tells a client that it holds too many connections: in HTTP, or by closing where it would not be understood.
pub fn refuse(shared: &Arc<Shared>, mut stream: TcpStream, speaks_http: bool) {
    let failure = Failure::new(
        Reason::Overloaded,
        "This client holds as many connections as one client may.",
        format!(
            "Its bound is seven eighths of listen.limits.max_connections, now {}: reuse connections, close idle ones, or raise it.",
            shared.crowd.most
        ),
    )
    .retry_after(1);
    let mut record = Record::open(
        Arc::clone(&shared.recorder),
        shared.next_id(),
        "".into(),
        http::Method::CONNECT,
    );
    let answer = respond::refuse(&failure, &mut record);
    let answer = respond::as_text(answer, record);
    let Ok(turn) = Arc::clone(&shared.crowd.refusals).try_acquire_owned() else {
        return;
    };
    if !speaks_http {
        return;
    }
    let _owned = shared.tasks.here("refusal", async move {
        // what was not read when a socket is closed may take the answer with it (RFC 9112 section 9.6)
        let told = async {
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _told_or_gone = tokio::time::timeout(PATIENCE, told).await;
        drop(turn);
    });
}
