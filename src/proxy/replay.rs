//! A request body that streams through, and is kept while it does, up to a bound, for one replay.
//!
//! Job: hand frames on as they come; remember them; start over when asked to.
//! Invariants: nothing is held back for the sake of a replay; at most `limit` bytes are kept of a body, and of all together no more
//! than there is [`Room`] for; a body that was superseded yields an error, so that no two attempts read the client at once; what
//! has not arrived yet is read by the new attempt; trailers go on without what a head may not carry either.
//! Failure mode: beyond either bound a replay is refused ([`Source::again`] gives `None`).

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::upload::Upload;
use crate::telemetry::record;

/// What all bodies together may take, in bytes, so that many large ones at once do not exhaust a container's memory: an eighth of
/// the 512 MiB that are deployed.
const ROOM: usize = 64 << 20;

/// The memory that is left to keep bodies in.
#[derive(Debug)]
pub struct Room(AtomicUsize);

impl Room {
    /// For one body of the largest size that is kept, at least.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(AtomicUsize::new(ROOM.max(limit)))
    }

    /// Takes some of it, if there is as much.
    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Where a request's body comes from, for as many attempts as it takes.
#[derive(Clone, Debug)]
pub struct Source(Option<Arc<Mutex<Kept>>>);

#[derive(Debug)]
struct Kept {
    incoming: Upload,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    limit: usize,
    too_large: bool,
    ended: bool,
    turn: u32,
    hint: SizeHint,
    counted: Arc<record::Bytes>,
    room: Arc<Room>,
    /// Of the room.
    taken: usize,
}

/// One attempt's view of the body.
#[derive(Debug)]
pub struct Replay {
    source: Option<Arc<Mutex<Kept>>>,
    turn: u32,
    next: usize,
    trailers_given: bool,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Another attempt took over.
    #[error("superseded by a replay")]
    Superseded,
    /// The client's side failed.
    #[error("the client's body ended early")]
    Client(#[source] hyper::Error),
}

impl Source {
    /// Takes over a request's body, of which at most `limit` bytes are kept where there is room; counts bytes as they arrive.
    #[must_use]
    pub fn new(
        incoming: Upload,
        limit: usize,
        counted: Arc<record::Bytes>,
        room: &Arc<Room>,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self(None);
        }
        let hint = incoming.size_hint();
        // a length that cannot fit is known at once: then nothing is kept at all
        let too_large = hint.lower() > u64::try_from(limit).unwrap_or(u64::MAX);
        let kept = Kept {
            incoming,
            frames: Vec::new(),
            trailers: None,
            bytes: 0,
            limit,
            too_large,
            ended: false,
            turn: 0,
            hint,
            counted,
            room: Arc::clone(room),
            taken: 0,
        };
        Self(Some(Arc::new(Mutex::new(kept))))
    }

    /// Whether there is no body at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The body from its start, or `None` when its start is gone. Whoever held it before gets an error.
    #[must_use]
    pub fn again(&self) -> Option<Replay> {
        let Some(source) = &self.0 else {
            return Some(Replay {
                source: None,
                turn: 0,
                next: 0,
                trailers_given: false,
            });
        };
        let mut kept = lock(source);
        if kept.turn > 0 && kept.too_large {
            return None;
        }
        kept.turn += 1;
        Some(Replay {
            source: Some(Arc::clone(source)),
            turn: kept.turn,
            next: 0,
            trailers_given: false,
        })
    }

    /// The whole body, where it has arrived and was kept.
    #[must_use]
    pub fn kept(&self) -> Option<Vec<u8>> {
        let kept = lock(self.0.as_ref()?);
        let whole = kept.ended || kept.incoming.is_end_stream();
        (whole && !kept.too_large).then(|| kept.frames.concat())
    }

    /// Whether [`Source::again`] would give the whole body once more.
    #[must_use]
    pub fn may_replay(&self) -> bool {
        self.0.as_ref().is_none_or(|source| !lock(source).too_large)
    }
}

fn lock(source: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn keep(&mut self, data: &Bytes) {
        self.counted.inward.fetch_add(
            u64::try_from(data.len()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        if self.too_large {
            return;
        }
        self.bytes += data.len();
        // a frame takes its place in the list too: a body may come byte by byte
        let takes = data.len() + size_of::<Bytes>();
        if self.bytes <= self.limit && self.room.take(takes) {
            self.taken += takes;
            self.frames.push(data.clone());
        } else {
            self.too_large = true;
            self.frames = Vec::new();
            self.room.give_back(std::mem::take(&mut self.taken));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.room.give_back(self.taken);
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = self.source.clone() else {
            return Poll::Ready(None);
        };
        let mut kept = lock(&source);
        if kept.turn != self.turn {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if let Some(data) = kept.frames.get(self.next) {
            let data = data.clone();
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if kept.ended {
            let trailers = if self.trailers_given {
                None
            } else {
                kept.trailers.clone()
            };
            self.trailers_given = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        match ready!(Pin::new(&mut kept.incoming).poll_frame(cx)) {
            None => {
                kept.ended = true;
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(Some(Err(BodyError::Client(error)))),
            Some(Ok(frame)) => Poll::Ready(match frame.into_data() {
                Ok(data) => {
                    kept.keep(&data);
                    self.next = kept.frames.len();
                    Some(Ok(Frame::data(data)))
                }
                Err(frame) => {
                    kept.ended = true;
                    self.trailers_given = true;
                    let trailers = frame.into_trailers().ok();
                    kept.trailers =
                        trailers.and_then(|trailers| kept.incoming.clean_trailers(trailers));
                    kept.trailers
                        .clone()
                        .map(|trailers| Ok(Frame::trailers(trailers)))
                }
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.source
            .as_ref()
            // no exact zero: hyper would make a Content-Length of it where HTTP/2 has none
            .map_or_else(SizeHint::default, |source| lock(source).hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_gives_what_it_has_and_gives_it_again_once_it_is_back() {
        let room = Room::new(0);
        assert!(room.take(ROOM - 1));
        assert!(!room.take(2), "more than is left");
        assert!(room.take(1));
        assert!(!room.take(1));
        room.give_back(ROOM);
        assert!(room.take(ROOM));
    }

    #[test]
    fn a_room_holds_one_body_of_the_largest_size_that_is_kept() {
        assert!(Room::new(2 * ROOM).take(2 * ROOM));
    }
}
