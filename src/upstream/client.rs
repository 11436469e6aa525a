//! One request to one origin, over a pooled connection.
//!
//! Job: take an open connection or make one, send, wait for the head.
//! Invariants: one client for each core, so that nothing on the request path changes threads; an app that speaks HTTP/1.1 is
//! served over HTTP/1.1 where the origin offers it, and one that speaks HTTP/2 over HTTP/2.
//! Failure mode: a connection that failed before a byte of the request was written is replaced once, by a new one; GET and
//! HEAD also where a reused connection closed before any byte of an answer. A request that an HTTP/2 origin says it has not
//! processed (RFC 9113 section 8.7) is sent again a few times, whatever its method. Everything else is a [`SendError`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::SendError;
use super::dial::Dialer;
use super::pool::{Key, Pool, Sender};
use super::streamed::{Back, Streamed};
use crate::name::Authority;
use crate::task::{Executor, Tasks};

/// How often a request is sent again that the origin says it did not process. A connection that says goodbye turns away all
/// requests that were just put on it, and they meet again on the next one, which may have had enough of them as soon.
const TURNED_AWAY: u32 = 4;

/// Window of an HTTP/2 stream, in bytes: one bandwidth-delay product of 1 Gbit/s at 16 ms.
const STREAM_WINDOW: u32 = 2 << 20;

/// Window of an HTTP/2 connection, in bytes: four streams at full speed.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A client with a pool of its own. `B` is the type of request bodies.
#[derive(Debug)]
pub struct Client<B> {
    dialer: Arc<Dialer>,
    pool: Arc<Pool<B>>,
    tasks: Tasks,
    response_timeout: Duration,
}

/// What can be sent as a request body.
pub trait Payload:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}
impl<B> Payload for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static
{
}

/// How one request is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// Whether to speak HTTP/2 where the origin offers it.
    pub http2: bool,
    /// Whether a reused connection that closes without an answer may be replaced: GET and HEAD without a body.
    pub repeatable: bool,
    /// Grows while the request body is being sent: as long as it does, the wait for the head starts anew.
    pub progress: &'a AtomicU64,
}

impl<B: Payload> Client<B> {
    /// A client with an empty pool.
    #[must_use]
    pub fn new(dialer: Arc<Dialer>, tasks: Tasks, response_timeout: Duration) -> Self {
        Self {
            dialer,
            pool: Arc::new(Pool::new()),
            tasks,
            response_timeout,
        }
    }

    /// Closes idle connections and keeps none from now on: the drain waits for what is in flight alone.
    pub fn close(&self) {
        self.pool.close();
    }

    /// How connections are made.
    #[must_use]
    pub const fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// Sends what `make` makes: an origin-form request with a Host field. `make` is called once for each try, and says
    /// `None` when the body cannot be had again.
    ///
    /// # Errors
    /// When there is no answer; the request may then have reached the origin unless the cause is one of dialling.
    pub async fn send(
        &self,
        to: &Authority,
        manner: Manner<'_>,
        mut make: impl FnMut() -> Option<Request<B>>,
    ) -> Result<Response<Streamed<B>>, SendError> {
        let key = Key {
            to: to.clone(),
            http2: manner.http2,
        };
        let mut unsent = None;
        let (mut anew, mut repeated, mut turned_away) = (false, false, 0);
        loop {
            let checked_out = if anew {
                self.open(&key).await
            } else {
                self.checkout(&key, manner.repeatable).await
            };
            let (sender, idle_for) = match checked_out {
                Ok(checked_out) => checked_out,
                Err(error) if !anew && is_passing(&error) => {
                    anew = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(request) = unsent.take().or_else(&mut make) else {
                return Err(SendError::Connect(std::io::Error::other(
                    "the request body cannot be sent again",
                )));
            };
            let serial = sender.serial();
            let once_more = !anew || (serial.is_some() && turned_away < TURNED_AWAY);
            let sent = self.over(sender, request, &key, manner.progress).await;
            if let (Err(Lost::Unsent(..) | Lost::Closed(_)), None, Some(idle_for)) =
                (&sent, serial, idle_for)
            {
                self.pool.has_closed(&key, idle_for);
            }
            match sent {
                Ok(response) => return Ok(response),
                Err(Lost::Unsent(request, _)) if once_more => {
                    unsent = Some(*request);
                    turned_away += 1;
                }
                Err(Lost::TurnedAway(_)) if once_more => turned_away += 1,
                Err(Lost::Closed(_)) if idle_for.is_some() && manner.repeatable && !repeated => {
                    repeated = true
                }
                Err(Lost::Unsent(_, error) | Lost::TurnedAway(error)) => {
                    return Err(SendError::TurnedAway(error));
                }
                Err(Lost::Closed(error)) => return Err(SendError::Broken(error)),
                Err(Lost::Other(error)) => return Err(error),
            }
            self.pool.forget(&key, serial);
            anew = true;
        }
    }

    /// An open connection from the pool, or a new one; says how long it was idle if it was used before.
    async fn checkout(
        &self,
        key: &Key,
        repeatable: bool,
    ) -> Result<(Sender<B>, Option<Duration>), SendError> {
        while let Some((idle, idle_for)) = self.pool.take(key, repeatable) {
            match idle {
                Sender::Http1(sender) => {
                    // its last answer was read to the end, so it is ready as soon as its task has noticed; one that is still
                    // busy sending a body to an origin that answered early is dropped
                    if !sender.is_ready() {
                        tokio::task::yield_now().await;
                    }
                    if sender.is_ready() {
                        return Ok((Sender::Http1(sender), Some(idle_for)));
                    }
                }
                Sender::Http2(serial, mut sender) => {
                    if sender.ready().await.is_ok() {
                        return Ok((Sender::Http2(serial, sender), Some(idle_for)));
                    }
                    self.pool.forget(key, Some(serial));
                }
            }
        }
        self.open(key).await
    }

    /// A new connection, or, where another request has just made one that can be shared, that one.
    async fn open(&self, key: &Key) -> Result<(Sender<B>, Option<Duration>), SendError> {
        let Some(turn) = self.pool.turn(key) else {
            // boxed: a handshake's state is several kilobytes, which every request would carry along
            return Ok((Box::pin(self.connect(key)).await?, None));
        };
        let _mine = turn.lock().await;
        match self.pool.shared(key) {
            Some(sender) => Ok((sender, Some(Duration::ZERO))),
            None => Ok((Box::pin(self.connect(key)).await?, None)),
        }
    }

    async fn connect(&self, key: &Key) -> Result<Sender<B>, SendError> {
        let stream = match self.dialer.tls(&key.to, key.http2).await {
            // an origin that speaks nothing but HTTP/2 refuses an offer of HTTP/1.1 alone (RFC 7301 section 3.2)
            Err(SendError::Tls(error)) if !key.http2 && is_no_application_protocol(&error) => {
                self.dialer.tls(&key.to, true).await?
            }
            other => other?,
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::Builder::new(Executor(self.tasks.clone()))
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .handshake(io)
                .await
                .map_err(SendError::Broken)?;
            let _owned = self.tasks.here("upstream-h2", connection.map(ended));
            let serial = self.pool.share(key, sender.clone());
            return Ok(Sender::Http2(serial, sender));
        }
        self.pool.shares_nothing(key);
        let (sender, connection) = http1::Builder::new()
            .handshake(io)
            .await
            .map_err(SendError::Broken)?;
        let _owned = self.tasks.here("upstream-h1", connection.map(ended));
        Ok(Sender::Http1(sender))
    }

    async fn over(
        &self,
        sender: Sender<B>,
        request: Request<B>,
        key: &Key,
        progress: &AtomicU64,
    ) -> Result<Response<Streamed<B>>, Lost<B>> {
        match sender {
            Sender::Http1(mut sender) => {
                let sent = sender.try_send_request(request);
                let response = self.await_head(sent, progress).await?;
                let back = (!is_last(&response)).then(|| Back {
                    pool: Arc::clone(&self.pool),
                    key: key.clone(),
                    sender,
                });
                Ok(response.map(|incoming| Streamed::new(incoming, back)))
            }
            Sender::Http2(_, mut sender) => {
                let request = for_http2(request, &key.to).map_err(Lost::Other)?;
                let sent = sender.try_send_request(request);
                let response = self.await_head(sent, progress).await?;
                Ok(response.map(|incoming| Streamed::new(incoming, None)))
            }
        }
    }

    async fn await_head(
        &self,
        sent: impl Future<
            Output = Result<Response<Incoming>, hyper::client::conn::TrySendError<Request<B>>>,
        >,
        progress: &AtomicU64,
    ) -> Result<Response<Incoming>, Lost<B>> {
        let mut sent = std::pin::pin!(sent);
        let mut seen = progress.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(self.response_timeout, &mut sent).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut failed)) => {
                    return Err(match failed.take_message() {
                        Some(request) => Lost::Unsent(Box::new(request), failed.into_error()),
                        None => judge(failed.into_error()),
                    });
                }
                Err(_elapsed) => {
                    let now = progress.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(Lost::Other(SendError::ResponseTimeout));
                    }
                    seen = now;
                }
            }
        }
    }
}

/// Whether the origin closes the connection after this answer.
fn is_last<B>(response: &Response<B>) -> bool {
    let mut fields = response.headers().get_all(header::CONNECTION).iter();
    fields.any(|field| {
        let mut words = field.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

fn ended(how: hyper::Result<()>) {
    if let Err(error) = how {
        tracing::debug!(%error, "an upstream connection ended");
    }
}

/// Why a try over one connection came to nothing.
enum Lost<B> {
    /// Not a byte of the request was written.
    Unsent(Box<Request<B>>, hyper::Error),
    /// The connection closed without an answer.
    Closed(hyper::Error),
    /// The origin says that it has not processed the request, and will not.
    TurnedAway(hyper::Error),
    /// Anything else.
    Other(SendError),
}

fn judge<B>(error: hyper::Error) -> Lost<B> {
    if error.is_user() {
        Lost::Other(SendError::Body(error))
    } else if was_turned_away(&error) {
        Lost::TurnedAway(error)
    } else {
        Lost::Closed(error)
    }
}

/// Whether the origin said `REFUSED_STREAM`, or goodbye with a lower number than the request's stream has (RFC 9113 sections 6.8
/// and 8.7). Streams up to that number get no such error from `h2`, but the connection's end.
fn was_turned_away(error: &hyper::Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote()
            && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// HTTP/2 names the authority in the target, not in a Host field (RFC 9113 section 8.3.1).
fn for_http2<B>(mut request: Request<B>, to: &Authority) -> Result<Request<B>, SendError> {
    let host = request.headers_mut().remove(header::HOST);
    let authority = host.as_ref().map_or_else(
        || to.to_string().into_bytes(),
        |host| HeaderValue::as_bytes(host).to_vec(),
    );
    let mut parts = uri::Parts::default();
    parts.scheme = Some(uri::Scheme::HTTPS);
    parts.authority = uri::Authority::from_maybe_shared(Bytes::from(authority)).ok();
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|error| SendError::Connect(std::io::Error::other(error)))?;
    *request.version_mut() = Version::HTTP_2;
    Ok(request)
}

/// Whether a new connection may succeed where this one did not: it was refused or broken off, not disbelieved or too slow.
fn is_passing(error: &SendError) -> bool {
    match error {
        SendError::Connect(error) | SendError::Tls(error) => matches!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::ConnectionAborted
                | std::io::ErrorKind::BrokenPipe
                | std::io::ErrorKind::UnexpectedEof
        ),
        SendError::AddressDenied(_)
        | SendError::Exhausted(_)
        | SendError::OwnListener
        | SendError::Resolve(_)
        | SendError::ResponseTimeout
        | SendError::Broken(_)
        | SendError::TurnedAway(_)
        | SendError::Body(_) => false,
    }
}

fn is_no_application_protocol(error: &std::io::Error) -> bool {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(
        cause,
        Some(rustls::Error::AlertReceived(
            rustls::AlertDescription::NoApplicationProtocol
        ))
    )
}
