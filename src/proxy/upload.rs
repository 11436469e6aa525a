//! A client's request body, and what becomes of the part that nobody reads.
//!
//! Job: hand the body on; where it is dropped before its end, read the rest for a while and throw it away.
//! Invariants: over HTTP/1.1 an answer that comes before the upload is over reaches a client that sends all before it reads:
//! a connection that closes on unread bytes would be reset, and the answer with it. A client that waits for `100 Continue`
//! is not made to send, and HTTP/2 has `RST_STREAM` for this.
//! Failure mode: after [`LINGER`], or [`SILENCE`], the rest is left unread and the connection closes.
//! Sources: RFC 9112 section 9.6 (lingering close); RFC 9110 section 10.1.1.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::field;
use super::pulse::{Pulse, Serving};
use crate::task::Tasks;

/// Longest time that is spent on bytes nobody wants.
const LINGER: Duration = Duration::from_secs(30);

/// Longest silence in that time.
const SILENCE: Duration = Duration::from_secs(5);

/// A request body on its way in.
#[derive(Debug)]
pub struct Upload {
    incoming: Option<Incoming>,
    /// Who reads the rest, if anybody.
    drain: Option<Tasks>,
    /// The clock of its connection.
    pulse: Option<Arc<Pulse>>,
    /// What the head's Connection field named.
    named: Vec<HeaderName>,
}

impl Upload {
    /// Takes a request's body into care.
    #[must_use]
    pub fn of(request: Request<Incoming>, tasks: &Tasks, serving: &Serving) -> Request<Self> {
        let lingers = request.version() < Version::HTTP_2
            && !request.headers().contains_key(header::EXPECT)
            && !request.body().is_end_stream();
        let drain = lingers.then(|| tasks.clone());
        let pulse = (!request.body().is_end_stream()).then(|| Arc::clone(serving.pulse()));
        request.map(|incoming| Self {
            incoming: Some(incoming),
            drain,
            pulse,
            named: Vec::new(),
        })
    }

    /// Notes fields that end here where they come as trailers.
    pub fn loses_trailers(&mut self, named: Vec<HeaderName>) {
        self.named = named;
    }

    /// What of these trailers goes on.
    #[must_use]
    pub fn clean_trailers(&self, trailers: HeaderMap) -> Option<HeaderMap> {
        field::clean_trailers(trailers, &self.named)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        match (&polled, &self.pulse) {
            (Poll::Ready(None | Some(Err(_))), _) => self.drain = None,
            (Poll::Ready(Some(Ok(_))), Some(pulse)) => pulse.goes_on(),
            (Poll::Ready(Some(Ok(_))), None) | (Poll::Pending, _) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(incoming), Some(tasks)) = (self.incoming.take(), self.drain.take()) else {
            return;
        };
        // outside a runtime nobody serves the connection any more
        if !incoming.is_end_stream() && tokio::runtime::Handle::try_current().is_ok() {
            let stop = tasks.stopping();
            let _owned = tasks.here("linger", async move {
                tokio::select! {
                    // whether all of it came makes no difference
                    _over = tokio::time::timeout(LINGER, rest(incoming)) => {}
                    () = stop => {}
                }
            });
        }
    }
}

/// Reads until the body ends, fails, or falls silent.
async fn rest(mut incoming: Incoming) {
    while let Ok(Some(Ok(_))) = tokio::time::timeout(SILENCE, incoming.frame()).await {}
}
