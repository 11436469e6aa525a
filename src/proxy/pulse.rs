//! The clock of a client's connection: how long it may be silent, and how long a head may take.
//!
//! Job: one timer for a connection, however many requests pass over it.
//! Invariants: silence is bounded by `idle_timeout`, a head in progress and a handshake by `header_timeout`; while we wait for
//! somebody else (upstream, a token, pacing) the client's silence is not held against it. The frames of an HTTP/2 connection
//! are silence too: what counts there are requests, the parts of their bodies, and the parts of answers that the client makes
//! room for, so that pings and their answers keep nobody busy. While a part of any answer waits for room, waiting for somebody
//! else is no excuse: upstream may be waiting for that room.
//! Failure mode: a read or a write that outlasts its bound fails with `TimedOut`, which ends the connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::load::Place;
use super::socket::Presence;

/// A head that has begun since the clock was last looked at.
const HAS_BEGUN: u64 = u64::MAX;

/// The state of a connection's clock, shared by its IO and its requests.
///
/// What moves only raises a flag; the clock is looked at when the connection has nothing to read or write, which is when its
/// silence begins: a dozen looks for each request would be dear.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    idle: Duration,
    head: Duration,
    /// Milliseconds from `born` to the last byte either way, or to the look at the clock that followed it.
    last: AtomicU64,
    /// Whether something has moved since the clock was last looked at.
    moved: AtomicBool,
    /// Milliseconds from `born`, plus one, to the start of the head in progress; 0 when there is none, [`HAS_BEGUN`] when it
    /// has begun since the clock was last looked at.
    head_since: AtomicU64,
    /// Whether what is read between requests is a head. In HTTP/2 and in a tunnel it is not.
    heads: AtomicBool,
    /// Whether bytes do not count, but requests and parts of answers alone: in HTTP/2.
    frames: AtomicBool,
    /// Requests being served.
    serving: AtomicU32,
    /// Waits for somebody else.
    held: AtomicU32,
    /// Answers of which a part waits for the client.
    owed: AtomicU32,
    /// Where the connection can be asked for its client.
    presence: OnceLock<Presence>,
}

impl Pulse {
    /// A clock that begins with a head in progress: whoever connects has to say something.
    #[must_use]
    pub fn new(idle: Duration, head: Duration) -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            idle,
            head,
            last: AtomicU64::new(0),
            moved: AtomicBool::new(false),
            head_since: AtomicU64::new(1),
            heads: AtomicBool::new(true),
            frames: AtomicBool::new(false),
            serving: AtomicU32::new(0),
            held: AtomicU32::new(0),
            owed: AtomicU32::new(0),
            presence: OnceLock::new(),
        })
    }

    /// Says where the connection can be asked for its client. The first word counts.
    pub fn watch(&self, presence: Presence) {
        let _first_counts = self.presence.set(presence);
    }

    /// Completes when the client has closed the connection, its own half at least.
    pub async fn client_has_gone(&self) {
        match self.presence.get() {
            Some(presence) => presence.ends().await,
            None => std::future::pending().await,
        }
    }

    /// A request has begun: its head is complete. `place` is its place among those of all connections, where it needs one.
    #[must_use]
    pub fn serve(self: &Arc<Self>, place: Option<Place>) -> Serving {
        self.head_since.store(0, Ordering::Relaxed);
        self.goes_on();
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving {
            pulse: Arc::clone(self),
            _place: place,
        }
    }

    /// Begins a wait for somebody else than the client.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.held.fetch_add(1, Ordering::Relaxed);
        Held(Arc::clone(self))
    }

    /// Notes that the client has brought a request forward.
    pub fn goes_on(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    /// A head or a handshake is due: its time begins now.
    pub fn awaits(&self) {
        self.head_since.store(HAS_BEGUN, Ordering::Relaxed);
    }

    /// The handshake is done: the next byte begins a head.
    pub fn between_requests(&self) {
        self.head_since.store(0, Ordering::Relaxed);
    }

    /// From now on these are HTTP/2 frames: silence alone is bounded, and so are frames that bring no request forward.
    pub fn http2(&self) {
        self.frames.store(true, Ordering::Relaxed);
        self.goes_on();
        self.no_heads();
    }

    /// From now on silence alone is bounded: these are a tunnel's bytes.
    pub fn no_heads(&self) {
        self.heads.store(false, Ordering::Relaxed);
        self.between_requests();
    }

    /// Looks at the clock, and dates what has moved since it was last looked at.
    fn look(&self) -> Instant {
        let now = Instant::now();
        let since_birth = || {
            let passed = now.saturating_duration_since(self.born).as_millis();
            u64::try_from(passed).unwrap_or(u64::MAX)
        };
        if self.moved.swap(false, Ordering::Relaxed) {
            self.last.store(since_birth(), Ordering::Relaxed);
        }
        if self.head_since.load(Ordering::Relaxed) == HAS_BEGUN {
            self.head_since.store(since_birth() + 1, Ordering::Relaxed);
        }
        now
    }

    fn beat(&self, was_read: bool) {
        if self.frames.load(Ordering::Relaxed) {
            return;
        }
        self.goes_on();
        if was_read
            && self.serving.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
            && self.heads.load(Ordering::Relaxed)
        {
            self.awaits();
        }
    }

    /// When this connection is over, if nothing more happens.
    fn deadline(&self, now: Instant) -> Instant {
        if self.held.load(Ordering::Relaxed) > 0 && self.owed.load(Ordering::Relaxed) == 0 {
            return now + self.idle;
        }
        let idle = self.born + Duration::from_millis(self.last.load(Ordering::Relaxed)) + self.idle;
        match self.head_since.load(Ordering::Relaxed) {
            0 => idle,
            since => idle.min(self.born + Duration::from_millis(since - 1) + self.head),
        }
    }
}

/// A request being served; dropped with the last byte of its answer.
#[derive(Debug)]
pub struct Serving {
    pulse: Arc<Pulse>,
    _place: Option<Place>,
}

impl Serving {
    /// Notes that the client has made room for a part of its answer, or has sent a part of its body.
    pub fn goes_on(&self) {
        self.pulse.goes_on();
    }

    /// The clock itself.
    #[must_use]
    pub const fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Notes that a part of the answer was handed on and now waits for the client.
    #[must_use]
    pub fn owes(&self) -> Owed {
        self.pulse.owed.fetch_add(1, Ordering::Relaxed);
        Owed(Arc::clone(&self.pulse))
    }

    /// Begins a wait for somebody else than the client.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.pulse.hold()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.pulse.goes_on();
        self.pulse.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A wait for somebody else.
#[derive(Debug)]
pub struct Held(Arc<Pulse>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.goes_on();
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A part of an answer that waits for the client; dropped when the next one is asked for.
#[derive(Debug)]
pub struct Owed(Arc<Pulse>);

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.owed.fetch_sub(1, Ordering::Relaxed);
    }
}

/// IO that keeps a [`Pulse`] and obeys it.
#[derive(Debug)]
pub struct Pulsed<T> {
    io: T,
    pulse: Arc<Pulse>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Pulsed<T> {
    /// Wraps a connection.
    pub const fn new(io: T, pulse: Arc<Pulse>) -> Self {
        Self {
            io,
            pulse,
            timer: None,
        }
    }

    /// Fails when the connection's time is up; else arranges to be woken when it may be.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let deadline = self.pulse.deadline(self.pulse.look());
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            // a head has begun: its bound comes before that of silence
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = self.pulse.look();
            let deadline = self.pulse.deadline(now);
            if deadline <= now {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client was silent for too long",
                ));
            }
            timer.as_mut().reset(deadline);
        }
        Ok(())
    }

    fn seen<V>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<V>>,
        was_read: bool,
    ) -> Poll<io::Result<V>> {
        match poll {
            Poll::Ready(ready) => {
                self.pulse.beat(was_read);
                Poll::Ready(ready)
            }
            Poll::Pending => match self.check(cx) {
                Ok(()) => Poll::Pending,
                Err(late) => Poll::Ready(Err(late)),
            },
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Pulsed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.seen(cx, poll, true)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Pulsed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.seen(cx, poll, false)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.seen(cx, poll, false)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const IDLE: Duration = Duration::from_secs(90);
    const HEAD: Duration = Duration::from_secs(10);

    async fn over_after(pulsed: &mut Pulsed<tokio::io::DuplexStream>) -> (io::ErrorKind, u64) {
        let from = Instant::now();
        let error = pulsed.read_u8().await.unwrap_err();
        (error.kind(), from.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_over_after_the_head_timeout() {
        let (near, _far) = tokio::io::duplex(64);
        let mut pulsed = Pulsed::new(near, Pulse::new(IDLE, HEAD));
        assert_eq!(over_after(&mut pulsed).await, (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_the_idle_timeout_counts_and_a_slow_head_is_cut_short() {
        let (near, mut far) = tokio::io::duplex(64);
        let pulse = Pulse::new(IDLE, HEAD);
        let mut pulsed = Pulsed::new(near, Arc::clone(&pulse));
        drop(pulse.serve(None));
        tokio::select! {
            _ = pulsed.read_u8() => panic!("ended while it may be idle"),
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
        far.write_u8(b'G').await.unwrap();
        pulsed.read_u8().await.unwrap();
        assert_eq!(over_after(&mut pulsed).await, (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_belong_to_no_request_keep_no_connection_alive() {
        let (near, mut far) = tokio::io::duplex(64);
        let pulse = Pulse::new(IDLE, HEAD);
        let mut pulsed = Pulsed::new(near, Arc::clone(&pulse));
        pulse.http2();
        for _ in 0..2 {
            // as the connection's own task does: it waits to read all the time
            tokio::select! {
                biased;
                _ = pulsed.read_u8() => panic!("ended, or something was read"),
                () = tokio::time::sleep(Duration::from_secs(40)) => {}
            }
            far.write_u8(0).await.unwrap();
            pulsed.read_u8().await.unwrap();
        }
        assert_eq!(over_after(&mut pulsed).await, (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_over_http2_is_kept_alive_by_the_parts_of_its_answer_and_not_by_frames() {
        let (near, mut far) = tokio::io::duplex(64);
        let pulse = Pulse::new(IDLE, HEAD);
        let mut pulsed = Pulsed::new(near, Arc::clone(&pulse));
        pulse.http2();
        let serving = pulse.serve(None);
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            serving.goes_on();
            far.write_u8(0).await.unwrap();
            pulsed.read_u8().await.unwrap();
        }
        // as the connection's own task does: nothing to read, after the part has gone
        tokio::select! {
            biased;
            _ = pulsed.read_u8() => panic!("ended, or something was read"),
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
        far.write_u8(0).await.unwrap();
        pulsed.read_u8().await.unwrap();
        assert_eq!(over_after(&mut pulsed).await, (io::ErrorKind::TimedOut, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_while_we_wait_for_somebody_else_is_not_held_against_the_client() {
        let (near, _far) = tokio::io::duplex(64);
        let pulse = Pulse::new(IDLE, HEAD);
        let mut pulsed = Pulsed::new(near, Arc::clone(&pulse));
        let _serving = pulse.serve(None);
        let held = pulse.hold();
        tokio::select! {
            _ = pulsed.read_u8() => panic!("ended during a hold"),
            () = tokio::time::sleep(Duration::from_secs(1000)) => {}
        }
        drop(held);
        assert_eq!(over_after(&mut pulsed).await.0, io::ErrorKind::TimedOut);
    }
}
