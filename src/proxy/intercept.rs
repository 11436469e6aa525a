//! Interception: TLS ends here, and hyper serves what is inside.
//!
//! Job: ClientHello → name check → leaf → handshake → HTTP/1.1 or HTTP/2 by ALPN.
//! Invariants: SNI, if sent, equals the CONNECT host, or there is no handshake; one cached TLS configuration for each host;
//! framing is hyper's alone; an upgrade is never forwarded, so no byte is ever copied blindly here.
//! Failure mode: the handshake ends with an alert, and what was refused has an access record; an app that does not trust our
//! CA is told of in the log, with what to do.
//! Sources: RFC 8446; RFC 7301 (ALPN); CONTRACT section 2.3.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::heard::Heard;
use super::hello;
use super::unreadable::Spoken;
use super::{Connection, request};
use crate::name::{Host, HostName};
use crate::outcome::Failure;
use crate::task::Executor;
use crate::telemetry;

/// Most streams that a client may have open on one HTTP/2 connection.
const STREAMS: u32 = 256;

/// Window of an HTTP/2 stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// Window of an HTTP/2 connection, in bytes.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Serves an intercepted connection to its end.
pub async fn serve<T>(connection: Connection, io: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(connection);
    let host = Arc::clone(&connection.host);
    // boxed, and so are the stream and each protocol's serving: what an idle connection holds on to is what it needs now
    let served = match Box::pin(handshake(&connection, io)).await {
        Err(why) => return explain(&connection, why),
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            connection.pulse.http2();
            Box::pin(http2(connection, stream)).await
        }
        Ok(stream) => {
            connection.pulse.between_requests();
            Box::pin(http1(connection, stream)).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%host, %error, "an intercepted connection ended");
    }
}

/// Why there is no handshake.
enum NoHandshake {
    /// The client said something that is refused.
    Refused(Failure),
    /// It went away, or does not trust our CA.
    Ended(io::Error),
}

impl From<io::Error> for NoHandshake {
    fn from(error: io::Error) -> Self {
        match cause(&error) {
            None | Some(rustls::Error::AlertReceived(_)) => Self::Ended(error),
            Some(refused) => Self::Refused(hello::unusable(refused)),
        }
    }
}

fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

async fn handshake<T>(connection: &Connection, io: T) -> Result<Box<TlsStream<T>>, NoHandshake>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Host::Name(host) = &connection.target.host else {
        let why = "an address cannot be intercepted: no certificate is minted for one";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
    };
    let mut start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io).await?;
    let sni = start.client_hello().server_name().map(HostName::parse);
    if sni.is_some_and(|sni| sni.as_ref() != Ok(host)) {
        hello::not_here(&mut start.io).await;
        return Err(NoHandshake::Refused(hello::misnamed(host.as_str())));
    }
    let config = connection
        .shared()
        .leaves
        .server_config(host, telemetry::now())
        .map_err(io::Error::other)?;
    Ok(Box::new(start.into_stream(config).await?))
}

/// A refused handshake has a record, as a refused request has; why one ended without being refused is said in words for
/// whoever runs the app. Clients that only look in (port scans) are not worth a warning.
fn explain(connection: &Connection, why: NoHandshake) {
    let error = match why {
        NoHandshake::Refused(failure) => {
            return hello::refuse(connection.shared(), &connection.host, &failure);
        }
        NoHandshake::Ended(error) => error,
    };
    let untrusted = matches!(
        cause(&error),
        Some(rustls::Error::AlertReceived(
            rustls::AlertDescription::UnknownCA
                | rustls::AlertDescription::BadCertificate
                | rustls::AlertDescription::CertificateUnknown
        ))
    );
    if untrusted {
        tracing::warn!(host = %connection.host, %error, "a program does not trust the sidecar's CA: point it to the CA file (`spapi-sidecar env` prints the variables, `spapi-sidecar ca show` the file)");
    } else {
        tracing::info!(host = %connection.host, %error, "no TLS handshake");
    }
}

async fn http1<T>(connection: Arc<Connection>, stream: Box<TlsStream<T>>) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stopping = connection.shared().tasks.stopping();
    let limits = connection.shared().world.load().config.listen.limits;
    let (heard, hearing) = Heard::new(stream);
    let spoken = Spoken::new(
        heard,
        Arc::clone(connection.shared()),
        Arc::clone(&connection.host),
    );
    let service = service_fn(move |request: Request<Incoming>| {
        let heard = hearing.judge(&request);
        request::serve(Arc::clone(&connection), request, heard)
    });
    let served = super::connect::http1(&limits).serve_connection(TokioIo::new(spoken), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => ended,
        () = stopping => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}

async fn http2<T>(connection: Arc<Connection>, stream: Box<TlsStream<T>>) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let tasks = connection.shared().tasks.clone();
    let limits = connection.shared().world.load().config.listen.limits;
    let stopping = tasks.stopping();
    let service = service_fn(move |request: Request<Incoming>| {
        request::serve(Arc::clone(&connection), request, Ok(()))
    });
    let served = hyper::server::conn::http2::Builder::new(Executor(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(
            u32::try_from(limits.header_bytes.saturating_mul(2)).unwrap_or(u32::MAX),
        )
        .keep_alive_interval(Some(limits.idle_timeout / 3))
        .keep_alive_timeout(Duration::from_secs(20))
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => ended,
        () = stopping => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}
