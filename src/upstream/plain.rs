//! One request in plain text, to this machine.
//!
//! Job: post to a receiver on loopback whose address begins `http://`; nothing else of ours leaves without TLS.
//! Invariants: the connection is made by the [`Dialer`], serves one request, and is closed; an answer is read up to a bound.
//! Failure mode: [`SendError`]. Bounds on time are the caller's.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::SendError;
use super::dial::Dialer;
use crate::name::Authority;

/// Most bytes of an answer that are read: nobody looks at them.
pub const ANSWER_BYTES: usize = 64 << 10;

/// Sends a request; the status of its answer.
///
/// # Errors
/// When there is no answer.
pub async fn send(
    dialer: &Dialer,
    to: &Authority,
    request: Request<Full<Bytes>>,
) -> Result<u16, SendError> {
    let stream = dialer.tcp(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(SendError::Broken)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(SendError::Broken)?;
        let status = response.status().as_u16();
        // the answer is the status; what follows is read out of courtesy
        let _courtesy = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await;
        Ok(status)
    };
    let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    tokio::select! {
        answered = exchange.as_mut() => answered,
        // its end is what the exchange sees
        _ended = connection.as_mut() => exchange.await,
    }
}
