//! The body of an answer, and the end of a request.
//!
//! Job: stream what upstream sends or what was made here; count it; close the record with the last byte or the drop.
//! Invariants: the record falls exactly once; an answer cut short by the client is recorded as cancelled, one cut short by
//! upstream as failed, and neither is ended politely: the client must see that it is not whole.

use std::pin::Pin;

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::pulse::{Held, Owed, Serving};
use super::replay::Replay;
use crate::outcome::Reason;
use crate::telemetry::record::{Outcome, Record};
use crate::upstream::streamed::Streamed;

/// Sees the bytes of an answer go by, and is told when it ended well.
pub trait Witness: Send + Sync + std::fmt::Debug {
    /// A part of the body.
    fn part(&mut self, data: &Bytes);
    /// The body is whole.
    fn whole(&mut self);
}

/// Where an answer's bytes come from.
#[derive(Debug)]
pub enum Content {
    /// Made here.
    Local(Option<Bytes>),
    /// From upstream: what was read ahead to judge it, then the rest.
    Upstream {
        /// Read already.
        ahead: Vec<Bytes>,
        /// Still to come.
        rest: Streamed<Replay>,
    },
}

/// An answer's body on its way to the client.
#[derive(Debug)]
pub struct AnswerBody {
    content: Content,
    witness: Option<Box<dyn Witness>>,
    closing: Option<Closing>,
    /// There while upstream keeps us waiting.
    held: Option<Held>,
    /// There while the client does.
    owed: Option<Owed>,
}

#[derive(Debug)]
struct Closing {
    record: Box<Record>,
    serving: Option<Serving>,
}

impl AnswerBody {
    /// Joins an answer's content with the record that its end closes.
    #[must_use]
    pub fn new(
        content: Content,
        witness: Option<Box<dyn Witness>>,
        record: Box<Record>,
        serving: Option<Serving>,
    ) -> Self {
        let mut body = Self {
            content,
            witness,
            closing: Some(Closing { record, serving }),
            held: None,
            owed: None,
        };
        match &body.content {
            // hyper does not poll the body of a HEAD answer or of a 204
            Content::Local(content) => {
                let bytes = content.as_ref().map_or(0, Bytes::len);
                body.count(bytes);
            }
            Content::Upstream { ahead, rest } => {
                if ahead.is_empty() && rest.is_end_stream() {
                    body.close();
                }
            }
        }
        body
    }

    fn count(&self, bytes: usize) {
        if let Some(closing) = &self.closing {
            closing
                .record
                .bytes
                .outward
                .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn pass(&mut self, data: &Bytes) {
        self.count(data.len());
        let closing = self.closing.as_ref();
        if let Some(serving) = closing.and_then(|closing| closing.serving.as_ref()) {
            serving.goes_on();
            self.owed = Some(serving.owes());
        }
        if let Some(witness) = &mut self.witness {
            witness.part(data);
        }
    }

    /// The answer is whole.
    fn close(&mut self) {
        if let Some(mut witness) = self.witness.take() {
            witness.whole();
        }
        self.closing = None;
        self.owed = None;
    }

    fn break_off(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.record.outcome = Outcome::Failed;
            closing.record.reason = Some(Reason::UpstreamUnreachable);
        }
        self.closing = None;
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        this.owed = None;
        let frame = match &mut this.content {
            Content::Local(content) => {
                let data = content.take();
                this.closing = None;
                return Poll::Ready(data.map(|data| Ok(Frame::data(data))));
            }
            Content::Upstream { ahead, rest } => {
                if ahead.is_empty() {
                    let Poll::Ready(frame) = Pin::new(rest).poll_frame(cx) else {
                        if this.held.is_none() {
                            let closing = this.closing.as_ref();
                            let serving = closing.and_then(|closing| closing.serving.as_ref());
                            this.held = serving.map(Serving::hold);
                        }
                        return Poll::Pending;
                    };
                    this.held = None;
                    frame
                } else {
                    Some(Ok(Frame::data(ahead.remove(0))))
                }
            }
        };
        match &frame {
            None => this.close(),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.pass(data);
                }
                if this.is_end_stream() {
                    this.close();
                }
            }
            Some(Err(_)) => this.break_off(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Local(content) => content.is_none(),
            Content::Upstream { ahead, rest } => ahead.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Local(content) => SizeHint::with_exact(
                content
                    .as_ref()
                    .map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ),
            Content::Upstream { ahead, rest } => {
                let ahead: u64 = ahead
                    .iter()
                    .map(|bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
                    .sum();
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(ahead + rest.lower());
                if let Some(upper) = rest.upper() {
                    hint.set_upper(ahead + upper);
                }
                hint
            }
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let (Content::Upstream { .. }, Some(closing)) = (&self.content, &mut self.closing) {
            closing.record.outcome = Outcome::Cancelled;
        }
    }
}
